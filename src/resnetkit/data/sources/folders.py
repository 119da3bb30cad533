"""Trees of pictures: what lies in a folder or an archive, and which class and part each picture belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from resnetkit.data.classes import natural_key, normal_name
from resnetkit.data.dataset import SPLITS, Item, Reader, Split
from resnetkit.data.opening.images import IMAGE_SUFFIXES
from resnetkit.data.sources.archives import Archive, open_archive
from resnetkit.errors import DataError
from resnetkit.files import open_file

SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_SEEN_ONLY_BY_MACHINES = "__MACOSX"


class FolderReader:
    """Reads files by their path below a folder (any path where the folder is `""`)."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def read(self, key: str) -> bytes:
        """Return a file's bytes; raises `OSError`."""
        with self.opened(key) as file:
            return file.read()

    def opened(self, key: str) -> BinaryIO:
        """Return the open file; raises `OSError`."""
        return open_file(os.path.join(self._folder, key))

    def start(self, key: str) -> bytes:
        """Return the first 132 bytes of a file, fewer where they cannot be read."""
        try:
            with self.opened(key) as file:
                return file.read(132)
        except OSError:
            return b""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """What lies in a folder or an archive: paths below it, with `/`, hidden ones left out.

    `source` is the folder or archive as given, `notes` what to say of it. Raises nothing: folders that cannot be listed
    are in `unreadable`.
    """

    source: str
    reader: Reader
    pictures: list[str]
    others: list[str]
    folders: list[str]
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    inside_archive: bool = False
    notes: tuple[str, ...] = ()

    def path(self, key: str) -> str:
        """Return what a person calls the file: its path as given, or `archive.zip::member`."""
        return readable(f"{self.source}::{key}" if self.inside_archive else os.path.join(self.source, key))


def readable(key: str) -> str:
    """Return a file name as text that can be written: bytes that are no UTF-8 become \\xNN."""
    return key if key.isascii() else key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_tree(source: str) -> Tree:
    """List a folder or an archive; raises `DataError` for an archive that cannot be read in place."""
    if os.path.isdir(source):
        files, folders, unreadable = _walk(source)
        return _tree(source, FolderReader(source), files, folders, unreadable)
    archive = open_archive(Path(source))
    names = [name for name in archive.names if not _is_hidden(name)]
    folders = [name for name in archive.folders if not _is_hidden(name)]
    return _tree(source, archive, names, folders, [], inside_archive=True)


def _tree(
    source: str,
    reader: FolderReader | Archive,
    files: list[str],
    folders: list[str],
    unreadable: list[tuple[str, str]],
    inside_archive: bool = False,
) -> Tree:
    files = sorted(files, key=natural_key)
    known = [_is_picture(name, reader) for name in files]
    return Tree(
        source=source,
        reader=reader,
        pictures=[name for name, picture in zip(files, known, strict=True) if picture],
        others=[name for name, picture in zip(files, known, strict=True) if not picture],
        folders=sorted(folders, key=natural_key),
        unreadable=unreadable,
        inside_archive=inside_archive,
    )


def _is_picture(name: str, reader: FolderReader | Archive) -> bool:
    """Tell by the suffix; of files without one, or with a number as UIDs end in, by whether they begin as DICOM.

    Scanners write such. A DICOMDIR, which lists them, is none.
    """
    suffix = os.path.splitext(name)[1]
    if suffix.lower() in IMAGE_SUFFIXES:
        return True
    nameless = not suffix or suffix[1:].isdigit()
    return nameless and os.path.basename(name).casefold() != "dicomdir" and reader.start(name)[128:] == b"DICM"


def _is_hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path or _SEEN_ONLY_BY_MACHINES in path.split("/")


def _walk(root: str) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Return files, folders and unlistable folders below `root`; links are followed, but never back to a parent."""
    files: list[str] = []
    folders: list[str] = []
    unreadable: list[tuple[str, str]] = []
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        below, parents = waiting.pop()
        path = os.path.join(root, below) if below else root
        try:
            status = os.stat(path)
            identity = (status.st_dev, status.st_ino)
            if identity in parents:
                continue
            with os.scandir(path) as found:
                entries = [entry for entry in found if not _is_hidden(entry.name)]
        except OSError as error:
            unreadable.append((readable(path), error.strerror or str(error)))
            continue
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            if _is_folder(entry):
                folders.append(name)
                waiting.append((name, parents | {identity}))
            else:
                files.append(name)
    return files, folders, unreadable


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The pictures of a tree that have a class, by key, and the paths of those and of the folders that do not count."""

    labelled: list[tuple[str, Item]]
    outside: list[str]
    empty: list[str]


def one_class(tree: Tree) -> Layout:
    """Return all pictures of a folder as one class that is called like the folder."""
    label = _class_name(os.path.basename(os.path.realpath(tree.source)))
    return Layout(
        labelled=[(key, Item(tree.path(key), (label,))) for key in tree.pictures],
        outside=[],
        empty=[] if tree.pictures else [tree.source],
    )


def class_folders(tree: Tree) -> Layout:
    """Return the pictures by class folder, and by train, val and test folder where there are such.

    A single wrapper folder is entered. A tree with only `train/` counts as unsplit (`split` None).
    Raises `DataError` where the folders can be understood in two ways, or hold no classes.
    """
    paths = [tuple(filter(None, key.split("/"))) for key in tree.pictures]
    folders = [tuple(filter(None, name.split("/"))) for name in tree.folders]
    depth = _wrapper_depth(paths, folders)
    wrapper = paths[0][:depth] if depth else ()
    if depth:
        wrapper = next(path[:depth] for path in [*folders, *paths] if len(path) > depth)
    inside = [path[:depth] == wrapper for path in paths]
    tops = _split_folders(tree, [path[depth:] for path, kept in zip(paths, inside, strict=True) if kept])
    unsplit = set(tops.values()) == {"train"}
    labelled, outside = [], []
    for key, path, kept in zip(tree.pictures, paths, inside, strict=True):
        below = path[depth:]
        split = tops.get(below[0]) if kept else None
        if not kept or (tops and split is None) or len(below) < (3 if tops else 2):
            outside.append(tree.path(key))
        else:
            label = _class_name(below[1 if tops else 0])
            labelled.append((key, Item(tree.path(key), (label,), None if unsplit else split)))
    filled = {path[: depth + n] for path in paths for n in (1, 2)}
    empty = [
        tree.path("/".join(path))
        for path in folders
        if path not in filled and path[:depth] == wrapper and _is_class_folder(path[depth:], tops)
    ]
    return Layout(labelled=labelled, outside=outside, empty=empty)


def _is_class_folder(below: tuple[str, ...], tops: dict[str, Split]) -> bool:
    if not tops or (len(below) == 1 and below[0].casefold() in SPLIT_FOLDERS):
        return len(below) == 1
    return len(below) == 2 and below[0] in tops


def _wrapper_depth(paths: list[tuple[str, ...]], folders: list[tuple[str, ...]]) -> int:
    """Return how many single folders lie around the class or split folders."""
    depth = 0
    while True:
        tops = {path[depth] for path in paths if len(path) > depth + 1} | {
            path[depth] for path in folders if len(path) > depth
        }
        if len(tops) != 1 or next(iter(tops)).casefold() in SPLIT_FOLDERS:
            return depth
        (top,) = tops
        inside = [path for path in paths if len(path) > depth + 1 and path[depth] == top]
        if not inside or any(len(path) == depth + 2 for path in inside):
            return depth
        depth += 1


def _split_folders(tree: Tree, paths: list[tuple[str, ...]]) -> dict[str, Split]:
    """Return the top folders that are parts of the data (empty: the top folders are classes)."""
    tops = {path[0] for path in paths if len(path) > 1}
    named = {top: SPLIT_FOLDERS[top.casefold()] for top in tops if top.casefold() in SPLIT_FOLDERS}
    with_classes = {top for top in named if any(path[0] == top and len(path) > 2 for path in paths)}
    others = sorted(tops - set(named), key=natural_key)
    if named and not with_classes and not others:
        example = min(named, key=lambda top: SPLITS.index(named[top]))
        raise DataError(
            f"{tree.source}: {example}/ holds pictures but no class folders: expected {example}/CLASS/picture.jpg"
        )
    if not with_classes:
        return {}
    if others and len({named[top] for top in with_classes}) == 1:
        raise DataError(
            f"{tree.source}: {min(with_classes)}/ stands beside {_some(others)}: move what is no part of the data "
            f"elsewhere, or rename {min(with_classes)}/ if it is a class"
        )
    return {top: split for top, split in named.items() if top in with_classes}


def _some(names: list[str]) -> str:
    return ", ".join(f"{name}/" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _class_name(name: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            f"the class folder {readable(name)} has a name that is no UTF-8: rename it "
            "(convmv -f cp949 -t utf8 -r --notest FOLDER does so for Korean names)"
        ) from None
    return normal_name(name)


def matching(pattern: str) -> Iterator[str]:
    """Yield the paths that a pattern with `*`, `?`, `[` or `**` matches, in natural order.

    Folders that are there mean themselves, brackets and all; so do all brackets where the pattern matches nothing.
    """
    import glob

    parts = pattern.split("/")
    there = next((n for n in range(len(parts) - 1, 0, -1) if os.path.isdir("/".join(parts[:n]))), 0)
    start, rest = "".join(f"{glob.escape(part)}/" for part in parts[:there]), "/".join(parts[there:])
    found = glob.glob(start + rest, recursive=True) or glob.glob(start + rest.replace("[", "[[]"), recursive=True)
    yield from sorted(found, key=natural_key)
