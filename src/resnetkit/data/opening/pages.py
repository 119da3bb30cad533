"""Files that hold several pictures: pages, frames, a phone's second picture. The first is used, unless it is empty."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection

import numpy as np
from PIL import Image

from resnetkit.data.opening.bit_depth import samples
from resnetkit.errors import DataError

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache

_NOISE = 8  # levels that a page of one colour may come to in a lossy format
_HEAD = 1 << 17  # bytes in which a JPEG says that it holds several pictures: behind its EXIF data, at most 64 KiB


def may_be_several(data: bytes, kind: str) -> bool:
    """Tell from a file's first bytes whether it is worth counting its pictures; `kind` as in `signatures`."""
    if kind == "JPEG":
        return data.find(b"MPF\0", 0, _HEAD) > 0
    if kind == "PNG":
        return data.find(b"acTL", 0, max(0, data.find(b"IDAT"))) > 0
    if kind == "WEBP":
        return data[12:16] == b"VP8X" and bool(data[20] & 2)
    return kind in ("TIFF", "GIF", "HEIF") or (kind == "AVIF" and b"avis" in data[:64])


def count(image: Image.Image) -> int:
    """Return the number of pictures in an opened file."""
    return int(getattr(image, "n_frames", 1))


def check_first(image: Image.Image, reopen: Callable[[], Image.Image]) -> None:
    """Raise `DataError` where the first picture, loaded, is one value throughout and a later one shows something."""
    if not _is_empty(image, noise=0):
        return
    try:
        other = reopen()
        for number in range(1, count(other)):
            other.seek(number)
            other.load()
            if not _is_empty(other, noise=_NOISE):
                break
        else:
            return
    except (OSError, SyntaxError, ValueError, EOFError, struct.error):
        return  # a broken second picture is no reason to lose the first
    raise DataError(
        f"the first of its {count(other)} pages is empty and page {number + 1} is not; save the one that counts alone"
    )


def _is_empty(image: Image.Image, *, noise: int) -> bool:
    """Tell whether a loaded picture is one value throughout, or within `noise` of 256 levels where it has 8 bits."""
    values = samples(image)
    if values is not None:
        noise = 0  # no lossy format has so many bits
    else:
        values = np.asarray(image.convert("RGB") if image.mode in ("1", "P") else image)
    pixels = values.reshape(image.height * image.width, -1)
    return bool((pixels.max(0) - pixels.min(0).astype(float) <= noise).all())


def noted(sources: Collection[str]) -> tuple[str, ...]:
    """Return what people are told of pictures in files that hold several."""
    if not sources:
        return ()
    files = f"{len(sources):,} files hold" if len(sources) > 1 else "1 file holds"
    return (f"{files} several pages or frames, of which the first is used: {min(sources)}",)
