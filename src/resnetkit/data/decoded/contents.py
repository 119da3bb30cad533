"""What a picture holds, known once it is decoded: size, digest of its pixels, greys at 8x8; kept for photos."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from resnetkit import files, runtime
from resnetkit.data.dataset import Dataset, decoded
from resnetkit.data.opening import bit_depth, images, signatures
from resnetkit.data.opening.measured import Measured
from resnetkit.errors import ResNetKitError

SUFFIX = ".contents.npz"
SIDE = 8  # of `Content.bright`, in pixels
# JPEGs whose shorter side has so many pixels are opened smaller, at least this large: they are known by their codes.
LARGE, OPENED = 512, 128
PHOTO = 96  # pixels: from here on a picture takes longer to decode than what is kept of it to find
VERSION = 2  # of what is kept: raised with it, so that what was kept by others is not used
_ROW = np.dtype([("digest", "V16"), ("pixels", "V16"), ("size", "<i4", 2), ("bright", "u1", SIDE * SIDE)])
_LOG = logging.getLogger(__name__)


class Content(NamedTuple):
    """What a picture holds: `size` (width, height), upright; `pixels`: their digest, of a large JPEG its codes.

    `bright`: the bytes of `[8, 8]` uint8, the greys of the picture at 8x8 pixels.
    """

    size: tuple[int, int]
    pixels: str | None
    bright: bytes


def look(data: bytes | np.ndarray, *, name: str) -> tuple[Content | None, np.ndarray | None]:
    """Decode a picture; return what it holds, and its pixels where these alone are what any `Preprocess` needs of it.

    Those pixels are upright, `[H, W, 3]` or `[H, W]` uint8. (None, None) for a picture that cannot be decoded: who
    needs its pixels names it.
    """
    full = _full_size(data)
    large = full is not None and min(full) >= LARGE
    try:
        image = decoded(data, name=name, at_least=OPENED if large else None)
        looked = images.to_look_at(image) if isinstance(image, Measured) else image
        upright = images.convert(looked, mode="RGB", depth=None)
    except ResNetKitError:
        return None, None
    if large and full is not None and isinstance(data, bytes):
        assert isinstance(image, Image.Image), "it is a JPEG"
        turn = images.orientation(image)
        return Content(full[::-1] if turn >= 5 else full, digest_of_jpeg(data, turn), _bright(upright)), None
    pixels = np.frombuffer(upright.tobytes(), np.uint8).reshape(upright.height, upright.width, 3)
    content = Content(upright.size, digest_of_pixels(pixels), _bright(upright))
    whole = isinstance(image, Image.Image) and image.mode in ("RGB", "L") and bit_depth.samples(image) is None
    if not whole or "transparency" in image.info:
        return content, None
    return content, pixels if image.mode == "RGB" else np.ascontiguousarray(pixels[..., 0])


def content_of(upright: Image.Image) -> Content:
    """Return what a picture holds that is decoded whole, upright and in RGB."""
    return Content(upright.size, digest_of_pixels(np.asarray(upright)), _bright(upright))


def _bright(upright: Image.Image) -> bytes:
    # Triangles, not boxes: these are no means where the sides are no multiples of 8.
    return upright.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR).tobytes()


def _full_size(data: bytes | np.ndarray) -> tuple[int, int] | None:
    """Return (width, height) of a JPEG from its header, None of anything else."""
    if isinstance(data, np.ndarray) or signatures.picture_format(data) != "JPEG":
        return None
    return images.size(data)


def digest_of_pixels(pixels: np.ndarray) -> str:
    """Return the fingerprint of `[H, W, 3]` uint8, 32 hexadecimal digits: the same in whatever file they lie."""
    hashed = hashlib.blake2b(f"{pixels.shape[1]} {pixels.shape[0]}\0".encode(), digest_size=16)
    hashed.update(np.ascontiguousarray(pixels).data)
    return hashed.hexdigest()


def digest_of_jpeg(data: bytes, orientation: int) -> str:
    """Return the fingerprint of what decides a JPEG's pixels, 32 hexadecimal digits: no notes it bears."""
    hashed = hashlib.blake2b(f"JPEG {orientation}\0".encode(), digest_size=16)
    for part in signatures.jpeg_codes(data):
        hashed.update(part)
    return hashed.hexdigest()


def folder() -> Path:
    """Return the folder of what is kept, below `RESNETKIT_CACHE`."""
    return runtime.cache_folder() / "copies"


def known(dataset: Dataset) -> dict[str, Content]:
    """Return what earlier runs found of the photos of a data set, by the digests of their files."""
    try:
        with np.load(_file(dataset), allow_pickle=False) as kept:
            rows = kept["rows"]
    except (OSError, ValueError, LookupError, EOFError):
        return {}
    if rows.dtype != _ROW:
        return {}
    return {row["digest"].tobytes().hex(): _content(row) for row in rows}


def described(path: Path) -> tuple[str, int]:
    """Return the name of the data set of a file, and of how many pictures it tells; raises what reading raises."""
    with np.load(path, allow_pickle=False) as kept:
        return str(kept["data"]), len(kept["rows"])


def _content(row: np.void) -> Content:
    pixels = row["pixels"].tobytes()
    return Content(
        (int(row["size"][0]), int(row["size"][1])), pixels.hex() if any(pixels) else None, row["bright"].tobytes()
    )


def keep(dataset: Dataset, contents: Mapping[str, Content]) -> None:
    """Keep what is known of photos, by the digests of their files; small pictures are decoded as fast as found."""
    rows = np.zeros(len(contents), _ROW)
    for row, (digest, content) in zip(rows, contents.items(), strict=True):
        row["digest"], row["pixels"] = bytes.fromhex(digest), bytes.fromhex(content.pixels or "00" * 16)
        row["size"], row["bright"] = content.size, np.frombuffer(content.bright, np.uint8)
    path = _file(dataset)
    with contextlib.suppress(OSError):  # a cache that cannot be written is looked for again
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, rows=rows, data=np.array(dataset.name))


@contextlib.contextmanager
def alone(dataset: Dataset) -> Iterator[None]:
    """Hold the right to decode the photos of a data set that no run knew yet, where the cache can be written to."""
    path = _file(dataset).with_suffix(".lock")
    lock = FileLock(path, mode=0o600)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        _LOG.warning("another process is reading these pictures; waiting for it")
        lock.acquire()
    except OSError:
        pass
    try:
        yield
    finally:
        if lock.is_locked:
            path.unlink(missing_ok=True)
            lock.release()


def _file(dataset: Dataset) -> Path:
    where = (dataset.name, *dataset.roots) if dataset.hidden is None else (dataset.hidden.token,)
    said = "\0".join([str(VERSION), Image.__version__, *where])
    return folder() / f"{hashlib.blake2b(said.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}{SUFFIX}"
