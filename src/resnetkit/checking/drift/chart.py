"""A control chart of features: does the moving mean of today's pictures leave what the reference's own pictures do?

Multivariate exponentially weighted moving average (Lowry et al., Technometrics 34, 1992) of whitened principal
components and of how much of a picture these do not show. Its limit is found by simulation: a good half of the
reference stands for it, the others are the stream, so that what a finite reference does not know is part of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from resnetkit.errors import DataError, UsageError

# How much a new picture weighs: 0.02 saw faint changes a little sooner and gross ones later, 0.05 the other way round
# (benchmarks/watching.py). The mean then remembers about 2 / 0.03 = 65 pictures.
WEIGHT = 0.03
# 32 components saw darker pictures in 24 where 16 took 39 and 8 none in 2,000; 60 were no better.
_MOST_COMPONENTS, _PICTURES_A_COMPONENT = 32, 16
# A picture pulls no more than one would that is so many standard deviations off in every direction: one odd picture is
# no alarm.
MOST_DEVIATIONS = 2.0
# Below that the limit is so wide that little but another kind of picture is seen.
LEAST_PICTURES, _LEAST_GROUPS = 100, 10
EVERY = (1_000, 100_000)
# Simulated: so many divisions, streams of each, pictures of a stream.
_DIVISIONS, _STREAMS, _LENGTH = 25, 40, 1_000
# The share of the reference that stands for it. With a half the limits are so wide that references of 500 pictures see
# half as much; with two thirds there were more false alarms than stated on traffic lights, 7,143 pictures apart.
_OURS = 0.55
# The means of such parts of N pictures differ by a variance of 4/N, those of a reference and a stream of N each by 2/N.
_OF_THE_DIFFERENCE = 1 - math.sqrt(2 / (1 / _OURS + 1 / (1 - _OURS)))
_REMEMBERED = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """What features are measured by: `mean` `[C]`, leading `axes` `[C, k]` divided by their standard deviations.

    `rest`: mean and standard deviation of the logarithm of what lies outside of them.
    """

    mean: np.ndarray = field(repr=False)
    axes: np.ndarray = field(repr=False)
    deviations: np.ndarray = field(repr=False)
    rest: tuple[float, float]

    @classmethod
    def of(cls, features: np.ndarray, components: int) -> Space:
        """Return the space of the reference's features `[N, C]`; raises `DataError` where all of them are one."""
        rooted = _rooted(features)
        mean = rooted.mean(axis=0)
        axes, variances = _leading(rooted - mean, components)
        if not variances[0] > 0:
            raise DataError("the pictures of the reference are all alike: give others with --reference DATA")
        deviations = np.sqrt(np.maximum(variances, 1e-6 * variances[0]))
        outside = _outside(rooted - mean, axes)
        rest = float(outside.mean()), float(max(outside.std(), 1e-6))
        return cls(mean=mean, axes=axes, deviations=deviations, rest=rest)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return `[N, k + 1]` of features `[N, C]`, in standard deviations of the reference."""
        off = _rooted(features) - self.mean
        beside = (_outside(off, self.axes) - self.rest[0]) / self.rest[1]
        scores = np.column_stack([off @ self.axes / self.deviations, beside])
        far = np.sqrt(np.square(scores).mean(axis=1, keepdims=True)) / MOST_DEVIATIONS
        return (scores / np.maximum(far, 1)).astype(np.float32)


def _rooted(features: np.ndarray) -> np.ndarray:
    """Return signed square roots: means of what a ReLU let through have long tails."""
    features = features.astype(np.float32)
    return np.sign(features) * np.sqrt(np.abs(features))


def _leading(off: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Return axes `[C, k]` and variances `[k]`, by iterating a subspace (Halko et al., SIAM Review 53, 2011)."""
    wide = min(components + 8, off.shape[1])
    basis = np.random.default_rng(0).standard_normal((off.shape[1], wide)).astype(np.float32)
    for _ in range(4):
        basis = np.linalg.qr(off.T @ (off @ basis))[0]
    inside = off @ basis
    values, vectors = np.linalg.eigh(inside.T @ inside / max(1, len(off) - 1))
    order = np.argsort(values)[::-1][:components]
    return (basis @ vectors[:, order]).astype(np.float32), values[order]


def _outside(off: np.ndarray, axes: np.ndarray) -> np.ndarray:
    energy = np.square(off).sum(axis=1)
    return np.log(np.maximum(energy - np.square(off @ axes).sum(axis=1), 1e-6 * energy + 1e-12))


def components_of(features: np.ndarray) -> int:
    """Return how many components features `[N, C]` are told by."""
    count, channels = features.shape
    return max(1, min(_MOST_COMPONENTS, count // _PICTURES_A_COMPONENT, channels // 2))


def limit(features: np.ndarray, groups: np.ndarray, *, every: int) -> float:
    """Return the limit that pictures like those of the reference pass once in `every` pictures, or less often.

    `features`: `[N, C]`; `groups`: `[N]`, alike for pictures that stay on one side. Pictures of the smaller side, drawn
    again and again, are the stream. Raises `UsageError` for an `every` that cannot be simulated,
    `DataError` for a reference that is too small.
    """
    check_every(every)
    distinct = np.unique(groups)
    if len(features) < LEAST_PICTURES or len(distinct) < _LEAST_GROUPS:
        raise DataError(
            f"a reference of {len(features)} pictures in {len(distinct)} groups is too small: {LEAST_PICTURES} in "
            f"{_LEAST_GROUPS} at least; give more with --reference DATA"
        )
    random = np.random.default_rng(0)
    pools = [_stream(features, groups, random.permutation(distinct)) for _ in range(_DIVISIONS)]
    highest = _highest(pools, random)
    return float(np.quantile(highest, math.exp(-_LENGTH / every)))


def check_every(every: int) -> None:
    """Raise `UsageError` for a rate of false alarms that the simulated pictures do not tell."""
    if not EVERY[0] <= every <= EVERY[1]:
        raise UsageError(f"--false-alarm-every {every}: must be {EVERY[0]:,} to {EVERY[1]:,} pictures")


def _stream(features: np.ndarray, groups: np.ndarray, shuffled: np.ndarray) -> np.ndarray:
    ours = np.isin(groups, shuffled[: round(_OURS * len(shuffled))])
    scores = Space.of(features[ours], components_of(features)).scores(features[~ours])
    return scores - np.float32(_OF_THE_DIFFERENCE) * scores.mean(axis=0)


def _highest(pools: Sequence[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """Return how high the chart gets in each of the streams that are drawn from pools, each `[M, k + 1]`."""
    rows = np.concatenate(pools)
    sizes = np.repeat([len(pool) for pool in pools], _STREAMS)
    starts = np.repeat(np.cumsum([0, *(len(pool) for pool in pools[:-1])]), _STREAMS)
    mean = np.zeros((len(sizes), rows.shape[1]), np.float32)
    highest = np.zeros(len(sizes), np.float32)
    for _ in range(_LENGTH):
        mean += np.float32(WEIGHT) * (rows[starts + (random.random(len(sizes)) * sizes).astype(np.int64)] - mean)
        np.maximum(highest, statistic(mean), out=highest)
    return highest


def statistic(mean: np.ndarray) -> np.ndarray:
    """Return how far moving means `[..., k + 1]` lie from the reference's: their length squared over its variance."""
    return np.square(mean).sum(axis=-1) * np.float32((2 - WEIGHT) / WEIGHT)


class Chart:
    """The moving mean of what was seen; `add` each picture, in constant memory.

    `level`: where it stands, above `limit` it is an alarm; `seen`: pictures since the start or the last `restart`;
    `memory`: room for the scores of the last ones. `known_from`: how many groups of pictures the reference has.
    """

    def __init__(self, limit: float, *, width: int, known_from: int) -> None:
        self.limit, self.seen, self.level, self._doubt = limit, 0, 0.0, 2 / known_from
        self._mean = np.zeros(width, np.float32)
        self.memory = np.zeros((_REMEMBERED, width), np.float32)

    def add(self, scores: np.ndarray) -> bool:
        """Take the scores `[k + 1]` of one picture; tells whether the chart stands above its limit."""
        self.memory[self.seen % _REMEMBERED] = scores
        self.seen += 1
        self._mean += np.float32(WEIGHT) * (scores - self._mean)
        self.level = float(statistic(self._mean))
        return self.level > self.limit

    def restart(self) -> None:
        """Begin anew, as if nothing had been seen."""
        self.seen, self.level = 0, 0.0
        self._mean[:] = 0

    def recent(self) -> np.ndarray:
        """Return the scores of the last pictures, oldest first, at most 2,000."""
        if self.seen <= _REMEMBERED:
            return self.memory[: self.seen]
        return np.roll(self.memory, -(self.seen % _REMEMBERED), axis=0)

    def changed(self) -> int:
        """Return how many of the last pictures differ: those whose mean is least like chance.

        That is the largest likelihood ratio, where the means of reference and stream are known as well as they are:
        without that a long stream that is a hair off from the start hides where it changed.
        """
        means = np.cumsum(self.recent()[::-1], axis=0) / np.arange(1, min(self.seen, _REMEMBERED) + 1)[:, None]
        variances = 1 / np.arange(1, len(means) + 1) + self._doubt
        return 1 + int(np.argmax(np.square(means).sum(axis=1) / variances))
