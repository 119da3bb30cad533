"""Which shapes of pictures the middle can be cut out of."""

from __future__ import annotations

from resnetkit.errors import DataError

_LONGEST = 100  # times the shorter side: beyond that the enlarged picture would fill the memory


def check_shape(width: int, height: int, *, crop: str, resize: int, size: int) -> None:
    """Raise `DataError` for an upright picture too long and thin for its shorter side to become `resize` pixels."""
    short, long = min(width, height), max(width, height)
    if crop == "center" and short != resize and resize * long // short > _LONGEST * resize:
        raise DataError(
            f"{width}x{height} is too long and thin to crop to {size}x{size}; train with preprocess.crop=pad, or cut it"
        )
