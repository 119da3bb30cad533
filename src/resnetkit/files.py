"""Writing files so that a reader never sees half of one."""

import contextlib
import os
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it is flushed to disk and takes its name.

    Temporary file, flush, fsync, rename, fsync of the folder. When the block raises, `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _umask() -> int:
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
