"""Copies of pictures in a folder per predicted class: planned and counted first, then made."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from resnetkit.data.dataset import Dataset, Item
from resnetkit.errors import ResourceError, UsageError
from resnetkit.files import check_place, numbered, safe_name
from resnetkit.inference.prediction import Prediction
from resnetkit.words import counted

NOT_SURE = "not_sure"
# What an option makes of pictures, and what would happen to these if they were read as pictures.
_MADE = {"--sort-into": ("copies", "sorted"), "--crops": ("crops", "cut up"), "--draw": ("drawings", "drawn on")}


@dataclass(frozen=True, slots=True)
class Copy:
    """One picture to copy: into `folder` (a name), as `name` or, where that is taken, as `name_2`, `name_3`, ..."""

    item: Item
    folder: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SortPlan:
    """What sorting would do: `bytes` to write, pictures per folder, how many are left out because no answer was had."""

    directory: Path
    copies: tuple[Copy, ...]
    bytes: int
    left_out: int
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        left_out = f"; {self.left_out:,} without an answer left out" if self.left_out else ""
        return (
            f"{counted(len(self.copies), 'picture')} ({_size(self.bytes)}) "
            f"into {counted(len(self.counts), 'folder')} of {self.directory}{left_out}"
        )


def sort_into(
    predictions: Iterable[Prediction], directory: Path, pictures: Dataset, *, classes: Sequence[str]
) -> SortPlan:
    """Plan copies of `pictures` into a folder per class under `directory`; nothing is written yet.

    `predictions` are those of `pictures`, one for each, in their order. Answers that are not sure go to `not_sure`;
    pictures without an answer are left out. Members of archives come out under their base names, arrays as PNG.
    `classes` are all of the model's, so that a class has the same folder whatever was predicted. Raises `UsageError`
    where the pictures and `directory` lie inside each other (it would sort its own output), `ResourceError` when the
    disk is full.
    """
    refuse_own_output(pictures, directory)
    folders = class_folders(classes)
    copies, size, left_out = [], 0, 0
    for prediction, item in zip(predictions, pictures.items, strict=True):
        assert prediction.source == item.source, "predictions belong to other pictures"
        if prediction.label is None:
            left_out += 1
            continue
        folder = NOT_SURE if prediction.status == "not_sure" else folders[prediction.label]
        copies.append(Copy(item, folder, base_name(item, pictures)))
        size += _bytes_of(item, pictures)
    _require_space(directory, size)
    counts = dict(sorted(Counter(copy.folder for copy in copies).items()))
    return SortPlan(directory=directory, copies=tuple(copies), bytes=size, left_out=left_out, counts=counts)


def execute(plan: SortPlan, pictures: Dataset) -> Iterator[Path]:
    """Make the copies and yield each path when it is there; nothing is overwritten and no source is touched.

    Every file appears whole. A name that is taken gets a number; a file that already holds the same bytes under the
    name stays, so the same command twice does not double the pictures.
    """
    for copy in plan.copies:
        folder = plan.directory / copy.folder
        folder.mkdir(parents=True, exist_ok=True)
        with hidden_file(folder) as temporary:
            _write_copy(copy.item, pictures, temporary)
            placed = place(temporary, folder, copy.name)
        yield placed


def class_folders(classes: Sequence[str]) -> dict[str, str]:
    """Return for each class a folder name that is safe everywhere, and distinct also where case is ignored.

    >>> class_folders(["a/b", "a_b", "CON", "not_sure"])
    {'a/b': 'a_b', 'a_b': 'a_b_2', 'CON': 'CON_', 'not_sure': 'not_sure_2'}
    """
    taken, folders = {NOT_SURE}, {}
    for label in classes:
        name = safe_name(label)
        folders[label] = next(free for free in numbered(name, "") if free.casefold() not in taken)
        taken.add(folders[label].casefold())
    return folders


def refuse_own_output(pictures: Dataset, directory: Path, *, option: str = "--sort-into") -> None:
    """Raise `UsageError` where a picture lies inside `directory`, or that inside a folder that was given.

    What is written would become part of the data. So it does where nothing can be written. Worth asking before anything
    is predicted.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{option} {directory}: is a file; name a folder")
    check_place(directory, option)
    made, done = _MADE[option]
    inside = directory.resolve()
    for root in pictures.roots:
        if inside.is_relative_to(Path(root).resolve()):
            raise UsageError(
                f"{option} {directory}: lies inside {pictures.shown(root)}, and the {made} would become part of those "
                "pictures; choose a folder outside the pictures"
            )
        if pictures.hidden is not None and Path(root).resolve().is_relative_to(inside):
            raise UsageError(
                f"{option} {directory}: the pictures lie inside it and would be {done} again; choose a folder outside "
                "the pictures"
            )
    parents: dict[str, bool] = {}
    for item in () if pictures.hidden is not None else pictures.items:
        parent = os.path.dirname(item.source.partition("::")[0])
        if parent not in parents:
            parents[parent] = Path(parent).resolve().is_relative_to(inside)
        if parents[parent]:
            raise UsageError(
                f"{option} {directory}: {item.source} lies inside it and would be {done} again; "
                "choose a folder outside the pictures"
            )


def base_name(item: Item, pictures: Dataset) -> str:
    """Return a safe file name: the last part of the path as given; of arrays, which have no file, `.png` or `.tif`."""
    file = _file_of(item, pictures)
    base = file.name if file is not None else Path(item.source.rpartition("::")[2]).name
    stem, suffix = os.path.splitext(base)
    if len(suffix) > 10:
        stem, suffix = base, ""
    if not suffix and file is None and isinstance(array := pictures.read(item), np.ndarray):
        suffix = ".png" if array.dtype == np.uint8 else ".tif"
    return safe_name(stem) + (f".{safe_name(suffix[1:])}" if suffix else "")


def _bytes_of(item: Item, pictures: Dataset) -> int:
    file = _file_of(item, pictures)
    if file is not None:
        return file.stat().st_size
    data = pictures.read(item)
    return data.nbytes if isinstance(data, np.ndarray) else len(data)


def _file_of(item: Item, pictures: Dataset) -> Path | None:
    """Return the picture's own file; None inside an archive, and where it is named by number."""
    if pictures.hidden is not None:
        return None
    path = Path(item.source)
    return path if path.is_file() else None


@contextlib.contextmanager
def hidden_file(folder: Path) -> Iterator[Path]:
    """Yield a new file under a hidden name in `folder`; it is gone afterwards unless it was renamed."""
    handle, name = tempfile.mkstemp(prefix=".sorting.", dir=folder)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _write_copy(item: Item, pictures: Dataset, target: Path) -> None:
    file = _file_of(item, pictures)
    if file is not None:
        shutil.copyfile(file, target)
        status = file.stat()
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))  # photo programs sort by it
        target.chmod(0o644)
        return
    data = pictures.read(item)
    if isinstance(data, np.ndarray) and data.dtype == np.uint8:
        Image.fromarray(data).save(target, format="PNG")
    elif isinstance(data, np.ndarray):  # measured values, which Pillow writes in 32 bits
        Image.fromarray(data.astype(np.float32 if data.dtype.kind == "f" else np.int32)).save(target, format="TIFF")
    else:
        target.write_bytes(data)
    target.chmod(0o644)


def place(temporary: Path, folder: Path, name: str) -> Path:
    """Give a file in `folder` its name, or the next free one; returns a present file where it holds the same bytes."""
    stem, suffix = os.path.splitext(name)
    for free in numbered(stem, suffix):
        target = folder / free
        try:
            # The name is taken first, so that another process writing into the same folder cannot be overwritten.
            os.close(os.open(target, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            if _same_bytes(temporary, target):
                return target
            continue
        os.replace(temporary, target)
        return target
    raise AssertionError("numbers do not end")


def _same_bytes(one: Path, other: Path) -> bool:
    same_size = other.is_file() and one.stat().st_size == other.stat().st_size
    return same_size and one.read_bytes() == other.read_bytes()


def _require_space(directory: Path, size: int) -> None:
    """Raise `ResourceError` where the disk of `directory` has less than `size` bytes free."""
    present = next(folder for folder in (directory.resolve(), *directory.resolve().parents) if folder.is_dir())
    free = shutil.disk_usage(present).free
    if free < size:
        raise ResourceError(
            f"--sort-into {directory}: the copies need {_size(size)}, the disk has {_size(free)} free; "
            "free some space or choose a folder on another disk"
        )


def _size(count: int) -> str:
    """Return a number of bytes as people read it (1 MB is 10^6 bytes)."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
