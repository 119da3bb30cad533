"""Pictures with more than 8 bits a sample: reading all their bits with Pillow, and the rule that makes pixels of them.

Pillow keeps only the high byte of 16-bit colours, which turns a 12-bit colour picture black. Its decoders can be asked
for the other byte by swapping the byte order in the raw mode, so such a file is decoded twice and the halves joined.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from resnetkit.errors import DataError

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache

DEPTHS = (8, 10, 12, 14, 16)
_KEPT = "_resnetkit_samples"  # an attribute and not `info`: Pillow copies `info` to resized and flipped pictures
_SWAPPED = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}


def samples(image: Image.Image) -> np.ndarray | None:
    """Return the full samples of a loaded picture, `[H, W]` or `[H, W, bands]`, or None when they have 8 bits.

    The array is uint16, int32 or float32. 16-bit colours are there only in pictures that `images.decode` returned.
    """
    kept: np.ndarray | None = getattr(image, _KEPT, None)
    if kept is not None:
        return kept
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return np.asarray(image)
    return None


def is_deep(image: Image.Image) -> bool:
    """Return whether a picture, of which only the header was read, has more than 8 bits a sample."""
    return image.mode.startswith("I;16") or image.mode in ("I", "F") or _deep_raw_mode(image) is not None


def keep_deep_colours(image: Image.Image, reopen: Callable[[], Image.Image]) -> None:
    """Read the low bytes of 16-bit colours through a second copy of the file, and keep all bits with `image`.

    `image` is opened, not loaded; it is loaded here. Nothing happens when it has 8 bits or one 16-bit band.
    """
    raw_mode = _deep_raw_mode(image)
    if raw_mode is None:
        image.load()
        return
    if getattr(image, "_planar_configuration", 1) == 2:
        raise DataError("16-bit colours in separate planes are not read; save it as PNG or with interleaved planes")
    second = reopen()
    gray_alpha = raw_mode == "LA;16B"  # read as four bytes: there is no decoder for its low bytes alone
    wanted = "RGBA" if gray_alpha else raw_mode[:-3] + _SWAPPED[raw_mode[-3:]]
    second.tile = [_with_raw_mode(tile, wanted) for tile in second.tile]  # type: ignore[attr-defined]
    image.load()
    second.load()
    low = np.asarray(second).astype(np.uint16)
    deep = low[..., 0::2] << 8 | low[..., 1::2] if gray_alpha else np.asarray(image).astype(np.uint16) << 8 | low
    setattr(image, _KEPT, deep)


def _deep_raw_mode(image: Image.Image) -> str | None:
    """Return the raw mode of 16-bit colours, as `RGB;16B`, or None."""
    tiles = getattr(image, "tile", None) or ()
    for tile in tiles:
        raw_mode = tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args
        if isinstance(raw_mode, str) and raw_mode[-3:] in _SWAPPED and not raw_mode.startswith("I;"):
            return raw_mode
    if getattr(image, "_planar_configuration", 1) == 2 and 16 in (getattr(image, "tag_v2", {}).get(258) or ()):
        return "RGB;16N"
    return None


def _with_raw_mode(tile: Any, raw_mode: str) -> Any:
    return tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)


def bits_of(image: Image.Image) -> int | None:
    """Return the smallest of 8, 10, 12, 14, 16 bits that holds a loaded picture's maximum; None when it has 8 bits.

    Alpha does not count. Floating-point pictures within [0, 1] need no depth and give None.
    """
    values = samples(image)
    if values is None or _is_fraction(values):
        return None
    return bits_used(_colours(image.mode, values))


def check_values(values: np.ndarray) -> None:
    """Raise `DataError` for samples that have no place between black and white: NaN, negative, above 65535."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError("holds NaN or infinite values; replace them and save it as 16-bit PNG")
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        windows = ", or train with preprocess.windows" if values.ndim == 2 else ""
        raise DataError(
            f"holds values from {low:g} to {high:g}; bring them into 0 to 65535 and save it as 16-bit PNG{windows}"
        )


def eight_bits(image: Image.Image, *, depth: int | None) -> Image.Image:
    """Return a deep picture with 8 bits a sample: [0, 2^depth - 1] becomes [0, 255], rounded half up, clipped.

    `depth=None` takes the smallest of 8, 10, 12, 14, 16 bits that holds the picture's own maximum. Alpha has its own
    depth, found the same way. Floating-point pictures within [0, 1] become [0, 255] whatever the depth. Pictures that
    have 8 bits already are returned as they are.
    """
    values = samples(image)
    if values is None:
        return image
    check_values(values)
    mode = _mode_of(image.mode, values)
    scaled = _scaled(values, depth=depth, colours=_colours(mode, values))
    transparent = image.info.get("transparency")
    if transparent is not None and mode in ("L", "RGB"):
        opaque = (values.reshape(*values.shape[:2], -1) != np.asarray(transparent)).any(-1)
        scaled = np.dstack([scaled, np.where(opaque, 255, 0).astype(np.uint8)])
        mode += "A"
    result = Image.frombytes(mode, image.size, np.ascontiguousarray(scaled).tobytes())
    result.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return result


def _mode_of(mode: str, values: np.ndarray) -> str:
    if values.ndim == 2:
        return "L"
    return "LA" if values.shape[-1] == 2 else mode


def _colours(mode: str, values: np.ndarray) -> np.ndarray:
    """Leave out alpha, which is the last band of `LA` and `RGBA`."""
    return values[..., :-1] if values.ndim == 3 and (values.shape[-1] == 2 or mode == "RGBA") else values


def _scaled(values: np.ndarray, *, depth: int | None, colours: np.ndarray) -> np.ndarray:
    if _is_fraction(values):
        return np.floor(values * 255.0 + 0.5).astype(np.uint8)
    scaled = to_pixels(colours, depth or bits_used(colours))
    if colours.shape == values.shape:
        return scaled
    alpha = values[..., -1:]
    return np.concatenate([scaled, to_pixels(alpha, bits_used(alpha))], axis=-1)


def to_pixels(values: np.ndarray, depth: int) -> np.ndarray:
    """Return uint8: [0, 2^depth - 1] becomes [0, 255], rounded half up, clipped."""
    scaled = np.floor(values.astype(np.float64) * (255 / (2**depth - 1)) + 0.5)
    return np.minimum(scaled, 255).astype(np.uint8)


def _is_fraction(values: np.ndarray) -> bool:
    return values.dtype.kind == "f" and bool(values.max() <= 1)


def bits_used(values: np.ndarray) -> int:
    """Return the smallest of `DEPTHS` that holds the largest of the values, or the last."""
    maximum = values.max()
    return next(depth for depth in DEPTHS if depth == DEPTHS[-1] or maximum <= 2**depth - 1)
