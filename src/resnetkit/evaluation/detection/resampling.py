"""Average precision of many sets of pictures at once, each drawn from the scored one: matched once, counted anew."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from resnetkit.evaluation.detection.matching import LEAST_OVERLAPS, Matches
from resnetkit.evaluation.metrics import clopper_pearson
from resnetkit.evaluation.uncertainty import DRAWS, Interval, keys, student, summed

_RECALLS = np.linspace(0, 1, 101)  # where COCO reads the curve of precision
_SEED = 0
_TINY = np.spacing(1)
_AT_ONCE = 2**17  # cells that a processor keeps near: 2**23 take 1.5 to 2 times as long
FEWEST = 3  # pictures with an object of a class, of the rare ones, that an interval can come from


def draws(count: int, groups: Sequence[str | None] | None, *, number: int = DRAWS) -> np.ndarray:
    """Return how often each picture is drawn, `[number, N]`, a group together; the same every time."""
    _, unit = np.unique(keys(count, groups), return_inverse=True)
    units = int(unit.max()) + 1
    drawn = np.random.default_rng(_SEED).multinomial(units, np.full(units, 1 / units), size=number)
    return drawn[:, unit]


def average_precisions(matches: Matches, times: np.ndarray) -> np.ndarray:
    """Return the average precision of each class at each least overlap where pictures count `times`, `[R, 10, K]`.

    `times`: `[R, N]`. It is NaN of a class that no object of the set has. A picture that counts twice is as good as two
    alike pictures: all objects of one score come at once, and the curve between them is read nowhere.
    """
    found = np.full((len(times), len(LEAST_OVERLAPS), matches.objects.shape[1]), np.nan)
    for label in range(found.shape[2]):
        own = matches.of(label)
        at_once = max(1, _AT_ONCE // max(1, len(own)))
        for start in range(0, len(times), at_once):
            rows = slice(start, start + at_once)
            found[rows, :, label] = _of_class(matches, own, label, times[rows])
    return found


def _of_class(matches: Matches, own: np.ndarray, label: int, times: np.ndarray) -> np.ndarray:
    objects = times @ matches.objects[:, label]
    drawn = times[:, matches.pictures[own]]
    all_seen = drawn.cumsum(axis=1)
    found = np.full((len(times), len(LEAST_OVERLAPS)), np.nan)
    for place in range(len(LEAST_OVERLAPS)):
        right, ignored = matches.right[place, own], matches.ignored[place, own]
        hits = np.flatnonzero(right)
        seen = all_seen[:, hits]
        if ignored.any():
            seen = seen - (drawn * ignored).cumsum(axis=1)[:, hits]
        found[:, place] = _area(drawn[:, hits].cumsum(axis=1), seen, objects)
    found[objects == 0] = np.nan
    return found


def _area(hits: np.ndarray, seen: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Return the mean of 101 precisions: at each recall the best one from there on, 0 where none gets there.

    `hits`, `seen`: `[R, H]`, right and all found objects up to each right one; `objects`: `[R]`.
    """
    precision = hits / (seen + _TINY)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = _recalls_within(hits / np.maximum(1, objects)[:, None])
    return np.asarray((best * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(_RECALLS))


def _recalls_within(recall: np.ndarray) -> np.ndarray:
    """Return how many of the 101 recalls are no larger than each."""
    near = np.rint(recall * 100).astype(np.int64)
    return near + (_RECALLS[near] <= recall)


def means(precisions: np.ndarray) -> np.ndarray:
    """Return the mean over classes with objects, `[R]`, of `[R, K]`; NaN without any."""
    counted = np.isfinite(precisions)
    sums = np.where(counted, precisions, 0).sum(axis=1)
    return np.divide(sums, counted.sum(axis=1), out=np.full(len(precisions), np.nan), where=counted.any(axis=1))


def interval_of(
    drawn: np.ndarray, found: float, matches: Matches, groups: Sequence[str | None] | None
) -> Interval | None:
    """Return the 95 % interval of a mean average precision `found` from `drawn` ones, None where that cannot be told.

    Precision is read as the best from a recall on, which is too good on few pictures, and too good again on draws from
    them: the draws are put back by twice what they are above. Student's t is of as many pictures as the rare classes
    allow (`of_the_rare`), and the bounds are the wider of those on the plain scale and on that of log-odds. Where
    nothing is out of order it is Clopper and Pearson's of the pictures. Held in 89 to 98 of 100 simulated sets of 20
    and 72 pictures, 1 to 12 classes (`benchmarks/detection_coverage.py`).
    """
    drawn = drawn[np.isfinite(drawn)]
    told = of_the_rare(matches, groups)
    if told < FEWEST or not len(drawn):
        return None
    if found == 1:
        return Interval(clopper_pearson(told, told)[0], 1.0)
    wide, middle = errors_of(told), found - 2 * (drawn.mean() - found)
    odds = _log_odds(np.array(middle), told) + np.array([-wide, wide]) * _log_odds(drawn, told).std()
    low, high = 1 / (1 + np.exp(-odds))
    spread = wide * float(drawn.std())
    low, high = min(low, middle - spread, found), max(high, middle + spread, found)
    return Interval(max(0.0, float(low)), min(1.0, float(high)))


def errors_of(told: float) -> float:
    """Return how many standard deviations of draws hold 95 % where so many pictures tell it.

    It is Student's t, and draws from n differ by a share of (n - 1) / n of the variance only.
    """
    return student(told - 1) * math.sqrt(told / (told - 1))


def of_the_rare(matches: Matches, groups: Sequence[str | None] | None) -> float:
    """Return the harmonic mean over classes of how many pictures, or groups, have an object of it; 0 without any."""
    pictures = (summed((matches.objects > 0).astype(np.float64), groups) > 0).sum(axis=0)
    pictures = pictures[pictures > 0]
    return len(pictures) / float((1 / pictures).sum()) if len(pictures) else 0.0


def _log_odds(shares: np.ndarray, told: float) -> np.ndarray:
    """Return log-odds of shares, none nearer to 0 or 1 than so many pictures can tell from it."""
    inside = np.clip(shares, 1 / (4 * told), 1 - 1 / (4 * told))
    return np.asarray(np.log(inside / (1 - inside)))
