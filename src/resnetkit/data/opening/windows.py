"""Windows: which measured values are black and which are white, by name, by numbers or as a file says.

A picture of 12 or 16 bits, as a CT slice in Hounsfield units, holds more levels than eyes and networks of 8 bits see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from resnetkit.errors import UsageError, near_miss

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache

# Maps values of any shape to levels from 0, black, to 255, white: float64, not yet rounded.
Levels = Callable[[np.ndarray], np.ndarray]

FILE = "file"  # the file's own window, in place of a name
# Centre and width in Hounsfield units of CT: radiopaedia.org/articles/windowing-ct; of a range its middle.
PRESETS = {
    "lung": (-600.0, 1500.0),
    "mediastinum": (50.0, 350.0),
    "bone": (400.0, 1800.0),
    "soft-tissue": (40.0, 375.0),
    "abdomen": (50.0, 400.0),
    "liver": (30.0, 150.0),
    "brain": (40.0, 80.0),
    "stroke": (40.0, 40.0),
}


@dataclass(frozen=True, slots=True)
class Window:
    """A window by DICOM's functions (PS3.3 C.11.2.1.2 and C.11.2.1.3); `LINEAR` needs a width of at least 1."""

    centre: float
    width: float
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"] = "LINEAR_EXACT"

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return levels."""
        if self.function == "SIGMOID":
            # 255 / (1 + exp(-4 (x - c) / w)), which overflows far from the centre.
            return 127.5 * (1 + np.tanh(2 * (values.astype(np.float64) - self.centre) / self.width))
        if self.function == "LINEAR":
            return Between(self.centre - self.width / 2, self.centre + self.width / 2 - 1)(values)
        return Between(self.centre - self.width / 2, self.centre + self.width / 2)(values)


@dataclass(frozen=True, slots=True)
class Between:
    """From `low`, black, to `high`, white; where they are the same, all that is above it is white."""

    low: float
    high: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return levels."""
        values = values.astype(np.float64)
        if self.low == self.high:
            return np.where(values > self.low, 255.0, 0.0)
        values -= self.low
        values *= 255  # before the division, so that halves of levels are exact where values are whole
        values /= self.high - self.low
        return np.clip(values, 0, 255, out=values)


@dataclass(frozen=True, slots=True)
class Table:
    """A list of entries, `[N]` whole numbers of so many `bits`, of which the first is for values up to `first`."""

    first: int
    entries: np.ndarray
    bits: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return levels."""
        places = np.clip(np.rint(values.astype(np.float64)) - self.first, 0, len(self.entries) - 1)
        return np.clip(self.entries[places.astype(np.intp)] * 255 / (2**self.bits - 1), 0, 255)


def all_normal(asked: Iterable[str]) -> tuple[str, ...]:
    """Return windows as they are stored; `none` alone is none. Raises `UsageError` as `normal` does."""
    asked = tuple(asked)
    return () if asked == ("none",) else tuple(map(normal, asked))


def normal(text: str) -> str:
    """Return a window as it is stored: `file`, or centre and width in numbers, also where it has a name.

    So what a checkpoint means never depends on a table of names. Raises `UsageError` for anything else.

    >>> normal("lung"), normal(" 40  400.0 "), normal("file")
    ('-600 1500', '40 400', 'file')
    """
    word = text.strip().casefold().replace(" ", "-").replace("_", "-")
    if word == FILE:
        return FILE
    try:
        centre, width = PRESETS[word] if word in PRESETS else map(float, text.split())
    except ValueError:
        known = (*PRESETS, FILE)
        raise UsageError(
            f"unknown window {text!r}: choose {', '.join(known)}, or write centre and width, as '40 400'"
            f"{near_miss(word, known)}"
        ) from None
    if not (math.isfinite(centre) and math.isfinite(width) and width > 0):
        raise UsageError(f"a window's width must be above 0, and both numbers finite, not {text!r}")
    return f"{centre:.12g} {width:.12g}"


def given(text: str) -> Window | None:
    """Return the window that `normal` wrote, None for the file's own."""
    if text == FILE:
        return None
    centre, width = map(float, text.split())
    return Window(centre, width)
