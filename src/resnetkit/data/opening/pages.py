"""Files that hold several pictures: pages, frames, a phone's second picture. One is used: the first, or as asked."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Collection
from contextlib import suppress

import numpy as np
from PIL import Image, ImageOps

from resnetkit.data.opening.bit_depth import is_deep, samples
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


def alone(data: bytes, page: int, opened: Callable[[], Image.Image]) -> bytes:
    """Return a file of one page of a file, counted from 1.

    `opened` opens the file with Pillow, which TIFFs do not need: their bytes stay, whatever they hold. Other frames
    become a TIFF, upright. Raises `DataError` where there is no such page.
    """
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _directory_alone(data, page)
    image = opened()
    if count(image) < page:
        raise _no_such_page(page, count(image))
    image.seek(page - 1)
    if is_deep(image):
        raise DataError("frames of 16 bits are not read; save the one that counts alone")
    image.load()
    with suppress(
        OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error
    ):  # broken notes: it is taken as it lies
        image = ImageOps.exif_transpose(image)
    if image.mode == "RGBa" or "transparency" in image.info:
        image = image.convert("RGBA")
    image.info, written = {}, io.BytesIO()
    image.save(written, "TIFF")
    return written.getvalue()


def _directory_alone(data: bytes, page: int) -> bytes:
    """Return a TIFF whose first and last directory is that of a page."""
    order, wide = "<" if data[:1] == b"I" else ">", b"+" in data[2:4]
    offset, number, entry = (f"{order}Q", f"{order}Q", 20) if wide else (f"{order}I", f"{order}H", 12)
    first = pointer = 8 if wide else 4  # where it stands where the next directory begins
    begun: dict[int, None] = {}
    while len(begun) < page:
        try:
            (at,) = struct.unpack_from(offset, data, pointer)
            if at == 0 or at in begun:
                raise _no_such_page(page, len(begun))
            (entries,) = struct.unpack_from(number, data, at)
        except (struct.error, OverflowError) as error:
            raise DataError(f"broken TIFF: page {len(begun) + 1} is cut off; copy it again") from error
        begun[at], pointer = None, at + struct.calcsize(number) + entry * entries
    view, size = memoryview(data), struct.calcsize(offset)
    return b"".join(
        [view[:first], struct.pack(offset, at), view[first + size : pointer], bytes(size), view[pointer + size :]]
    )


def _no_such_page(page: int, there: int) -> DataError:
    return DataError(f"holds {there} page{'s' * (there > 1)}, and page {page} was asked for")


def used(page: int) -> str:
    """Return which page is used, in words."""
    return "the first" if page == 1 else f"page {page}"


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


def noted(sources: Collection[str], page: int) -> tuple[str, ...]:
    """Return what people are told of pictures in files that hold several, of which one page is used."""
    if not sources:
        return ()
    files = f"{len(sources):,} files hold" if len(sources) > 1 else "1 file holds"
    return (f"{files} several pages or frames, of which {used(page)} is used: {min(sources)}",)
