"""What people marked on a picture: objects with their boxes, and their outlines where these were drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from resnetkit.data.run_lengths import packed, unpacked
from resnetkit.data.view import View
from resnetkit.words import one_line

_FINER = 4  # Pillow fills whole pixels that an outline touches: outlines are drawn on a finer grid

Loses = Literal["object", "picture", "file", "nothing"]  # what has to be left out for a fault
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
    def of(cls, bitmap: np.ndarray, *, left: int = 0, top: int = 0, size: tuple[int, int] | None = None) -> Mask:
        """Return the mask of a bitmap, `[H, W]` bool, which may be a part of a picture of `size` (height, width).

        >>> Mask.of(np.array([[False, True], [True, True]])).counts
        (1, 3)
        """
        height, width = size or bitmap.shape
        changes = np.diff(np.pad(bitmap.T, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        column, row = np.nonzero(changes)  # beginnings and ends in turns, column by column
        edges = (left + column) * height + top + row
        # what ends at the foot of a column goes on where the next one begins at its head
        same = np.flatnonzero(edges[1:] == edges[:-1])
        edges = np.delete(edges, [*same, *(same + 1)])
        whole = [] if edges.size and edges[-1] == height * width else [height * width]
        return cls(counts=tuple(np.diff([0, *edges.tolist(), *whole]).tolist()), size=(height, width))

    def to_json(self) -> dict[str, Any]:
        """Return run lengths as COCO writes them, compressed: `size` (height, width) and `counts`."""
        assert self.size is not None, "polygons have no run lengths"
        return {"size": list(self.size), "counts": packed(self.counts)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Mask:
        """Read what `to_json` wrote."""
        height, width = values["size"]
        return cls(counts=unpacked(values["counts"]), size=(height, width))

    @property
    def area(self) -> int:
        """The number of pixels that run lengths tell."""
        return sum(self.counts[1::2])

    def bitmap(self) -> np.ndarray:
        """Return the bitmap that run lengths tell, `[H, W]` bool."""
        assert self.size is not None, "polygons have no size"
        return self._columns(0, self.size[1])

    def _columns(self, left: int, right: int) -> np.ndarray:
        """Return a part of that bitmap, `[H, right - left]`."""
        assert self.size is not None, "polygons have no size"
        height = self.size[0]
        ends = np.cumsum([0, *self.counts]).clip(left * height, right * height)
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, np.diff(ends)).reshape((height, right - left), order="F")

    def into(self, view: View) -> np.ndarray:
        """Return which pixels of a view of the picture belong to the object, `[height, width]` bool."""
        if self.polygons:
            canvas = Image.new("L", (_FINER * view.width, _FINER * view.height))
            for polygon in self.polygons:
                points = _FINER * view.into(np.reshape(polygon, (-1, 2))) - 0.5  # Pillow counts from pixels' middles
                ImageDraw.Draw(canvas).polygon([tuple(point) for point in points.tolist()], fill=255, outline=128)
            return np.asarray(canvas.reduce(_FINER)) > 127
        assert self.size is not None, "polygons have no size"
        size = (view.width, view.height)
        back = np.linalg.inv(np.vstack([view.matrix, [0, 0, 1]]))[:2]
        across = view.back([(0, 0), (view.width, 0), (0, view.height), size])[:, 0]
        # Of a large photo only the columns that the view shows, and the next ones, which smoothing looks at.
        left, right = np.clip([np.floor(across.min()) - 2, np.ceil(across.max()) + 2], 0, self.size[1]).astype(int)
        if left == right:
            return np.zeros((view.height, view.width), bool)
        back[0, 2] -= left
        bitmap = Image.fromarray(self._columns(int(left), int(right)).astype(np.uint8) * 255)
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


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in an annotation: the file, where in it (empty: everywhere), why, and how to mend it.

    >>> print(Fault("a.xml", "object 2 (cat)", "xmin 9 lies right of xmax 4", "swap them"))
    a.xml, object 2 (cat): xmin 9 lies right of xmax 4; swap them
    """

    file: str
    where: str
    why: str
    mend: str

    def __str__(self) -> str:
        place = f"{self.file}, {self.where}" if self.where else self.file
        return one_line(f"{place}: {self.why}; {self.mend}")
