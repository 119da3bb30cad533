"""Outlines of objects as files have them: polygons, run lengths as numbers or as letters, and the box around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from resnetkit.data.marks import Box, Mask
from resnetkit.data.opening.claims import MAX_PIXELS
from resnetkit.data.opening.images import UPRIGHT
from resnetkit.data.sources.annotated.faults import Wrong, are_numbers, number_of, shown

_REDRAW = "draw the outline again, or delete the object"
_LETTERS = 7  # of a number in letters, five bits each: no picture has so many pixels


def of_polygons(value: Sequence[Any]) -> Mask:
    """Return the mask of lists `x, y, x, y, ...`; raises `Wrong`."""
    polygons = []
    for polygon in value:
        if not isinstance(polygon, list):
            raise Wrong(f"its outline holds {shown(polygon)} where a list of numbers belongs", _REDRAW)
        if len(polygon) % 2:
            raise Wrong(f"its outline has {len(polygon)} numbers, an odd number, where x and y take turns", _REDRAW)
        if len(polygon) < 6:
            raise Wrong(f"its outline has {len(polygon) // 2} points, and 3 are the least", _REDRAW)
        if not are_numbers(polygon):
            polygon = [number_of(number, what="a number of its outline") for number in polygon]
        polygons.append(tuple(map(float, polygon)))
    return Mask(polygons=tuple(polygons))


def of_run_lengths(value: dict[str, Any]) -> Mask:
    """Return the mask of COCO's `{"size": [height, width], "counts": [...] or letters}`; raises `Wrong`."""
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise Wrong('its run lengths have no "size" of height and width', _REDRAW)
    height, width = size
    if height * width > MAX_PIXELS:
        raise Wrong(f"its run lengths are of {width} x {height} pixels, more than any picture has", _REDRAW)
    if isinstance(counts, str):
        counts = counts_in(counts)
    if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
        raise Wrong('its run lengths ("counts") are no list of numbers from 0 and no text', _REDRAW)
    if sum(counts) != height * width:
        raise Wrong(
            f"its run lengths are {sum(counts):,} pixels, and {width} x {height} are {width * height:,}", _REDRAW
        )
    if not sum(counts[1::2]):
        raise Wrong("its run lengths hold no pixel of it", _REDRAW)
    return Mask(counts=tuple(counts), size=(height, width))


def counts_in(letters: str) -> list[int]:
    """Return the run lengths in a text of COCO: numbers of five bits a letter, from the third the change by two back.

    Raises `Wrong`. The format is that of `rleFrString` in cocoapi's maskApi.c.

    >>> counts_in("1221O")
    [1, 2, 2, 3, 1]
    """
    counts: list[int] = []
    value, place = 0, 0
    for letter in letters:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or place == _LETTERS:
            raise Wrong(f"its run lengths hold the letter {shown(letter)}, which belongs to none", _REDRAW)
        value |= (bits & 31) << 5 * place
        place += 1
        if bits & 32:  # more of this number follow
            continue
        if bits & 16:
            value -= 1 << 5 * place
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, place = 0, 0
    if place:
        raise Wrong("its run lengths end within a number", _REDRAW)
    return counts


def around(mask: Mask) -> Box:
    """Return the box around a mask that has a pixel."""
    if mask.polygons:
        across = [x for polygon in mask.polygons for x in polygon[::2]]
        down = [y for polygon in mask.polygons for y in polygon[1::2]]
        return min(across), min(down), max(across), max(down)
    assert mask.size is not None
    height = mask.size[0]
    ends = np.cumsum(mask.counts)
    first, last = ends[:-1:2], ends[1::2] - 1  # of each run, counted down the columns
    first, last = first[last >= first], last[last >= first]
    left, right = int(first[0]) // height, int(last[-1]) // height + 1
    if (first // height != last // height).any():  # it goes on from the bottom of a column at the top of the next
        return left, 0, right, height
    return left, int((first % height).min()), right, int((last % height).max()) + 1


def is_its_box(mask: Mask, box: Box) -> bool:
    """Tell whether an outline is no more than the four corners of the box."""
    if len(mask.polygons) != 1 or len(mask.polygons[0]) not in (8, 10):
        return False
    left, top, right, bottom = box
    points = {(round(x, 1), round(y, 1)) for x, y in np.reshape(mask.polygons[0], (-1, 2)).tolist()}
    return points == {(round(x, 1), round(y, 1)) for x in (left, right) for y in (top, bottom)}


def scaled(mask: Mask, width: float, height: float) -> Mask:
    """Return polygons of shares as those of pixels."""
    return Mask(polygons=tuple(
        tuple(round(share * (height if place % 2 else width), 3) for place, share in enumerate(polygon))
        for polygon in mask.polygons
    ))  # fmt: skip


def turned_points(points: np.ndarray, orientation: int, *, width: float, height: float) -> np.ndarray:
    """Return points `[N, 2]` of a stored picture as they lie once its EXIF orientation is applied.

    `width` and `height` are those of the stored picture.
    """
    x, y = points[:, 0], points[:, 1]
    across = {1: x, 2: width - x, 3: width - x, 4: x, 5: y, 6: height - y, 7: height - y, 8: y}
    down = {1: y, 2: y, 3: height - y, 4: height - y, 5: x, 6: x, 7: width - x, 8: width - x}
    return np.column_stack([across[orientation], down[orientation]])


def turned_box(box: Box, orientation: int, *, width: float, height: float) -> Box:
    """Return a box as `turned_points` does."""
    corners = turned_points(np.reshape(box, (2, 2)), orientation, width=width, height=height)
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return left, top, right, bottom


def turned_mask(mask: Mask, orientation: int, *, width: float, height: float) -> Mask:
    """Return a mask as `turned_points` does."""
    if mask.polygons:
        moved = (
            turned_points(np.reshape(polygon, (-1, 2)), orientation, width=width, height=height)
            for polygon in mask.polygons
        )
        return replace(mask, polygons=tuple(tuple(points.ravel().tolist()) for points in moved))
    picture = Image.fromarray(mask.bitmap().astype(np.uint8))
    return Mask.of(np.asarray(picture.transpose(UPRIGHT[orientation])) > 0)
