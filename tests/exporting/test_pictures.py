"""What `predict.py` reads is what the package reads, file by file."""

import ast
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.opening import images
from resnetkit.errors import ResNetKitError
from resnetkit.exporting.script import script
from resnetkit.exporting.standalone.pictures import holds_several, read

RNG = np.random.default_rng(0)


def saved(image: Image.Image, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, **({"format": "PNG"} | options))
    return content.getvalue()


def ours(content: bytes, channels: int, depth: int | None = None) -> np.ndarray:
    image = images.convert(images.decode(content, name="x"), mode="RGB" if channels == 3 else "L", depth=depth)
    return np.asarray(image).reshape(image.height, image.width, channels)


def turned(image: Image.Image, orientation: int) -> bytes:
    exif = image.getexif()
    exif[0x0112] = orientation
    return saved(image, format="JPEG", quality=95, exif=exif)


NOISE = RNG.integers(0, 256, (9, 14, 4), dtype=np.uint8)
GREY16 = RNG.integers(0, 4096, (9, 14)).astype(np.uint16)
PALETTE = Image.fromarray(NOISE[:, :, :3]).quantize(7)
KINDS = {
    "RGB": saved(Image.fromarray(NOISE[:, :, :3])),
    "L": saved(Image.fromarray(NOISE[:, :, 0])),
    "RGBA": saved(Image.fromarray(NOISE)),
    "LA": saved(Image.fromarray(NOISE).convert("LA")),
    "1": saved(Image.fromarray(NOISE[:, :, 0]).convert("1")),
    "P": saved(PALETTE),
    "P transparent": saved(PALETTE, transparency=3),
    "CMYK": saved(Image.fromarray(NOISE[:, :, :3]).convert("CMYK"), format="TIFF"),
    "12 of 16 bits": saved(Image.fromarray(GREY16)),
    "float": saved(Image.fromarray((GREY16 / 5000).astype(np.float32)), format="TIFF"),
    **{f"turned {number}": turned(Image.fromarray(NOISE[:, :, :3]), number) for number in range(1, 9)},
}


def banded(mode: str, extra: int) -> bytes:
    """Return a TIFF whose last band is what `extra`, its ExtraSamples, says."""
    content = saved(Image.fromarray(NOISE).convert(mode), format="TIFF")
    kind = struct.pack("<HHI", 338, 3, 1)
    assert content.count(kind) == 1
    at = content.index(kind) + len(kind)
    return content[:at] + struct.pack("<H", extra) + content[at + 2 :]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_bands_that_nobody_named_are_refused_as_the_package_refuses_them(mode: str) -> None:
    unnamed, named = banded(mode, 0), banded(mode, 2)
    with pytest.raises(ResNetKitError, match="not said to be transparency"):
        ours(unnamed, 3)
    with pytest.raises(ValueError, match="not said to be transparency"):
        read(unnamed, 3)
    assert (read(named, 3) == ours(named, 3)).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_is_read_as_the_package_reads_it(kind: str, channels: int) -> None:
    for depth in (None, 14):
        expected = ours(KINDS[kind], channels, depth)
        answer = read(KINDS[kind], channels, depth)
        assert answer.shape == expected.shape
        assert (answer == expected).all()


EMPTY, FULL = Image.new("RGB", (14, 9)), Image.fromarray(NOISE[:, :, :3])
REFUSED = {
    "negative": saved(Image.fromarray(np.full((4, 4), -3.0, np.float32)), format="TIFF"),
    "empty first page": saved(EMPTY, format="TIFF", save_all=True, append_images=[FULL]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_package_refuses_it_refuses_in_the_same_words(kind: str) -> None:
    with pytest.raises(ResNetKitError) as theirs:
        ours(REFUSED[kind], 3)
    with pytest.raises(ResNetKitError) as own:
        read(REFUSED[kind], 3)
    assert str(theirs.value).removeprefix("x: ") == str(own.value)


def test_16_bit_colours_keep_their_bits() -> None:
    content = _png_of_16_bit_colours()
    assert (read(content, 3) == ours(content, 3)).all()


def test_files_of_several_pages_are_told_from_those_of_one() -> None:
    stack = saved(FULL, format="TIFF", save_all=True, append_images=[EMPTY])
    assert [holds_several(content) for content in (stack, KINDS["RGB"], b"no picture")] == [True, False, False]
    assert (read(stack, 3) == NOISE[:, :, :3]).all()


def test_no_part_of_the_script_hides_a_name_of_another() -> None:
    body = ast.parse(script("onnx")).body
    names = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    names += [ast.unparse(node.targets[0]) for node in body if isinstance(node, ast.Assign)]
    assert len(names) == len(set(names))


def _png_of_16_bit_colours() -> bytes:
    """A 2x1 PNG of colour type 2 and 16 bits, written by hand: Pillow writes none."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">6H", 4000, 20, 300, 65535, 1, 2)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")


def test_odd_files_of_the_world_are_read_alike_or_refused(shared_data: Path) -> None:
    alike, refused, different = 0, [], []
    for path in sorted((shared_data / "odd_images").rglob("*")):
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            continue
        try:
            expected = ours(path.read_bytes(), 3)
        except ResNetKitError:
            continue
        try:
            answer = read(path.read_bytes(), 3)
        except (OSError, SyntaxError, ValueError):
            refused.append(path.name)
            continue
        if answer.shape == expected.shape and (answer == expected).all():
            alike += 1
        else:
            different.append(path.name)
    assert alike > 150
    assert different == []
