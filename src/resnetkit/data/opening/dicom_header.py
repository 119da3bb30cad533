"""What a DICOM file says of its pixels, without decoding them: size, frames, packing, spacing, window.

Only the tags listed here are read. No message has the value of a tag in it, but for numbers that describe pixels.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnetkit.data.opening import windows
from resnetkit.data.opening.silence import libraries_silenced, silence
from resnetkit.errors import DataError, UsageError, missing_extra

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache

_TAGS = (
    "SOPClassUID", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio", "WindowCenter", "WindowWidth",
    "VOILUTFunction", "VOILUTSequence", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "PixelData", "FloatPixelData", "DoubleFloatPixelData",
)  # fmt: skip
_OF_FRAME = ("PixelMeasuresSequence", "FrameVOILUTSequence", "PixelValueTransformationSequence")
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_MOST_DEFLATED = 1 << 30  # bytes that a deflated file may become: no picture is larger
_SQUARE, _LONGEST = 0.01, 16  # ratios of pixels' sides: so near to 1 is square, and beyond that no device measures


@contextmanager
def told(words: str) -> Iterator[None]:
    """Make a `DataError` with these words of whatever pydicom raises, whose own words may quote a tag.

    That may be anything, `Exception` itself among it: it is written for files that follow the standard.
    """
    try:
        yield
    except (DataError, UsageError, MemoryError):
        raise
    except Exception:
        raise DataError(words) from None


@dataclass(frozen=True, slots=True)
class Header:
    """The pixels of a DICOM file, not yet decoded. `dataset` holds the tags that count, and the packed pixels."""

    dataset: Any
    width: int
    height: int
    samples: int
    frames: int

    @property
    def stored(self) -> tuple[int, bool]:
        """The bits of a stored value, and whether it has a sign."""
        return whole(self.dataset, "BitsStored"), whole(self.dataset, "PixelRepresentation", 0) == 1

    @property
    def is_float(self) -> bool:
        """Whether values are stored in floating point."""
        return "PixelData" not in self.dataset

    @property
    def square(self) -> tuple[int, int]:
        """(width, height) with square pixels: the side whose pixels are longer is enlarged.

        Of spacing on the patient, spacing on the imager and the ratio of sides the first that the file has counts.
        Raises `DataError` for pixels that are more than 16 times as long as wide.
        """
        ratio = next(filter(None, map(self._ratio, ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"))), 1.0)
        if not 1 / _LONGEST <= ratio <= _LONGEST:
            raise DataError(f"says that its pixels are 1:{max(ratio, 1 / ratio):.3g}; correct PixelSpacing in it")
        if abs(ratio - 1) <= _SQUARE:
            return self.width, self.height
        if ratio > 1:
            return self.width, round(self.height * ratio)
        return round(self.width / ratio), self.height

    def _ratio(self, name: str) -> float | None:
        """Return how high a pixel is in widths of it, None where the tag is absent or makes no sense."""
        try:
            down, across = (float(value) for value in self.dataset.get(name) or ())
        except Exception:
            return None
        sound = down > 0 and across > 0 and math.isfinite(down) and math.isfinite(across)
        return down / across if sound else None

    def own_window(self) -> windows.Levels | None:
        """Return the first table or window of the file, a table before a window; None without one that makes sense."""
        try:
            return _table(self.dataset) or _window(self.dataset)
        except Exception:
            return None

    def padding(self, values: np.ndarray) -> np.ndarray | None:
        """Return where stored values `[H, W]` say that nothing was measured; None where they never do."""
        try:
            first = int(self.dataset["PixelPaddingValue"].value)
            last = int(self.dataset.get("PixelPaddingRangeLimit", first))
        except Exception:
            return None
        padded = (values >= min(first, last)) & (values <= max(first, last))
        return padded if padded.any() and not padded.all() else None


def header(data: bytes, *, frame: int = 0) -> Header:
    """Read what a file says of one of its frames, counted from 0.

    Raises `DataError` without pixels or with a header that makes no sense, `UsageError` without pydicom.
    """
    try:
        import pydicom.pixels
    except ImportError:
        raise missing_extra("DICOM files", "dicom") from None
    silence("pydicom")
    with told("broken or cut-off DICOM; copy it again or leave it out"):
        check_deflated(data)
        dataset = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=list(_TAGS))
        if not any(name in dataset for name in PIXELS):
            raise DataError(f"is {_what(dataset)} without pixels, or cut off before them; leave it out")
    frames = whole(dataset, "NumberOfFrames", 1)
    with told("broken DICOM: its groups of frames make no sense; leave it out"):
        _take_of_frame(dataset, frame)
    found = Header(
        dataset, whole(dataset, "Columns"), whole(dataset, "Rows"), whole(dataset, "SamplesPerPixel"), frames
    )
    if min(found.width, found.height, found.frames) < 1 or whole(dataset, "BitsAllocated") < 1:
        raise DataError("broken DICOM: its header speaks of no pixels; copy it again or leave it out")
    return found


def text(data: bytes, name: str) -> str:
    """Return what a tag says, "" where it is absent or makes no sense. It may tell of people: hash it.

    Raises `UsageError` without pydicom.
    """
    try:
        with libraries_silenced():  # a value that breaks a rule would be quoted
            return str(tags(data, name).get(name) or "").strip("\0 ")
    except DataError:
        return ""  # whoever opens the picture says so


def tags(data: bytes, *names: str) -> Any:
    """Return a data set of these tags of a file, those that lie before its pixels. They may tell of people.

    Raises `DataError` for a broken file, `UsageError` without pydicom. What is read of them may be quoted in a warning.
    """
    try:
        import pydicom
    except ImportError:
        raise missing_extra("DICOM files", "dicom") from None
    silence("pydicom")
    with told("broken or cut-off DICOM; copy it again or leave it out"):
        check_deflated(data)
        return pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=True, specific_tags=list(names))


def whole(dataset: Any, name: str, otherwise: int | None = None) -> int:
    """Return a tag's whole number; raises `DataError` where it is none, or absent and there is no `otherwise`."""
    with told(f"broken DICOM: its {name} is absent or no number; correct it, or leave the file out"):
        value = dataset.get(name)
        return otherwise if value in (None, "") and otherwise is not None else int(value)


def syntax(dataset: Any) -> Any:
    """Return how the pixels are packed, pydicom's UID; of a file without word of it what its tags look like."""
    from pydicom import uid

    meta = getattr(dataset, "file_meta", None)
    said = None if meta is None else meta.get("TransferSyntaxUID")
    if said:
        return uid.UID(str(said))
    implicit, little = dataset.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def is_deflated(first: bytes) -> bool:
    """Tell by the first bytes of a file whether all that follows them may be deflated."""
    return _DEFLATED in first


def check_deflated(data: bytes) -> None:
    """Refuse a deflated file that would fill the memory: pydicom inflates the whole of it at once."""
    begin = at = 132 if data[128:132] == b"DICM" else 0
    while data[at : at + 2] == b"\2\0":  # the elements that are never deflated
        long = data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT")
        (length,) = struct.unpack_from("<I" if long else "<H", data, at + (8 if long else 6))
        at += (12 if long else 8) + length
    if _DEFLATED not in data[begin:at]:
        return
    inflating, left, total = zlib.decompressobj(-zlib.MAX_WBITS), data[at:], 0
    while left and not inflating.eof:
        total += len(inflating.decompress(left, 1 << 20))
        left = inflating.unconsumed_tail
        if total > _MOST_DEFLATED:
            raise DataError(f"becomes more than {_MOST_DEFLATED:,} bytes when it is inflated; leave it out")


def _what(dataset: Any) -> str:
    """Return what kind of thing a file without pixels is, in the standard's words where it is one of its kinds."""
    from pydicom.uid import UID

    meta = getattr(dataset, "file_meta", None) or {}
    for said in (dataset.get("SOPClassUID"), meta.get("MediaStorageSOPClassUID")):
        name = UID(str(said)).name if said else ""
        if re.fullmatch(r"[A-Za-z0-9 /()-]+", name):  # those that the standard has no name for stay numbers
            return "a DICOMDIR" if "Directory" in name else f"DICOM ({name.removesuffix(' Storage')})"
    return "DICOM"


def _take_of_frame(dataset: Any, frame: int) -> None:
    """Put what groups say of a frame where files of one frame say it (PS3.3 C.7.6.16)."""
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups = dataset.get(name)
        if not groups:
            continue
        group = groups[frame if name.startswith("Per") and frame < len(groups) else 0]
        for inner in _OF_FRAME:
            for item in (group.get(inner) or ())[:1]:
                dataset.update({element.tag: element for element in item if element.keyword in _TAGS})
        del dataset[name]


def _table(dataset: Any) -> windows.Table | None:
    sequence = dataset.get("VOILUTSequence")
    if not sequence:
        return None
    count, first, bits = (int(value) for value in sequence[0].LUTDescriptor)
    entries = sequence[0].LUTData
    if isinstance(entries, bytes):
        entries = np.frombuffer(entries, "<u2" if syntax(dataset).is_little_endian else ">u2")
    entries = np.atleast_1d(np.asarray(entries))[: count or 1 << 16]
    return windows.Table(first, entries, bits) if len(entries) and 8 <= bits <= 16 else None


def _window(dataset: Any) -> windows.Window | None:
    centre, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        return None
    sound = math.isfinite(centre) and math.isfinite(width) and width > 0 and (width >= 1 or function != "LINEAR")
    return windows.Window(centre, width, function) if sound else None  # type: ignore[arg-type]


def _first(value: Any) -> float:
    """Return the first number of a tag, NaN where there is none."""
    if value is None or value == "":
        return math.nan
    return float(value) if isinstance(value, (int, float, str)) else float(value[0])
