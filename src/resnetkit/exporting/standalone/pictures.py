"""Open a picture as the model was trained on it: upright, transparent parts on white, 8 bits."""

import io
import struct

import numpy as np
from PIL import Image, ImageOps

from resnetkit.data.opening.bands import check, in_one_plane
from resnetkit.data.opening.bit_depth import check_values, eight_bits, keep_deep_colours, samples
from resnetkit.data.opening.pages import alone, check_first, count
from resnetkit.data.opening.silence import libraries_silenced
from resnetkit.errors import DataError


def read(data: bytes, channels: int, depth: int | None = None, page: int = 1) -> np.ndarray:
    """Return `[H, W, channels]` uint8 of a picture file's bytes; `page` of several frames, counted from 1.

    `depth`: the bits that 16-bit pictures use; None finds the smallest of 8, 10, 12, 14 and 16 that hold the picture's
    own maximum. Raises `DataError` for values that have no place between black and white, for TIFFs with bands that are
    neither colours nor transparency, for a page there is not, and for an empty first page before one that is not;
    Pillow's errors for the rest.
    """
    with libraries_silenced():
        image = _loaded(data, page)
        if (values := samples(image)) is not None:
            check_values(values)
        flat = _in_mode(eight_bits(image, depth=depth), "RGB" if channels == 3 else "L")
        try:
            flat.getexif().update(image.getexif())
            flat = ImageOps.exif_transpose(flat)
        except (SyntaxError, OSError, ValueError, TypeError, KeyError, struct.error):
            pass  # broken notes: the picture is taken as it lies
        array = np.asarray(flat)
    return array.reshape(*array.shape[:2], channels)


def read_values(data: bytes, page: int = 1) -> np.ndarray:
    """Return the values `[H, W, 1]` float32 of a grey picture of more than 8 bits, upright, for a model with windows.

    Raises as `read` does, and `DataError` for other pictures.
    """
    with libraries_silenced():
        image = _loaded(data, page)
        try:
            image = ImageOps.exif_transpose(image)
        except (SyntaxError, OSError, ValueError, TypeError, KeyError, struct.error):
            pass
        values = samples(image)
    if values is None or values.ndim != 2:
        raise DataError("holds no greys of more than 8 bits, which the model reads")
    if not np.isfinite(values).all():
        raise DataError("holds NaN or infinite values; replace them, or leave it out")
    return values.astype(np.float32)[..., None]


def _loaded(data: bytes, page: int) -> Image.Image:
    data = data if page == 1 else alone(data, page, lambda: _opened(data))
    check(data)  # before Pillow, which has no words for many bands
    image = _opened(data)
    keep_deep_colours(image, lambda: _opened(data))
    if holds_several(data):
        check_first(image, lambda: _opened(data))
    return image


def holds_several(data: bytes) -> bool:
    """Return whether a file holds several frames or pages, of which `read` returns the first."""
    try:
        with libraries_silenced():
            return count(_opened(data)) > 1
    except (OSError, SyntaxError, ValueError, EOFError, struct.error):
        return False


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(in_one_plane(data)))


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    transparent = image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if transparent:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    elif image.mode not in ("1", "L", "P", "RGB"):
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)
