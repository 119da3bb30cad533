"""Pictures of more bands than colours have: satellites, microscopes, multispectral cameras. Read by tifffile."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from resnetkit.data.opening import bands, bit_depth
from resnetkit.errors import DataError, missing_extra

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache


class ManyBands:
    """A picture of `[H, W, B]` uint8 or uint16 values that is resized and cropped as Pillow's are, band by band."""

    mode = "bands"
    is_animated = False

    def __init__(self, values: np.ndarray, *, words: str = "") -> None:
        self.values, self.info = values, dict[str, Any]()
        self.words = words or f"{values.shape[2]} bands"
        self.height, self.width, self.count = values.shape

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    def bits(self) -> int | None:
        """Return the bits that 16-bit values use; None where they have 8."""
        return None if self.values.dtype == np.uint8 else bit_depth.bits_used(self.values)

    def eight_bits(self, *, depth: int | None) -> ManyBands:
        """Return it with 8 bits a value: [0, 2^depth - 1] becomes [0, 255], as `bit_depth.eight_bits` does."""
        if self.values.dtype == np.uint8:
            return self
        return ManyBands(bit_depth.to_pixels(self.values, depth or bit_depth.bits_used(self.values)))

    def resize(self, size: tuple[int, int], resampling: Image.Resampling) -> ManyBands:
        """Return it resized to (width, height), each band as a grey picture."""
        return self._each(lambda band: band.resize(size, resampling))

    def crop(self, box: tuple[int, int, int, int]) -> ManyBands:
        """Return a part of it, black where that lies outside."""
        return self._each(lambda band: band.crop(box))

    def first(self) -> Image.Image:
        """Return its first three bands as a colour picture, to look at, or the first as grey."""
        eight = self.eight_bits(depth=None).values
        return (
            Image.fromarray(np.ascontiguousarray(eight[..., :3])) if self.count >= 3 else Image.fromarray(eight[..., 0])
        )

    def _each(self, change: Any) -> ManyBands:
        assert self.values.dtype == np.uint8, "values are made 8 bits first"
        changed = [np.asarray(change(Image.fromarray(self.values[..., band]))) for band in range(self.count)]
        return ManyBands(np.stack(changed, axis=-1))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype)


def read(data: bytes, more: bands.Beside, *, most: int) -> ManyBands:
    """Return the first page of a TIFF that has `more` bands than colours.

    Raises `DataError` for values that are no whole numbers of 8 or 16 bits and for more than `most` pixels,
    `UsageError` without tifffile.
    """
    try:
        import tifffile
    except ImportError as error:
        raise missing_extra(f"TIFFs of {more.bands} bands", "bands") from error
    try:
        with _silent(), tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            if (pixels := page.imagewidth * page.imagelength) > most:
                raise DataError(f"claims {pixels:,} pixels, more than {most:,} are not opened; make it smaller")
            values, axes = page.asarray(), str(page.axes)
    except DataError:
        raise
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"has {more.words}, which cannot be read ({' '.join(str(error).split())[:100]})") from error
    if values.ndim == 3 and axes.startswith("S"):
        values = np.moveaxis(values, 0, -1)
    if values.ndim != 3 or values.dtype not in (np.uint8, np.uint16):
        raise DataError(f"has {more.bands} bands of {values.dtype}; save it with 8 or 16 bits a band")
    return ManyBands(values, words=more.words)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what tifffile has to say of a file from the terminal."""
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
