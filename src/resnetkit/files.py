"""Writing files so that a reader never sees half of one, and opening those of others."""

import contextlib
import csv
import errno
import glob
import os
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from resnetkit.errors import UsageError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it is flushed to disk and takes its name.

    Temporary file, flush, fsync, rename, fsync of the folder. When the block raises, `path` is as it was; where the
    process is killed, the temporary file stays (`left_behind`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        hold(handle)
        if os.name == "nt":
            os.close(handle)
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        if os.name != "nt":
            os.close(handle)
    sync_folder(path.parent)


def left_behind(path: Path) -> list[Path]:
    """Return the temporary files that killed processes left of `path`: those of `replacing` that no process holds."""
    found = path.parent.glob(f".{glob.escape(path.name[:80])}.????????.tmp")
    return sorted(left for left in found if left.is_file() and not in_use(left))


def hold(handle: int, *, alone: bool = False) -> bool:
    """Mark an open file as used by this process until the last copy of its handle is closed.

    `alone`: by no other process; returns False where another one is known to hold it. Some network disks know no locks,
    and Windows keeps open files anyway: nobody is known there.
    """
    try:
        import fcntl

        fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        pass
    return True


def in_use(path: Path) -> bool:
    """Tell whether a running process holds the file, or may: where nobody knows, it is not there to be taken."""
    try:
        import fcntl
    except ImportError:
        return False  # Windows refuses to remove open files
    try:
        handle = _open_to_lock(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _open_to_lock(path: Path) -> int:
    """Open a file to read and write, as NFS wants it for a lock of one process alone; only to read where that is all.

    There other file systems lock it all the same.
    """
    try:
        return os.open(path, os.O_RDWR)
    except OSError:
        return os.open(path, os.O_RDONLY)


def umask() -> int:
    """Return the rights that new files of this process do not get."""
    current = os.umask(0)
    os.umask(current)
    return current


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable (a no-op where folders cannot be opened, as on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` atomically; bytes of file names that are no UTF-8 are written as they are."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def open_file(path: str) -> BinaryIO:
    """Open a file to read its bytes; raises `OSError`, also for pipes, sockets and devices, which may never answer."""
    kind = os.stat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise OSError(errno.EINVAL, "it is neither a file nor a folder", path)
    return open(path, "rb")


def hidden(path: str) -> UsageError | None:
    """Return the error for a path that cannot be looked at: behind a closed folder, or longer than names can be."""
    try:
        os.stat(path)
    except PermissionError as error:
        return UsageError(f"{path}: cannot be looked at ({error.strerror}): ask whoever owns the folder for access")
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            return UsageError(f"{path[:40]}...: is longer than a name of a file can be")
    return None


def check_new(path: Path, option: str) -> None:
    """Raise `UsageError` where a result cannot be written without taking the place of something else."""
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; name a file")
    if path.exists() or path.is_symlink():
        raise UsageError(f"{option} {path}: is there already; name another file, or take it away")
    check_place(path, option)


def check_place(path: Path, option: str) -> None:
    """Raise `UsageError` where nothing can be made at a path, or in that folder, which `option` named."""
    folder = path if path.is_dir() else _nearest(path)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"{option} {path}: {folder} cannot be written to; name another place")
    if (why := _refusal(folder)) is not None and why.errno not in _FULL:  # room may be there by then
        raise UsageError(f"{option} {path}: {folder} cannot be written to ({why.strerror}); name another place")


def takes_no_files(path: Path) -> Path | None:
    """Return the folder of a path where it is of a file system that takes no files, such as /proc, None elsewhere.

    Rights and room that lack are no such thing: there files could be.
    """
    folder = _nearest(path)
    why = _refusal(folder) if folder.is_dir() else None
    return folder if why is not None and why.errno not in (*_FULL, errno.EACCES, errno.EPERM, errno.EROFS) else None


_FULL = (errno.ENOSPC, errno.EDQUOT)


def _nearest(path: Path) -> Path:
    """Return the innermost part of a path that is there, which is a folder where files can be below it."""
    return next(parent for parent in path.absolute().parents if os.path.lexists(parent))


def _refusal(folder: Path) -> OSError | None:
    """Return why no file can be made in a folder, by making one: rights do not tell it of every file system."""
    try:
        handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=folder)
    except OSError as error:
        return error
    os.close(handle)
    os.unlink(name)
    return None


def csv_writer(stream: TextIO) -> Any:
    """Return a `csv.writer` of rows that end in a newline, and that quotes what is read as the end of a line.

    Python's own leaves a carriage return in a file's name unquoted where rows end in a newline alone (before 3.13).
    """
    return csv.writer(_Lines(stream), lineterminator="\r\n")


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        return self._stream.write(row.removesuffix("\r\n") + "\n")


def numbered(stem: str, suffix: str) -> Iterator[str]:
    """Yield names to try until one is free: `a.png`, `a_2.png`, `a_3.png`, ..."""
    yield stem + suffix
    number = 2
    while True:
        yield f"{stem}_{number}{suffix}"
        number += 1


def safe_name(text: str) -> str:
    """Return `text` as one path component: no separators, control characters, reserved names or edge dots.

    >>> safe_name("../a/b: c"), safe_name("CON"), safe_name("  "), safe_name("개미")
    ('_a_b_ c', 'CON_', '_', '개미')
    """
    text = unicodedata.normalize("NFC", text)
    kept = "".join("_" if c in '<>:"/\\|?*' or unicodedata.category(c).startswith("C") else c for c in text)
    kept = kept.strip(" .")
    while len(kept.encode()) > 200:
        kept = kept[:-1]
    reserved = {
        "con",
        "prn",
        "aux",
        "nul",
        *(f"com{i}" for i in range(10)),
        *(f"lpt{i}" for i in range(10)),
    }
    if kept.split(".")[0].casefold() in reserved:
        kept += "_"
    return kept or "_"
