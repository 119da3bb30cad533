"""The objects that a network found on one picture."""

from __future__ import annotations

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

        The rule is torchvision's `paste_masks_in_image`: a frame of one cell around the mask, then bilinear.
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
        padded = np.pad(self.masks[number], 1)
        scale = (MASK_SIDE + 2) / MASK_SIDE
        left, top, right, bottom = self.boxes[number].astype(np.float64)
        middle, half = np.array([left + right, top + bottom]) / 2, np.array([right - left, bottom - top]) / 2 * scale
        (x0, y0), (x1, y1) = np.trunc(middle - half).astype(int), np.trunc(middle + half).astype(int)
        size = max(int(x1 - x0) + 1, 1), max(int(y1 - y0) + 1, 1)
        pasted = np.asarray(Image.fromarray(padded).resize(size, Image.Resampling.BILINEAR)) > 0.5
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x0 + size[0], width), min(y0 + size[1], height)
        return pasted[top - y0 : bottom - y0, left - x0 : right - x0], int(left), int(top)
