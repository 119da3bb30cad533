"""One answer for each patient, study or series from those for its pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnetkit.errors import DataError
from resnetkit.evaluation.calibration import reliability
from resnetkit.evaluation.metrics import clopper_pearson
from resnetkit.evaluation.screening import roc_auc
from resnetkit.evaluation.uncertainty import folds_interval
from resnetkit.inference.aggregation import MEAN, Aggregation

# Of `[C, K]` probabilities of cases, given a picture of each: the class told, `[C]`, or better probabilities, `[C, K]`.
Tells = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Cases:
    """The answers for C cases, in the order in which they come first.

    `names`: their groups, None for a picture that is alone; `members`: the numbers of each one's pictures;
    `probabilities`: `[C, K]`; `targets`: `[C]` classes.
    """

    names: list[str | None]
    members: list[np.ndarray]
    probabilities: np.ndarray
    targets: np.ndarray


def by_case(
    probabilities: np.ndarray,
    targets: np.ndarray,
    groups: Sequence[str | None],
    *,
    how: Aggregation = MEAN,
) -> Cases:
    """Return one row for each group from pictures' `[N, K]` probabilities and `[N]` classes.

    Raises `DataError` for a group whose pictures are of several classes.
    """
    by_name: dict[str | tuple[int], list[int]] = {}
    for number, group in enumerate(groups):
        by_name.setdefault((number,) if group is None else group, []).append(number)
    members = [np.array(numbers) for numbers in by_name.values()]
    names = [name if isinstance(name, str) else None for name in by_name]
    for name, numbers in zip(names, members, strict=True):
        if len(np.unique(targets[numbers])) > 1:
            raise DataError(
                f"group {name!r}: its {len(numbers)} pictures are of {len(np.unique(targets[numbers]))} classes, so it "
                "has no one answer: group by what has one class (a study, a lesion), or score pictures"
            )
    rows = [how(probabilities[numbers]) for numbers in members]
    return Cases(names, members, np.stack(rows), targets[[numbers[0] for numbers in members]])


def case_figures(
    probabilities: np.ndarray,
    targets: np.ndarray,
    classes: Sequence[str],
    groups: Sequence[str | None] | None,
    *,
    how: Aggregation = MEAN,
    by_folds: bool = False,
    tells: Tells | None = None,
    sures: Tells | None = None,
) -> dict[str, Any]:
    """Return `cases` of metrics.json where pictures come in groups, nothing where they do not.

    `how` in words, `pictures` per case (the `fewest` and `most`), and of the `count` cases, each one answer: `top1`
    with `top1_interval`, Clopper and Pearson's or `folds_interval` where cases were held out `by_folds`,
    `balanced_accuracy` and `majority`, what always answering the largest class would reach. `mixed` says why there are
    none of these. Where the surest pictures of a class answer and cases differ in their number, `number_alone` is the
    ROC-AUC of that number for the class: the most of many is larger by chance, also where pictures tell nothing. With
    `sures`, which makes `[C, K]` probabilities of means, given a picture of each: `confidence` and `ece`, both with
    `before` and `after`, are the mean of the greatest probability, to be held against `top1`, and the calibration
    error, which chance alone makes larger where there are few groups.
    """
    if groups is None:
        return {}
    try:
        cases = by_case(probabilities, targets, groups, how=how)
    except DataError as error:
        return {"cases": {"how": how.words, "mixed": str(error)}}
    firsts = np.array([numbers[0] for numbers in cases.members])
    told = cases.probabilities.argmax(axis=1) if tells is None else tells(cases.probabilities, firsts)
    right = told == cases.targets
    support = np.bincount(cases.targets, minlength=len(classes))
    found = np.bincount(cases.targets, right, minlength=len(classes))[support > 0] / support[support > 0]
    interval = clopper_pearson(int(right.sum()), len(right))
    if by_folds:
        wider = folds_interval(right)
        interval = wider.low, wider.high
    sizes = [len(members) for members in cases.members]
    largest = int(support.argmax())
    alone = {}
    if how.of_class is not None and min(sizes) < max(sizes):
        reached = roc_auc(np.array(sizes, np.float64), cases.targets == how.of_class)
        bounds = None if reached.interval is None else [reached.interval.low, reached.interval.high]
        alone = {"number_alone": {"value": reached.value, "interval": bounds}}
    sure = {} if sures is None else _sureness(cases, sures(cases.probabilities, firsts))
    return {
        "cases": {
            **alone,
            **sure,
            "how": how.words,
            "count": len(right),
            "pictures": {"fewest": min(sizes), "most": max(sizes)},
            "top1": float(right.mean()),
            "top1_interval": list(interval),
            "balanced_accuracy": float(found.mean()),
            "majority": {"label": classes[largest], "top1": int(support[largest]) / len(right)},
        }
    }


def _sureness(cases: Cases, after: np.ndarray) -> dict[str, Any]:
    both = {"before": cases.probabilities, "after": after}
    return {
        "confidence": {when: float(rows.max(axis=1).mean()) for when, rows in both.items()},
        "ece": {when: reliability(rows, cases.targets)["ece"] for when, rows in both.items()},
    }
