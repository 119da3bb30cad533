"""What people marked on a picture: objects with their boxes, and their outlines where these were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from resnetkit.data.view import View

_FINER = 4  # Pillow fills whole pixels that an outline touches: outlines are drawn on a finer grid

Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, slots=True)
class Mask:
    """The pixels of one object, on the upright picture.

    Either `polygons`, each `x, y, x, y, ...` with (0, 0) at the outer corner of the first pixel, or run lengths: the
    `counts` of a bitmap of `size` (height, width), read column by column, those of the background first (COCO's).
    """

    polygons: tuple[tuple[float, ...], ...] = ()
    counts: tuple[int, ...] = ()
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, bitmap: np.ndarray) -> Mask:
        """Return the mask of a bitmap, `[H, W]` bool.

        >>> Mask.of(np.array([[False, True], [True, True]])).counts
        (1, 3)
        """
        flat = np.concatenate([[False], bitmap.ravel(order="F"), [not bitmap.size or not bitmap.ravel(order="F")[-1]]])
        edges = np.flatnonzero(flat[1:] != flat[:-1])
        counts = np.diff(np.concatenate([[0], edges]))
        return cls(counts=tuple(counts.tolist()), size=bitmap.shape)

    def bitmap(self) -> np.ndarray:
        """Return the bitmap that run lengths tell, `[H, W]` bool."""
        assert self.size is not None, "polygons have no size"
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, self.counts).reshape(self.size, order="F")

    def into(self, view: View) -> np.ndarray:
        """Return which pixels of a view of the picture belong to the object, `[height, width]` bool."""
        if self.polygons:
            canvas = Image.new("L", (_FINER * view.width, _FINER * view.height))
            for polygon in self.polygons:
                points = _FINER * view.into(np.reshape(polygon, (-1, 2))) - 0.5  # Pillow counts from pixels' middles
                ImageDraw.Draw(canvas).polygon([tuple(point) for point in points.tolist()], fill=255)
            return np.asarray(canvas.reduce(_FINER)) > 127
        bitmap = Image.fromarray(self.bitmap().astype(np.uint8) * 255)
        back = np.linalg.inv(np.vstack([view.matrix, [0, 0, 1]]))[:2]
        size = (view.width, view.height)
        moved = bitmap.transform(size, Image.Transform.AFFINE, back.ravel().tolist(), Image.Resampling.BILINEAR)
        return np.asarray(moved) > 127


@dataclass(frozen=True, slots=True)
class Object:
    """One object on a picture: what it is, and its box in pixels of the upright original.

    (0, 0) is the outer corner of the first pixel, so that a box around the whole picture is (0, 0, width, height).
    `crowd`: a region with many of them, which nobody told apart.
    """

    label: str
    box: Box
    crowd: bool = False
    mask: Mask | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """The objects of one picture as numbers: `boxes` `[M, 4]` float32, `labels` `[M]` int64, `crowd` `[M]` bool.

    `masks`: of each object, None where nobody drew one.
    """

    boxes: np.ndarray = field(repr=False)
    labels: np.ndarray
    crowd: np.ndarray = field(repr=False)
    masks: tuple[Mask | None, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, objects: Sequence[Object], classes: Sequence[str]) -> Truth:
        """Return the objects of a picture, whose labels are all among `classes`."""
        index = {name: number for number, name in enumerate(classes)}
        return cls(
            boxes=np.array([one.box for one in objects], np.float32).reshape(-1, 4),
            labels=np.array([index[one.label] for one in objects], np.int64),
            crowd=np.array([one.crowd for one in objects], bool),
            masks=tuple(one.mask for one in objects),
        )

    def __len__(self) -> int:
        return len(self.labels)
