"""Which TIFFs are pictures: those whose bands are grey, RGB or the like, with or without transparency.

Pillow takes the first bands of others for RGB, in silence: a fourth of near infrared for transparency or for nothing.
"""

from __future__ import annotations

import io
import struct
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from resnetkit.errors import DataError

_PHOTOMETRIC, _SAMPLES, _EXTRA = 262, 277, 338
_COLOURS = {
    0: ("grey", 1), 1: ("grey", 1), 2: ("RGB", 3), 3: ("a palette", 1), 5: ("CMYK", 4), 6: ("YCbCr", 3), 8: ("Lab", 3),
}  # fmt: skip
_WITH_ALPHA = (0, 1, 2, 3)  # the kinds of colours that transparency is read beside
_ALPHA = (1, 2)  # of ExtraSamples: associated or not; 0 says nothing


def check(data: bytes) -> None:
    """Raise `DataError` for a TIFF with bands beside its colours that are not said to be transparency."""
    tags = first_directory(data)
    photometric, samples = tags.get(_PHOTOMETRIC, 0), tags.get(_SAMPLES, 1)
    if photometric not in _COLOURS or not isinstance(samples, int):
        return  # Pillow knows what to say
    name, colours = _COLOURS[photometric]
    more, extra = samples - colours, tags.get(_EXTRA, ())
    kinds = extra if isinstance(extra, tuple) else (extra,)
    if more > 1 or (more == 1 and not (photometric in _WITH_ALPHA and kinds[:1] and kinds[0] in _ALPHA)):
        raise DataError(
            f"has {samples} bands, {name} and {more} that {'is' if more == 1 else 'are'} not said to be transparency; "
            "save those that count as an RGB or grey picture"
        )


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
