"""Which shapes of pictures the middle can be cut out of."""

from __future__ import annotations

from resnetkit.errors import DataError

_LARGEST = 100  # times what is cut out: beyond that the enlarged picture would fill the memory


def can_crop(width: int, height: int, *, crop: str, resize: int, frame: tuple[int, int]) -> bool:
    """Tell whether a picture is compact enough to be resized so that it covers a frame (height, width)."""
    down, across = resize, max(1, round(resize * frame[1] / frame[0]))
    if width * down <= height * across:
        new = across, max(1, across * height // width)
    else:
        new = max(1, down * width // height), down
    return crop != "center" or new == (width, height) or new[0] * new[1] <= _LARGEST * down * across


def check_shape(width: int, height: int, *, crop: str, resize: int, frame: tuple[int, int]) -> None:
    """Raise `DataError` for a picture that is too long and thin to cut a frame (height, width) out of."""
    if not can_crop(width, height, crop=crop, resize=resize, frame=frame):
        raise DataError(
            f"{width}x{height} is too long and thin to crop to {frame[0]}x{frame[1]}; train with "
            "preprocess.crop=pad, or cut it"
        )
