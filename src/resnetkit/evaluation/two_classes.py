"""A model taken as a test for a class: what `metrics.json` says of it, by picture and by case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from resnetkit.errors import DataError
from resnetkit.evaluation.cases import Tells, by_case
from resnetkit.evaluation.decision_curve import decision_curve
from resnetkit.evaluation.prevalence import at_prevalence
from resnetkit.evaluation.screening import Estimate, as_test, roc_auc
from resnetkit.inference.aggregation import MEAN, Aggregation
from resnetkit.models.decision import Decision
from resnetkit.models.point import recalibrated

_HALF = 0.5


def screening(
    probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str], groups: Sequence[str | None] | None, *,
    finding: int | None = None, prevalence: float | None = None, decision: Decision | None = None,
    told: np.ndarray | None = None, tells: Tells | None = None, ranked: np.ndarray | None = None,
    how: Aggregation = MEAN,
) -> dict[str, Any]:  # fmt: skip
    """Return `screening` of metrics.json: of two classes, or where one of more is looked for.

    `probabilities`: `[N, K]`, `targets`: `[N]` classes. `finding` is the class that is looked for, else that of the
    `decision`, else the last of two. `told` and `tells` say which class is told of pictures and of cases, where that is
    not by the decision; `ranked` are probabilities `[N, K]` for the areas, where `probabilities` are of several scales.

    `pictures` has for each class that is asked about, both of two: `tp`, `fp`, `tn`, `fn`, and `sensitivity`,
    `specificity`, `ppv`, `npv`, `lr_positive`, `lr_negative` and `roc_auc`, each with `value` and `interval`, both None
    where there is none; intervals are by group where there are groups. Then `cases` has the same of the `count` groups,
    each answered as `how` says from its pictures; `mixed` says why not. `threshold`: from which probability on the
    finding is told, and the `goal` of that. At a stated `prevalence`: `at_prevalence` with `ppv` and `npv`, of cases
    where there are any. `net_benefit`: the decision curve of the finding; with a prevalence of probabilities
    recalibrated to it, from the share `seen` in the pictures that fitted the decision, else in the scored ones.
    """
    decision = decision or Decision()
    point = decision.point
    if finding is None and point is not None:
        finding = point.finding
    if finding is None and len(classes) != 2:
        return {}
    looked_for = len(classes) - 1 if finding is None else finding
    asked = range(len(classes)) if len(classes) == 2 else (looked_for,)
    told = decision.told(probabilities) if told is None else told
    found: dict[str, Any] = {"finding": classes[looked_for], "threshold": _HALF, "goal": None}
    seen = float((targets == looked_for).mean())
    if point is not None and point.finding == looked_for:
        found |= {"threshold": point.at, "goal": point.goal}
        seen = point.share
    elif len(classes) > 2:
        found["threshold"] = None  # told where it is the most probable
    elif point is not None:  # the other one of two, which is told of the rest
        found["threshold"], seen = 1 - point.at, 1 - point.share
    elif decision.costs is not None:
        found["threshold"] = decision.costs.at(looked_for)
    ranked = probabilities if ranked is None else ranked
    found["pictures"] = _by_class(ranked, told, targets, classes, asked, groups)
    scored, said, true, theirs = probabilities, told, targets, groups
    if groups is not None:
        try:
            cases = by_case(probabilities, targets, groups, how=how)
        except DataError as error:
            found["mixed"] = str(error)
        else:
            firsts = np.array([numbers[0] for numbers in cases.members])
            said = decision.told(cases.probabilities) if tells is None else tells(cases.probabilities, firsts)
            scored, true, theirs = cases.probabilities, cases.targets, None
            ordered = by_case(ranked, targets, groups, how=how).probabilities
            found["cases"] = _by_class(ordered, said, true, classes, asked, None)
            found["count"] = len(cases.names)
    of_class = true == looked_for
    if prevalence is not None:
        values = at_prevalence(said == looked_for, of_class, prevalence=prevalence, groups=theirs)
        found["at_prevalence"] = {
            "prevalence": prevalence, "seen": seen, "ppv": plain(values.ppv), "npv": plain(values.npv),
        }  # fmt: skip
    if of_class.any() and not of_class.all():
        found["net_benefit"] = _net_benefit(scored[:, looked_for], of_class, seen, prevalence)
    return {"screening": found}


def _net_benefit(scores: np.ndarray, of_class: np.ndarray, seen: float, prevalence: float | None) -> dict[str, Any]:
    if prevalence is not None and 0 < seen < 1:
        scores = recalibrated(scores, seen=seen, prevalence=prevalence)
    curve = decision_curve(scores, of_class, prevalence=prevalence)
    told = {"thresholds": curve.thresholds, "model": curve.model, "everyone": curve.everyone}
    return {name: [round(float(value), 5) for value in values] for name, values in told.items()}


def _by_class(
    probabilities: np.ndarray, told: np.ndarray, targets: np.ndarray, classes: Sequence[str], asked: Sequence[int],
    groups: Sequence[str | None] | None,
) -> dict[str, Any]:  # fmt: skip
    figures: dict[str, Any] = {}
    for index in asked:
        of_class = targets == index
        said = as_test(told == index, of_class, groups)
        values = {one.name: getattr(said, one.name) for one in fields(said)} | {
            "roc_auc": roc_auc(probabilities[:, index], of_class, groups)
        }
        figures[classes[index]] = {
            key: plain(value) if isinstance(value, Estimate) else value for key, value in values.items()
        }
    return figures


def plain(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as `value` and `interval`, for a file."""
    interval = estimate.interval
    return {"value": estimate.value, "interval": None if interval is None else [interval.low, interval.high]}
