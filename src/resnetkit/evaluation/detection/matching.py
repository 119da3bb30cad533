"""Which found object is which true one: once for each picture, class and least overlap, and every figure counts that.

The rule is COCO's: the surer one chooses first, each true object is found once, and a crowd takes any number of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from resnetkit.data.marks import Truth
from resnetkit.errors import DataError
from resnetkit.evaluation.detection.overlaps import box_overlaps
from resnetkit.models.detection.found import Found

LEAST_OVERLAPS = np.linspace(0.5, 0.95, 10)  # .50, .55, ... .95: what mAP@.50:.95 is the mean of
MOST = 100  # objects of a class on a picture that count, the surest

# number of the picture, [D] numbers of found objects, [G] numbers of true ones -> [D, G] overlaps
Overlaps = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Matches:
    """All found objects of all pictures, the surest first, and what each is worth at each least overlap.

    Of each: `scores`, `pictures`, `labels` and `numbers` (its place in its picture's `Found`), `[D]`; `right`,
    `[10, D]` bool, where it found an object; `ignored`, `[10, D]` bool, where it lies in a crowd, which counts neither
    way; `truths`, `[D]`, the number of the object of which it found half at least, or -1. `objects`, `[N, K]`: how many
    objects of each class each picture has, crowds aside.
    """

    scores: np.ndarray = field(repr=False)
    pictures: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    numbers: np.ndarray = field(repr=False)
    right: np.ndarray = field(repr=False)
    ignored: np.ndarray = field(repr=False)
    truths: np.ndarray = field(repr=False)
    objects: np.ndarray = field(repr=False)
    crowds: np.ndarray = field(repr=False)

    def of(self, label: int) -> np.ndarray:
        """Return where the found objects of a class are, the surest first."""
        return np.flatnonzero(self.labels == label)

    def said(self, at: np.ndarray) -> np.ndarray:
        """Return which count and are so sure at least, `[D]` bool; `at`: `[K]`, or `[N, K]`, one for each picture."""
        least = at[self.labels] if at.ndim == 1 else at[self.pictures, self.labels]
        chosen: np.ndarray = (self.scores >= least) & ~self.ignored[0]
        return chosen

    def each(self, chosen: np.ndarray) -> np.ndarray:
        """Return how many of the `chosen` (`[D]` bool) each picture has of each class, `[N, K]`."""
        cells = self.pictures[chosen] * self.objects.shape[1] + self.labels[chosen]
        return np.bincount(cells, minlength=self.objects.size).reshape(self.objects.shape)

    def only(self, pictures: np.ndarray) -> Matches:
        """Return the matches of some pictures, `[N]` bool; the numbers of pictures stay, the others are empty."""
        own = pictures[self.pictures]
        return Matches(
            scores=self.scores[own], pictures=self.pictures[own], labels=self.labels[own], numbers=self.numbers[own],
            right=self.right[:, own], ignored=self.ignored[:, own], truths=self.truths[own],
            objects=self.objects * pictures[:, None], crowds=self.crowds & pictures[:, None],
        )  # fmt: skip


def matched(
    truths: Sequence[Truth], founds: Sequence[Found], *, num_classes: int, overlaps: Overlaps | None = None
) -> Matches:
    """Match what was found on each picture with what is there, by the boxes unless `overlaps` says how.

    Raises `DataError` where a number is not finite.
    """
    assert len(truths) == len(founds), (len(truths), len(founds))
    check_finite(truths, founds)
    overlaps = overlaps or of_boxes(truths, founds)
    pictures, labels, scores, numbers = _in_a_row(founds)
    shape = (len(LEAST_OVERLAPS), len(scores))
    right, ignored, whose = np.zeros(shape, bool), np.zeros(shape, bool), np.full(len(scores), -1)
    kept = np.zeros(len(scores), bool)
    for place in _by_picture_and_class(pictures, labels):
        place = slice(place.start, min(place.stop, place.start + MOST))
        kept[place] = True
        picture = int(pictures[place.start])
        true = np.flatnonzero(truths[picture].labels == labels[place.start])
        if len(true):
            crowd = truths[picture].crowd[true]
            found = _greedy(overlaps(picture, numbers[place], true), crowd)
            right[:, place], ignored[:, place] = (found >= 0) & ~crowd[found], (found >= 0) & crowd[found]
            whose[place] = np.where(right[0, place], true[found[0]], -1)
    order = np.flatnonzero(kept)
    order = order[np.lexsort((numbers[order], pictures[order], -scores[order]))]
    return Matches(
        scores=scores[order], pictures=pictures[order], labels=labels[order], numbers=numbers[order],
        right=right[:, order], ignored=ignored[:, order], truths=whose[order],
        objects=_counted(truths, num_classes, crowd=False),
        crowds=_counted(truths, num_classes, crowd=True) > 0,
    )  # fmt: skip


def check_finite(truths: Sequence[Truth], founds: Sequence[Found]) -> None:
    """Raise `DataError` where a number of what was found or of what is there is not finite."""
    for found in founds:
        if not (np.isfinite(found.scores).all() and np.isfinite(found.boxes).all()):
            raise DataError("the model answers with numbers that are not finite: train it again or use another")
    for number, truth in enumerate(truths):
        if not np.isfinite(truth.boxes).all():
            raise DataError(f"picture {number + 1} of the truth has a box that is not finite: mend its annotation")


def of_boxes(truths: Sequence[Truth], founds: Sequence[Found]) -> Overlaps:
    """Return the overlaps of boxes."""

    def overlaps(picture: int, found: np.ndarray, true: np.ndarray) -> np.ndarray:
        truth = truths[picture]
        return box_overlaps(founds[picture].boxes[found], truth.boxes[true], truth.crowd[true])

    return overlaps


def _in_a_row(founds: Sequence[Found]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pictures, labels, scores and numbers of all found objects: by picture and class, the surest first."""
    empty = [np.zeros(0)]
    pictures = np.repeat(np.arange(len(founds)), [len(found) for found in founds])
    labels = np.concatenate([found.labels for found in founds] or empty).astype(np.int64)
    scores = np.concatenate([found.scores for found in founds] or empty).astype(np.float64)
    numbers = np.concatenate([np.arange(len(found)) for found in founds] or empty).astype(np.int64)
    order = np.lexsort((numbers, -scores, labels, pictures))
    return pictures[order], labels[order], scores[order], numbers[order]


def _by_picture_and_class(pictures: np.ndarray, labels: np.ndarray) -> Iterator[slice]:
    new = np.flatnonzero((np.diff(pictures) != 0) | (np.diff(labels) != 0)) + 1
    edges = [0, *new.tolist(), len(pictures)] if len(pictures) else [0]
    yield from (slice(start, stop) for start, stop in pairwise(edges))


def _greedy(overlap: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return which true object each found one takes at each least overlap, `[10, D]`, -1 for none.

    `overlap`: `[D, G]`, the surest first. Single objects come before crowds; of equal overlaps the last counts.
    """
    free = np.ones((len(LEAST_OVERLAPS), len(crowd)), bool)
    taken = np.full((len(LEAST_OVERLAPS), len(overlap)), -1)
    kinds = (~crowd, crowd) if crowd.any() else (~crowd,)
    for number in np.flatnonzero(overlap.max(axis=1) >= LEAST_OVERLAPS[0]).tolist():
        could = free & (overlap[number] >= LEAST_OVERLAPS[:, None])
        for kind in kinds:
            worth = np.where(could & kind, overlap[number], -1.0)
            best = len(crowd) - 1 - worth[:, ::-1].argmax(axis=1)
            hit = (taken[:, number] < 0) & (worth.max(axis=1) >= 0)
            taken[hit, number] = best[hit]
        hit = (taken[:, number] >= 0) & ~crowd[taken[:, number]]
        free[hit, taken[hit, number]] = False
    return taken


def _counted(truths: Sequence[Truth], num_classes: int, *, crowd: bool) -> np.ndarray:
    rows = [np.bincount(truth.labels[truth.crowd == crowd], minlength=num_classes) for truth in truths]
    return np.stack(rows) if rows else np.zeros((0, num_classes), np.int64)
