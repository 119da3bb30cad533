"""Which TIFFs are pictures: those whose bands are grey, RGB or the like, with or without transparency.

Pillow takes the first bands of others for RGB, in silence: a fourth of near infrared for transparency or for nothing.
"""

from __future__ import annotations

import io
import struct
from typing import Any, NamedTuple

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from resnetkit.errors import DataError

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache

_BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, _EXTRA, _FORMAT = 258, 262, 277, 284, 338, 339
_NUMBERS = {1: "", 2: "signed ", 3: "float "}  # of SampleFormat
_COLOURS = {
    0: ("grey", 1), 1: ("grey", 1), 2: ("RGB", 3), 3: ("a palette", 1), 5: ("CMYK", 4), 6: ("YCbCr", 3), 8: ("Lab", 3),
}  # fmt: skip
_WITH_ALPHA = (0, 1, 2, 3)  # the kinds of colours that transparency is read beside
_ALPHA = (1, 2)  # of ExtraSamples: associated or not; 0 says nothing


class Beside(NamedTuple):
    """How many bands a picture has, and in words which of them are no colours."""

    bands: int
    words: str


def beside(tags: Any) -> Beside | None:
    """Return what a TIFF has beside its colours that is not said to be transparency, None where there is nothing."""
    photometric, samples = tags.get(_PHOTOMETRIC, 0), tags.get(_SAMPLES, 1)
    if photometric not in _COLOURS or not isinstance(samples, int):
        return None  # Pillow knows what to say
    name, colours = _COLOURS[photometric]
    more, kinds = samples - colours, _several(tags.get(_EXTRA, ()))
    if more > 1 or (more == 1 and not (photometric in _WITH_ALPHA and kinds[:1] and kinds[0] in _ALPHA)):
        are = "is" if more == 1 else "are"
        return Beside(samples, f"{samples} bands, {name} and {more} that {are} not said to be transparency")
    return None


def check(data: bytes) -> None:
    """Raise `DataError` for a TIFF with bands beside its colours, and as `check_numbers` does."""
    tags = first_directory(data)
    if (more := beside(tags)) is not None:
        raise DataError(f"has {more.words}; save those that count as an RGB or grey picture")
    check_numbers(tags)


def check_numbers(tags: Any) -> None:
    """Raise `DataError` for a TIFF of numbers that Pillow has no mode for, such as colours in floating point."""
    photometric, samples = tags.get(_PHOTOMETRIC, 0), tags.get(_SAMPLES, 1)
    if photometric not in _COLOURS or not isinstance(samples, int):
        return
    colours = _COLOURS[photometric][1]
    bits, numbers = max(_several(tags.get(_BITS, 1))), _several(tags.get(_FORMAT, 1))[0]
    # Pillow takes signed greys of 8 bits for those without a sign.
    unread = numbers in (2, 3) or bits > 16 if samples > 1 else {2: bits <= 8, 3: bits != 32}.get(numbers, False)
    if unread and numbers in _NUMBERS:
        what = "colours" if colours > 1 else "greys"
        other = ", or as TIFF with 16 signed or 32 float ones" if colours == 1 else ""
        raise DataError(f"{bits}-bit {_NUMBERS[numbers]}{what} are not read; save it with 8 or 16 bits, as PNG{other}")


def are_signed(tags: Any) -> bool:
    """Tell whether a TIFF says that its numbers may be negative."""
    return _several(tags.get(_FORMAT, 1))[0] == 2


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def in_one_plane(data: bytes) -> bytes:
    """Return a file's bytes, of a TIFF with one sample a pixel without word of planes, which Pillow takes amiss."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return data
    order, found = "<" if data[:1] == b"I" else ">", {}
    try:
        (at,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, at)
        for place in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", data, place)
            if tag in (_SAMPLES, _PLANES):
                letter = order + ("H" if kind == 3 else "I")
                found[tag] = letter, place + 8, struct.unpack_from(letter, data, place + 8)[0]
    except struct.error:
        return data
    letter, place, planes = found.get(_PLANES, ("", 0, 1))
    if planes == 1 or (_SAMPLES in found and found[_SAMPLES][2] != 1):
        return data
    return data[:place] + struct.pack(letter, 1) + data[place + struct.calcsize(letter) :]


def first_directory(data: bytes) -> Any:
    """Return the tags of the first page of a TIFF, empty where they cannot be read."""
    try:
        header = data[: 16 if data[2:3] == b"+" or data[3:4] == b"+" else 8]
        tags: Any = ImageFileDirectory_v2(header)
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        return tags
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return {}
