"""How well classes are told from a few numbers for each picture, and how well they would be if there were nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from resnetkit.evaluation.areas import areas, under_roc
from resnetkit.evaluation.uncertainty import Interval, area_interval, variance_of
from resnetkit.training.steps.linear import FOLDS, Scaling, folds

_SHUFFLES, _FEWEST, _SEED = 199, 39, 0
_CELLS = 2**23  # of the scores of all shuffled labels: of many classes there are fewer
_ENOUGH = 30  # of them, to say how much an area varies
_PENALTY = 0.03  # of a ridge regression, in mean squares of a picture's numbers; hardly matters from 0.01 to 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """The area under the ROC, mean over classes against the rest, of a linear probe on pictures it was not fitted to.

    `low` and `high`: its 95 % interval; `by_chance`: below which 97.5 % of probes of labels lie that were shuffled,
    and `p_value` the share of those that reach the area. `scores`: `[N, K]`, of classes in order.
    """

    area: float
    low: float
    high: float
    by_chance: float
    p_value: float
    scores: np.ndarray = field(repr=False)


def probe(numbers: np.ndarray, targets: np.ndarray, groups: Sequence[str]) -> Probe:
    """Return what a ridge regression of the classes on `numbers`, `[N, d]`, tells of pictures outside of its fold.

    `targets`: `[N]`, classes from 0 on; `groups`: `[N]`, alike for pictures that stay together, in folds and where
    labels are shuffled: each group then has the labels of another. An area has the interval of `area_interval`, wider
    by as much as those of shuffled labels vary more than that says, for pictures teach the probes that answer for each
    other.
    """
    shuffled = _shuffled(targets, groups)
    labels = np.stack([targets, *shuffled])
    scores = _out_of_fold(numbers, labels, targets, groups)
    reached = np.array([_area(own, told) for own, told in zip(scores[1:], shuffled, strict=True)])
    found = areas(under_roc, scores[0], targets)
    area = float(np.mean(found.known))
    low, high = _widened(area, area_interval(found, targets, groups), _times(scores[1:], shuffled, reached, groups))
    return Probe(
        area=area, low=low, high=high, by_chance=float(np.quantile(reached, 0.975)),
        p_value=(1 + int((reached >= area).sum())) / (1 + len(reached)), scores=scores[0],
    )  # fmt: skip


def _area(scores: np.ndarray, targets: np.ndarray) -> float:
    """Return the area, mean over classes, of `[N, K]` scores, by their ranks: all that is asked of shuffled labels."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)
    of_class = np.eye(scores.shape[1], dtype=bool)[targets]
    counts = of_class.sum(axis=0)
    there = (counts > 0) & (counts < len(targets))
    sums, counts = (ranks * of_class).sum(axis=0)[there], counts[there]
    return float(((sums - counts * (counts + 1) / 2) / (counts * (len(targets) - counts))).mean())


def _out_of_fold(numbers: np.ndarray, labels: np.ndarray, targets: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Return `[L, N, K]` scores of `[L, N]` labels, each by a regression on the folds without the picture."""
    classes = int(targets.max()) + 1
    told = np.eye(classes)[labels]  # L, N, K
    scores = np.zeros_like(told)
    for fitted, held_out in folds(FOLDS, targets, groups):
        scaled = Scaling.of(numbers[fitted])
        own, others = scaled.transform(numbers[fitted]), scaled.transform(numbers[held_out])
        penalty = _PENALTY * numbers.shape[1] * len(fitted) ** 0.5
        mean = told[:, fitted].mean(axis=1, keepdims=True)
        sides = (told[:, fitted] - mean).transpose(1, 0, 2).reshape(len(fitted), -1)
        if len(fitted) < numbers.shape[1]:
            found = others @ own.T @ np.linalg.solve(own @ own.T + penalty * np.eye(len(fitted)), sides)
        else:
            found = others @ np.linalg.solve(own.T @ own + penalty * np.eye(numbers.shape[1]), own.T @ sides)
        scores[:, held_out] = found.reshape(len(held_out), len(labels), classes).transpose(1, 0, 2) + mean
    return scores


def _shuffled(targets: np.ndarray, groups: Sequence[str]) -> list[np.ndarray]:
    """Return labels that tell nothing of the pictures; those of a group go together."""
    generator = np.random.default_rng(_SEED)
    unit, size = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    order, start = np.argsort(unit, kind="stable"), np.cumsum(size) - size
    place = np.empty(len(targets), int)  # of each picture in its group
    place[order] = np.arange(len(targets)) - start[unit[order]]
    count = min(_SHUFFLES, max(_FEWEST, _CELLS // (len(targets) * (int(targets.max()) + 1))))
    others = [generator.permutation(len(size))[unit] for _ in range(count)]
    return [targets[order[start[other] + place % size[other]]] for other in others]


def _times(scores: np.ndarray, shuffled: Sequence[np.ndarray], reached: np.ndarray, groups: Sequence[str]) -> float:
    """Return how many times as much areas of shuffled labels vary as single independent answers would, 1 at least."""
    told = [
        variance_of(areas(under_roc, own, labels).influence, labels, groups)[0]
        for own, labels in zip(scores[:_ENOUGH], shuffled[:_ENOUGH], strict=True)
    ]
    return max(1.0, float(reached.std() / np.sqrt(np.mean(told))))


def _widened(area: float, interval: Interval, times: float) -> tuple[float, float]:
    """Return the bounds of an interval that is so many times as wide on the log-odds."""
    from scipy.special import expit, logit

    if not 0 < area < 1:
        return interval.low, interval.high
    away = [times * (logit(bound) - logit(area)) for bound in (interval.low, interval.high)]
    return float(expit(logit(area) + away[0])), float(expit(logit(area) + away[1]))
