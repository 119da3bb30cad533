"""What found objects come to on scored pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnetkit.data.dataset import Item
from resnetkit.data.prepared import Part
from resnetkit.data.targets import object_targets
from resnetkit.errors import UsageError
from resnetkit.evaluation.detection.calibration import calibration_of, fit_platt
from resnetkit.evaluation.detection.least_scores import cross_fitted, fit_least_scores
from resnetkit.evaluation.detection.matching import matched
from resnetkit.evaluation.detection.metrics import detection_metrics, map_of
from resnetkit.evaluation.detection.rows import rows_of
from resnetkit.evaluation.evaluate import Scored
from resnetkit.models.detection.found import BOX, Found
from resnetkit.models.detection.sureness import Sureness
from resnetkit.tasks.folds import by_folds

OPTIMISTIC = ("map", "map50", "map75", "precision", "recall", "f1", "false_alarms", "per_class", "counting")
_ENOUGH = 10  # pictures that least scores can be fitted on


def founds(outputs: np.ndarray, part: Part) -> list[Found]:
    """Return the objects that `[N, D, 6]` outputs or more say of a part's pictures, in pixels of the originals."""
    assert part.sizes is not None, "these pictures have no marks"
    return [
        Found.of(row, view, width=width, height=height)
        for row, view, (width, height) in zip(outputs, part.views, part.sizes.tolist(), strict=True)
    ]


def of_known(found: Found, item: Item, classes: Sequence[str]) -> Found:
    """Return what was found on a picture without objects of classes of which nobody looked there."""
    unknown = [classes.index(name) for name in item.unknown if name in classes]
    return found.only(~np.isin(found.labels, unknown)) if unknown else found


def _of_known(found: list[Found], part: Part, classes: Sequence[str]) -> list[Found]:
    return [of_known(one, item, classes) for one, item in zip(found, part.items, strict=True)]


def fitted(outputs: np.ndarray, part: Part, *, classes: Sequence[str], where: str, goal: str = "f1") -> Sureness:
    """Return from which score on each class is said, and how probably a box is right, fitted on held-out pictures.

    `goal` is that of the scores.
    """
    truths = list(object_targets(part.items, classes, where=where))
    found = _of_known(founds(outputs, part), part, classes)
    matches = matched(truths, found, num_classes=len(classes))
    at, unmet = fit_least_scores(matches, goal=goal, groups=part.groups)
    # Rounded down: a score may be that of an object, which must not fall below it.
    return Sureness(
        at=tuple((np.floor(at * 1e6) / 1e6).tolist()), goal=goal, unmet=tuple(classes[number] for number in unmet),
        fitted_on=len(part), fitted_to=part.content, platt=fit_platt(matches),
    )  # fmt: skip


def scored(
    outputs: np.ndarray, averaged: np.ndarray, part: Part, *, classes: Sequence[str], decision: Sureness,
    split: Scored, tta: str = "none", own: bool | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:  # fmt: skip
    """Return the contents of `metrics.json` and of `predictions.csv` for outputs, in the order of the part.

    `own`: the scores that objects are said from were fitted on these pictures, so that each is judged by those that
    others fit; None: the decision says so. Raises `UsageError` for averages over views, which boxes have none of.
    """
    if tta != "none":
        raise UsageError(f"tta={tta} averages the answers of classifiers: leave it out for objects")
    truths = list(object_targets(part.items, classes, where=split))
    found = _of_known(founds(outputs, part), part, classes)
    matches, groups = matched(truths, found, num_classes=len(classes)), part.groups
    if own is None:
        own = decision.are_fitted_on(part.content)
    few = own and len(part) < _ENOUGH
    own = own and not few
    at = decision.of(len(classes)).astype(np.float64)
    judged_at = cross_fitted(matches, groups, goal=decision.goal) if own else None
    assert part.sizes is not None, "these pictures have no marks"
    sizes = [(width, height) for width, height in part.sizes.tolist()]
    metrics = detection_metrics(
        truths, found, matches=matches, sizes=sizes, classes=classes, at=at, judged_at=judged_at, split=split,
        groups=groups, masks=outputs.shape[2] > BOX and any(any(truth.masks) for truth in truths),
    )  # fmt: skip
    metrics["thresholds"] = {
        "goal": decision.goal, "fitted_on": decision.fitted_on, "cross_fitted": bool(own), "optimistic": bool(few),
    }  # fmt: skip
    metrics["calibration_of_boxes"] = calibration_of(
        matches, matches.said(at if judged_at is None else judged_at), decision.platt, groups=groups,
        by="crossfit" if own else "these" if few else "others",
    )  # fmt: skip
    rows = rows_of(
        matches, truths, found, at if judged_at is None else judged_at, sources=[item.source for item in part.items],
        groups=[item.group for item in part.items], classes=classes, split=split,
    )  # fmt: skip
    return metrics, rows


def folded(outputs: np.ndarray, part: Part, numbers: np.ndarray) -> dict[str, Any]:
    """Return what `metrics.json` says of folds: outputs of a part, `numbers` the fold of each picture."""
    found, truths = founds(outputs, part), list(part.targets)
    num_classes = 1 + max((int(truth.labels.max()) for truth in truths if len(truth)), default=0)

    def reached(own: np.ndarray) -> dict[str, float | None]:
        whole, half = map_of([truths[n] for n in own], [found[n] for n in own], num_classes=num_classes)
        return {"map": whole, "map50": half}

    return {"folds": by_folds(numbers, reached, figure="map50")}
