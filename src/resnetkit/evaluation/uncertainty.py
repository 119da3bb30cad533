"""How far a figure may be from the one of many more pictures: the bootstrap, by group where pictures come in groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.evaluation.areas import Areas
from resnetkit.evaluation.metrics import wilson

# [..., m] sums over pictures, one column per thing that is counted -> the figure [...]
Figure = Callable[[np.ndarray], np.ndarray]
DRAWS = 1000
_SEED = 0
_AT_ONCE = 2**24  # cells of the matrix of how often each picture was drawn
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


def bootstrap(counted: np.ndarray, figure: Figure, *, groups: Sequence[str | None] | None = None) -> Interval:
    """Return the bias-corrected and accelerated bootstrap interval of a figure (BCa; Efron 1987).

    `counted`: float `[N, m]`, what each picture adds to the sums that `figure` is made of, so that a draw is one row of
    a matrix product. With `groups` whole groups are drawn, since pictures of one patient are no news of each other;
    pictures without a group are one each. The draws are the same every time.
    """
    units = _summed(np.asarray(counted, np.float64), groups)
    value = float(figure(units.sum(axis=0)))
    draws = np.sort(_drawn(units, figure))
    if len(units) < 2 or draws[0] == draws[-1]:
        return Interval(value, value)
    below = (np.searchsorted(draws, value, "left") + np.searchsorted(draws, value, "right")) / (2 * len(draws))
    bias = _quantile(min(max(below, 1 / len(draws)), 1 - 1 / len(draws)))
    without = figure(units.sum(axis=0) - units)
    away = without.mean() - without
    scale = float((away**2).sum()) ** 1.5
    acceleration = float((away**3).sum()) / (6 * scale) if scale > 0 else 0.0
    low, high = (_share(bias + (bias + z) / (1 - acceleration * (bias + z))) for z in (-_Z, _Z))
    return Interval(*(float(bound) for bound in np.quantile(draws, [low, high])))


def accuracy_interval(correct: np.ndarray, groups: Sequence[str | None] | None = None) -> Interval:
    """Return Wilson's interval of the share of `correct` ([N] bool), of fewer pictures where they come in groups.

    Few groups say little of how much they differ, which Student's t allows for (Korn and Graubard 1998).
    """
    told, z = _told(correct, groups)
    return Interval(*wilson(correct.mean() * told, told, z=z))


def balanced_interval(correct: np.ndarray, targets: np.ndarray, groups: Sequence[str | None] | None = None) -> Interval:
    """Return the interval of the mean over classes of the share of `correct` ([N] bool); `targets`: [N] classes.

    It is Wilson's for as many pictures as make a single share vary as much as the mean of these does. A class whose
    pictures were all found is not beyond doubt: shares are drawn towards their mean by four pictures, as Agresti and
    Coull (1998) do towards a half, and taken as all alike where that doubts more. Neither drawing pictures anew nor
    adding up the classes' own intervals (MOVER) holds: 74 and 88 % of those at n = 150 and 99 %.
    """
    classes = [targets == index for index in np.unique(targets)]
    told, shares = np.empty(len(classes)), np.empty(len(classes))
    for number, inside in enumerate(classes):
        own = None if groups is None else [group for group, is_one in zip(groups, inside, strict=True) if is_one]
        told[number], shares[number] = _told(correct[inside], own)[0], correct[inside].mean()
    mean, alike = float(shares.mean()), float((1 / told).sum())
    drawn = (shares * told + 4 * mean) / (told + 4)
    spread = max(float((drawn * (1 - drawn) / told).sum()), mean * (1 - mean) * alike)
    count = len(classes) ** 2 * (mean * (1 - mean) / spread if spread > 0 else 1 / alike)
    return Interval(*wilson(mean * count, count, z=_told(correct, groups)[1]))


def area_interval(found: Areas, groups: Sequence[str | None] | None = None) -> Interval:
    """Return the interval of the mean over classes of areas under curves, which `found` must have.

    Its variance is that of the pictures' influences, after DeLong, and it is even on the scale of log-odds, since areas
    end at 1 (Pepe 2003, 5.2.3). Where nothing was out of order there is no variance: then it is Wilson's of as many
    pictures, all right, which is cautious.
    """
    from scipy.special import expit, logit

    area, classes = float(np.mean(found.known)), len(found.known)
    sums = _summed(found.influence[:, None], groups)[:, 0]
    freedom = max(1, len(sums) - classes)
    error = math.sqrt(float((sums**2).sum()) * len(sums) / freedom) / len(found.influence)
    if not 0 < area < 1 or error == 0:
        return Interval(*wilson(area * len(sums), len(sums)))
    odds, away = logit(area), _student(freedom) * error / (area * (1 - area))
    return Interval(float(expit(odds - away)), float(expit(odds + away)))


def _told(correct: np.ndarray, groups: Sequence[str | None] | None) -> tuple[float, float]:
    """Return how many single pictures tell as much as these, and how many standard errors hold 95 %.

    Pictures of one group resemble each other: the variance of the mean over groups is `deff` times that of as many
    single pictures, and N / deff of these would tell as much (Kish 1965). Where every answer is alike the groups
    count, not their pictures.
    """
    count, share = len(correct), float(correct.mean())
    sums = _summed(np.stack([correct, np.ones(count)], axis=1).astype(np.float64), groups)
    if len(sums) == count:
        return count, _Z
    alone = share * (1 - share) / count
    together = ((sums[:, 0] - share * sums[:, 1]) ** 2).sum() / count**2 * len(sums) / max(1, len(sums) - 1)
    told = min(count, count * alone / together) if together > 0 and alone > 0 else len(sums)
    return told, _student(len(sums) - 1)


def _summed(counted: np.ndarray, groups: Sequence[str | None] | None) -> np.ndarray:
    """Return what each unit that is drawn adds: a group, or a picture that is in none."""
    if groups is None:
        return counted
    keys = [f"picture {i}" if group is None else f"group {group}" for i, group in enumerate(groups)]
    _, first, unit = np.unique(keys, return_index=True, return_inverse=True)
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


def _student(freedom: int) -> float:
    """Return how many standard errors hold 95 % where the error itself comes from so few."""
    from scipy.stats import t

    return float(t.ppf(0.975, max(1, freedom)))


def _share(z: float) -> float:
    """Return the normal distribution's share below z."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _quantile(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)
