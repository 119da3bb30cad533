"""Open a picture as the model was trained on it: upright, transparent parts on white, 8 bits."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps


def read(file: str | Path | BinaryIO, channels: int, depth: int | None = None) -> np.ndarray:
    """Return `[H, W, channels]` uint8 of a picture file (a path or an open file); the first of several frames.

    `depth`: the bits that 16-bit greys use; None finds the smallest of 8, 10, 12, 14 and 16 that hold the picture's
    own maximum. Raises `ValueError` for values that have no place between black and white, for 16-bit colours, of
    which Pillow reads half the bits, and for TIFFs with bands that are neither colours nor transparency.
    """
    with Image.open(file) as opened:
        if _unnamed_bands(opened):
            raise ValueError("holds bands that are neither colours nor transparency: save it as an RGB picture")
        if _sixteen_bit_colours(opened):
            raise ValueError("16-bit colours: save it with 8 bits, or use resnetkit")
        opened.load()
        image = _in_mode(_eight_bits(opened, depth), "RGB" if channels == 3 else "L")
        try:
            image = ImageOps.exif_transpose(image)
        except (SyntaxError, OSError, ValueError, TypeError, KeyError):
            pass  # broken notes: the picture is taken as it lies
        array = np.asarray(image)
    return array.reshape(*array.shape[:2], channels)


def _sixteen_bit_colours(image: Image.Image) -> bool:
    tiles = [tile[3][0] if isinstance(tile[3], tuple) and tile[3] else tile[3] for tile in getattr(image, "tile", [])]
    return any(isinstance(raw, str) and ";16" in raw and not raw.startswith("I;16") for raw in tiles)


def _unnamed_bands(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    photometric, extra = tags.get(262, 0), tags.get(338, ())
    more = tags.get(277, 1) - {2: 3, 5: 4, 6: 3, 8: 3}.get(photometric, 1)
    first = extra[0] if isinstance(extra, tuple) and extra else extra
    return more > 1 or (more == 1 and not (photometric < 4 and first in (1, 2)))


def _eight_bits(image: Image.Image, depth: int | None) -> Image.Image:
    if not (image.mode.startswith("I;16") or image.mode in ("I", "F")):
        return image
    values = np.asarray(image)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 65535:
        raise ValueError("holds values below 0 or above 65535")
    if values.dtype.kind == "f" and values.max() <= 1:
        factor = 255.0
    else:
        depth = depth or next(bits for bits in (8, 10, 12, 14, 16) if values.max() <= 2**bits - 1 or bits == 16)
        factor = 255 / (2**depth - 1)
    pixels = np.minimum(np.floor(values.astype(np.float64) * factor + 0.5), 255).astype(np.uint8)
    made = Image.fromarray(pixels)
    made.info = {key: value for key, value in image.info.items() if key != "transparency"}
    made.getexif().update(image.getexif())
    return made


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    exif = image.getexif()
    if image.mode == "La":
        image = image.convert("LA")
    transparent = image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if transparent:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    elif image.mode not in ("1", "L", "P", "RGB"):
        image = image.convert("RGB")
    image = image if image.mode == mode else image.convert(mode)
    image.getexif().update(exif)
    return image
