"""What several labels per picture come to on scored pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from resnetkit.data.dataset import Item
from resnetkit.data.prepared import Part
from resnetkit.data.targets import label_targets
from resnetkit.errors import DataError
from resnetkit.evaluation.evaluate import Scored
from resnetkit.evaluation.label_thresholds import cross_fitted_answers, fit_thresholds
from resnetkit.evaluation.labels import label_metrics, map_of
from resnetkit.models.thresholds import Thresholds
from resnetkit.tasks.folds import by_folds

_ENOUGH = 10  # pictures that thresholds can be fitted on


def fitted(logits: np.ndarray, part: Part, *, classes: Sequence[str], where: str, goal: str = "f1") -> Thresholds:
    """Return the threshold of each label that the logits `[N, K]` of held-out pictures allow, for a `goal`."""
    targets = label_targets(part.items, classes, where=where)
    return fit_thresholds(
        Thresholds().probabilities(logits), targets, classes=classes, goal=goal, fitted_to=part.content,
    )  # fmt: skip


def scored(
    logits: np.ndarray, averaged: np.ndarray, part: Part, *, classes: Sequence[str], decision: Thresholds,
    split: Scored, tta: str = "none", own: bool | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:  # fmt: skip
    """Return the contents of `metrics.json` and of `predictions.csv` for logits `[N, K]`, in the order of the part.

    `own`: the thresholds were fitted on these pictures, so that each is judged by those that others fit, where these
    are enough to fit some; None: they say so. Raises `DataError` for a label that the model does not know, and for
    logits that are not finite.
    """
    targets, groups = label_targets(part.items, classes, where=split), part.groups
    if not (np.isfinite(logits).all() and np.isfinite(averaged).all()):
        raise DataError("the model answers with numbers that are not finite: train it again or use another")
    if own is None:
        own = decision.are_fitted_on(part.content)
    probabilities = decision.probabilities(logits)
    answers = decision.answers(probabilities)
    few = own and len(part) < _ENOUGH
    own = own and not few
    judged = cross_fitted_answers(probabilities, targets, groups, decision.goal) if own else answers
    metrics = label_metrics(
        probabilities, targets, answers=judged, thresholds=decision, classes=classes, split=split, groups=groups
    )
    metrics["thresholds"] = {
        "goal": decision.goal, "fitted_on": decision.fitted_on, "cross_fitted": bool(own), "optimistic": bool(few),
    }  # fmt: skip
    if tta != "none":
        metrics["tta"] = {"views": tta, "map": map_of(decision.probabilities(averaged), targets)}
    return metrics, _rows(part.items, probabilities, judged, targets, classes=classes, split=split)


def folded(logits: np.ndarray, part: Part, numbers: np.ndarray) -> dict[str, Any]:
    """Return what `metrics.json` says of folds: `logits` `[N, K]` of a part, `numbers` the fold of each picture."""
    probabilities = Thresholds().probabilities(logits)
    return {
        "folds": by_folds(numbers, lambda own: {"map": map_of(probabilities[own], part.targets[own])}, figure="map")
    }


def _rows(
    items: Sequence[Item], probabilities: np.ndarray, answers: np.ndarray, targets: np.ndarray, *,
    classes: Sequence[str], split: Scored,
) -> list[dict[str, Any]]:  # fmt: skip
    right = ((answers == (targets == 1)) | np.isnan(targets)).all(axis=1)
    return [
        {
            "source": item.source,
            "labels": item.written,
            "predicted": ";".join(classes[number] for number in np.flatnonzero(said).tolist()),
            "correct": bool(correct),
            "split": split,
            "probabilities": json.dumps(
                {name: round(float(p), 6) for name, p in zip(classes, row, strict=True)}, ensure_ascii=False
            ),
            "group": item.group,
        }
        for item, row, said, correct in zip(items, probabilities, answers, right, strict=True)
    ]
