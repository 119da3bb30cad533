"""The objects that a network found on one picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from resnetkit.data.marks import Mask
from resnetkit.data.view import View

BOX = 6  # numbers of an object before those of its mask: left, top, right, bottom, score, class
MASK_SIDE = 28


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Objects, the surest first: `boxes` `[D, 4]` float32 in pixels of the original, `scores` `[D]`, `labels` `[D]`.

    `labels` are indices into the classes. `masks`: `[D, 28, 28]` float32 probabilities within each box, or None.
    """

    boxes: np.ndarray = field(repr=False)
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(cls, row: np.ndarray, view: View, *, width: int, height: int) -> Found:
        """Return the objects in what a network puts out for one picture, on the original of `width` x `height`.

        `row`: `[D, 6]` float32, or `[D, 6 + 28 * 28]` with masks: left, top, right, bottom in pixels of the `view`,
        score, class; rows of no object have the class -1. Boxes are clipped to the picture, empty ones left out.
        """
        row = row[row[:, 5] >= 0]
        corners = view.back(row[:, :4].reshape(-1, 2)).reshape(-1, 2, 2)
        low, high = corners.min(axis=1).clip(0), np.minimum(corners.max(axis=1), [width, height])
        kept = (high > low).all(axis=1)
        masks = row[kept, BOX:].reshape(-1, MASK_SIDE, MASK_SIDE) if row.shape[1] > BOX else None
        return cls(
            boxes=np.concatenate([low, high], axis=1)[kept].astype(np.float32), scores=row[kept, 4],
            labels=row[kept, 5].astype(np.int64), masks=masks,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.scores)

    def rows(self) -> np.ndarray:
        """Return a row for each, `[D, 6]` or more, float32: its box, score and class, and the numbers of its mask."""
        masks = [] if self.masks is None else [self.masks.reshape(len(self), -1)]
        told = [self.boxes, self.scores[:, None], self.labels[:, None], *masks]
        return np.concatenate(told, axis=1, dtype=np.float32)

    def from_score(self, at: float | np.ndarray) -> Found:
        """Return the objects that are at least so sure; `at` may be one score for each class, `[K]`."""
        least = at[self.labels] if isinstance(at, np.ndarray) else at
        return self.only(self.scores >= least)

    def only(self, kept: np.ndarray) -> Found:
        """Return those that `kept`, `[D]` bool, tells."""
        masks = None if self.masks is None else self.masks[kept]
        return Found(boxes=self.boxes[kept], scores=self.scores[kept], labels=self.labels[kept], masks=masks)

    def bitmap(self, number: int, *, width: int, height: int) -> np.ndarray:
        """Return the pixels of the original that belong to an object, `[height, width]` bool.

        Cells lie where training saw them (RoIAlign takes pixels for points at whole numbers), to a fraction of a pixel.
        Torchvision's `paste_masks_in_image` rounds boxes to pixels: true masks of 28 x 28 cells put back by it overlap
        objects of COCO below 100 pixels by .66 in the mean, by this one .90; of 100 to 1,024 by .87 and .98.
        """
        pasted, left, top = self._pasted(number, width=width, height=height)
        whole = np.zeros((height, width), bool)
        whole[top : top + pasted.shape[0], left : left + pasted.shape[1]] = pasted
        return whole

    def mask(self, number: int, *, width: int, height: int) -> Mask:
        """Return the same as run lengths; a large picture with many objects makes no large bitmaps."""
        pasted, left, top = self._pasted(number, width=width, height=height)
        return Mask.of(pasted, left=left, top=top, size=(height, width))

    def _pasted(self, number: int, *, width: int, height: int) -> tuple[np.ndarray, int, int]:
        """Return the pixels around an object, `[h, w]` bool, and how far from the left and the top they lie."""
        assert self.masks is not None, "this network finds no masks"
        box = self.boxes[number].astype(np.float64)
        first, last = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int) + 1
        cells = np.maximum(box[2:] - box[:2], 1) / MASK_SIDE  # pixels across one
        around = math.ceil(2 / cells.min()) + 1
        shown = np.concatenate([(first - 0.5 - box[:2]) / cells, (last - 0.5 - box[:2]) / cells]) + around
        padded = Image.fromarray(np.pad(self.masks[number], around))
        size = (int(last[0] - first[0]), int(last[1] - first[1]))
        pasted = np.asarray(padded.resize(size, Image.Resampling.BILINEAR, box=tuple(shown.tolist()))) > 0.5
        (left, top), (right, bottom) = np.maximum(first, 0), np.minimum(last, [width, height])
        return pasted[top - first[1] : bottom - first[1], left - first[0] : right - first[0]], int(left), int(top)
