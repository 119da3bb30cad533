"""Decoded pictures in files that runs share: found by what a picture holds and how it was decoded.

A folder for each way of decoding holds files of many pictures, each complete when it has its name. Nothing in them is
changed later, so any number of processes reads them at once; which pictures a file holds says its index:

    pictures one after the other | index | JSON: what it is | length of the JSON, 8 bytes | "resnetkit pixel1"
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import mmap
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout

from resnetkit import files, runtime
from resnetkit.data.decoded.cache import Mapped
from resnetkit.data.decoded.cache_entries import Cleared, Entry

SUFFIX = ".pixels"
OWNER_ONLY = 0o700
_ENDING = b"resnetkit pixel1"
_INDEX = np.dtype([("digest", "S16"), ("offset", "<i8"), ("height", "<i4"), ("width", "<i4")])
# Each file of a set is twice as large as the one before: what a kill loses is at most what is already kept, and a set
# of any size is a hundred files, not more than a process may open.
_FIRST_BYTES, _MOST_BYTES = 64 << 20, 4 << 30
_BEING_MADE_S = 60  # a file younger than that may be one that its process is about to hold
_LOG = logging.getLogger(__name__)


def pixels_folder() -> Path:
    """Return the folder of all decoded pictures, below `RESNETKIT_CACHE`."""
    return runtime.cache_folder() / "pixels"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What `find` found: the pictures of all digests that some file holds, and which digests none holds."""

    files: tuple[np.ndarray, ...]
    paths: tuple[Path, ...]
    where: Mapping[bytes, tuple[int, int, int, int]]  # digest -> number of the file, offset, height, width
    missing: tuple[str, ...]

    def mapped(self, digests: Sequence[str], *, channels: int) -> Mapped:
        """Return the pictures of `digests`, each of which was found."""
        rows = np.array([self.where[bytes.fromhex(digest)] for digest in digests], np.int64).reshape(-1, 4)
        return Mapped(
            self.files, file_of=rows[:, 0].astype(np.int32), offsets=rows[:, 1].copy(),
            shapes=rows[:, 2:].astype(np.int32), channels=channels,
        )  # fmt: skip


def find(folder: Path, digests: Iterable[str]) -> Found:
    """Look for pictures by the digests of their contents; files that are broken are passed over and taken away.

    Each file that is used is held: `clear` leaves it alone while this process has it mapped.
    """
    wanted = {bytes.fromhex(digest) for digest in digests}
    kept: list[np.ndarray] = []
    paths: list[Path] = []
    where: dict[bytes, tuple[int, int, int, int]] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")) if wanted else ():
        try:
            opened = _opened(path)
        except OSError:
            continue  # another's, or just cleared
        if opened is None:
            _LOG.warning("%s is broken; it is not used, and made again", path)
            _remove(path)
            continue
        pixels, index, _ = opened
        new = [row for row in index.tolist() if _full(row[0]) in wanted and _full(row[0]) not in where]
        if new:
            where.update({_full(digest): (len(kept), *place) for digest, *place in new})
            kept.append(pixels)
            paths.append(path)
            with contextlib.suppress(OSError):  # a cache that only others may write to is read all the same
                os.utime(path)
    missing = sorted(digest.hex() for digest in wanted.difference(where))
    return Found(files=tuple(kept), paths=tuple(paths), where=where, missing=tuple(missing))


def _full(digest: bytes) -> bytes:
    """Give back the zeros at the end, which numpy takes for padding."""
    return digest.ljust(16, b"\0")


def _opened(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]] | None:
    """Return a file's bytes, its index and what it says of itself, or None where it is not whole.

    The mapping keeps the lock: both end when the last array that uses them is gone.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        files.hold(handle)
        if os.fstat(handle).st_size < len(_ENDING) + 8:
            return None
        content = np.frombuffer(_mapped(handle), np.uint8)
    finally:
        os.close(handle)
    about = _footer(content)
    if about is None:
        return None
    end = int(about["bytes"])
    index = content[end : end + int(about["pictures"]) * _INDEX.itemsize]
    return content[:end], index.view(_INDEX), about


def _mapped(handle: int) -> mmap.mmap:
    """Map a file so that nothing reaches it that is written into memory; torch takes only arrays that can be written.

    Where the system promises memory for every page that might be written, the mapping is for reading only.
    """
    try:
        return mmap.mmap(handle, 0, access=mmap.ACCESS_COPY)
    except OSError:
        return mmap.mmap(handle, 0, access=mmap.ACCESS_READ)


def _footer(content: np.ndarray) -> dict[str, Any] | None:
    """Return what the end of a file says, or None where it does not fit the file."""
    tail = content[-len(_ENDING) - 8 :].tobytes()
    length = int.from_bytes(tail[:8], "little")
    if tail[8:] != _ENDING or length > len(content) - len(tail):
        return None
    end = len(content) - len(tail)
    try:
        about = json.loads(content[end - length : end].tobytes())
        body, size = int(about["bytes"]), int(about["pictures"]) * _INDEX.itemsize
        whole = body + size + length + len(tail) == len(content) and min(body, size) >= 0
        if not whole or hashlib.blake2b(content[body : body + size].tobytes()).hexdigest() != about["index"]:
            return None
    except (ValueError, KeyError, TypeError):
        return None
    return dict(about)


def write(folder: Path, pictures: Iterable[tuple[str, np.ndarray]], *, about: Mapping[str, Any]) -> Iterator[Path]:
    """Write (digest, `[h, w, C]` uint8) pairs as they come into files of 64 MB to 4 GB; yield the path of each.

    A file takes its name when it is complete and on the disk: an interruption loses the one being written.
    """
    pictures = iter(pictures)
    for number, first in enumerate(pictures):
        path = folder / f"{secrets.token_hex(8)}{SUFFIX}"
        with files.replacing(path) as temporary, open(temporary, "wb") as file:
            _write_one(file, chain([first], pictures), about, most_bytes=min(_FIRST_BYTES << number, _MOST_BYTES))
        yield path


def _write_one(
    file: IO[bytes], pictures: Iterable[tuple[str, np.ndarray]], about: Mapping[str, Any], *, most_bytes: int
) -> None:
    rows = []
    for digest, pixels in pictures:
        assert pixels.dtype == np.uint8
        rows.append((bytes.fromhex(digest), file.tell(), *pixels.shape[:2]))
        file.write(np.ascontiguousarray(pixels).data)
        if file.tell() >= most_bytes:
            break
    end, index = file.tell(), np.array(rows, _INDEX).tobytes()
    said = {**about, "pictures": len(rows), "bytes": end, "index": hashlib.blake2b(index).hexdigest()}
    text = json.dumps(said).encode()
    file.write(index + text + len(text).to_bytes(8, "little") + _ENDING)


@contextlib.contextmanager
def writing(folder: Path, data: str) -> Iterator[None]:
    """Hold the right to decode pictures of the data set called `data` into `folder`, alone of all processes.

    So processes that begin at once, also with other seeds, decode each picture once. What killed ones left half-written
    is cleared away. The pictures may be of people: nobody but their owner may look into the folder of all. Raises
    `OSError` where it cannot be written to.
    """
    folder.parent.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
    folder.mkdir(exist_ok=True)
    key = hashlib.blake2b(data.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    lock = FileLock(folder / f".{key}.lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _LOG.warning("another process is decoding these pictures; waiting for it")
        lock.acquire()
    try:
        for left_over in folder.glob(".*.tmp"):
            if _age(left_over) > _BEING_MADE_S and not files.in_use(left_over):
                _remove(left_over)
        yield
    finally:
        lock.release()


def entries() -> list[Entry]:
    """Return what decoded pictures are kept, last used first; files that are broken or no one's are not listed.

    Files that are being written, or that a killed process left, are one entry of each folder, with no pictures.
    """
    grouped: dict[tuple[str, str, str], list[tuple[int, int, float]]] = {}
    for path in _files_of(pixels_folder()):
        try:
            opened = _opened(path) if path.suffix == SUFFIX else None
            status = path.stat()
        except OSError:
            continue
        if path.suffix == ".tmp":
            grouped.setdefault(("", "unfinished", str(path.parent)), []).append((0, status.st_size, status.st_mtime))
        elif opened is not None:
            _, _, about = opened
            name = (str(about.get("data", "")), str(about.get("what", "")), str(path.parent))
            grouped.setdefault(name, []).append((int(about["pictures"]), status.st_size, status.st_mtime))
    found = [
        Entry(
            data=data, what=what, path=path, pictures=sum(row[0] for row in rows), bytes=sum(row[1] for row in rows),
            last_used=max(row[2] for row in rows),
        )
        for (data, what, path), rows in grouped.items()
    ]  # fmt: skip
    return sorted(found, key=lambda entry: (-entry.last_used, entry.path, entry.data))


def clear() -> Cleared:
    """Remove all decoded pictures except those that a running process uses; nothing else, and behind no link."""
    num_files = num_bytes = kept = failed = 0
    decoding = {path.parent for path in _files_of(pixels_folder()) if path.suffix == ".lock" and files.in_use(path)}
    for path in _files_of(pixels_folder()):
        size = path.lstat().st_size
        if path.suffix == ".lock":
            if path.parent not in decoding:
                _remove(path)
        elif path.parent in decoding or files.in_use(path):
            kept += 1
        elif _remove(path):
            num_files, num_bytes = num_files + 1, num_bytes + size
        else:
            failed += 1
    for folder in _folders_of(pixels_folder()):
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()
    return Cleared(files=num_files, bytes=num_bytes, kept=kept, failed=failed)


def _folders_of(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.is_symlink())


def _files_of(root: Path) -> Iterator[Path]:
    """Yield the files of ours below `root`; links are passed over."""
    for folder in _folders_of(root):
        for path in sorted(folder.iterdir()):
            if path.suffix in (SUFFIX, ".tmp", ".lock") and path.is_file() and not path.is_symlink():
                yield path


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True
