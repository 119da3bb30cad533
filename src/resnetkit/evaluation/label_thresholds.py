"""From which probability on a label is said: fitted on held-out pictures, for F1, a precision or a recall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from resnetkit.evaluation.calibration import folds
from resnetkit.models.goals import goal_of
from resnetkit.models.thresholds import Thresholds

_FOLDS = 5
# Fewer pictures with a label do not say where its F1 is largest: such labels share a threshold. coco128, 20 held-out
# pictures, six such labels of seven: F1 of 45.6 % in the mean on 100 others, where from a half on it is 15.6 %.
_FEWEST = 5
# A precision or recall that was asked for is one that held-out pictures promise with this much confidence: the one that
# they show would be too good, as it was chosen by them.
_CONFIDENCE = 0.84


def fit_thresholds(
    probabilities: np.ndarray, targets: np.ndarray, *, classes: Sequence[str], goal: str = "f1",
    fitted_to: str | None = None,
) -> Thresholds:  # fmt: skip
    """Return the threshold of each label for a goal: `f1`, `precision 0.9`, `recall 0.9`.

    `probabilities`: `[N, K]` of held-out pictures; `targets`: `[N, K]` 1, 0 or NaN for what is not known. For a
    precision it is the lowest, for a recall the highest from which on a one-sided 84 % bound of it (Clopper and
    Pearson) holds. A label that cannot be brought there is said from the threshold that comes nearest, and named in
    `unmet`. For F1 labels of 1 to 4 pictures share a threshold, a half where they have fewer than 5 together. Raises
    `UsageError` for an unknown goal.
    """
    name, wanted = goal_of(goal)
    at, unmet = [], []
    positives = (targets == 1).sum(axis=0)
    few = (name == "f1") & (positives > 0) & (positives < _FEWEST)
    shared = np.isfinite(targets) & few
    at_few, _ = _threshold(probabilities[shared], targets[shared] == 1, name, wanted)
    for k, label in enumerate(classes):
        known = np.isfinite(targets[:, k])
        found, is_met = _threshold(probabilities[known, k], targets[known, k] == 1, name, wanted)
        at.append(at_few if few[k] else found)
        unmet += [] if is_met else [label]
    return Thresholds(
        at=tuple(at), goal=goal, unmet=tuple(unmet), fitted_on=len(targets), fitted_to=fitted_to
    )  # fmt: skip


def cross_fitted_answers(
    probabilities: np.ndarray, targets: np.ndarray, groups: Sequence[str | None] | None, goal: str
) -> np.ndarray:
    """Return which labels are said, `[N, K]` bool, each picture judged by thresholds that the others fit."""
    answers = np.zeros(probabilities.shape, bool)
    classes = [str(k) for k in range(probabilities.shape[1])]
    fold = folds(len(probabilities), groups)
    for number in np.unique(fold):
        own = fold == number
        if not (~own).any():
            return Thresholds().answers(probabilities)
        fitted = fit_thresholds(probabilities[~own], targets[~own], classes=classes, goal=goal)
        answers[own] = fitted.answers(probabilities[own])
    return answers


def _threshold(scores: np.ndarray, true: np.ndarray, name: str, wanted: float) -> tuple[float, bool]:
    """Return the threshold of a label, and whether the goal is reached there."""
    positives = int(true.sum())
    if positives < (_FEWEST if name == "f1" else 1) or len(scores) < 2:
        return 0.5, name == "f1" and positives > 0
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order].astype(np.float64), np.cumsum(true[order])
    last = np.append(np.diff(scores) != 0, True)
    said = np.arange(1, len(scores) + 1)[last]
    hits, low = hits[last], scores[last]
    below = np.append(scores[np.flatnonzero(last)[:-1] + 1], max(0.0, 2 * low[-1] - 1))
    between = (low + below) / 2  # halfway to the next picture's
    if name == "f1":
        return float(between[np.argmax(2 * hits / (said + positives))]), True
    if name == "precision":
        reached = _least(hits, said)
        good = np.flatnonzero(reached >= wanted)
        place = good[-1] if len(good) else int(np.argmax(reached))
        return float(low[place] if not len(good) else between[place]), bool(len(good))
    reached = _least(hits, np.full(len(hits), positives))
    good = np.flatnonzero(reached >= wanted)
    place = good[0] if len(good) else int(np.argmax(hits))  # where all that have it are found, and no further
    return float(between[place]), bool(len(good))


def _least(hits: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return the one-sided bound of the shares `hits / of`."""
    from scipy.special import betaincinv

    bound = betaincinv(np.maximum(hits, 1), of - hits + 1, 1 - _CONFIDENCE)
    return np.where(hits > 0, bound, 0.0)
