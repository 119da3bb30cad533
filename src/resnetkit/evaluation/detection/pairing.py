"""Whether one detector is better than another on the same pictures, or only luckier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from resnetkit.evaluation.detection.matching import Matches
from resnetkit.evaluation.detection.resampling import FEWEST, average_precisions, draws, means, of_the_rare
from resnetkit.evaluation.uncertainty import Interval, student

Figure = Literal["map", "map50", "f1"]
FIGURES: tuple[Figure, ...] = ("map", "map50", "f1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """How much better the second detector is: the difference of a figure, its 95 % interval and the p-value."""

    difference: float
    interval: Interval
    p_value: float


def paired_gaps(
    first: Matches, second: Matches, *, at: tuple[np.ndarray, np.ndarray], groups: Sequence[str | None] | None = None
) -> dict[Figure, Gap | None]:
    """Compare two detectors on the same pictures by mAP@.50:.95, mAP@.50 and the F1 at their working points.

    `at`: from which score on each says an object, `[K]`, or `[N, K]` of each picture. Both are counted anew on the same
    draws of pictures, or of groups: what is hard for both moves neither's lead. The interval and the p-value are of
    Student's t, with as many pictures as the rare classes allow (`of_the_rare`). A gap is None where a figure is, or
    where the rare classes have fewer than 3 pictures.
    """
    assert first.objects.shape == second.objects.shape, (first.objects.shape, second.objects.shape)
    times = np.concatenate([np.ones((1, len(first.objects)), np.int64), draws(len(first.objects), groups)])
    figures = [_figures(matches, least, times) for matches, least in zip((first, second), at, strict=True)]
    told = of_the_rare(first, groups)
    return {name: _gap(figures[1][name] - figures[0][name], told) for name in FIGURES}


def _figures(matches: Matches, at: np.ndarray, times: np.ndarray) -> dict[Figure, np.ndarray]:
    precisions = average_precisions(matches, times)
    said = matches.said(at)
    right, shown = matches.each(said & matches.right[0]).sum(axis=1), matches.each(said).sum(axis=1)
    both = times @ (shown + matches.objects.sum(axis=1))
    f1 = np.divide(2 * (times @ right), both, out=np.full(len(times), np.nan), where=both > 0)
    return {"map": means(precisions.mean(axis=1)), "map50": means(precisions[:, 0]), "f1": f1}


def _gap(differences: np.ndarray, told: float) -> Gap | None:
    """Return the gap of a figure from its differences, the first of the pictures themselves, the others of draws."""
    from scipy.special import stdtr

    drawn = differences[1:][np.isfinite(differences[1:])]
    if told < FEWEST or not np.isfinite(differences[0]) or not len(drawn):
        return None
    found, spread = float(differences[0]), float(drawn.std())
    if spread == 0:
        by_chance = 1.0 if found == 0 else 2.0 ** (1 - told)  # all pictures say the same, as coins may
        return Gap(difference=found, interval=Interval(found, found), p_value=by_chance)
    spread *= math.sqrt(told / (told - 1))  # as in `errors_of`
    wide, p_value = student(told - 1) * spread, 2 * float(stdtr(told - 1, -abs(found) / spread))
    return Gap(difference=found, interval=Interval(max(-1.0, found - wide), min(1.0, found + wide)), p_value=p_value)
