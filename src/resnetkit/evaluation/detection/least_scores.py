"""From which score on a found object is said: fitted on held-out pictures, for F1, a precision or a recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from resnetkit.evaluation.calibration import folds
from resnetkit.evaluation.detection.matching import Matches
from resnetkit.evaluation.uncertainty import keys, worth
from resnetkit.models.goals import goal_of

# `class`: each class its own; `all`: one for all of them
Shared = Literal["class", "all"]

_HALF = 0.5
_FEWEST = 5  # objects that say where their F1 is largest; classes of fewer share a score
# A precision or recall that was asked for is one that held-out pictures promise with this much confidence: the one that
# they show would be too good, as it was chosen by them.
_CONFIDENCE = 0.84


def fit_least_scores(
    matches: Matches, *, goal: str = "f1", shared: Shared = "class", groups: Sequence[str | None] | None = None
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return from which score on each class is said for a goal, `[K]`, and the classes that cannot be brought there.

    `goal`: `f1`, `precision 0.9`, `recall 0.95`, where an object is found by half of it at least. For a precision it is
    the lowest, for a recall the highest score from which on a one-sided 84 % bound of it (Clopper and Pearson) holds,
    of as many objects as tell what these do, since those of one picture resemble each other, and those of a group. What
    cannot be brought there is said from the score that comes nearest. For F1 classes of 1 to 4 objects share a score, a
    half where they have fewer than 5 together. A class without objects is said from a half on. Raises `UsageError` for
    an unknown goal.
    """
    name, wanted = goal_of(goal)
    everything = np.arange(matches.objects.shape[1])
    if shared == "all":
        at_all, is_met = _Answers.of(matches, everything, groups).least_score(name, wanted)
        return np.full(len(everything), at_all), () if is_met else tuple(everything.tolist())
    objects = matches.objects.sum(axis=0)
    few = (name == "f1") & (objects > 0) & (objects < _FEWEST)
    at_few, _ = _Answers.of(matches, everything[few], groups).least_score(name, wanted)
    found = [_Answers.of(matches, np.array([k]), groups).least_score(name, wanted) for k in everything]
    at = np.where(few, at_few, [score for score, _ in found])
    return at, tuple(k for k, (_, is_met) in enumerate(found) if not is_met)


def cross_fitted(
    matches: Matches, groups: Sequence[str | None] | None, *, goal: str, shared: Shared = "class"
) -> np.ndarray:
    """Return from which score on each picture's objects are said, `[N, K]`: of each what the other pictures fit."""
    at = np.full(matches.objects.shape, _HALF)
    fold = folds(len(at), groups)
    for number in np.unique(fold):
        others = fold != number
        if others.any():
            at[~others] = fit_least_scores(matches.only(others), goal=goal, shared=shared, groups=groups)[0]
    return at


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answers:
    """The found objects of some classes, the surest first, `[D]`, and how many objects each picture has, `[N]`."""

    scores: np.ndarray
    right: np.ndarray
    pictures: np.ndarray
    objects: np.ndarray
    units: list[str]  # of each picture, by what it is drawn

    @classmethod
    def of(cls, matches: Matches, labels: np.ndarray, groups: Sequence[str | None] | None) -> _Answers:
        own = np.isin(matches.labels, labels) & ~matches.ignored[0]
        objects = matches.objects[:, labels].sum(axis=1)
        return cls(
            scores=matches.scores[own], right=matches.right[0, own], pictures=matches.pictures[own], objects=objects,
            units=keys(len(objects), groups),
        )  # fmt: skip

    def least_score(self, name: str, wanted: float) -> tuple[float, bool]:
        """Return from which score on they are said, and whether the goal is reached there."""
        positives = int(self.objects.sum())
        if positives < (_FEWEST if name == "f1" else 1) or not len(self.scores):
            return _HALF, name == "f1" and positives > 0
        last = np.flatnonzero(np.append(np.diff(self.scores) != 0, True))  # of those that are equally sure
        hits, said, low = self.right.cumsum()[last], last + 1, self.scores[last]
        between = (low + np.append(self.scores[last[:-1] + 1], 0.0)) / 2  # halfway to the next
        if name == "f1":
            return float(between[np.argmax(2 * hits / (said + positives))]), True
        of = said if name == "precision" else np.full(len(hits), positives)
        reached = _least(hits, of, told=self._told(hits / of, said, name, wanted))
        good = np.flatnonzero(reached >= wanted)
        if len(good):
            return float(between[good[-1 if name == "precision" else 0]]), True
        # the surest of all for a precision; for a recall where all that can be are found, and no further
        return float(low[np.argmax(reached)] if name == "precision" else between[np.argmax(hits)]), False

    def _told(self, shares: np.ndarray, said: np.ndarray, name: str, wanted: float) -> float:
        """Return what share of single objects tells as much as these do, where the goal is just reached."""
        good = np.flatnonzero(shares >= wanted)
        place = int(np.argmax(shares)) if not len(good) else good[-1 if name == "precision" else 0]
        count, first = len(self.objects), slice(int(said[place]))
        hits = np.bincount(self.pictures[first], self.right[first], minlength=count).astype(np.int64)
        of = np.bincount(self.pictures[first], minlength=count) if name == "precision" else self.objects
        correct = np.repeat(np.tile([True, False], count), np.stack([hits, of - hits], axis=1).ravel())
        return worth(correct, np.repeat(self.units, of).tolist()) / len(correct)


def _least(hits: np.ndarray, of: np.ndarray, *, told: float) -> np.ndarray:
    """Return the one-sided bound of the shares `hits / of`, which tell as much as `told` of them."""
    from scipy.special import betaincinv

    hits, of = hits * told, of * told
    return np.where(hits > 0, betaincinv(np.maximum(hits, 1e-9), of - hits + 1, 1 - _CONFIDENCE), 0.0)
