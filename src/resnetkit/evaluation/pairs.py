"""Whether one model is better than another on the same pictures, or only luckier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.errors import DataError
from resnetkit.evaluation.areas import Areas, under_roc
from resnetkit.evaluation.uncertainty import Interval, area_interval, bootstrap, student, summed, units_of, variance_of

_SHUFFLES, _AT_ONCE = 10_000, 100  # tosses for all groups, and how many in memory
_LEVEL = 0.05
_NOTHING = 1e-20  # a variance that is rounding


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How much more often the second model is right than the first: a share, its 95 % interval and the p-value.

    `gained`: pictures that only the second names right, `lost`: only the first.
    """

    share: float
    interval: Interval
    p_value: float
    gained: int
    lost: int


def paired_difference(first: np.ndarray, second: np.ndarray, groups: Sequence[str | None] | None = None) -> Difference:
    """Compare the right answers of two models ([N] bool each) on the same pictures.

    The p-value is McNemar's, exact: pictures that both name right or both wrong say nothing, and of the others either
    model gets its share by a fair coin (McNemar 1947). With `groups` the coin is tossed once for each group. The
    interval is that of Agresti and Min (2005), which holds for few disagreements too; with groups the bootstrap's.
    """
    assert first.shape == second.shape, (first.shape, second.shape)
    gain = second.astype(np.float64) - first
    gained, lost = int((gain > 0).sum()), int((gain < 0).sum())
    interval = _by_score(gained, lost, len(gain)) if groups is None else _of_groups(gain, groups)
    p_value = _mcnemar(gained, lost) if groups is None else _by_group(gain, groups)
    return Difference(share=float(gain.mean()), interval=interval, p_value=p_value, gained=gained, lost=lost)


@dataclass(frozen=True, kw_only=True, slots=True)
class AreaDifference:
    """By how much the second model's area under the ROC is larger: its 95 % interval and the p-value."""

    first: float
    second: float
    difference: float
    interval: Interval
    p_value: float


def paired_areas(
    first: np.ndarray, second: np.ndarray, of_class: np.ndarray, groups: Sequence[str | None] | None = None
) -> AreaDifference:
    """Compare how two models' scores ([N] each) tell the same pictures of a class from others; `of_class`: [N] bool.

    The test is that of DeLong, DeLong and Clarke-Pearson (1988), with groups that of Obuchowski (1997), on the log-odds
    of the areas as `area_interval` is, which plain differences near 1 reject too seldom for, and with Student's t for
    the degrees of freedom of `variance_of`, no more than the smaller class has pictures but one. The interval is that
    of the log-odds times the mean slope of the area in these, so that it leaves out 0 where the test rejects. Where an
    area is 1 or 0 both are of the plain difference; where that has no variance the interval is made of those of the two
    areas (MOVER; Newcombe 1998). Two models that put pictures in the same order do not differ. Raises `DataError` where
    a class has but one picture or group, or none.
    """
    from scipy.special import stdtr

    fewest = _fewest_units(of_class, groups)
    if fewest < 2:
        raise DataError("to compare areas under the ROC takes two pictures or groups of the class, and two of others")
    (one, moved), (other, moved_too) = (under_roc(of_class, scores) for scores in (first, second))
    if np.array_equal(_order(first), _order(second)):
        return AreaDifference(first=one, second=other, difference=0.0, interval=Interval(0.0, 0.0), p_value=1.0)
    targets, gain = of_class.astype(np.int64), other - one
    change, slope = _change(one, other, moved, moved_too)
    variance, freedom = variance_of(change, targets, groups)
    freedom = max(1.0, min(freedom, fewest - 1))
    if variance > _NOTHING:
        down = up = student(freedom) * slope * math.sqrt(variance)
    else:
        own, its = (
            area_interval(Areas([area], by), targets, groups) for area, by in ((one, moved), (other, moved_too))
        )
        down, up = math.hypot(own.high - one, other - its.low), math.hypot(one - own.low, its.high - other)
    errors = abs(gain) / (down if gain > 0 else up) * student(freedom)
    return AreaDifference(
        first=one,
        second=other,
        difference=gain,
        interval=Interval(max(-1.0, gain - down), min(1.0, gain + up)),
        p_value=2 * float(stdtr(freedom, -errors)),
    )


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of several comparisons so that all together mislead as seldom as one (Holm 1979).

    >>> adjusted([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    highest, result = 0.0, [0.0] * len(p_values)
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[i]))
        result[i] = highest
    return result


def is_real(p_value: float) -> bool:
    """Tell whether chance makes such a difference in fewer than 5 of 100 comparisons of equal models."""
    return p_value < _LEVEL


def _change(one: float, other: float, moved: np.ndarray, moved_too: np.ndarray) -> tuple[np.ndarray, float]:
    """Return what pictures do to the difference of two areas' log-odds ([N]), and how much area there is to one.

    Of areas of 1 or 0, which have no log-odds, it is what they do to the plain difference.
    """
    if min(one, other) == 0 or max(one, other) == 1:
        return moved_too - moved, 1.0
    step, step_too = one * (1 - one), other * (1 - other)
    odds = math.log(other / (1 - other)) - math.log(one / (1 - one))
    return moved_too / step_too - moved / step, (other - one) / odds if odds else step


def _order(scores: np.ndarray) -> np.ndarray:
    return np.unique(scores, return_inverse=True)[1]


def _fewest_units(of_class: np.ndarray, groups: Sequence[str | None] | None) -> int:
    """Return how many pictures or groups the class has, or the others where these have fewer."""
    units = units_of(len(of_class), groups)
    return min(len(np.unique(units[of_class])), len(np.unique(units[~of_class])))


def _by_score(gained: float, lost: float, count: float) -> Interval:
    """Return the interval of the share gained minus that lost, half a picture added to each of the four kinds."""
    share = (gained - lost) / (count + 2)
    error = 1.959964 * math.sqrt(gained + lost + 1 - (gained - lost) ** 2 / (count + 2)) / (count + 2)
    return Interval(max(-1.0, share - error), min(1.0, share + error))


def _of_groups(gain: np.ndarray, groups: Sequence[str | None]) -> Interval:
    """Return the bootstrap's interval; that of as many pictures as there are groups where these are all alike."""
    counted = np.stack([gain, np.ones(len(gain))], axis=1)
    drawn = bootstrap(counted, lambda sums: sums[..., 0] / sums[..., 1], groups=groups, least=-1.0)
    if drawn is not None and drawn.low < drawn.high:
        return Interval(drawn.low, min(1.0, drawn.high))
    number, share = len(summed(gain[:, None], groups)), float(gain.mean())
    return _by_score(max(0.0, share) * number, max(0.0, -share) * number, number)


def _mcnemar(gained: int, lost: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _by_group(gain: np.ndarray, groups: Sequence[str | None]) -> float:
    """Return the share of coin tosses, one for each group's gain, that end at least as far from nothing."""
    sums = summed(gain[:, None], groups)[:, 0]
    sums = sums[sums != 0]
    random, as_far = np.random.default_rng(0), 0
    for _ in range(_SHUFFLES // _AT_ONCE):
        signs = random.integers(0, 2, (_AT_ONCE, len(sums)), np.int8) * 2 - 1
        as_far += int((np.abs(signs @ sums) >= abs(sums.sum())).sum())
    return (1 + as_far) / (1 + _SHUFFLES)
