import io
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from resnetkit.data.opening import images
from resnetkit.data.opening.many_bands import ManyBands
from resnetkit.errors import DataError, UsageError

GRADIENT = np.linspace(0, 4095, 24 * 32).astype(np.uint16).reshape(24, 32)  # what a 12-bit camera gives
DEEP_COLOURS = np.dstack([GRADIENT, GRADIENT[::-1], GRADIENT[:, ::-1]])
RNG = np.random.default_rng(0)
PHOTO = np.dstack([GRADIENT >> 4, GRADIENT[::-1] >> 4, np.full_like(GRADIENT, 90)]).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rgb(data: bytes, *, depth: int | None = None) -> np.ndarray:
    return np.asarray(images.convert(images.decode(data, name="picture"), mode="RGB", depth=depth))


def grey(data: bytes, *, depth: int | None = None) -> np.ndarray:
    return np.asarray(images.convert(images.decode(data, name="picture"), mode="L", depth=depth))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(samples: np.ndarray, *extra: bytes, size: tuple[int, int] | None = None) -> bytes:
    """Write a 16-bit PNG of `[H, W, bands]` uint16, which Pillow cannot."""
    height, width, bands = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    header = struct.pack(">IIBBBBB", *(size or (width, height)), 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    body = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def tiff(
    samples: np.ndarray, *, order: str = "<", deflate: bool = False, planar: int = 1, photometric: int = 2,
    kind: str = "u2",
) -> bytes:  # fmt: skip
    """Write a TIFF of one strip from `[H, W, bands]`, which Pillow cannot; `kind`: its numbers, as NumPy names them."""
    height, width, bands = samples.shape
    size = 8 * int(kind[1])
    pixels = samples.astype(order + kind).tobytes()
    pixels = zlib.compress(pixels) if deflate else pixels
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, bands, size if bands == 1 else 8),
        (259, 4, 1, 8 if deflate else 1),
        (262, 4, 1, photometric), (273, 4, 1, 8 + 2 * bands), (277, 4, 1, bands), (278, 4, 1, height),
        (279, 4, 1, len(pixels)), (284, 4, 1, planar),
        (339, 4, 1, {"u": 1, "i": 2, "f": 3}[kind[0]]),
    ]  # fmt: skip
    if bands == 4 and photometric == 2:
        tags.insert(-1, (338, 4, 1, 2))
    depths = struct.pack(f"{order}{bands}H", *[size] * bands)
    directory = struct.pack(order + "H", len(tags)) + b"".join(struct.pack(order + "HHII", *tag) for tag in tags)
    at = 8 + len(depths) + len(pixels)
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return header + depths + pixels + directory + b"\0\0\0\0"


def banded(bands: int, *, photometric: int, extra: tuple[int, ...] | None = None, big: bool = False) -> bytes:
    """Write an 8-bit TIFF of 6x5 pixels and `bands` bands in one strip; `extra` are its ExtraSamples."""
    pixels = RNG.integers(0, 256, 30 * bands, dtype=np.uint8).tobytes()
    lists = {258: (8,) * bands} | ({338: extra} if extra else {})
    tags = {256: (6,), 257: (5,), 259: (1,), 262: (photometric,), 277: (bands,), 278: (5,), 279: (len(pixels),)}
    if photometric == 3:
        lists[320] = tuple(range(0, 65536, 256)) * 3
    word, count = ("Q", "Q") if big else ("I", "H")
    room, start = (8, 16) if big else (4, 8)
    body, entries = pixels, {}
    for tag, values in {**tags, **lists, 273: (start,)}.items():
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > room:
            packed, body = struct.pack("<" + word, start + len(body)), body + packed
        entries[tag] = struct.pack(f"<HH{word}", tag, 3, len(values)) + packed.ljust(room, b"\0")
    directory = struct.pack("<" + count, len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, start + len(body)) if big else b""
    header = header or struct.pack("<2sHI", b"II", 42, start + len(body))
    return header + body + directory + struct.pack("<" + word, 0)


def scaled(samples: np.ndarray, depth: int) -> np.ndarray:
    return np.minimum(np.floor(samples * (255 / (2**depth - 1)) + 0.5), 255).astype(np.uint8)


# --- formats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "GIF", "JPEG2000", "WEBP", "AVIF", "ICO", "JPEG"])
def test_every_format_opens_whatever_its_name_says(kind: str) -> None:
    if not features.check({"JPEG2000": "jpg_2000", "AVIF": "avif", "WEBP": "webp"}.get(kind, "zlib")):
        pytest.skip(f"this Pillow is built without {kind}")
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}, "ICO": {"sizes": [(32, 24)]}}
    data = encoded(Image.fromarray(PHOTO), kind, **options.get(kind, {}))
    difference = np.abs(rgb(data).astype(int) - PHOTO).mean()
    assert difference < (8 if kind in ("JPEG", "AVIF", "GIF") else 0.01)
    assert images.bits(data, name="picture.txt") is None


def test_heic_opens_upright_without_changing_pillow() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(PHOTO)).save(buffer, quality=95, chroma=444, exif=exif.tobytes())
    pixels = rgb(buffer.getvalue())
    assert np.abs(pixels.astype(int) - np.rot90(PHOTO, -1)).mean() < 6
    assert "HEIF" not in Image.OPEN


def test_heic_without_its_extra_names_the_file_and_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'^IMG_1\.HEIC: HEIC photos need .* pip install "resnetkit\[heic\]"$'):
        images.decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", name="IMG_1.HEIC")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "blue", "green")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(rgb(data).astype(int) - (255, 0, 0)).max() <= 3


def test_a_jpeg_has_the_pixels_that_pillow_gives(shared_data: Path) -> None:
    for path in sorted((shared_data / "hymenoptera" / "val").rglob("*.jpg"))[:5]:
        assert (rgb(path.read_bytes()) == np.asarray(Image.open(path).convert("RGB"))).all()


# --- 16 bits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("maximum", "depth"), [(255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14), (65535, 16)])
def test_depth_is_the_smallest_that_holds_the_maximum(maximum: int, depth: int) -> None:
    samples = np.array([[0, maximum // 2, maximum]], dtype=np.uint16)
    for data in (png(samples[..., None]), encoded(Image.fromarray(samples), "TIFF")):
        assert images.bits(data, name="x") == depth
        assert (grey(data) == scaled(samples, depth)).all()


def test_a_given_depth_is_obeyed_and_clips() -> None:
    data = png(GRADIENT[..., None])
    assert (grey(data, depth=16) == scaled(GRADIENT, 16)).all()
    assert (grey(data, depth=10) == scaled(GRADIENT, 10)).all()
    assert grey(data, depth=10).max() == 255


DEEP_FILES = {
    "png": png(DEEP_COLOURS),
    "tiff little-endian": tiff(DEEP_COLOURS),
    "tiff big-endian": tiff(DEEP_COLOURS, order=">"),
    "tiff little-endian deflate": tiff(DEEP_COLOURS, deflate=True),
    "tiff big-endian deflate": tiff(DEEP_COLOURS, order=">", deflate=True),
}


@pytest.mark.parametrize("file", DEEP_FILES)
def test_12_bit_colours_keep_their_bits(file: str) -> None:
    assert images.bits(DEEP_FILES[file], name=file) == 12
    assert (rgb(DEEP_FILES[file]) == scaled(DEEP_COLOURS, 12)).all()
    assert (rgb(DEEP_FILES[file], depth=16) == scaled(DEEP_COLOURS, 16)).all()


@pytest.mark.parametrize("write", [png, tiff])
def test_12_bit_colours_with_alpha_lie_on_white(write) -> None:
    opaque = np.full((24, 32, 1), 65535, dtype=np.uint16)
    opaque[:, :16] = 0
    pixels = rgb(write(np.concatenate([DEEP_COLOURS, opaque], axis=-1)))
    assert (pixels[:, :16] == 255).all()
    assert (pixels[:, 16:] == scaled(DEEP_COLOURS, 12)[:, 16:]).all()


def test_16_bit_grey_with_alpha_keeps_its_bits() -> None:
    alpha = np.full_like(GRADIENT, 65535)
    alpha[:5] = 0
    data = png(np.dstack([GRADIENT, alpha]))
    assert images.bits(data, name="x") == 12
    assert (grey(data)[5:] == scaled(GRADIENT, 12)[5:]).all()
    assert (grey(data)[:5] == 255).all()


def test_a_transparent_16_bit_colour_lies_on_white() -> None:
    transparent = chunk(b"tRNS", struct.pack(">3H", *DEEP_COLOURS[3, 4]))
    pixels = rgb(png(DEEP_COLOURS, transparent))
    expected = scaled(DEEP_COLOURS, 12)
    expected[3, 4] = 255
    assert (pixels == expected).all()
    transparent = chunk(b"tRNS", struct.pack(">H", GRADIENT[3, 4]))
    assert grey(png(GRADIENT[..., None], transparent))[3, 4] == 255


def test_a_transparent_4_bit_grey_lies_on_white() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 4, 0, 0, 0, 0))
    body = chunk(b"tRNS", struct.pack(">H", 5)) + chunk(b"IDAT", zlib.compress(b"\0\x05\x6f"))
    data = b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")
    assert grey(data).tolist() == [[0, 255, 102, 255]]


def test_12_bit_cmyk_keeps_its_bits() -> None:
    inks = np.dstack([DEEP_COLOURS, GRADIENT])
    expected = Image.frombytes("CMYK", (32, 24), scaled(inks, 12).tobytes()).convert("RGB")
    assert (rgb(tiff(inks, photometric=5)) == np.asarray(expected)).all()


def test_16_bit_colours_in_separate_planes_are_refused_not_black() -> None:
    with pytest.raises(DataError, match=r"^scan\.tif: 16-bit colours in separate planes"):
        images.decode(tiff(DEEP_COLOURS, planar=2), name="scan.tif")


def test_planes_of_a_single_band_mean_nothing() -> None:
    for deflate in (False, True):
        data = tiff(GRADIENT[..., None], planar=2, photometric=1, deflate=deflate)
        assert (grey(data) == scaled(GRADIENT, 12)).all()
    white_is_0 = tiff(GRADIENT[..., None] >> 4, planar=2, photometric=0, kind="u1")
    assert (grey(white_is_0) == 255 - (GRADIENT >> 4)).all()


@pytest.mark.parametrize(
    ("kind", "bands", "what"),
    [
        ("f4", 3, "32-bit float colours"), ("f8", 4, "64-bit float colours"), ("u4", 3, "32-bit colours"),
        ("i2", 3, "16-bit signed colours"), ("f2", 1, "16-bit float greys"),
    ],
)  # fmt: skip
def test_a_sound_tiff_of_numbers_that_are_not_read_is_not_called_broken(kind: str, bands: int, what: str) -> None:
    data = tiff(np.ones((4, 5, bands)), kind=kind, photometric=2 if bands > 1 else 1)
    with pytest.raises(DataError, match=rf"^scan\.tif: {what} are not read; save it with 8 or 16 bits"):
        images.decode(data, name="scan.tif")


def test_floating_point_from_0_to_1_becomes_0_to_255() -> None:
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    data = encoded(Image.fromarray(values), "TIFF")
    assert images.bits(data, name="x") is None
    assert (grey(data, depth=12) == np.floor(values * 255 + 0.5)).all()
    assert (grey(encoded(Image.fromarray(values * 4095), "TIFF")) == scaled(values * 4095, 12)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 1e6])
def test_values_without_a_place_between_black_and_white_are_refused(value: float) -> None:
    data = encoded(Image.fromarray(np.array([[0.5, value]], dtype=np.float32)), "TIFF")
    with pytest.raises(DataError, match=r"holds .* 16-bit PNG"):
        images.convert(images.decode(data, name="depth.tif"), mode="L", depth=None)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I;16N", "I"])
def test_every_integer_mode_follows_the_rule(mode: str) -> None:
    code = {"I;16B": ">u2", "I": "=i4", "I;16N": "=u2"}.get(mode, "<u2")
    image = Image.frombytes(mode, (32, 24), GRADIENT.astype(code).tobytes())
    assert (np.asarray(images.convert(image, mode="L", depth=None)) == scaled(GRADIENT, 12)).all()


def test_a_flipped_copy_of_a_deep_picture_is_not_its_original() -> None:
    image = images.decode(DEEP_FILES["png"], name="x")
    flipped = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert (np.asarray(images.convert(flipped, mode="RGB", depth=None)) == np.asarray(flipped)).all()


# --- modes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
@pytest.mark.parametrize("target", ["RGB", "L"])
def test_opaque_modes_keep_their_colours(mode: str, target: str) -> None:
    source = Image.fromarray(PHOTO)
    if mode == "LAB":
        image = Image.new("LAB", (32, 24), (255, 128, 128))
        source = Image.new("RGB", (32, 24), "white")
    else:
        image = source.convert(mode)
    result = images.convert(image, mode=target, depth=None)
    assert result.mode == target
    expected = np.asarray((image if mode in ("1", "L", "P") else source).convert(target)).astype(int)
    assert np.abs(np.asarray(result) - expected).mean() < 2


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA", "La", "RGBa"])
def test_alpha_lies_on_white(mode: str) -> None:
    straight = Image.merge("RGBA", [Image.new("L", (3, 1), 0)] * 3 + [Image.frombytes("L", (3, 1), b"\0\x80\xff")])
    image = straight.convert({"La": "LA", "PA": "RGBA"}.get(mode, mode))
    image = image.convert("La") if mode == "La" else image
    if mode == "PA":
        image = Image.new("PA", (3, 1))
        image.putalpha(straight.getchannel("A"))
        image.putpalette([0, 0, 0] * 256)
    for target in ("RGB", "L"):
        pixels = np.asarray(images.convert(image, mode=target, depth=None)).reshape(3, -1)[:, 0]
        assert list(pixels) == [255, 127, 0]


def test_an_opaque_alpha_changes_no_pixel() -> None:
    image = Image.fromarray(PHOTO).convert("RGBA")
    assert (np.asarray(images.convert(image, mode="RGB", depth=None)) == PHOTO).all()


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])])
def test_a_transparent_palette_entry_is_white(transparency: int | bytes) -> None:
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    data = encoded(image, "PNG", transparency=transparency)
    assert rgb(data).tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]


def test_cmyk_jpegs_come_out_like_their_colours() -> None:
    red = Image.new("RGB", (16, 16), (220, 30, 40)).convert("CMYK")
    assert np.abs(rgb(encoded(red, "JPEG", quality=95)).astype(int) - (220, 30, 40)).max() < 12


# --- orientation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["Landscape", "Portrait"])
def test_all_orientations_look_alike(shared_data: Path, shape: str) -> None:
    folder = shared_data / "odd_images" / "exif_orientation"
    pictures = [rgb((folder / f"{shape}_{n}.jpg").read_bytes()) for n in range(9)]
    small = [np.asarray(Image.fromarray(p).resize((60, 60))).astype(int) for p in pictures]
    assert {p.shape for p in pictures} == {pictures[0].shape}
    for picture in small[1:]:
        # Each file carries its own number as a drawing; the scenery around it agrees.
        assert np.abs(picture - small[1]).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_orientation_is_applied_once_in_every_format(kind: str, orientation: int) -> None:
    turned = {
        2: PHOTO[:, ::-1], 3: PHOTO[::-1, ::-1], 4: PHOTO[::-1], 5: PHOTO.transpose(1, 0, 2), 6: np.rot90(PHOTO, -1),
        7: PHOTO[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(PHOTO),
    }.get(orientation, PHOTO)  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(kind, {})
    pixels = rgb(encoded(Image.fromarray(PHOTO), kind, exif=exif, **options))
    assert pixels.shape == turned.shape
    assert np.abs(pixels.astype(int) - turned).mean() < 3


def test_orientation_is_applied_to_all_bits() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png(DEEP_COLOURS, chunk(b"eXIf", exif.tobytes()[6:]))
    assert (rgb(data) == np.rot90(scaled(DEEP_COLOURS, 12), -1)).all()


def test_broken_exif_is_ignored(shared_data: Path) -> None:
    for path in (shared_data / "odd_images" / "exif_invalid").glob("*.jpg"):
        assert rgb(path.read_bytes()).shape[-1] == 3
    data = encoded(Image.fromarray(PHOTO), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert (rgb(data) == PHOTO).all()


# --- refused -----------------------------------------------------------------------------------------------------

FOREIGN = {
    "empty (0 bytes)": b"",
    "a text file": "Grüße aus dem Labor\n".encode() * 60,
    "a web page": b"<!DOCTYPE html><html>404</html>",
    "a PDF": b"%PDF-1.7\n",
    "an SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "a video": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    "a camera's RAW": b"II*\0\x10\0\0\0CR\2\0" + bytes(64),
    "a zip archive": b"PK\x03\x04" + bytes(30),
    "JPEG XL": b"\xff\x0a\xfa\x1f",
    "zero bytes": bytes(500),
    "macOS": b"\0\5\x16\7" + bytes(30),
    "no picture format": bytes(range(256)),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_file_is_named_and_told_for_what_it_is(what: str) -> None:
    for read in (images.decode, images.bits):
        with pytest.raises(DataError) as caught:
            read(FOREIGN[what], name="dir/cat.jpg")
        message = str(caught.value)
        assert message.startswith("dir/cat.jpg: ")
        assert what in message
        assert "\n" not in message


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("photometric", "bands", "extra"),
    [(0, 1, None), (1, 1, None), (1, 2, (2,)), (2, 3, None), (2, 4, (1,)), (2, 4, (2,)), (3, 1, None), (5, 4, None)],
)
def test_bands_that_are_colours_or_transparency_are_read(
    photometric: int, bands: int, extra: tuple[int, ...] | None, big: bool
) -> None:
    assert rgb(banded(bands, photometric=photometric, extra=extra, big=big)).shape == (5, 6, 3)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("photometric", "bands", "extra"),
    [
        (1, 2, (0,)), (1, 2, None), (1, 3, (0, 0)), (1, 4, (0, 0, 0)), (2, 4, (0,)), (2, 4, None), (2, 5, (0, 0)),
        (2, 5, (2, 0)), (2, 6, (0, 0, 0)), (2, 8, (0,) * 5), (5, 5, (0,)), (5, 5, (2,)), (3, 2, (0,)),
    ],
)  # fmt: skip
def test_bands_that_nobody_named_are_no_colours_and_told_with_their_number(
    photometric: int, bands: int, extra: tuple[int, ...] | None, big: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    data = banded(bands, photometric=photometric, extra=extra, big=big)
    found = images.decode(data, name="x.tif")
    assert isinstance(found, ManyBands)
    assert found.count == bands
    with pytest.raises(
        DataError, match=rf"has {bands} bands, .* not said to be transparency: --set .*channels={bands}"
    ):
        images.convert(found, mode="RGB", depth=None)
    assert images.bits(data, name="x.tif") is None
    assert images.size(data) == (6, 5)
    assert capfd.readouterr().err == ""


PAGED = ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO", "HEIF"]


def paged(kind: str, *pictures: Image.Image) -> bytes:
    if kind == "HEIF":
        pillow_heif = pytest.importorskip("pillow_heif")
        file = pillow_heif.from_pillow(pictures[0])
        for picture in pictures[1:]:
            file.add_from_pillow(picture)
        buffer = io.BytesIO()
        file.save(buffer)
        return buffer.getvalue()
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize("kind", PAGED)
def test_files_of_several_pages_are_told_from_those_of_one(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    one = Image.fromarray(PHOTO)
    assert images.has_several(paged(kind, one, one.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    assert not images.has_several(
        encoded(one, "JPEG" if kind == "MPO" else kind) if kind != "HEIF" else paged(kind, one)
    )


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_an_empty_first_page_before_one_that_is_not_is_refused(kind: str) -> None:
    empty, full = Image.new("RGB", (32, 24)), Image.fromarray(PHOTO)
    with pytest.raises(DataError, match=r"^stack: the first of its [23] pages is empty and page [23] is not; save"):
        images.decode(paged(kind, empty, empty if kind == "TIFF" else full, full), name="stack")
    assert images.decode(paged(kind, full, empty), name="stack").size == (32, 24)
    assert images.decode(encoded(empty, kind), name="alone").size == (32, 24)


def test_pages_of_16_bits_and_of_one_bit_are_told_empty_too() -> None:
    for full in (Image.fromarray(GRADIENT), Image.fromarray(PHOTO).convert("1")):
        empty = Image.new(full.mode, full.size)
        with pytest.raises(DataError, match="the first of its 2 pages is empty"):
            images.decode(paged("TIFF", empty, full), name="stack")
        assert images.decode(paged("TIFF", full, empty), name="stack").size == full.size
        assert images.decode(paged("TIFF", empty, empty), name="stack").size == full.size


def test_a_broken_second_page_is_no_reason_to_lose_an_empty_first() -> None:
    stack = paged("TIFF", Image.new("L", (32, 24)), Image.fromarray(PHOTO[..., 0]))
    assert images.decode(stack[:-100], name="stack").size == (32, 24)


def test_a_camera_raw_that_is_tiff_inside_is_refused() -> None:
    tags = {254: 1, 330: 8}
    data = encoded(Image.fromarray(PHOTO), "TIFF", tiffinfo=tags)
    with pytest.raises(DataError, match=r"^DSC_1\.NEF: seems to be a camera's RAW"):
        images.decode(data, name="DSC_1.NEF")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_off_file_is_one_line_with_its_name(kind: str, share: float) -> None:
    noise = Image.effect_noise((64, 48), 90).convert("RGB")
    data = encoded(noise, kind)
    with pytest.raises(DataError) as caught:
        images.decode(data[: int(len(data) * share)], name="photo.jpg")
    assert str(caught.value).startswith("photo.jpg: broken ")
    assert "\n" not in str(caught.value)


def test_a_name_with_a_line_break_stays_one_line() -> None:
    with pytest.raises(DataError, match=r"^a\\nb\.jpg: is empty"):
        images.decode(b"", name="a\nb.jpg")


def test_a_bomb_is_refused_by_its_header() -> None:
    for size in ((20_000, 20_000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(DataError, match=r"^bomb\.png: claims [\d ]+x [\d ]+ pixels, more than 178,956,970"):
            images.decode(png(DEEP_COLOURS, size=size), name="bomb.png")


def test_a_small_file_that_claims_many_pixels_is_refused() -> None:
    with pytest.raises(DataError, match=r"^liar\.png: claims 13000 x 13000 pixels in [\d,]+ bytes"):
        images.decode(png(DEEP_COLOURS, size=(13_000, 13_000)), name="liar.png")


def test_a_well_packed_real_png_is_not_taken_for_a_liar() -> None:
    assert images.decode(encoded(Image.new("L", (4_200, 4_000)), "PNG"), name="blank.png").size == (4_200, 4_000)


def test_wrong_pixel_checksum_is_refused_but_a_broken_note_is_not() -> None:
    data = bytearray(encoded(Image.fromarray(PHOTO), "PNG"))
    data[data.index(b"IDAT") + 40] ^= 1
    with pytest.raises(DataError, match="wrong checksum in IDAT"):
        images.decode(bytes(data), name="x")
    broken_note = chunk(b"gAMA", b"\0\0\0\1")[:-1] + b"\0"
    long_note = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2_000_000)))
    assert (rgb(png(DEEP_COLOURS, broken_note, long_note)) == scaled(DEEP_COLOURS, 12)).all()


# --- real odd files ----------------------------------------------------------------------------------------------


def problem(path: Path) -> str | None:
    """Return the error message of a file, None when it opens and converts."""
    try:
        image = images.decode(path.read_bytes(), name=path.name)
    except DataError as error:
        return str(error)
    for mode in ("RGB", "L"):
        assert images.convert(image, mode=mode, depth=None).mode == mode
    return None


def test_every_odd_file_opens_or_is_one_line_with_its_name(shared_data: Path) -> None:
    files = [path for path in sorted((shared_data / "odd_images").rglob("*")) if path.is_file()]
    problems = {path: message for path in files if (message := problem(path)) is not None}
    assert (len(files), len(problems)) == (223, 27)
    for path, message in problems.items():
        assert message.startswith(f"{path.name}: ")
        assert "\n" not in message
    pngsuite = {path for path in problems if path.parent.name == "pngsuite" and path.suffix == ".png"}
    assert pngsuite == set((shared_data / "odd_images" / "pngsuite").glob("x*.png"))


def test_interlaced_and_oddly_packed_pngs_equal_their_plain_counterparts(shared_data: Path) -> None:
    suite = shared_data / "odd_images" / "pngsuite"
    pairs = [(path, suite / path.name.replace("basi", "basn")) for path in suite.glob("basi*.png")]
    pairs += [(path, suite / path.name.replace("i", "n", 1)) for path in suite.glob("s[0-9][0-9]i*.png")]
    pairs += [(path, suite / f"basn{path.stem[4:]}.png") for path in suite.glob("oi[0-9]*.png")]
    assert len(pairs) == 15 + 18 + 8
    for odd, plain in pairs:
        assert (rgb(odd.read_bytes()) == rgb(plain.read_bytes())).all(), odd.name


def test_transparency_of_pngsuite_is_white(shared_data: Path) -> None:
    suite = shared_data / "odd_images" / "pngsuite"
    for name in ("tbbn0g04", "tbbn2c16", "tbbn3p08", "tbgn2c16", "tbrn2c08", "tbwn0g16", "tbyn3p08", "tp1n3p08"):
        assert (rgb((suite / f"{name}.png").read_bytes())[0, 0] == 255).all(), name


# --- warnings and threads ----------------------------------------------------------------------------------------


def with_cut_exif() -> bytes:
    """A JPEG that opens and makes Pillow warn: its EXIF data announce five entries and hold none."""
    return encoded(Image.fromarray(PHOTO), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0")


def test_pillows_warnings_stay_inside_and_others_do_not() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert rgb(with_cut_exif()).shape == (24, 32, 3)
        assert not caught
        warnings.warn("ours", UserWarning, stacklevel=1)
        Image.open(io.BytesIO(with_cut_exif())).getexif()
    assert [str(warning.message)[:12] for warning in caught] == ["ours", "Corrupt EXIF"]


def test_a_warning_of_our_own_while_decoding_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*_: object) -> None:
        warnings.warn("ours", UserWarning, stacklevel=1)

    monkeypatch.setattr(images, "_check_not_raw", warn)
    with pytest.warns(UserWarning, match="ours"):
        rgb(with_cut_exif())


NOISY = """
import io, sys
from pathlib import Path
import numpy as np
from PIL import Image
from resnetkit.data.opening import images
from resnetkit.data.opening.many_bands import ManyBands
from resnetkit.errors import ResNetKitError

rng = np.random.default_rng(0)
photo = Image.fromarray(rng.integers(0, 256, (48, 40, 3), dtype=np.uint8))
files = [path.read_bytes() for path in Path(sys.argv[1]).rglob("*") if path.is_file()]
kinds = [(kind, {}) for kind in ("JPEG", "PNG", "GIF", "WEBP", "JPEG2000", "AVIF", "PPM", "TIFF")]
kinds += [("TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "group4")]
for kind, options in kinds:
    picture = photo.convert("1") if "group4" in options.values() else photo
    picture.save(buffer := io.BytesIO(), kind, **options)
    for number in range(8):
        broken = bytearray(buffer.getvalue())
        for at in rng.integers(12, len(broken), 1 + 4 * number):
            broken[at] = int(rng.integers(0, 256))
        files.append(bytes(broken[: len(broken) - 100 * (number % 2)]))
refused = 0
for data in files:
    try:
        images.has_several(data), images.size(data), images.bits(data, name="x")
        images.convert(images.decode(data, name="x"), mode="RGB", depth=None)
    except ResNetKitError:
        refused += 1
print(len(files), refused)
"""


def test_no_library_writes_past_us(shared_data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOISY, str(shared_data / "odd_images")], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    read, refused = map(int, done.stdout.split())
    assert read > 300
    assert refused > 30


def test_many_threads_decode_silently_and_alike() -> None:
    files = [with_cut_exif(), *DEEP_FILES.values(), encoded(Image.fromarray(PHOTO), "PNG")] * 20
    alone = [rgb(data).tobytes() for data in files]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda data: rgb(data).tobytes(), files)) == alone


def test_importing_needs_no_torch() -> None:
    program = "import sys; sys.modules['torch'] = None; import resnetkit.data.opening.images, resnetkit.data.preprocess"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_suffixes_are_lower_case_with_a_dot() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".heic", ".tif"} <= images.IMAGE_SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in images.IMAGE_SUFFIXES)
