"""What data.yaml or classes.txt tell of a YOLO set: the names of the classes, and the pictures of each part."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from resnetkit.data.dataset import Split
from resnetkit.data.sources.annotated.beside import ends
from resnetkit.data.sources.annotated.faults import Faults, Wrong, name_of, number_in, shown
from resnetkit.data.sources.annotated.parts import Names, below, folders_of, join, text_of
from resnetkit.data.sources.annotated.yaml_keys import Value, keys_of
from resnetkit.data.sources.folders import Tree
from resnetkit.words import counted

_PARTS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_KEYS = ("names", "nc", "path", "kpt_shape", *_PARTS)
_WRITE = "write them as names: [cat, dog]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """The names of classes by number, and where the pictures of each part are, as seen from the folder `root`.

    `usable`: whether the names are known. `keypoints`: whether those follow the box in a line.
    """

    tree: Tree
    file: str
    names: dict[int, str] = field(default_factory=dict)
    parts: dict[Split, list[str]] = field(default_factory=dict)
    root: str = ""
    keypoints: bool = False
    usable: bool = True

    def pictures(self, part: Split, faults: Faults) -> list[str]:
        """Return the pictures of a part: those below its folders, or those that its text files list.

        Raises `Wrong` where these are not there.
        """
        folders = folders_of(self.tree) | {""}
        found = [key for place in self.parts[part] for key in self._in(place, folders, part, faults)]
        return list(dict.fromkeys(found))

    def _in(self, place: str, folders: set[str], part: Split, faults: Faults) -> list[str]:
        for path in (join(start, end) for end in _places(place) for start in dict.fromkeys((self.root, ""))):
            if path in folders:
                return below(self.tree.pictures, path)
            if path in self.tree.others:
                return list(self._listed(path, faults))
        raise Wrong(f"{part} is {shown(place)}, which is not there", "write the folder, as seen from this file")

    def _listed(self, key: str, faults: Faults) -> Iterator[str]:
        """Yield the pictures that a text file lists, one a line."""
        names, file = Names(self.tree.pictures), self.tree.path(key)
        starts = dict.fromkeys((os.path.dirname(key), self.root, ""))
        for number, line in enumerate(text_of(self.tree, key).splitlines(), 1):
            if not line.strip():
                continue
            with faults.at(file, f"line {number}", loses="picture"):
                paths = [join(start, end) for end in ends(line.strip()) for start in starts]
                found = next(filter(None, map(names.find, paths)), None)
                if found is None:
                    raise names.missing(paths[0])
                yield found


def _places(place: str) -> list[str]:
    """Return what a path may mean here: it may have been written on another machine, or lead above the folder."""
    place = place.replace("\\", "/").rstrip("/")
    if place in ("", "."):
        return [""]
    absolute = place.startswith("/") or ":" in place[:3]
    return ends(place) if absolute else ends(place)[:1]


def told_in(tree: Tree, key: str | None, faults: Faults) -> Told:
    """Read the file that describes a set, or the list classes.txt where there is none."""
    if key is None:
        return _of_list(tree, faults)
    file = tree.path(key)
    try:
        return told_by(text_of(tree, key), file=file, tree=tree, folder=os.path.dirname(key), faults=faults)
    except Wrong as wrong:
        faults.add(file, "", wrong, loses="file")
        return Told(tree=tree, file=file, usable=False)


def told_by(text: str, *, file: str, tree: Tree, folder: str, faults: Faults) -> Told:
    """Return what the text of a data.yaml tells, seen from a folder of the tree; raises `Wrong` for another text."""
    values = keys_of(text, _KEYS)
    names = None
    with faults.at(file, "", loses="file"):
        names = _names(values.get("names"))
        _check_count(values.get("nc"), names)
    parts: dict[Split, list[str]] = {}
    for name, part in _PARTS.items():
        value = values.get(name)
        if isinstance(value, str | list):
            places = [value] if isinstance(value, str) else value
            parts[part] = [*parts.get(part, []), *filter(None, places)]
    parts = {part: places for part, places in parts.items() if places}
    return Told(
        tree=tree, file=file, names=names or {}, parts=parts if "train" in parts else {}, usable=names is not None,
        root=_root(tree, folder, values.get("path")), keypoints="kpt_shape" in values,
    )  # fmt: skip


def path_in(text: str) -> str:
    """Return the folder that a data.yaml names as that of its set, empty where it names none or is not understood."""
    try:
        path = keys_of(text, ("path",)).get("path", "")
    except Wrong:
        return ""
    return path if isinstance(path, str) else ""


def _root(tree: Tree, folder: str, path: Value | None) -> str:
    """Return the folder that paths are seen from: that of the file, or one in it that `path` names."""
    if isinstance(path, str) and path.strip("./"):
        folders = folders_of(tree)
        return next((one for end in ends(path) if (one := join(folder, end)) in folders), folder)
    return folder


def _of_list(tree: Tree, faults: Faults) -> Told:
    lists = [key for key in tree.others if os.path.basename(key).casefold() in ("classes.txt", "obj.names")]
    if not lists:
        wrong = Wrong("there is no data.yaml with the names of the classes", "write one: names: [cat, dog]")
        faults.add(tree.source, "", wrong, loses="file")
        return Told(tree=tree, file="data.yaml", usable=False)
    key = min(lists, key=lambda key: key.count("/"))
    file, names = tree.path(key), None
    with faults.at(file, "", loses="file"):
        names = _unique(enumerate(text_of(tree, key).strip().splitlines()))
    return Told(tree=tree, file=file, names=names or {}, usable=names is not None)


def _names(named: Value | None) -> dict[int, str]:
    """Return the names by number; raises `Wrong`."""
    if not named:
        raise Wrong("the names of the classes are missing", _WRITE)
    if isinstance(named, str):
        raise Wrong(f"names is {shown(named)}, which is no list", _WRITE)
    return _unique(
        enumerate(named) if isinstance(named, list) else ((_index(key), name) for key, name in named.items())
    )


def _check_count(count: Value | None, names: dict[int, str]) -> None:
    if isinstance(count, str) and count and number_in(count, what="nc") != len(names):
        raise Wrong(f"nc is {count}, but there are {counted(len(names), 'name')}", "mend either")


def _index(key: str) -> int:
    value = number_in(key, what="the number of a class")
    if value < 0 or value != int(value):
        raise Wrong(f"the number of a class is {shown(key)}", "number them 0, 1, 2 and so on")
    return int(value)


def _unique(listed: Iterable[tuple[int, str]]) -> dict[int, str]:
    found: dict[str, int] = {}
    for number, value in listed:
        name = name_of(value, what=f"the name of class {number}")
        if name in found:
            raise Wrong(f"classes {found[name]} and {number} are both called {name!r}", "rename one")
        found[name] = number
    return {number: name for name, number in found.items()}
