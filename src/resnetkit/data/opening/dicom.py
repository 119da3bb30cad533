"""DICOM, the format of medical devices, read by pydicom: greys as values that a window shows, colours as colours."""

from __future__ import annotations

import io
import math
import struct
from typing import Any

import numpy as np
from PIL import Image

from resnetkit.data.opening import bit_depth, claims, dicom_packing, windows
from resnetkit.data.opening.dicom_header import PIXELS, Header, header, syntax, told, whole
from resnetkit.data.opening.measured import Measured
from resnetkit.errors import DataError

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache

_GREYS = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")  # all but the first become RGB when decoded
_PALETTE = "PALETTE COLOR"
_FRAMES = (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2", b"\xff\xc3", b"\xff\xf7")  # of JPEG and JPEG-LS, before their size


def read(data: bytes) -> Measured | Image.Image:
    """Return the first frame of a file: greys as modality values, colours and palettes as 8-bit RGB.

    Modality values are those of `pydicom.pixels.apply_modality_lut`. Pixels that are not square are made so, by
    bilinear resizing of what is shown. Raises `DataError` where it cannot be read, in words without the value of any
    tag that tells of people, `UsageError` without pydicom.
    """
    found = header(data)
    width, height = found.square
    claims.check(width, height, samples=found.samples, num_bytes=len(data))
    kind = str(found.dataset.get("PhotometricInterpretation") or "").strip()
    if (found.samples, kind) not in {(1, grey) for grey in (*_GREYS, _PALETTE)} | {(3, colour) for colour in _COLOURS}:
        raise DataError("holds pixels that are neither grey, RGB, YBR nor of a palette; save it as PNG")
    values = _decoded(found, 0)
    _check_first(found, values)
    with told("broken DICOM: its tables or scales make no sense; leave it out"):
        if kind in _GREYS:
            return _measured(found, values, inverted=kind == "MONOCHROME1")
        image = Image.fromarray(np.ascontiguousarray(_colours(found, values, kind)))
    return image if image.size == found.square else image.resize(found.square, Image.Resampling.BILINEAR)


def size(data: bytes) -> tuple[int, int]:
    """Return (width, height) with square pixels, from the header; raises as `read` does."""
    return header(data).square


def count(data: bytes) -> int:
    """Return the number of frames, from the header; raises as `read` does."""
    return header(data).frames


def alone(data: bytes, page: int) -> bytes:
    """Return a file of one frame, counted from 1, unpacked, with the tags that make pixels of it and no others.

    Raises as `read` does, and `DataError` where there is no such frame.
    """
    found = header(data, frame=page - 1)
    if found.frames < page:
        raise DataError(f"holds {found.frames} frame{'s' * (found.frames > 1)}, and frame {page} was asked for")
    claims.check(found.width, found.height, samples=found.samples, num_bytes=len(data))
    values = _decoded(found, page - 1)
    with told("broken DICOM: a frame of it cannot be taken out; leave it out"):
        return _written(found.dataset, values)


def _check_first(found: Header, first: np.ndarray) -> None:
    """Refuse a file whose first frame is one value throughout and a later one is not, as `pages.check_first` does."""
    for frame in range(1, found.frames if _is_empty(first) else 1):
        try:
            empty = _is_empty(_decoded(found, frame))
        except DataError:  # a broken second picture is no reason to lose the first
            return
        if not empty:
            raise DataError(
                f"the first of its {found.frames} frames is empty and frame {frame + 1} is not; "
                "--set preprocess.page trains on another"
            )


def _is_empty(values: np.ndarray) -> bool:
    return bool((values.min(axis=(0, 1)) == values.max(axis=(0, 1))).all())


def _measured(found: Header, stored: np.ndarray, *, inverted: bool) -> Measured:
    from pydicom.pixels import apply_modality_lut

    if found.is_float and not np.isfinite(stored).all():
        raise DataError("holds NaN or infinite values; replace them, or leave it out")
    values, padding = apply_modality_lut(stored, found.dataset), found.padding(stored)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError("broken DICOM: its rescaling makes no numbers; correct it, or leave it out")
    own = found.own_window() or _range(found, values if padding is None else values[~padding])
    return Measured(values, own=own, inverted=inverted, padding=padding, square=found.square)


def _range(found: Header, values: np.ndarray) -> windows.Between:
    """Return the window of a file without one: up to 8 bits all that these can say, else what its values say."""
    from pydicom.pixels import apply_modality_lut

    bits, signed = (64, False) if found.is_float else found.stored
    if bits <= 8:
        ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
        values = apply_modality_lut(ends, found.dataset)
    return windows.Between(float(values.min()), float(values.max()))


def _colours(found: Header, values: np.ndarray, kind: str) -> np.ndarray:
    """Return `[H, W, 3]` uint8."""
    from pydicom.pixels import apply_color_lut

    bits, signed = found.stored
    if kind == _PALETTE:
        values = apply_color_lut(values, found.dataset)[..., :3]
        bits = 8 * values.dtype.itemsize
    elif signed or found.is_float:
        raise DataError("holds signed or floating-point colours; save it with 8 or 16 bits, as PNG")
    return values if values.dtype == np.uint8 and bits == 8 else bit_depth.to_pixels(values, bits)


def _decoded(found: Header, frame: int) -> np.ndarray:
    """Return the stored values of a frame, `[H, W]` or `[H, W, 3]`, as pydicom decodes them."""
    packing, decoder = _packing(found.dataset)
    if packing.is_encapsulated:
        _check_packed(found, frame, packing.name)
    else:
        _check_length(found)
    with told(f"its pixels ({packing.name}) cannot be decoded: cut off or damaged; copy it again or leave it out"):
        values, _ = decoder.as_array(found.dataset, index=frame)
    if values.shape[:2] != (found.height, found.width):
        raise DataError("broken DICOM: its pixels are fewer or more than its header says; leave it out")
    return values


def _packing(dataset: Any) -> tuple[Any, Any]:
    """Return how pixels are packed, pydicom's UID, entered where the file does not say it, and what unpacks them."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID_dictionary

    packing = syntax(dataset)
    if packing not in UID_dictionary:
        raise DataError("its pixels are packed in a way that the standard does not know; save it as PNG")
    decoder = dicom_packing.decoder(packing)
    if decoder is None:
        raise DataError(f"its pixels are packed as {packing.name}, which is not read; save it as PNG")
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = packing
    return packing, decoder


def _check_length(found: Header) -> None:
    """Refuse pixels that are not packed and cut off."""
    if found.is_float:
        return
    pixels, kind = found.width * found.height * found.frames, found.dataset.get("PhotometricInterpretation")
    samples = 2 if kind == "YBR_FULL_422" else found.samples
    needed = math.ceil(pixels * samples * whole(found.dataset, "BitsAllocated") / 8)
    there = len(found.dataset.PixelData or b"")
    if there < needed:
        raise DataError(f"has {there:,} bytes of pixels, and {needed:,} are needed: cut off; copy it again")


def _check_packed(found: Header, frame: int, words: str) -> None:
    """Refuse packed pixels of another size than the header's, before a decoder makes room for them."""
    from pydicom.encaps import get_frame

    with told(f"its pixels ({words}) are cut off or damaged; copy it again or leave it out"):
        packed = get_frame(found.dataset.PixelData, frame, number_of_frames=found.frames)
    width, height = _inside(packed) or (found.width, found.height)
    if (width, height) != (found.width, found.height):
        raise DataError(
            f"broken DICOM: its pixels are {width} x {height}, its header says {found.width} x {found.height}; "
            "leave it out"
        )


def _inside(packed: bytes) -> tuple[int, int] | None:
    """Return width and height that a JPEG, JPEG-LS or JPEG 2000 says of itself, None where it does not."""
    try:
        if (at := packed.find(b"\xff\x4f\xff\x51", 0, 1 << 12)) >= 0:
            right, down, left, top = struct.unpack_from(">4I", packed, at + 8)
            return right - left, down - top
        at = 2
        while packed[:2] == b"\xff\xd8" and packed[at : at + 2]:
            marker, length = packed[at : at + 2], *struct.unpack_from(">H", packed, at + 2)
            if marker in _FRAMES:
                height, width = struct.unpack_from(">HH", packed, at + 5)
                return width, height
            at += 2 + length
    except struct.error:
        pass
    return None


def _written(dataset: Any, values: np.ndarray) -> bytes:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "NumberOfFrames"):
        if name in dataset:
            del dataset[name]
    if values.ndim == 3:
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    packed = values.astype(values.dtype.newbyteorder("<")).tobytes()
    if "PixelData" in dataset:
        del dataset["PixelData"]
        dataset.add_new("PixelData", "OW" if values.dtype.itemsize > 1 else "OB", packed + bytes(len(packed) % 2))
        dataset.BitsAllocated = 8 * values.dtype.itemsize
    else:
        dataset["FloatPixelData" if values.dtype.itemsize == 4 else "DoubleFloatPixelData"].value = packed
    if not syntax(dataset).is_little_endian:
        dataset = _with_small_end_first(dataset)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.preamble, file = bytes(128), io.BytesIO()
    dataset.save_as(file, enforce_file_format=False)
    return file.getvalue()


def _with_small_end_first(dataset: Any) -> Any:
    """Return a copy of a data set of a file that has the large end first; its pixels are in order already."""
    from pydicom.dataset import Dataset

    made = Dataset()
    for element in dataset:
        if element.VR == "SQ":
            made.add_new(element.tag, "SQ", [_with_small_end_first(item) for item in element.value])
        elif element.VR == "OW" and element.keyword not in PIXELS and isinstance(element.value, bytes):
            made.add_new(element.tag, "OW", np.frombuffer(element.value, ">u2").astype("<u2").tobytes())
        else:
            made.add(element)
    return made
