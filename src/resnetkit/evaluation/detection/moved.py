"""Held-out pictures as a camera that moves would see them: copies whose geometry is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from resnetkit.data.marks import Truth
from resnetkit.data.view import View
from resnetkit.models.detection.found import Found

COPIES, PICTURES = 3, 60
# What a copy shows of its picture, as a share of the sides; how far the copies of one differ from each other in that
# and in place, both as shares of the side; and how much brighter or darker one is.
_SHOWN, _ZOOM, _MOVE, _LIGHT = (0.8, 1.0), 0.06, 0.04, 0.1
# Of an object so much must be seen to count; of less nobody can tell what it is, and it counts neither way.
_LEAST_SEEN = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A part of a picture, as large as the whole: `pixels` `[H, W, C]` uint8 as the network wants them.

    `view`: where they lie on the upright original; `window`: left, top, right, bottom of what is seen of that.
    """

    pixels: np.ndarray = field(repr=False)
    view: View
    window: np.ndarray

    def found(self, row: np.ndarray) -> Found:
        """Return the objects of the `[D, 6]` or more numbers that a network says of the copy, on the original.

        They are cut to what is seen; masks are left out.
        """
        found = Found.of(row[:, :6], self.view, width=int(self.window[2] + 1), height=int(self.window[3] + 1))
        boxes = self._cut(found.boxes)
        return replace(found, boxes=boxes).only(_is_one(boxes))

    def shows(self, truth: Truth) -> Truth:
        """Return the objects of the original that are seen, cut; what is hardly seen counts as a crowd."""
        boxes = self._cut(truth.boxes)
        seen = _area(boxes) / np.maximum(_area(truth.boxes), 1e-9)
        there = _is_one(boxes)
        return Truth(boxes=boxes[there], labels=truth.labels[there], crowd=(truth.crowd | (seen < _LEAST_SEEN))[there])

    def _cut(self, boxes: np.ndarray) -> np.ndarray:
        return boxes.clip(np.tile(self.window[:2], 2), np.tile(self.window[2:], 2)).astype(np.float32)


def drawn(groups: Sequence[str | None], count: int = PICTURES) -> list[int]:
    """Return the numbers of `count` pictures at most, drawn by a fixed seed from as many groups as there are.

    >>> drawn(["one", "one", "one", "two"], 2)
    [2, 3]
    """
    order = np.random.default_rng(0).permutation(len(groups)).tolist()
    before: dict[object, int] = {}
    turn = {}
    for number in order:
        own = number if groups[number] is None else groups[number]
        turn[number] = before[own] = before.get(own, -1) + 1
    return sorted(sorted(order, key=lambda number: turn[number])[:count])


def copies_of(pixels: np.ndarray, view: View, *, size: tuple[int, int], seed: int, count: int = COPIES) -> list[Copy]:
    """Return copies of a picture, each moved, enlarged and lit otherwise.

    `pixels`: `[H, W, C]` uint8 as the network wants them; `view`: where they lie on the original of `size` (width,
    height).
    """
    rng = np.random.default_rng(seed)
    # The picture on the view, without bars, in whole pixels.
    first, last = np.round(view.into([(0, 0), size])).clip(0, (view.width, view.height))
    sides = last - first
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in (first, last))
    copies = []
    middle, shown = rng.uniform(0, 1, 2), rng.uniform(*_SHOWN)
    for _ in range(count):
        share = min(1.0, shown * (1 + rng.uniform(-_ZOOM, _ZOOM)))
        corner = first + sides * (middle * (1 - shown) + rng.uniform(-_MOVE, _MOVE, 2)).clip(0, 1 - share)
        seen = np.concatenate([corner - first, corner - first + share * sides])
        copy = pixels.copy()
        if right > left and bottom > top:
            light = 1 + rng.uniform(-_LIGHT, _LIGHT)
            copy[top:bottom, left:right] = _enlarged(pixels[top:bottom, left:right], seen, light)
        matrix = view.matrix.copy()
        matrix[:, 2] -= corner
        matrix /= share
        matrix[:, 2] += first
        window = view.back([corner, corner + share * sides]).clip(0, size).ravel()
        copies.append(Copy(pixels=copy, view=View(view.height, view.width, matrix), window=window))
    return copies


def _enlarged(pixels: np.ndarray, box: np.ndarray, light: float) -> np.ndarray:
    """Return the part of a picture in `box`, as large as the whole."""
    height, width, channels = pixels.shape
    left, top, right, bottom = np.minimum(box, [width, height] * 2).tolist()
    parts = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(pixels[..., number])).resize(
                (width, height), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
            )
        )
        for number in range(channels)
    ]
    found: np.ndarray = (np.stack(parts, axis=-1) * light).round().clip(0, 255).astype(np.uint8)
    return found


def _is_one(boxes: np.ndarray) -> np.ndarray:
    """Return which boxes have an area, `[M]` bool."""
    return np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1))


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1)
