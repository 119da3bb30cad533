"""What a file is, told by its first bytes: a picture format, or something else with the way to make a picture of it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

PICTURE = "save or export it as PNG or JPEG"
EXTRACT = "unpack it first"
REMOVE = "leave it out"

_PICTURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\x01\0", "ICO"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}

# (offset, first bytes, what it seems to be, what to do)
_FOREIGN = (
    (0, b"%PDF", "a PDF document", PICTURE),
    (0, b"%!PS", "a PostScript document", PICTURE),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document", PICTURE),
    (0, b"8BPS", "a Photoshop document", PICTURE),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture", PICTURE),
    (0, b"\xff\x0a", "a JPEG XL picture", PICTURE),
    (0, b"\x89PNG", "a PNG damaged by a transfer in text mode", "copy it again in binary mode"),
    (0, b"FUJIFILMCCD-RAW", "a camera's RAW file", PICTURE),
    (8, b"CR\x02", "a camera's RAW file", PICTURE),
    (4, b"ftypcrx ", "a camera's RAW file", PICTURE),
    (0, b"IIRO", "a camera's RAW file", PICTURE),
    (0, b"IIRS", "a camera's RAW file", PICTURE),
    (0, b"MMOR", "a camera's RAW file", PICTURE),
    (0, b"IIU\0", "a camera's RAW file", PICTURE),
    (0, b"II\x1a\0\0\0HEAPCCDR", "a camera's RAW file", PICTURE),
    (0, b"FOVb", "a camera's RAW file", PICTURE),
    (0, b"\0MRM", "a camera's RAW file", PICTURE),
    (4, b"ftyp", "a video", "extract frames from it first"),
    (4, b"moov", "a video", "extract frames from it first"),
    (0, b"\x1a\x45\xdf\xa3", "a video", "extract frames from it first"),
    (8, b"AVI ", "a video", "extract frames from it first"),
    (0, b"\0\0\x01\xba", "a video", "extract frames from it first"),
    (0, b"\0\0\x01\xb3", "a video", "extract frames from it first"),
    (0, b"FLV\x01", "a video", "extract frames from it first"),
    (8, b"WAVE", "a sound recording", REMOVE),
    (0, b"ID3", "a sound recording", REMOVE),
    (0, b"OggS", "a sound recording", REMOVE),
    (0, b"fLaC", "a sound recording", REMOVE),
    (0, b"PK\x03\x04", "a zip archive", EXTRACT),
    (0, b"\x1f\x8b", "a gzip archive", EXTRACT),
    (0, b"BZh", "a bzip2 archive", EXTRACT),
    (0, b"\xfd7zXZ\0", "an xz archive", EXTRACT),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", EXTRACT),
    (0, b"Rar!\x1a\x07", "a RAR archive", EXTRACT),
    (257, b"ustar", "a tar archive", EXTRACT),
    (0, b"\x93NUMPY", "a NumPy array", PICTURE),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", PICTURE),
    (344, b"n+1\0", "a NIfTI volume", "export its slices as PNG"),
    (36, b"acsp", "a colour profile", REMOVE),
    (0, b"\0\x05\x16\x07", "a macOS resource file", REMOVE),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Windows thumbnail cache or old Office document", REMOVE),
    (0, b"\x7fELF", "a program", REMOVE),
    (0, b"SQLite format 3\0", "a database", REMOVE),
    (0, b"version https://git-lfs", "a Git LFS pointer", "fetch the real file with: git lfs pull"),
)


def picture_format(data: bytes) -> str | None:
    """Return Pillow's name of the format that `data` starts as (`"HEIF"` for HEIC, `"DICOM"`), or None."""
    if is_dicom(data):  # first: a preamble may make it a TIFF besides
        return "DICOM"
    for magic, name in _PICTURES:
        if data.startswith(magic):
            return None if name == "TIFF" and data[8:11] == b"CR\x02" else name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if data[:1] == b"P" and data[1:2] in b"123456f" and data[2:3] in b" \t\r\n#" and len(data) > 2:
        return "PPM"
    return _iso_media_format(data)


def _iso_media_format(data: bytes) -> str | None:
    """Tell AVIF from HEIC by the brands in the `ftyp` box; `mif1` is used by both."""
    if data[4:8] != b"ftyp":
        return None
    box = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    brands = {box[at : at + 4] for at in (0, *range(8, len(box), 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if data[8:12] in _HEIF_BRANDS else None


def jpeg_codes(data: bytes) -> Iterator[memoryview]:
    """Yield the segments and scans of a JPEG that decide its pixels: no notes (APPn but Adobe's, COM), no trailer."""
    view, at = memoryview(data), 2
    while (found := _JPEG_MARKER.search(data, at)) and data[found.end() - 1] != 0xD9:
        if found.start() > at:
            yield view[at : found.start()]  # of a scan
        marker = data[found.end() - 1]
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        if marker == 0xEE or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            yield view[found.end() - 1 : at]
    yield view[at : found.start() if found else len(data)]


_JPEG_MARKER = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")  # none of the zeros and restarts within a scan


def is_dicom(data: bytes) -> bool:
    """Return whether `data` is DICOM: by its magic, or without the preamble by a plausible first element."""
    if data[128:132] == b"DICM" or b"\x08\0\x05\0CS" in data[:132]:  # the second: (0008,0005) Specific Character Set
        return True
    if len(data) < 12:
        return False
    for order in "<>":
        group, element, length = struct.unpack(order + "HHI", data[:8])
        if group in (2, 8) and element <= 0x2000 and (data[4:6] in _VALUE_TYPES or 0 < length <= 64):
            return True
    return False


_VALUE_TYPES = {b"UL", b"UI", b"CS", b"SH", b"LO", b"DA", b"TM", b"OB", b"SQ", b"PN", b"ST", b"US", b"DT"}


def foreign(data: bytes) -> tuple[str, str]:
    """Return what a file that is no readable picture seems to be, and what to do with it."""
    for offset, magic, what, remedy in _FOREIGN:
        if data.startswith(magic, offset):
            return what, remedy
    if not data.strip(b"\0"):
        return "nothing but zero bytes, as an interrupted copy leaves", "copy it again"
    return _text(data) or ("no picture format that is known here", f"{PICTURE}, or {REMOVE}")


def _text(data: bytes) -> tuple[str, str] | None:
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "an SVG drawing", PICTURE
    if head.startswith((b"<!doctype html", b"<html")) or b"<html" in head:
        return "a web page", "download the picture itself"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or _is_printable(data[:1024]):
        return "a text file", REMOVE
    return None


def _is_printable(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not merely a letter cut in two at the end
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\t\r\n\f\x1b" for letter in text)
