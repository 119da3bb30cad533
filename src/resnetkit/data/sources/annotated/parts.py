"""What files and folders of annotated sets are called: which part that tells, and who is found by which name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from resnetkit.data.classes import normal_name
from resnetkit.data.dataset import Split
from resnetkit.data.sources.annotated.drawn import Noted
from resnetkit.data.sources.annotated.faults import Faults, Wrong
from resnetkit.data.sources.folders import SPLIT_FOLDERS, Tree
from resnetkit.errors import DataError, near_miss
from resnetkit.words import counted

_LOOKED_FOR, _AMONG = 10, 1_000  # missing files, and the names that may be meant
_PARTS: dict[str, Split] = {**SPLIT_FOLDERS, "trainval": "train"}


def part_named(path: str) -> Split | None:
    """Return the part that the name of a file or of a folder around it tells; the innermost that tells one.

    >>> part_named("annotations/instances_train2017.json"), part_named("valid/_annotations.coco.json")
    ('train', 'val')
    """
    for name in reversed(path.split("/")):
        found = {_PARTS[word] for word in re.split(r"[\W\d_]+", name.casefold()) if word in _PARTS}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def unsplit(noted: Iterable[Noted]) -> list[Noted]:
    """Return the pictures without parts where all are of train: then a share of them is held out."""
    noted = list(noted)
    if {one.split for one in noted} == {"train"}:
        return [replace(one, split=None) for one in noted]
    return noted


def once(noted: Iterable[Noted], faults: Faults, *, tree: Tree) -> list[Noted]:
    """Return each picture once; one that is there again is a fault of the place that names it again."""
    first: dict[str, Noted] = {}
    for one in noted:
        other = first.setdefault(one.key, one)
        if other is not one:
            place = ", ".join(filter(None, [other.file, other.where]))
            parts = f" ({other.split} and {one.split})" if other.split != one.split else ""
            why = f"the picture {tree.path(one.key)} is listed again{parts}, first in {place}"
            faults.add(one.file, one.where, Wrong(why, "list it once"), loses="nothing")
    return list(first.values())


def listed_nowhere(tree: Tree, keys: Sequence[str], *, why: str) -> list[str]:
    """Say how many pictures nobody annotated."""
    if not keys:
        return []
    return [f"not used, for nobody annotated them: {counted(len(keys), 'picture')} {why} (first: {tree.path(keys[0])})"]


class Names:
    """The files of a tree, found by the names that annotations have for them, however these write their accents."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = {normal_name(key): key for key in keys}
        self._missing = 0
        self._folded: dict[str, str] | None = None

    def find(self, path: str) -> str | None:
        """Return the key of a file, None where there is none."""
        return self._keys.get(normal_name(path))

    def missing(self, path: str, *, what: str = "the picture") -> Wrong:
        """Return what to say of a file that is not there, with the one that seems to be meant."""
        if self._folded is None:
            self._folded = {_bare(key): key for key in self._keys}
        there = self._folded.get(_bare(normal_name(path)))
        if there is not None:
            return Wrong(f"{what} {path} is not there, but {there} is", "write that")
        self._missing += 1
        return Wrong(f"{what} {path} is not there{self._nearest(path)}", "copy it there, or delete its entry")

    def _nearest(self, path: str) -> str:
        """Return the name that seems to be meant, for the first that are missing: to look for it takes long."""
        if self._missing > _LOOKED_FOR:
            return ""
        folder = os.path.dirname(path)
        return near_miss(path, [key for key in self._keys if os.path.dirname(key) == folder][:_AMONG])


def _bare(path: str) -> str:
    """Return a name without its suffix and in one case."""
    return os.path.splitext(path)[0].casefold()


def folders_of(tree: Tree) -> set[str]:
    """Return all folders of a tree; an archive may have no entries for its own."""
    found = set(tree.folders)
    if tree.inside_archive:
        waiting = {os.path.dirname(key) for key in (*tree.pictures, *tree.others)}
        while waiting := waiting - found - {""}:
            found |= waiting
            waiting = {os.path.dirname(folder) for folder in waiting}
    return found


def below(keys: Iterable[str], folder: str) -> list[str]:
    """Return the files in a folder and in those inside it."""
    return [key for key in keys if key.startswith(f"{folder}/")] if folder else list(keys)


def stem(key: str) -> str:
    """Return a path without its suffix."""
    return os.path.splitext(key)[0]


def join(*parts: str) -> str:
    """Return a path of the parts that are not empty."""
    return "/".join(filter(None, parts))


def bytes_of(tree: Tree, key: str) -> bytes:
    """Return what a file of a tree holds; raises `Wrong` where it cannot be read."""
    try:
        data = tree.reader.read(key)
    except (OSError, DataError) as error:
        why = getattr(error, "strerror", None) or str(error).removeprefix(f"{tree.path(key)}: ")
        raise Wrong(f"cannot be read ({why})", "copy it again, or delete it") from None
    assert isinstance(data, bytes)
    return data


def text_of(tree: Tree, key: str) -> str:
    """Return the text of a file; raises `Wrong` for what is no UTF-8."""
    try:
        return bytes_of(tree, key).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Wrong("is no UTF-8 text", "save it as UTF-8, or delete it") from None
