"""What held-out answers allow to promise of new ones: right ones that are turned away, sets that hold the truth.

Both are split conformal (Vovk et al. 2005): a threshold is the k-th of n held-out values, and a new value is as likely
to fall between any two of them. They hold on average over new pictures of the kind that was held out, and for no other;
where those came in groups, over pictures of new groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from resnetkit.errors import DataError
from resnetkit.evaluation.calibration import folds, helpful_temperature
from resnetkit.evaluation.cases import by_case
from resnetkit.evaluation.screening import operating_point
from resnetkit.evaluation.uncertainty import keys
from resnetkit.models.decision import COVERAGES, REJECTS, Decision, log_of
from resnetkit.models.point import Point


def fit_decision(
    logits: np.ndarray, targets: np.ndarray, groups: Sequence[str | None] | None = None, *,
    finding: int | None = None, goal: str = "youden",
) -> Decision:  # fmt: skip
    """Return the decision that held-out pictures allow: temperature, and a threshold for each rate and coverage.

    `logits`: `[N, K]` of pictures that did not train the model; `targets`: `[N]` class indices. With a class that is
    looked for, `finding`, there is a threshold for this one instead, for a `goal` of `operating_point`. Where pictures
    come in `groups` of one class each, the means of their probabilities have a temperature of their own.
    """
    temperature = helpful_temperature(logits, targets, groups)
    probabilities = Decision(temperature=temperature).probabilities(logits)
    if finding is not None:
        of_class = targets == finding
        at, met = operating_point(probabilities[:, finding], of_class, goal)
        point = Point(finding=finding, at=min(at, 1.0), goal=goal, share=float(of_class.mean()), met=met)
        return Decision(temperature=temperature, fitted_on=len(targets), point=point)
    return Decision(
        temperature=temperature,
        rejects={rate: reject_threshold(probabilities, targets, float(rate), groups) for rate in REJECTS},
        sets={coverage: set_threshold(probabilities, targets, float(coverage), groups) for coverage in COVERAGES},
        fitted_on=len(targets),
        case_temperature=1.0 if groups is None else _case_temperature(probabilities, targets, groups),
    )


def _case_temperature(probabilities: np.ndarray, targets: np.ndarray, groups: Sequence[str | None]) -> float:
    """Return the temperature of the means of groups; 1 where a group has several classes, and where it does not help.

    Neighbouring frames of a clip are near copies, and their mean is neither as unsure as one picture nor as sure as
    independent ones together would be: how sure, held-out groups say.
    """
    try:
        cases = by_case(probabilities, targets, groups)
    except DataError:
        return 1.0
    if len(cases.targets) == len(targets):
        return 1.0
    return helpful_temperature(log_of(cases.probabilities), cases.targets)


def reject_threshold(
    probabilities: np.ndarray, targets: np.ndarray, rate: float, groups: Sequence[str | None] | None = None
) -> float:
    """Return the probability below which at most `rate` of new right answers fall; 0 where too few were held out."""
    right = probabilities.argmax(axis=1) == targets
    theirs = None if groups is None else [group for group, is_right in zip(groups, right, strict=True) if is_right]
    return _held_below(probabilities.max(axis=1)[right], rate, theirs)


def set_threshold(
    probabilities: np.ndarray, targets: np.ndarray, coverage: float, groups: Sequence[str | None] | None = None
) -> float:
    """Return the probability that the true class of a new picture reaches with `coverage`; 0 where n is too small.

    The classes that reach it are the prediction set (least ambiguous classifiers; Sadinle et al. 2019).
    """
    return _held_below(probabilities[np.arange(len(targets)), targets], 1 - coverage, groups)


def _held_below(values: np.ndarray, share: float, groups: Sequence[str | None] | None) -> float:
    """Return the largest of the values below which a new one falls with at most the probability `share`, else 0.

    A new picture of a new group: each group weighs as much as the new one, whatever its size (Lee, Barber and Willett
    2023, arXiv:2306.06342), so 19 of them at least promise 95 %. Pictures in no group are one each.
    """
    _, unit, sizes = np.unique(keys(len(values), groups), return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    weights = 1 / sizes[unit[order]]
    below = (np.cumsum(weights) - weights + 1) / (len(sizes) + 1)  # the new group's whole weight may lie below
    place = np.searchsorted(below, share + 1e-9, "right")
    return float(values[order[place - 1]]) if place else 0.0


def kept(probabilities: np.ndarray, targets: np.ndarray, decision: Decision) -> dict[str, Any]:
    """Return what the thresholds of `decision` do to scored pictures, under `rejects` and `sets` of metrics.json.

    `false_reject`: the share of right answers that are turned away; `answered`: of all pictures that get an answer;
    `accuracy`: of the answered ones that are right (None where there are none). `coverage`: the share of sets that hold
    the true class; `mean_size` of a set, in classes.
    """
    return _counted(_marks(probabilities, targets, decision), decision)


def cross_decisions(
    logits: np.ndarray, targets: np.ndarray, groups: Sequence[str | None] | None = None, *, point: Point | None = None
) -> list[tuple[np.ndarray, Decision]]:
    """Return each fifth of the pictures ([N] bool) with the decision that the other four allow; groups stay together.

    So pictures that fit a decision can show what it does to others: their own would do to them what was promised. With
    a `point` theirs are for its class and goal, and it is their own where the others are all of the class, or none.
    """
    number = folds(len(targets), groups)
    nothing_promised = Decision(rejects=dict.fromkeys(REJECTS, 0.0), sets=dict.fromkeys(COVERAGES, 0.0))
    fit = fit_decision if point is None else partial(fit_decision, finding=point.finding, goal=point.goal)
    found = []
    for fold in np.unique(number):
        inside = number == fold
        theirs = None if groups is None else [group for group, own in zip(groups, inside, strict=True) if not own]
        others = nothing_promised
        if point is not None and len(np.unique(targets[~inside] == point.finding)) < 2:
            others = Decision(point=point)
        elif not inside.all():
            others = fit(logits[~inside], targets[~inside], theirs)
        found.append((inside, others))
    return found


def cross_probabilities(logits: np.ndarray, others: Sequence[tuple[np.ndarray, Decision]]) -> np.ndarray:
    """Return float32 `[N, K]` probabilities, each fifth of the pictures at the temperature of `cross_decisions`."""
    probabilities = np.empty(logits.shape, np.float32)
    for inside, decision in others:
        probabilities[inside] = decision.probabilities(logits[inside])
    return probabilities


def cross_kept(
    logits: np.ndarray, targets: np.ndarray, decision: Decision, others: Sequence[tuple[np.ndarray, Decision]]
) -> dict[str, Any]:
    """Return `kept` for the pictures that `decision` was fitted on: each fifth meets its own of `cross_decisions`."""
    if not decision.rejects and not decision.sets:
        return {"rejects": {}, "sets": {}}
    marks: dict[str, np.ndarray] = {}
    for inside, other in others:
        for name, values in _marks(other.probabilities(logits[inside]), targets[inside], other).items():
            marks.setdefault(name, np.zeros(len(targets), values.dtype))[inside] = values
    return _counted(marks, decision)


def _marks(probabilities: np.ndarray, targets: np.ndarray, decision: Decision) -> dict[str, np.ndarray]:
    """Return what thresholds do to each picture: is it right, answered at each rate, held by each set of which size."""
    best = probabilities.max(axis=1)
    marks = {"right": probabilities.argmax(axis=1) == targets}
    for rate, threshold in decision.rejects.items():
        marks[f"answered {rate}"] = best >= threshold
    for coverage, least in decision.sets.items():
        members = (probabilities >= least) | (probabilities == best[:, None])
        marks[f"held {coverage}"] = members[np.arange(len(targets)), targets]
        marks[f"size {coverage}"] = members.sum(axis=1)
    return marks


def _counted(marks: Mapping[str, np.ndarray], decision: Decision) -> dict[str, Any]:
    right, rejects, sets = marks["right"], {}, {}
    for rate, threshold in decision.rejects.items():
        answered = marks[f"answered {rate}"]
        rejects[rate] = {
            "threshold": threshold,
            "false_reject": float((right & ~answered).sum() / right.sum()) if right.any() else None,
            "answered": float(answered.mean()),
            "accuracy": float(right[answered].mean()) if answered.any() else None,
        }
    for coverage, least in decision.sets.items():
        sets[coverage] = {
            "threshold": least,
            "coverage": float(marks[f"held {coverage}"].mean()),
            "mean_size": float(marks[f"size {coverage}"].mean()),
        }
    return {"rejects": rejects, "sets": sets}
