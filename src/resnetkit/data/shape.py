"""Which shapes of pictures the middle can be cut out of."""

from __future__ import annotations

from resnetkit.errors import DataError

_LONGEST = 100  # times the shorter side: beyond that the enlarged picture would fill the memory


def can_crop(width: int, height: int, *, crop: str, resize: int) -> bool:
    """Tell whether a picture is compact enough for its shorter side to become `resize` pixels, where it must."""
    short, long = min(width, height), max(width, height)
    return crop != "center" or short == resize or resize * long // short <= _LONGEST * resize


def check_shape(width: int, height: int, *, crop: str, resize: int, size: int) -> None:
    """Raise `DataError` for a picture that is too long and thin to cut `size` x `size` out of."""
    if not can_crop(width, height, crop=crop, resize=resize):
        raise DataError(
            f"{width}x{height} is too long and thin to crop to {size}x{size}; train with preprocess.crop=pad, or cut it"
        )
