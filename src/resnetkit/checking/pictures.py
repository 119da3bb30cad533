"""One picture at a time: can it be read, is it what its name says, does it show anything."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from resnetkit.data import splits
from resnetkit.data.copies import near_copies
from resnetkit.data.dataset import Dataset, Item, decoded
from resnetkit.data.decoded import contents
from resnetkit.data.decoded.contents import Content
from resnetkit.data.decoded.survey import reason
from resnetkit.data.opening import images, pages, signatures
from resnetkit.data.opening.burnt_in import burnt_in
from resnetkit.data.opening.many_bands import ManyBands
from resnetkit.data.opening.measured import Measured
from resnetkit.errors import ResNetKitError, missing_extra
from resnetkit.words import one_line

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "PNG": (".png", ".apng"), "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"), "ICO": (".ico",), "JPEG2000": (".jp2", ".j2k", ".jpx", ".j2c"), "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"), "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}  # fmt: skip
_MODES = {
    "1": "black and white only", "CMYK": "colours for printing (CMYK)", "F": "fractions in place of greys",
    "I": "32-bit greys", "I;16": "16-bit greys", "I;16B": "16-bit greys", "LA": "grey with transparency",
    "LAB": "LAB colours", "P": "a palette of at most 256 colours", "PA": "a palette with transparency",
    "RGBA": "transparency", "YCbCr": "YCbCr colours", "HSV": "HSV colours",
}  # fmt: skip
_TURNS = {
    2: "mirrored",
    3: "180°",
    4: "upside down",
    5: "mirrored and 90°",
    6: "90°",
    7: "mirrored and 270°",
    8: "270°",
}
_BLANK_SPREAD = 2.0  # grey levels, standard deviation: below, nothing is to be seen
_DARK = 50  # grey level: 99 % of an over-dark picture are darker
_LARGEST = 512  # side that sharpness is measured at, at most


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one picture is: `digest` of its file, `content` of what it shows; `problems` are pairs (kind, words).

    `thumbnail` as `near_copies` takes it, None where the picture cannot be read or is smaller than that can tell apart;
    `sharpness` is the logarithm of how much of its contrast lies between neighbouring pixels, None for a blank one.
    """

    digest: str | None = None
    content: Content | None = None
    bits: int | None = None
    sharpness: float | None = None
    thumbnail: np.ndarray | None = field(default=None, repr=False)
    problems: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height), upright; None where it cannot be read."""
        return None if self.content is None else self.content.size

    @property
    def identity(self) -> str | None:
        """What is equal for pictures of equal pixels, None where it cannot be read."""
        return None if self.content is None else self.content.pixels


def look(dataset: Dataset, item: Item) -> Look:
    """Read and decode one picture and say what is wrong with it; nothing stops at a picture that cannot be read."""
    digest = None
    try:
        data = dataset.read(item)
        digest = splits.digest(data)
        image = decoded(data, name=item.source)
        looked = images.to_look_at(image) if isinstance(image, Measured) else image
        upright = images.convert(looked, mode="RGB", depth=None)
        assert not isinstance(image, ManyBands), "these cannot be converted"
        problems = [] if isinstance(data, np.ndarray) else _of_file(data, image, item, dataset.page)
        bits = None if isinstance(data, np.ndarray) else images.bits(data, name=item.source)
    except ResNetKitError as error:
        return Look(digest=digest, problems=(("unreadable", reason(error, item)),))
    sharpness, of_pixels = _of_pixels(upright)
    return Look(
        digest=digest, content=contents.content_of(upright), bits=bits, sharpness=sharpness,
        thumbnail=near_copies.thumbnail(upright), problems=(*problems, *of_pixels),
    )  # fmt: skip


def _of_file(data: bytes, image: images.Opened, item: Item, page: int) -> list[tuple[str, str]]:
    found = []
    kind = signatures.picture_format(data)
    suffix = os.path.splitext(item.source)[1].lower()
    if kind not in (None, "DICOM") and page == 1 and suffix not in _SUFFIXES[kind]:
        found.append(("wrong suffix", f"is {kind}, not {suffix.removeprefix('.') or 'without a suffix'}"))
    turn = _TURNS.get(images.orientation(image))
    if turn:
        found.append(("rotated", f"EXIF says {turn}; programs that ignore it see it turned"))
    if image.mode in _MODES:
        found.append(("odd mode", f"holds {_MODES[image.mode]}"))
    if page > 1 or images.has_several(data):
        found.append(("several pages", f"holds several pages or frames: {pages.used(page)} is used"))
    if kind == "DICOM" and (text := burnt_in(data, image)):
        found.append(("burnt-in text", f"{text}; it may tell who is pictured"))
    if kind == "JPEG" and (damage := _scan_damage(data)):
        found.append(("damaged", damage))
    return found


def can_see_damage() -> bool:
    """Tell whether damaged scan data of JPEG files is looked for: it needs an optional package."""
    return importlib.util.find_spec("simplejpeg") is not None


def damage_is_not_seen() -> str:
    """Return what is said where it is not."""
    return str(missing_extra("not looked for: damaged scan data of JPEG files, which", "check")).replace(
        "need", "needs"
    )


def _scan_damage(data: bytes) -> str | None:
    """Return what the JPEG library warns of, which Pillow passes over: such a picture ends in grey or shifted bands."""
    if not can_see_damage():
        return None
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(data, colorspace="GRAY", min_factor=8, fastdct=True, strict=True)
    except ValueError as error:
        words = one_line(str(error))
        return None if "unsupported" in words.lower() else f"decodes, but its data is damaged ({words})"
    return None


def _of_pixels(image: Image.Image) -> tuple[float | None, list[tuple[str, str]]]:
    """Return how sharp the picture is, and whether it is blank or dark."""
    grey = image.convert("L")
    grey.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BOX)
    values = np.asarray(grey, np.float32)
    spread = float(values.std())
    if spread < _BLANK_SPREAD:
        return None, [("blank", f"shows nothing: all of it is about grey {values.mean():.0f} of 255")]
    dark = float(np.quantile(values, 0.99))
    problems = [("dark", f"99 % of it is darker than grey {dark:.0f} of 255")] if dark < _DARK else []
    if min(values.shape) < 3:
        return None, problems
    inner = values[1:-1, 1:-1]
    edges = 4 * inner - values[:-2, 1:-1] - values[2:, 1:-1] - values[1:-1, :-2] - values[1:-1, 2:]
    return float(np.log((edges.var() + 1e-3) / spread**2)), problems
