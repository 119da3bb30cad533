"""How far a figure may be from the one of many more pictures: the bootstrap, by group where pictures come in groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.evaluation.areas import Areas
from resnetkit.evaluation.metrics import clopper_pearson

# [..., m] sums over pictures, one column per thing that is counted -> the figure [...]
Figure = Callable[[np.ndarray], np.ndarray]
DRAWS = 1000
_SEED = 0
_AT_ONCE = 2**24  # cells of the matrix of how often each picture was drawn
_ENOUGH_TO_DRAW = 30  # pictures or groups
_NOTHING = 1e-20  # a variance that is rounding
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


def bootstrap(
    counted: np.ndarray, figure: Figure, *, groups: Sequence[str | None] | None = None, least: float = -math.inf
) -> Interval | None:
    """Return the bias-corrected and accelerated bootstrap interval of a figure (BCa; Efron 1987).

    `counted`: float `[N, m]`, what each picture adds to the sums that `figure` is made of, so that a draw is one row of
    a matrix product; `least` is the least the figure can be. With `groups` whole groups are drawn, since pictures of
    one patient are no news of each other; pictures without a group are one each. Fewer than 30 to draw from say too
    little of the tails: then it is the jackknife's, with Student's t. None of a single one, which says nothing of how
    much they differ. The draws are the same every time.
    """
    from scipy.special import ndtr, ndtri

    units = summed(np.asarray(counted, np.float64), groups)
    if len(units) < 2:
        return None
    value, without = float(figure(units.sum(axis=0))), figure(units.sum(axis=0) - units)
    away = without.mean() - without
    if len(units) < _ENOUGH_TO_DRAW:
        error = student(len(units) - 1) * math.sqrt((len(units) - 1) / len(units) * float((away**2).sum()))
        return Interval(max(least, value - error), value + error)
    draws = np.sort(_drawn(units, figure))
    if draws[0] == draws[-1]:
        return Interval(value, value)
    below = (np.searchsorted(draws, value, "left") + np.searchsorted(draws, value, "right")) / (2 * len(draws))
    bias = ndtri(min(max(below, 1 / len(draws)), 1 - 1 / len(draws)))
    scale = float((away**2).sum()) ** 1.5
    acceleration = float((away**3).sum()) / (6 * scale) if scale > 0 else 0.0
    low, high = (ndtr(bias + (bias + z) / (1 - acceleration * (bias + z))) for z in (-_Z, _Z))
    return Interval(*(float(bound) for bound in np.quantile(draws, [low, high])))


def distance_interval(
    counted: np.ndarray, figure: Figure, at_nothing: np.ndarray, groups: Sequence[str | None] | None = None
) -> Interval | None:
    """Return the interval of a distance, which chance makes larger than it is; None of a single picture or group.

    `at_nothing`: what chance alone makes of it where it is nothing (draws). Where it is no larger than they are the
    interval begins at 0, else where the bootstrap, reflected, says (Davison and Hinkley 1997, section 5.2.1); it ends
    at the bootstrap's own bound, which is cautious.
    """
    units = summed(np.asarray(counted, np.float64), groups)
    if len(units) < 2:
        return None
    value, high = float(figure(units.sum(axis=0))), float(np.quantile(_drawn(units, figure), 0.975))
    nothing = value <= float(np.quantile(at_nothing, 0.975))
    return Interval(0.0 if nothing else max(0.0, 2 * value - high), max(value, high))


def accuracy_interval(correct: np.ndarray, groups: Sequence[str | None] | None = None) -> Interval:
    """Return Clopper and Pearson's interval of the share of `correct` ([N] bool), which nothing chose.

    Where pictures come in groups it is that of as many single ones as tell as much (Korn and Graubard 1998).
    """
    told = worth(correct, groups)
    return Interval(*clopper_pearson(correct.mean() * told, told))


def folds_interval(correct: np.ndarray, groups: Sequence[str | None] | None = None) -> Interval:
    """Return the interval of the share of `correct` ([N] bool) where each picture was named by folds that had the rest.

    Two pictures teach the networks that name each other: what makes one right makes the other right, so that on pure
    noise the pooled share varies 1 + 2 / pi times as much as that of single pictures. With a margin that is normal, and
    all of whose variance comes from such pairs, it is 1 + density(margin)^2 / (p (1 - p)) at a share p, which is the
    most there can be; the pictures count as so many fewer (`benchmarks/folds_coverage.py`).
    """
    from scipy.special import ndtri

    share = float(correct.mean())
    told = worth(correct, groups)
    if 0 < share < 1:
        density = math.exp(-(float(ndtri(share)) ** 2) / 2) / math.sqrt(2 * math.pi)
        told /= 1 + density**2 / (share * (1 - share))
    return Interval(*clopper_pearson(share * told, told))


def balanced_interval(correct: np.ndarray, targets: np.ndarray, groups: Sequence[str | None] | None = None) -> Interval:
    """Return the interval of the mean over classes of the share of `correct` ([N] bool); `targets`: [N] classes.

    It is Clopper and Pearson's for as many pictures as make a single share vary as much as the mean of these does. A
    class whose pictures were all found is not beyond doubt: shares are drawn towards their mean by four pictures, as
    Agresti and Coull (1998) do towards a half, and taken as all alike where that doubts more. Neither drawing pictures
    anew nor adding up the classes' own intervals (MOVER) holds: 74 and 88 % of those at n = 150 and 99 %.
    """
    counts, own = _by_class(targets)
    shares = np.bincount(own, correct) / counts
    mean, alike = float(shares.mean()), float((1 / counts).sum())
    drawn = (shares * counts + 4 * mean) / (counts + 4)
    spread = max(float((drawn * (1 - drawn) / counts).sum()), mean * (1 - mean) * alike)
    told = len(counts) ** 2 * (mean * (1 - mean) / spread if spread > 0 else 1 / alike)
    sums = summed(((correct - shares[own]) / counts[own])[:, None], groups)[:, 0]
    if len(sums) == len(correct):
        return Interval(*clopper_pearson(mean * told, told))
    alone = float((shares * (1 - shares) / counts).sum())
    if alone > 0:
        told /= max(1.0, float((sums**2).sum()) * len(sums) / max(1, len(sums) - 1) / alone)
    else:
        members = _units_by_class(targets, groups)
        told = min(len(sums), len(counts) ** 2 / float((1 / members).sum()))
    told *= _of_few(len(sums))
    return Interval(*clopper_pearson(mean * told, told))


def area_interval(found: Areas, targets: np.ndarray, groups: Sequence[str | None] | None = None) -> Interval:
    """Return the interval of the mean over classes of areas under curves, which `found` must have, `targets` given.

    Its variance is `variance_of`, after DeLong, and it is even on the scale of log-odds, since areas end at 1 (Pepe
    2003, 5.2.3). Where nothing was out of order, or a class has but one picture or group, there is no variance: then it
    is Clopper and Pearson's of as many pictures as the small classes allow. `benchmarks/intervals_of_areas.py` measures
    what it holds.
    """
    from scipy.special import expit, logit

    area, members = float(np.mean(found.known)), _units_by_class(targets, groups)
    if members.min() >= 2 and 0 < area < 1:
        variance, freedom = variance_of(found.influence, targets, groups)
        if variance > _NOTHING:
            away = student(freedom) * math.sqrt(variance) / (area * (1 - area))
            return Interval(float(expit(logit(area) - away)), float(expit(logit(area) + away)))
    told = min(members.sum(), (len(members) - 1) * len(members) / float((1 / members).sum()))
    return Interval(*clopper_pearson(area * told, told))


def variance_of(
    influence: np.ndarray, targets: np.ndarray, groups: Sequence[str | None] | None = None
) -> tuple[float, float]:
    """Return the variance of a figure from its pictures' influences ([N]), and how many degrees of freedom it has.

    `targets`: `[N]` classes, each with pictures in at least two groups. Influences are summed within a group and a
    class, classes have their own variance, and what a group does to several adds what these share (Obuchowski 1997);
    for single pictures that is DeLong's. Their degrees of freedom are Satterthwaite's (1946) over the classes. Of
    groups they are the fewest of a class, and large groups count for more: as many as equal groups would have, their
    pictures as alike as they show and a standard error more (after Imbens and Kolesar 2016). With those of the number
    of groups an area of .95 from 20 to 50 patients of 1 to 20 pictures, much alike, is held in 87 to 92 % of draws.
    """
    counts, own = _by_class(targets)
    unit = units_of(len(targets), groups)
    _, first, cell = np.unique(unit * len(counts) + own, return_index=True, return_inverse=True)
    sums, size, of = np.bincount(cell, influence), np.bincount(cell).astype(np.float64), own[first]
    members = np.bincount(of)
    means = np.bincount(of, sums) / members
    within = np.bincount(of, (sums - means[of]) ** 2) * members / np.maximum(1, members - 1)
    parts = (within + members * means**2) / len(targets) ** 2
    alone, num_units = float(parts.sum()), int(unit.max()) + 1
    if num_units == len(targets):
        doubt = float((parts**2 / np.maximum(1, members - 1)).sum())
        return alone, alone**2 / doubt if doubt > 0 else 1.0
    shared = float((np.bincount(unit, influence) ** 2).sum() - (sums**2).sum()) / len(targets) ** 2
    seen = np.bincount(of, sums**2) / np.maximum(_NOTHING, np.bincount(own, influence**2))
    alike = _alike(seen * (1 + np.sqrt(2 / members)), np.bincount(of, size), np.bincount(of, size**2))[of]
    weight = size * (1 - alike) + size**2 * alike
    equal = np.bincount(of, weight) ** 2 / np.bincount(of, weight**2)
    return alone + shared * num_units / max(1, num_units - 1), float(equal.min()) - 1


def _alike(times: np.ndarray, pictures: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return how far pictures of a group are alike, 0 to 1, where sums vary so many `times` as those of single ones do.

    `pictures`: their number; `squares`: the sum over groups of its square (Kish 1965).
    """
    return np.clip((times - 1) / np.maximum(_NOTHING, squares / pictures - 1), 0, 1)


def worth(correct: np.ndarray, groups: Sequence[str | None] | None = None) -> float:
    """Return how many single pictures tell as much of the share of `correct` as these do.

    Pictures of one group resemble each other: the variance of the mean over groups is `deff` times that of as many
    single pictures, and N / deff of these would tell as much (Kish 1965). Few groups say little of how much they
    differ, which counts as fewer pictures still. Where every answer is alike, or there is but one group, the groups
    count, not their pictures.
    """
    count, share = len(correct), float(correct.mean())
    sums = summed(np.stack([correct, np.ones(count)], axis=1).astype(np.float64), groups)
    if len(sums) == count:
        return count
    alone = share * (1 - share) / count
    if alone == 0 or len(sums) == 1:
        return len(sums)
    together = ((sums[:, 0] - share * sums[:, 1]) ** 2).sum() / count**2 * len(sums) / (len(sums) - 1)
    return count / max(1.0, float(together) / alone) * _of_few(len(sums))


def _of_few(units: int) -> float:
    """Return the share of pictures that is left where their variance comes from so few groups (Student's t)."""
    return (_Z / student(units - 1)) ** 2


def _by_class(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many pictures each class has that has some, and the number of its class for each picture."""
    _, own, counts = np.unique(targets, return_inverse=True, return_counts=True)
    return counts.astype(np.float64), own


def _units_by_class(targets: np.ndarray, groups: Sequence[str | None] | None) -> np.ndarray:
    """Return how many groups, or pictures in none, each class has that has some."""
    if groups is None:
        return _by_class(targets)[0]
    pairs = set(zip(targets.tolist(), keys(len(targets), groups), strict=True))
    return np.unique([target for target, _ in pairs], return_counts=True)[1].astype(np.float64)


def keys(count: int, groups: Sequence[str | None] | None) -> list[str]:
    """Return a name for what each picture is drawn with."""
    if groups is None:
        return [f"picture {i}" for i in range(count)]
    return [f"picture {i}" if group is None else f"group {group}" for i, group in enumerate(groups)]


def groups_where(chosen: np.ndarray, groups: Sequence[str | None] | None) -> list[str | None] | None:
    """Return the groups of the pictures that are `chosen` ([N] bool), None where there are none at all."""
    return None if groups is None else [groups[i] for i in np.flatnonzero(chosen).tolist()]


def units_of(count: int, groups: Sequence[str | None] | None) -> np.ndarray:
    """Return the number of the unit that each picture is drawn with, `[N]` from 0 on."""
    return np.arange(count) if groups is None else np.unique(keys(count, groups), return_inverse=True)[1]


def summed(counted: np.ndarray, groups: Sequence[str | None] | None) -> np.ndarray:
    """Return what each unit that is drawn adds: a group, or a picture that is in none."""
    if groups is None:
        return counted
    _, first, unit = np.unique(keys(len(counted), groups), return_index=True, return_inverse=True)
    summed = np.zeros((len(first), counted.shape[1]))
    np.add.at(summed, unit, counted)
    return summed


def _drawn(units: np.ndarray, figure: Figure) -> np.ndarray:
    """Return the figure of `DRAWS` sets as large as the given one, drawn from it with repetition."""
    random, count = np.random.default_rng(_SEED), len(units)
    at_once = max(1, min(DRAWS, _AT_ONCE // count))
    figures = []
    for start in range(0, DRAWS, at_once):
        draws = random.integers(0, count, (min(at_once, DRAWS - start), count))
        times = [np.bincount(draw, minlength=count) for draw in draws]
        figures.append(figure(np.stack(times).astype(np.float64) @ units))
    return np.concatenate(figures)


def student(freedom: float) -> float:
    """Return how many standard errors hold 95 % where the error itself comes from so few."""
    from scipy.special import stdtrit

    return float(stdtrit(max(1, freedom), 0.975))
