"""Pictures of one measured value a pixel, that a window makes visible: DICOM's greys and others of more than 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from resnetkit.data.opening import windows
from resnetkit.data.opening.many_bands import ManyBands
from resnetkit.errors import DataError

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache


class Measured:
    """A picture of `[H, W]` values of any number type, in the unit of whatever measured them.

    `own`: the window that is taken where none is asked for. `padding`: `[H, W]` bool, where nothing was measured; black
    in every window. `inverted`: high values are dark. `square`: its (width, height) with square pixels, to which its
    windows are resized, where that is another than of the values. `refused`: what to say where no window is asked for,
    of values that came without a word of what is black and white; `own` is then for people to look at them.
    """

    mode = "measured"
    is_animated = False

    def __init__(
        self, values: np.ndarray, *, own: windows.Levels, inverted: bool = False, padding: np.ndarray | None = None,
        square: tuple[int, int] | None = None, refused: str | None = None,
    ) -> None:  # fmt: skip
        self.values, self.own, self.inverted, self.padding = values, own, inverted, padding
        self.refused = refused
        self.info = dict[str, Any]()
        self.width, self.height = square or values.shape[::-1]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, with square pixels."""
        return self.width, self.height

    def windowed(self, asked: tuple[str, ...]) -> Image.Image | ManyBands:
        """Return what the windows (`windows.normal`) show: one as grey, three as RGB, others as so many bands.

        A pixel is its level rounded half up. Without a window the picture's `own` is taken; raises `DataError` where
        that is `refused`.
        """
        if self.refused and not asked:
            raise DataError(self.refused)
        seen = [self._seen(windows.given(one) or self.own) for one in asked] or [self.shown()]
        if len(seen) == 1:
            return seen[0]
        if len(seen) == 3:
            return Image.merge("RGB", seen)
        return ManyBands(np.stack([np.asarray(one) for one in seen], axis=-1))

    def shown(self) -> Image.Image:
        """Return what its own window shows, for people to look at."""
        return self._seen(self.own)

    def _seen(self, window: windows.Levels) -> Image.Image:
        levels = window(self.values)
        if self.inverted:
            levels = 255 - levels
        pixels = np.floor(levels + 0.5).astype(np.uint8)
        if self.padding is not None:
            pixels[self.padding] = 0
        image = Image.fromarray(pixels)
        return image if image.size == self.size else image.resize(self.size, Image.Resampling.BILINEAR)


def of_values(values: np.ndarray, *, refused: str | None = None) -> Measured:
    """Return `[H, W]` values of a file that says nothing of a window: its own is from their least to their largest.

    Raises `DataError` for values that are no numbers.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError("holds NaN or infinite values; replace them, or leave it out")
    own = windows.Between(float(values.min()), float(values.max()))
    return Measured(values, own=own, refused=refused)


def without_a_window(values: np.ndarray) -> str:
    """Return what to say of values that came without a word of what is black and white."""
    return (
        f"holds {values.dtype} values, and nothing says which of them are black and white: --set "
        "preprocess.windows='CENTRE WIDTH', or bring them into 0 to 255 as uint8"
    )
