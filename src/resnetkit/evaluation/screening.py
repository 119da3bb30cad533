"""A class against the rest, as clinicians publish it: its area under the ROC and what one threshold finds and misses.

Scores are `[N]`, the higher the more of the class; `of_class` is `[N]` bool, what is true. A picture is called one of
the class from the threshold on. Intervals are 95 % ones; with `groups`, a name for each picture, None for one that is
alone, pictures of one patient are no news of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.errors import DataError
from resnetkit.evaluation.areas import Areas, under_roc
from resnetkit.evaluation.uncertainty import (
    Interval,
    accuracy_interval,
    area_interval,
    groups_where,
    student,
    units_of,
    variance_of,
)
from resnetkit.models.goals import screening_goal_of

_Z = 1.959964
_ROUNDING = 1e-9  # of a share of pictures, as 1 - 9 / 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; both None where there is none, as the sensitivity without a picture to find."""

    value: float | None
    interval: Interval | None


UNDEFINED = Estimate(None, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class AsTest:
    """What a test for a class does to pictures: counts, and the figures made of them.

    `lr_positive` is sensitivity / (1 - specificity), `lr_negative` (1 - sensitivity) / specificity.
    """

    tp: int
    fp: int
    tn: int
    fn: int
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    accuracy: Estimate
    lr_positive: Estimate
    lr_negative: Estimate


def roc_auc(scores: np.ndarray, of_class: np.ndarray, groups: Sequence[str | None] | None = None) -> Estimate:
    """Return the area under the ROC with `area_interval`: DeLong's variance on the log-odds, by group.

    At an area of 1 or 0, which has no variance, the interval is Clopper and Pearson's (1934) of 2 m n / (m + n)
    pictures, where m pictures or groups are of the class and n are not.
    """
    if not of_class.any() or of_class.all():
        return UNDEFINED
    area, influence = under_roc(of_class, scores)
    return Estimate(area, area_interval(Areas([area], influence), of_class.astype(np.int64), groups))


def operating_point(scores: np.ndarray, of_class: np.ndarray, goal: str) -> tuple[float, bool]:
    """Return the threshold for a goal, `youden`, `sensitivity 0.95` or `specificity 0.9`, halfway between two scores.

    `youden` has the largest sensitivity + specificity - 1 (Youden 1950); the others have the largest specificity, or
    sensitivity, that leaves the goal reached. Choose it on pictures other than those that it is to be judged by: there
    it falls short of the goal about as often as not. Also tells whether it is reached, as it always is by calling every
    picture one of the class, or none. Raises `UsageError` for another goal, `DataError` where all pictures are of the
    class, or none.
    """
    name, wanted = screening_goal_of(goal)
    if not of_class.any() or of_class.all():
        raise DataError("an operating point needs pictures of the class and others: choose it on a part that has both")
    thresholds, found, alarms = _steps(scores.astype(np.float64), of_class)
    specificity = 1 - alarms
    if name == "youden":
        place = int(np.argmax(found - alarms))
    else:
        aimed, other = (found, specificity) if name == "sensitivity" else (specificity, found)
        order = np.lexsort((aimed, other))  # the last has most of `other`, and of these most of what is aimed at
        place = int(order[aimed[order] >= wanted - _ROUNDING][-1])
    return float(thresholds[place]), 0 < place < len(thresholds) - 1


def as_test(said: np.ndarray, of_class: np.ndarray, groups: Sequence[str | None] | None = None) -> AsTest:
    """Return the figures of pictures that are `said` ([N] bool) to be of the class, by what others chose.

    Shares have the interval of `accuracy_interval` (Clopper and Pearson's, by group), ratios that of
    `likelihood_ratio`.
    """
    ratios = [likelihood_ratio(named, of_class, groups) for named in (said, ~said)]
    return AsTest(
        tp=int((said & of_class).sum()),
        fp=int((said & ~of_class).sum()),
        tn=int((~said & ~of_class).sum()),
        fn=int((~said & of_class).sum()),
        sensitivity=share(said, of_class, groups),
        specificity=share(~said, ~of_class, groups),
        ppv=share(of_class, said, groups),
        npv=share(~of_class, ~said, groups),
        accuracy=share(said == of_class, np.ones(len(said), bool), groups),
        lr_positive=_finite(*ratios[0]),
        lr_negative=_finite(*ratios[1]),
    )


def called(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return which pictures are called of the class, `[N]` bool; compared as doubles, whatever the scores are."""
    return scores.astype(np.float64) >= threshold


def share(right: np.ndarray, among: np.ndarray, groups: Sequence[str | None] | None = None) -> Estimate:
    """Return how many of the pictures `among` ([N] bool) are `right` ([N] bool)."""
    if not among.any():
        return UNDEFINED
    return Estimate(float(right[among].mean()), accuracy_interval(right[among], groups_where(among, groups)))


def likelihood_ratio(
    said: np.ndarray, of_class: np.ndarray, groups: Sequence[str | None] | None = None
) -> tuple[float, float, float]:
    """Return how many times as often pictures of the class are `said` ([N] bool) as others, and its 95 % bounds.

    They are even on the logarithm (Simel, Samsa and Matchar 1991); with groups its variance grows as that of the
    influences does (`variance_of`), with Student's t. Where a cell of the two by two table is empty half a picture is
    added to each of the four for the bounds (Haldane 1956). A ratio to nothing is infinite, as is its upper bound; that
    of nothing to nothing is NaN, as all three are where a class has no picture.
    """
    with_it, without = float(of_class.sum()), float((~of_class).sum())
    hits, alarms = float((said & of_class).sum()), float((said & ~of_class).sum())
    if not with_it or not without or not hits + alarms:
        return math.nan, math.nan, math.nan
    value = hits / with_it / (alarms / without) if alarms else math.inf
    half = 0.5 if min(hits, alarms, with_it - hits, without - alarms) == 0 else 0.0
    found, false = (hits + half) / (with_it + 2 * half), (alarms + half) / (without + 2 * half)
    variance = (1 - found) / (hits + half) + (1 - false) / (alarms + half)
    away = _Z * math.sqrt(variance)
    if groups is not None:
        moved = np.where(
            of_class, (said - hits / with_it) / found / with_it, (alarms / without - said) / false / without
        )
        away *= _widened(len(said) * moved, of_class, groups)
    middle = math.log(found / false)
    low = min(value, math.exp(middle - away)) if hits else 0.0
    return value, low, max(value, math.exp(middle + away))


def _widened(influence: np.ndarray, of_class: np.ndarray, groups: Sequence[str | None]) -> float:
    """Return how many times as wide an interval is by groups as by single pictures, at least once."""
    units = units_of(len(of_class), groups)
    number = min(len(np.unique(units[of_class])), len(np.unique(units[~of_class])))
    if len(np.unique(units)) == len(units):
        return 1.0
    together, freedom = variance_of(influence, of_class.astype(np.int64), groups)
    alone = float((influence**2).sum()) / len(of_class) ** 2
    if alone == 0 or number < 2:  # nothing tells how far pictures are alike: as if they were copies
        together, alone, freedom = len(units), len(np.unique(units)), number - 1
    return max(1.0, math.sqrt(together / alone)) * student(freedom) / _Z


def _finite(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, Interval(low, high)) if math.isfinite(value) else UNDEFINED


def _steps(scores: np.ndarray, of_class: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return thresholds from one that calls none to one that calls all, with the shares found and of false alarms."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(of_class[order])
    last = np.append(np.diff(ranked) != 0, True)
    met, said = ranked[last], np.flatnonzero(last) + 1
    between = np.append((met[:-1] + met[1:]) / 2, met[-1])
    found = np.append(0, hits[last]) / of_class.sum()
    alarms = np.append(0, said - hits[last]) / (~of_class).sum()
    return np.append(np.nextafter(met[0], np.inf), between), found, alarms
