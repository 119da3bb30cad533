"""Pictures that lie somewhere beside the file that describes them, by the names that it has for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from resnetkit.data.dataset import Split
from resnetkit.data.opening.images import IMAGE_SUFFIXES
from resnetkit.data.sources.annotated.parts import Names, folders_of, join, part_named
from resnetkit.data.sources.folders import FolderReader, Tree

_LOOKED_AT = 50  # names, to find the folder that holds them


class Pictures:
    """The pictures of a tree, to find those that a file names."""

    def __init__(self, tree: Tree) -> None:
        self._names = Names([*tree.pictures, *tree.others])
        self._folders = ["", *sorted(folders_of(tree), key=lambda folder: (folder.count("/"), folder))]

    def named(self, names: Sequence[str], *, part: Split | None) -> Finder:
        """Return what finds the pictures that a file of one part names: first in folders that are called so too."""
        looked_at = [path for name in names[:: max(1, len(names) // _LOOKED_AT)] for path in ends(name)]
        fitting = [folder for folder in self._folders if part is None or part_named(folder) in (None, part)]
        hits = {folder: self._hits(folder, looked_at) for folder in fitting}
        holding = sorted((folder for folder in fitting if hits[folder]), key=lambda folder: -hits[folder])
        if part is not None:
            holding.sort(key=lambda folder: part_named(folder) != part)
        return Finder(self._names, holding)

    def _hits(self, folder: str, paths: Iterable[str]) -> int:
        return sum(self._names.find(join(folder, path)) is not None for path in paths)


class Finder:
    """Finds pictures by the names that one file has for them, in the folders that hold some of them."""

    def __init__(self, names: Names, folders: list[str]) -> None:
        self._names, self._folders = names, folders

    def finds_any(self, names: Iterable[str]) -> bool:
        """Tell whether one of these pictures at least is there."""
        return any(self._found(name) is not None for name in names)

    def find(self, name: str) -> str:
        """Return the key of a picture; raises `Wrong` for one that is not there."""
        if (key := self._found(name)) is None:
            raise self._names.missing(join(*self._folders[:1], ends(name)[0]))
        return key

    def _found(self, name: str) -> str | None:
        for path in ends(name):
            for folder in self._folders:
                if (key := self._names.find(join(folder, path))) is not None:
                    return key
        return None


def ends(name: str) -> list[str]:
    """Return a path as a file has it, then its ends: folders of the machine it was written on may lie before them.

    >>> ends("../train/a.jpg")
    ['train/a.jpg', 'a.jpg']
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    parts = parts[max((number + 1 for number, part in enumerate(parts) if part == ".."), default=0) :]
    return ["/".join(parts[start:]) for start in range(len(parts))] or [name]


def tree_beside(folder: str, key: str, names: Iterable[str]) -> Tree:
    """Return the folders that may hold the named pictures as a tree: what lies elsewhere is not looked at.

    `key` is the file that names them, in `folder` or in a folder there.
    """
    inside = {os.path.dirname(ends(name)[0]) for name in names if "\0" not in name} | {""}
    starts = {"", os.path.dirname(key), *_entries(folder), *(f"images/{one}" for one in _entries(folder, "images"))}
    folders = sorted({join(start, below) for start in starts for below in inside})
    folders = [one for one in folders if os.path.isdir(os.path.join(folder, one) or ".")]
    files = [join(one, entry) for one in folders for entry in _entries(folder, one)]
    pictures = [file for file in files if os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES]
    named = [one for one in folders if one]
    return Tree(source=folder, reader=FolderReader(folder), pictures=pictures, others=[key], folders=named)


def _entries(folder: str, below: str = "") -> list[str]:
    try:
        return sorted(name for name in os.listdir(os.path.join(folder, below) or ".") if not name.startswith("."))
    except (OSError, ValueError):
        return []
