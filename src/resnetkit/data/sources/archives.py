"""Archives read in place: any member of a .zip or .tar at once, from several threads, without unpacking."""

from __future__ import annotations

import os
import shlex
import struct
import tarfile
import threading
import weakref
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from resnetkit.data.opening.images import IMAGE_SUFFIXES
from resnetkit.errors import DataError

LARGEST_MEMBER = 1 << 30  # bytes: no picture is larger, and what claims to be would fill the memory
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}
_UNPACK = {"7z": "7z x", "rar": "unrar x"}
_REFUSED_SUFFIXES = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar")
_ZIP_HEADER = struct.Struct("<4s5H3L2H")
_UNICODE_PATH = 0x7075  # Info-ZIP's extra field that holds the UTF-8 name


class Archive(Protocol):
    """The files in an archive: `names` in archive order, `folders` those that have entries of their own."""

    names: tuple[str, ...]
    folders: tuple[str, ...]

    def read(self, key: str) -> bytes:
        """Return a member's bytes; raises `DataError` where the archive is damaged there."""

    def start(self, key: str) -> bytes:
        """Return the first 132 bytes of a member, fewer where they cannot be read."""


def is_archive(path: Path) -> bool:
    """Tell whether the name says archive, whether or not it is one that can be read in place."""
    return path.suffix.lower() in (".zip", ".tar", *_REFUSED_SUFFIXES)


def open_archive(path: Path) -> Archive:
    """Open a .zip or .tar; raises `DataError` with the line to type for other and for encrypted ones."""
    try:
        file = _RandomAccess(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    start = file.read(0, 8)
    for magic, kind in _COMPRESSED.items():
        if start.startswith(magic):
            raise _must_be_unpacked(path, kind)
    try:
        return ZipArchive(path, file) if zipfile.is_zipfile(path) else TarArchive(path, file)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError) as error:
        why = f"{path}: is no readable .zip or .tar ({error}); is the download complete?"
        raise DataError(why) from error


def _must_be_unpacked(path: Path, kind: str) -> DataError:
    name, folder = shlex.quote(str(path)), shlex.quote(path.name.split(".")[0] or "photos")
    unpack = f"mkdir {folder} && tar xf {name} -C {folder}"
    if kind in _UNPACK:
        unpack = f"{_UNPACK[kind]} {name}"
    elif ".tar" not in path.suffixes and path.suffix.lower() not in (".tgz", ".tbz2", ".txz"):
        unpack = f"{kind} -dk {name}"
    return DataError(f"{path}: is compressed as a whole ({kind}) and cannot be read in place; unpack it: {unpack}")


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _inside(name: str, path: Path) -> str:
    """Return a member's name without `.` and empty parts; raises `DataError` for one that leads out of the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise DataError(
            f"{path}: the member {name} leads out of the archive; pack it again with names relative to the folder"
        )
    return "/".join(parts)


class _RandomAccess:
    """A file that several threads read at once; it is closed when nobody refers to it any more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._lock = threading.Lock()
        weakref.finalize(self, os.close, self._handle)

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`."""
        if hasattr(os, "pread"):
            return os.pread(self._handle, count, offset)
        with self._lock:  # Windows has no pread
            os.lseek(self._handle, offset, os.SEEK_SET)
            return os.read(self._handle, count)


@dataclass(frozen=True, slots=True)
class _ZipMember:
    offset: int
    packed: int
    size: int
    method: int
    checksum: int


class ZipArchive:
    """A .zip whose members are stored or deflated."""

    def __init__(self, path: Path, file: _RandomAccess) -> None:
        self._file, self._path = file, path
        self._members: dict[str, _ZipMember] = {}
        folders = []
        with zipfile.ZipFile(path) as opened:
            for info in opened.infolist():
                name = _zip_name(info, path)
                if info.flag_bits & 0x1:
                    raise _encrypted(path)
                if name.endswith("/"):
                    folders.append(_inside(name, path))
                    continue
                name = _inside(name, path)
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and _is_picture(name):
                    raise _rarely_compressed(path, info.compress_type)
                if name:
                    self._members[name] = _ZipMember(
                        info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC
                    )
        self.names, self.folders = tuple(self._members), tuple(filter(None, folders))

    def read(self, key: str) -> bytes:
        """Return a member's bytes, its checksum verified."""
        member = self._members[key]
        if max(member.size, member.packed) > LARGEST_MEMBER:
            raise DataError(f"{self._path}::{key}: {member.size:,} bytes is too large for a picture")
        data = _unpacked(member, self._packed(member))
        if data is None:
            raise DataError(f"{self._path}::{key}: its compression cannot be read in place; unpack the archive first")
        if len(data) != member.size or zlib.crc32(data) != member.checksum:
            raise DataError(f"{self._path}::{key}: the archive is damaged here")
        return data

    def start(self, key: str) -> bytes:
        """Return the first 132 bytes of a member, fewer where they cannot be read."""
        member = self._members[key]
        some = replace(member, size=131, packed=min(member.packed, 4096))
        return (_unpacked(some, self._packed(some)) or b"")[:132]

    def _packed(self, member: _ZipMember) -> bytes:
        # One read for header, name and data: the local extra field is rarely longer than the slack allows.
        block = self._file.read(member.offset, _ZIP_HEADER.size + 512 + member.packed)
        if len(block) < _ZIP_HEADER.size or block[:4] != b"PK\3\4":
            return b""
        *_, name_length, extra_length = _ZIP_HEADER.unpack_from(block)
        start = _ZIP_HEADER.size + name_length + extra_length
        if start + member.packed > len(block):
            return self._file.read(member.offset + start, member.packed)
        return block[start : start + member.packed]


def _unpacked(member: _ZipMember, packed: bytes) -> bytes | None:
    if member.method == zipfile.ZIP_STORED:
        return packed
    if member.method != zipfile.ZIP_DEFLATED:
        return None
    try:  # never more than what was promised: a bomb stops here
        return zlib.decompressobj(-15).decompress(packed, member.size + 1)
    except zlib.error:
        return b""


def _encrypted(path: Path) -> DataError:
    folder = shlex.quote(path.stem)
    return DataError(f"{path}: is encrypted; unpack it with its password: unzip {shlex.quote(str(path))} -d {folder}")


def _rarely_compressed(path: Path, method: int) -> DataError:
    name, folder = shlex.quote(str(path)), shlex.quote(path.stem)
    kind = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}.get(method)
    unpack = f"python -m zipfile -e {name} {folder}" if kind else f"7z x {name} -o{folder}"
    kind = kind or f"method {method}"
    return DataError(
        f"{path}: its pictures are compressed ({kind}) so that they cannot be read in place; unpack it: {unpack}"
    )


def _zip_name(info: zipfile.ZipInfo, path: Path) -> str:
    """Return a member's name: UTF-8 by its flag, by Info-ZIP's extra field, or because its bytes are UTF-8."""
    name = info.orig_filename
    if not info.flag_bits & 0x800 and not name.isascii():
        raw = name.encode("cp437")
        name = _unicode_path(info.extra, raw) or _utf8_name(raw, path)
    if info.create_system == 0 and "/" not in name:
        name = name.replace("\\", "/")  # some Windows programs write folders so
    return name.partition("\0")[0]


def _utf8_name(raw: bytes, path: Path) -> str:
    """Return the name; raises `DataError` for a picture's name in a code page that the archive does not state.

    Guessing one would give classes wrong names without a word.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if os.path.splitext(raw)[1].decode("latin-1").lower() in IMAGE_SUFFIXES:
            raise _legacy_names(path, raw) from None
    return raw.decode("utf-8", "backslashreplace")


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        body, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and length >= 5 and struct.unpack_from("<L", body, 1)[0] == zlib.crc32(raw):
            return body[5:].decode("utf-8")
    return None


def _legacy_names(path: Path, raw: bytes) -> DataError:
    archive, folder = shlex.quote(str(path)), shlex.quote(path.stem)
    unpack = f"unzip -O cp949 {archive} -d {folder}"
    if path.suffix.lower() == ".tar":
        unpack = f"mkdir {folder} && tar xf {archive} -C {folder} && convmv -f cp949 -t utf8 -r --notest {folder}"
    return DataError(
        f"{path}: the name {ascii(raw)[2:-1]} is in an old encoding that the archive does not state; unpack it with "
        f"the right one (cp949 Korean, cp1255 Hebrew, cp932 Japanese, cp936 Chinese, cp866 Russian): {unpack}"
    )


class TarArchive:
    """An uncompressed .tar."""

    def __init__(self, path: Path, file: _RandomAccess) -> None:
        self._file, self._path = file, path
        self._members: dict[str, tuple[int, int]] = {}
        folders = []
        with tarfile.open(path, "r:", errors="surrogateescape") as opened:
            for info in opened:
                name = _tar_name(info.name, path)
                if info.isdir():
                    folders.append(name)
                elif info.isreg() and not info.issparse():
                    self._members[name] = (info.offset_data, info.size)
                elif info.islnk() and _tar_name(info.linkname, path) in self._members:
                    self._members[name] = self._members[_tar_name(info.linkname, path)]
        self.names, self.folders = tuple(self._members), tuple(filter(None, folders))

    def read(self, key: str) -> bytes:
        """Return a member's bytes."""
        offset, size = self._members[key]
        if size > LARGEST_MEMBER:
            raise DataError(f"{self._path}::{key}: {size:,} bytes is too large for a picture")
        data = self._file.read(offset, size)
        if len(data) != size:
            raise DataError(f"{self._path}::{key}: the archive ends in the middle of it; is the download complete?")
        return data

    def start(self, key: str) -> bytes:
        """Return the first 132 bytes of a member, fewer where they cannot be read."""
        offset, size = self._members[key]
        return self._file.read(offset, min(size, 132))


def _tar_name(name: str, path: Path) -> str:
    if not name.isascii():
        name = _utf8_name(name.encode("utf-8", "surrogateescape"), path)
    return _inside(name, path)
