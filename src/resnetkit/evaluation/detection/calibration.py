"""How probable it is that a box is right: fitted on held-out pictures, and how far it is from the share that is right.

Over all boxes that were found there, whatever their score: those told and the unsure ones that carry tracks on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from resnetkit.evaluation.calibration import errors_by_chance, folds, reliability
from resnetkit.evaluation.detection.matching import Matches
from resnetkit.models.detection.platt import Platt, logits
from resnetkit.words import percent

# What the boxes of held-out pictures must be to fix two numbers. Of `bccd`, pictures drawn anew (docs/evaluation.md):
# from about 100 boxes on probabilities are nearer the truth than scores in 19 of 20 draws. Ten of the rarer outcome for
# each number that is fitted: Peduzzi et al. 1996.
FEWEST_BOXES, FEWEST_OF_EACH = 100, 20
ENOUGH = f"{FEWEST_BOXES} boxes, {FEWEST_OF_EACH} right and {FEWEST_OF_EACH} wrong ones"
_HELD = 4.0  # one over the variance of slope and offset around 1 and 0: what few boxes say is mistrusted

By = Literal["others", "crossfit", "these"]


def fit_platt(matches: Matches) -> Platt | None:
    """Return from what score a box is how probably right, None where the boxes are too few to tell (`ENOUGH`).

    What lies in a crowd does not count.
    """
    counts = ~matches.ignored[0]
    return fit(matches.scores[counts], matches.right[0, counts].astype(np.float64))


def fit(scores: np.ndarray, right: np.ndarray) -> Platt | None:
    """Return from what score on `[D]` things, each so far `right` (0 to 1), are how probably right.

    By the largest posterior of slope and offset, which are normal around those of the score itself.
    """
    hits = round(float(right.sum()))
    if len(right) < FEWEST_BOXES or min(hits, len(right) - hits) < FEWEST_OF_EACH:
        return None
    from scipy.optimize import minimize

    told = np.stack([logits(scores), np.ones(len(scores))], axis=1)
    own = np.array([1.0, 0.0])

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        found = told @ line
        away = line - own
        value = np.logaddexp(0, found).sum() - right @ found + _HELD / 2 * (away @ away)
        return float(value), told.T @ (1 / (1 + np.exp(-found)) - right) + _HELD * away

    slope, offset = minimize(loss, own, jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]).x.tolist()
    return Platt(slope=round(slope, 6), offset=round(offset, 6), boxes=len(right), right=hits)


def cross_fitted_probabilities(matches: Matches, groups: Sequence[str | None] | None) -> np.ndarray | None:
    """Return of each found box, `[D]`, the probability that the other pictures fit, None where they are too few.

    Groups stay together, as in `least_scores.cross_fitted`.
    """
    found = matches.scores.astype(np.float64)
    fold = folds(len(matches.objects), groups)
    for number in np.unique(fold):
        platt, own = fit_platt(matches.only(fold != number)), fold[matches.pictures] == number
        if platt is None:
            return None
        found[own] = platt.of(matches.scores[own])
    return found


def calibration_of(
    matches: Matches, said: np.ndarray, platt: Platt | None, *, groups: Sequence[str | None] | None, by: By
) -> dict[str, Any] | None:
    """Return how far the probabilities of the boxes that are `said`, `[D]` bool, are from the share that is right.

    `before` is of their scores, `after` of their probabilities, None where there are none: `ece`, the expected
    calibration error, `brier`, the mean squared distance from 1 of right boxes and from 0 of others, and the bins of
    `ece`. `constant_brier` is that of a constant, the share that is right; `ece_by_chance` what probabilities that hold
    would get in the middle. `by`: what fitted `platt`, `others` or `these` pictures; `crossfit`: these, and each fifth
    is judged by what the others fit, if these are enough. None where nothing is said.
    """
    if not said.any():
        return None
    right, scores = matches.right[0, said], matches.scores[said].astype(np.float64)
    share, after = float(right.mean()), None if platt is None else platt.of(scores)
    if platt is not None and by == "crossfit":
        by_others = cross_fitted_probabilities(matches, groups)
        by, after = ("these", after) if by_others is None else (by, by_others[said])
    return {
        "boxes": len(right), "right": int(right.sum()), "by": None if platt is None else by,
        "before": _away(scores, right), "after": None if after is None else _away(after, right),
        "constant_brier": share * (1 - share),
        "ece_by_chance": float(np.median(errors_by_chance((scores if after is None else after)[:, None]))),
    }  # fmt: skip


def _away(probabilities: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    # As answers of one class each, the class 0, which is the true one of a right box.
    told = reliability(probabilities[:, None], np.where(right, 0, 1))
    mean = float(probabilities.mean())
    return {"mean": mean, "brier": float(((probabilities - right) ** 2).mean()), **told}


def line_of(found: Mapping[str, Any] | None) -> list[str]:
    """Return what `calibration_of` found in a line."""
    if found is None:
        return []
    before, after = found["before"], found["after"]
    on = f"of the {found['boxes']:,} boxes that are said"
    right = percent(found["right"] / found["boxes"])
    if after is None:
        return [
            f"Scores are no probabilities: their mean is {percent(before['mean'])}, and {right} {on} are right. "
            f"Held-out pictures make some of them (--calibrated FILE): {ENOUGH} at least."
        ]
    own = "; these very pictures fitted them: that is too good" if found["by"] == "these" else ""
    return [
        f"The probabilities {on} are {100 * after['ece']:.1f} points from the share that is right, {right}, their "
        f"scores {100 * before['ece']:.1f}; chance would get {100 * found['ece_by_chance']:.1f}{own}."
    ]
