"""Open any picture a person has, one way everywhere: bytes to a loaded Pillow image, and that to RGB or grey pixels."""

from __future__ import annotations

import importlib
import importlib.util
import io
import zlib
from typing import Any, Literal, cast

import numpy as np
from PIL import Image

from resnetkit.data.opening import bands, bit_depth, claims, dicom, many_bands, measured, pages, signatures
from resnetkit.data.opening.failures import BROKEN, one_line, reason, told
from resnetkit.data.opening.many_bands import ManyBands
from resnetkit.data.opening.measured import Measured
from resnetkit.data.opening.silence import libraries_silenced
from resnetkit.errors import DataError, ResNetKitError, missing_extra

Shown = Image.Image | ManyBands
Opened = Shown | Measured

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache

# fmt: off
IMAGE_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
    ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".ico", ".jp2", ".j2k", ".jpx", ".j2c", ".avif", ".heic", ".heif", ".hif",
    ".dcm", ".dicom", ".ima",
))
# fmt: on

_PLUGINS = {
    "JPEG": "JpegImagePlugin",
    "PNG": "PngImagePlugin",
    "GIF": "GifImagePlugin",
    "BMP": "BmpImagePlugin",
    "PPM": "PpmImagePlugin",
    "TIFF": "TiffImagePlugin",
    "WEBP": "WebPImagePlugin",
    "ICO": "IcoImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "AVIF": "AvifImagePlugin",
}
_EIGHT_BIT = {"JPEG", "GIF", "BMP", "WEBP", "ICO", "AVIF"}
UPRIGHT = {  # what brings a picture of an EXIF orientation upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG_TURNED = (b"eXIf", b"exif", b"tiff:Orientation")  # what a PNG holds that says how it is turned


def decode(data: bytes, *, name: str, at_least: int | None = None) -> Opened:
    """Return the picture in `data`, completely loaded; of several frames or pages the first.

    The content decides, not the suffix of `name`. 16-bit colours stay with the image for `convert`. With `at_least` a
    JPEG is decoded at 1/2, 1/4 or 1/8 of its size while its shorter side stays at least that (Pillow's `draft`: the
    decoder leaves out what would be thrown away); near the pixels of the full decoding, not equal to them, so for
    training only. Raises `DataError`, one line that starts with `name`, for broken, foreign, oversized files;
    `UsageError` when HEIC needs its extra.
    """
    return _read(data, name=name, load=True, at_least=at_least)


def of_array(values: np.ndarray, *, name: str) -> Opened:
    """Return a picture of an array: `[H, W]` or `[H, W, 3]` uint8 as it is, `[H, W]` of other numbers as measured ones.

    Raises `DataError` for values that are no numbers.
    """
    if values.dtype == np.uint8:
        return Image.fromarray(values)
    try:
        return measured.of_values(values, refused=measured.without_a_window(values))
    except DataError as error:
        raise DataError(f"{one_line(name)}: {error}") from error


def of_page(data: bytes, *, name: str, page: int) -> bytes:
    """Return a file of one page or frame of a file, counted from 1, for `decode` and the rest; of the first `data`.

    Raises as `decode` does, and `DataError` where there is no such page.
    """
    return data if page == 1 else alone(data, name=name, number=page)


def alone(data: bytes, *, name: str, number: int) -> bytes:
    """Return a file of one page or frame of a file, counted from 1; raises as `of_page` does."""
    shown = one_line(name)
    kind = _recognised(data, shown)

    def opened() -> Image.Image:
        image = _open(data, kind)
        _check_claimed_size(image, len(data))
        return image

    with told(shown, kind):
        if kind == "DICOM":
            return dicom.alone(data, number)
        return pages.alone(data, number, opened)


def bits(data: bytes, *, name: str) -> int | None:
    """Return how many bits (8, 10, 12, 14, 16) the samples of a 16-bit picture use, or None for an 8-bit picture.

    Only the header is read of 8-bit pictures, so a broken one may pass; otherwise raises as `decode` does.
    """
    kind = signatures.picture_format(data)
    if kind in _EIGHT_BIT or kind == "DICOM" or (kind == "PNG" and data[24:25] != b"\x10"):
        return None
    image = _read(data, name=name, load=False)
    assert not isinstance(image, Measured), "windows make 8 bits of these"
    if isinstance(image, ManyBands):
        return image.bits()
    if not bit_depth.is_deep(image):
        return None
    whole = decode(data, name=name)
    return bit_depth.bits_of(whole) if isinstance(whole, Image.Image) else None


def size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) from the header, not yet upright; None where that cannot be read."""
    try:
        return frame(data, name="")[:2] if signatures.is_dicom(data) else _read(data, name="", load=False).size
    except ResNetKitError:
        return None


def frame(data: bytes, *, name: str) -> tuple[int, int, int]:
    """Return width and height of the upright picture, and the EXIF orientation of the file, from its header.

    The beginning of a JPEG is enough. Raises as `decode` does, where the header cannot be read.
    """
    kind = signatures.picture_format(data)
    if kind == "DICOM":
        with told(one_line(name), kind):
            return *dicom.size(data), 1
    image = _read(data, name=name, load=False)
    # Pillow decodes a whole PNG to look for notes, and swaps the sides of a TIFF itself.
    turn = 1 if kind == "PNG" and not any(note in data for note in _PNG_TURNED) else orientation(image)
    width, height = image.size
    return (height, width, turn) if turn >= 5 and kind != "TIFF" else (width, height, turn)


def has_several(data: bytes) -> bool:
    """Return whether a file holds several frames or pages, of which `decode` returns the first; raises nothing."""
    kind = signatures.picture_format(data)
    if kind is None or not (kind == "DICOM" or pages.may_be_several(data, kind)):
        return False
    try:
        with libraries_silenced():
            return (dicom.count(data) if kind == "DICOM" else pages.count(_open(data, kind))) > 1
    except (*BROKEN, ResNetKitError):
        return False


def count(data: bytes) -> int:
    """Return how many pages or frames a file has, from its header; 1 of JPEGs, whose second is a part of the first.

    Raises `DataError` where that cannot be told.
    """
    kind = signatures.picture_format(data)
    if kind == "DICOM":
        with told("", kind):
            return dicom.count(data)
    if kind is None or kind == "JPEG" or not pages.may_be_several(data, kind):
        return 1
    with told("", kind):
        return pages.count(_open(data, kind))


def convert(image: Opened, *, mode: Literal["RGB", "L"], depth: int | None) -> Image.Image:
    """Return the picture upright (EXIF orientation applied) and in `mode`, by the rules of docs/images.md.

    `depth`: the bits that the samples of 16-bit pictures use; None finds them in each picture. Raises `DataError` for
    values that have no place between black and white (NaN, negative, above 65535) or need a window, and for more bands
    than colours.
    """
    if isinstance(image, ManyBands):
        raise DataError(
            f"the picture has {image.words}: --set preprocess.channels={image.count} trains on all of them, or save "
            "those that count as an RGB or grey picture"
        )
    if isinstance(image, Measured):
        image = image.windowed(())
        assert isinstance(image, Image.Image), "its own window is one"
    try:
        with libraries_silenced():
            image.load()
            turn = UPRIGHT.get(orientation(image))
            flat = _flat(bit_depth.eight_bits(image, depth=depth), mode)
            return flat if turn is None else flat.transpose(turn)
    except DataError as error:
        raise DataError(f"the picture {error}") from error
    except BROKEN as error:
        raise DataError(f"the picture cannot be converted to {mode} ({reason(error)})") from error


def measured_values(image: Opened) -> Measured:
    """Return a picture as measured values that windows show, upright: greys of DICOM and of more than 8 bits.

    Raises `DataError` for other pictures.
    """
    if isinstance(image, Image.Image) and bit_depth.is_deep(image) and (values := _upright_values(image)) is not None:
        return measured.of_values(values)
    if not isinstance(image, Measured):
        raise DataError(
            "the picture holds no greys of more than 8 bits, and windows are for such and for DICOM: leave it out, or "
            "leave preprocess.windows out"
        )
    return image


def _upright_values(image: Image.Image) -> np.ndarray | None:
    """Return `[H, W]` values of more than 8 bits, None where these are colours."""
    turn = UPRIGHT.get(orientation(image))
    values = bit_depth.samples(image if turn is None else image.transpose(turn))
    return values if values is not None and values.ndim == 2 else None


def to_look_at(image: Opened) -> Image.Image:
    """Return a picture as one that can be shown: of many bands the first three, of measured values its own window."""
    if isinstance(image, Measured):
        return image.shown()
    return image.first() if isinstance(image, ManyBands) else image


def upright_size(image: Opened) -> tuple[int, int]:
    """Return (width, height) of a picture when it is upright."""
    width, height = image.size
    return (height, width) if orientation(image) >= 5 else (width, height)  # from there on it lies on its side


def orientation(image: Opened) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is absent or the EXIF data are broken."""
    if not isinstance(image, Image.Image):
        return 1
    try:
        value: Any = image.getexif().get(0x0112, 1)
    except BROKEN:
        return 1  # a photo is not refused for its notes
    return value if isinstance(value, int) and value in UPRIGHT else 1


def _read(data: bytes, *, name: str, load: bool, at_least: int | None = None) -> Opened:
    shown = one_line(name)
    kind = _recognised(data, shown)
    with told(shown, kind):
        if kind == "DICOM":
            return dicom.read(data)
        if kind == "TIFF":
            tags = bands.first_directory(data)
            if (more := bands.beside(tags)) is not None:
                return many_bands.read(data, more, most=claims.MAX_PIXELS)
            bands.check_numbers(tags)
        image = _open(data, kind)
        _check_claimed_size(image, len(data))
        _check_not_raw(image)
        if at_least and kind == "JPEG":
            image.draft(None, (at_least, at_least))
        if load:
            _load(image, data, kind)
            if pages.may_be_several(data, kind):
                pages.check_first(image, lambda: _open(data, kind))
            if kind == "TIFF" and (beyond := _beyond_greys(image, tags)) is not None:
                return beyond
        return image


def _recognised(data: bytes, shown: str) -> str:
    """Return the format's name, or raise what the file seems to be instead."""
    if not data:
        raise DataError(f"{shown}: is empty (0 bytes); copy it again or leave it out")
    kind = signatures.picture_format(data)
    if kind is None:
        what, remedy = signatures.foreign(data)
        raise DataError(f"{shown}: seems to be {what}; {remedy}")
    if kind == "HEIF" and importlib.util.find_spec("pillow_heif") is None:
        raise missing_extra(f"{shown}: HEIC photos", "heic")
    return kind


def _open(data: bytes, kind: str) -> Image.Image:
    if kind == "HEIF":
        from pillow_heif import HeifImageFile  # the class itself: registering it would change Pillow for everyone

        return cast(Image.Image, HeifImageFile(io.BytesIO(data)))
    importlib.import_module(f"PIL.{_PLUGINS[kind]}")
    read_header, _ = Image.OPEN[kind]  # `Image.open` would swallow the reason why a header is refused
    sound = {"PNG": _sound_png, "TIFF": bands.in_one_plane}.get(kind, bytes)
    return cast(Image.Image, read_header(io.BytesIO(sound(data)), ""))


def _sound_png(data: bytes) -> bytes:
    """Verify the checksums of the chunks that hold the picture, and leave out notes and broken extras.

    Pillow does not verify the pixels' checksum, but refuses a picture for a long comment or a broken colour profile.
    """
    at, view, kept, found = 8, memoryview(data), [memoryview(data)[:8]], False
    while at + 12 <= len(data):
        name, end = bytes(view[at + 4 : at + 8]), at + 12 + int.from_bytes(view[at : at + 4], "big")
        found = found or name == b"IDAT"
        sound = end > len(data) or zlib.crc32(view[at + 4 : end - 4]) == int.from_bytes(view[end - 4 : end], "big")
        extra = bool(name[0] & 0x20)
        if not sound and not extra:
            raise DataError(f"broken PNG: wrong checksum in {one_line(name.decode('latin-1'))}; copy it again")
        if not extra or (sound and not _is_note(name, bytes(view[at + 8 : at + 32]))):
            kept.append(view[at:end])
        at = end
    if not found:
        raise DataError("broken PNG without pixels; copy it again or leave it out")
    return b"".join([*kept, view[at:]])


def _is_note(name: bytes, start: bytes) -> bool:
    """Tell chunks that do not change the picture; those that may hold its orientation stay."""
    orientation = start.startswith((b"Raw profile type exif", b"XML:com.adobe.xmp"))
    return name == b"iCCP" or (name in (b"tEXt", b"zTXt", b"iTXt") and not orientation)


def _check_claimed_size(image: Image.Image, num_bytes: int) -> None:
    samples = 1 / 8 if image.mode == "1" else len(image.getbands())
    claims.check(image.width, image.height, samples=samples, num_bytes=num_bytes)


def _check_not_raw(image: Image.Image) -> None:
    """Refuse camera RAW files that are TIFF inside (DNG, NEF, ARW): their first page is only a thumbnail."""
    tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    if tags and (50706 in tags or (tags.get(254, 0) & 1 and 330 in tags)):
        raise DataError(f"seems to be a camera's RAW file; {signatures.PICTURE}")


def _load(image: Image.Image, data: bytes, kind: str) -> None:
    bit_depth.keep_deep_colours(image, lambda: _open(data, kind))
    values = bit_depth.samples(image)
    if values is not None and kind != "TIFF":
        bit_depth.check_values(values)
    transparent = image.info.get("transparency")
    if kind == "PNG" and image.mode == "L" and isinstance(transparent, int) and data[24] in (2, 4):
        # Pillow stretches 2- and 4-bit greys to [0, 255] but leaves the transparent grey as it was written.
        image.info["transparency"] = transparent * 255 // (2 ** data[24] - 1)


def _beyond_greys(image: Image.Image, tags: Any) -> Measured | None:
    """Return the values of a loaded TIFF, upright, where some have no place between black and white.

    Raises `DataError` for colours that have none, for NaN, and for whole numbers without a sign that Pillow gave one.
    """
    values = bit_depth.samples(image)
    if values is None:
        return None
    try:
        bit_depth.check_values(values)
    except DataError as error:
        wrapped = values.dtype.kind != "f" and values.min() < 0 and not bands.are_signed(tags)
        upright = None if wrapped else _upright_values(image)
        if upright is None or not np.isfinite(upright).all():
            raise
        return measured.of_values(upright, refused=str(error))
    return None


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """Return an 8-bit picture in `mode`, transparent parts on white."""
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or (
        image.has_transparency_data and image.mode in ("1", "L", "P", "RGB")
    ):
        image = _on_white(image.convert("RGBA"))
    elif image.mode == "LAB":
        image = _from_lab(image)
    elif image.mode not in ("1", "L", "P", "RGB"):
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    assert converted is not None
    return converted
