"""The size at which a detector sees pictures: whole, in a frame of their aspect. Needs no torch."""

from __future__ import annotations

SIDE = 32  # frames are multiples of what the last stage shrinks pictures by
# Of the light frames. 205 blood photos, 8 epochs, n = 1: at 288x384 89.0 and 54.7 % (mAP@.50 and .50:.95), at 384x512
# 89.8 and 56.2 %, for 1.6 times the work (LOG.md).
LIGHT_AREA = 512 * 384
FULL_AREA = 800 * 1088  # of the others


def frame_for(aspect: float, *, area: int) -> tuple[int, int]:
    """Return height and width of a frame of about this area, in multiples of 32, that wastes least on bars.

    `aspect`: width over height of the pictures.

    >>> frame_for(4 / 3, area=416 * 320), frame_for(1.0, area=416 * 320), frame_for(9 / 16, area=416 * 320)
    ((288, 384), (352, 352), (512, 288))
    """
    sides = range(SIDE, 2048, SIDE)
    frames = [(down, across) for down in sides for across in sides if 0.8 * area <= down * across <= 1.2 * area]
    return min(frames, key=lambda frame: (round(_wasted(aspect, frame), 2), abs(frame[0] * frame[1] - area)))


def _wasted(aspect: float, frame: tuple[int, int]) -> float:
    """Return the share of a frame that is bars around a picture."""
    of = frame[1] / frame[0]
    return 1 - min(of / aspect, aspect / of)
