"""Text burnt into the pixels of a picture: marks as letters are, sharp and thin, of one brightness, in a row."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from resnetkit.data.opening import images, signatures
from resnetkit.data.opening.dicom_identity import identity

BY_TAG, BY_PIXELS = "BurnedInAnnotation says that there is text in its pixels", "there seems to be text in its pixels"
_LEAST_HEIGHT, _MOST_HEIGHT = 5, 48  # pixels of a letter
_LEAST_LETTERS = 5
_STROKE = 9  # pixels: what is thicker is no stroke of a letter
_STEP = 60  # grey levels between a letter and what is around it
_ALIKE = 16  # grey levels between letters of a row
_LEAST_SIDE = 64


@dataclass(frozen=True, slots=True)
class _Mark:
    """A mark on a picture: its box, and how bright it is."""

    left: int
    right: int
    top: int
    bottom: int
    peak: float


def burnt_in(data: bytes | np.ndarray, picture: images.Opened) -> str | None:
    """Return why a DICOM file, opened, is taken to have text burnt into its pixels: `BY_TAG`, `BY_PIXELS`, or None."""
    if isinstance(data, np.ndarray) or not signatures.is_dicom(data):
        return None
    told = identity(lambda: io.BytesIO(data), asked="BurnedInAnnotation")
    if told is not None and told.asked.upper() == "YES":
        return BY_TAG
    return BY_PIXELS if has_text(np.asarray(images.to_look_at(picture).convert("RGB"))) else None


def has_text(pixels: np.ndarray) -> bool:
    """Tell whether text seems to be burnt into a picture, `[H, W]` or `[H, W, 3]` uint8."""
    grey = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    if min(grey.shape) < _LEAST_SIDE:
        return False
    return any(_has_row(_marks(side)) for side in (grey, 255 - grey))


def _marks(grey: np.ndarray) -> list[_Mark]:
    """Return the marks that may be letters, from left to right."""
    from scipy import ndimage

    thin = ndimage.white_tophat(grey, size=(_STROKE, _STROKE))
    labels, _ = ndimage.label(thin >= _STEP, structure=np.ones((3, 3)))
    kept = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not (_LEAST_HEIGHT <= height <= _MOST_HEIGHT and width <= 2.2 * height):
            continue
        peak = _peak(labels, number, grey, rows, columns)
        if peak is not None:
            kept.append(_Mark(columns.start, columns.stop, rows.start, rows.stop, peak))
    return sorted(kept, key=lambda mark: mark.left)


def _peak(labels: np.ndarray, number: int, grey: np.ndarray, rows: slice, columns: slice) -> float | None:
    """Return how bright a mark is, None where it is a blot, or what is two pixels around it is not much darker."""
    from scipy import ndimage

    height, width = rows.stop - rows.start, columns.stop - columns.start
    area = int((labels[rows, columns] == number).sum())
    if area < height or (area > 0.8 * height * width and width > 0.45 * height):
        return None
    top, left = max(0, rows.start - 2), max(0, columns.start - 2)
    around = grey[top : rows.stop + 2, left : columns.stop + 2]
    marked = labels[top : rows.stop + 2, left : columns.stop + 2]
    own = marked == number
    near = ndimage.binary_dilation(own, np.ones((3, 3)))
    ring = ndimage.binary_dilation(near, np.ones((3, 3))) & ~near
    peak = float(np.percentile(around[own], 90))
    free = ring & (marked == 0)  # of other letters
    if free.sum() < 0.6 * ring.sum() or not free.any():
        return None
    return peak if float((around[free] <= peak - _STEP).mean()) >= 0.9 else None


def _has_row(marks: list[_Mark]) -> bool:
    """Tell whether enough marks of one height and brightness stand beside each other on one line."""
    for first, begin in enumerate(marks):
        height = begin.bottom - begin.top
        chain, end = 1, begin.right
        for other in marks[first + 1 :]:
            if other.left - end > 1.3 * height:
                break
            tall = other.bottom - other.top
            level = abs(other.bottom - begin.bottom) <= max(1, 0.15 * height)
            alike = abs(other.peak - begin.peak) <= _ALIKE and 0.6 * height <= tall <= height / 0.6
            if level and alike and other.left >= end - 1:
                chain, end = chain + 1, other.right
        if chain >= _LEAST_LETTERS:
            return True
    return False
