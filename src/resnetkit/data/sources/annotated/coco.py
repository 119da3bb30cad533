"""COCO JSON: pictures, categories and annotations in one file for each part, beside folders of pictures."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from resnetkit.data.dataset import Split
from resnetkit.data.marks import Box, Mask
from resnetkit.data.sources.annotated import outlines
from resnetkit.data.sources.annotated.beside import Finder, Pictures, tree_beside
from resnetkit.data.sources.annotated.drawn import Drawn, Noted, Read
from resnetkit.data.sources.annotated.faults import Faults, Wrong, name_of, number_of, shown
from resnetkit.data.sources.annotated.parts import bytes_of, listed_nowhere, part_named
from resnetkit.data.sources.folders import Tree
from resnetkit.errors import DataError, near_miss
from resnetkit.words import counted

_BOXES_ARE = "COCO boxes are [left, top, width, height] in pixels"
_LISTS = ("images", "annotations", "categories")
_FOLDERS = ("annotations", "annotation", "labels")
_MOST_FILES = 20  # .json files in a folder: where there are more they are not one for each part

_NO_ID = "no id"  # stands for that of an entry without one

_Values = dict[str, Any]
_Loaded = tuple[str, dict[str, list[Any]]]  # the key of a file, and its lists


def found_in(tree: Tree) -> list[str]:
    """Return the COCO files of a tree that tell objects."""
    files = [key for key in tree.others if key.lower().endswith(".json") and key.count("/") <= 3]
    crowded = Counter(os.path.dirname(key) for key in files)
    return [key for key in files if crowded[os.path.dirname(key)] <= _MOST_FILES and _is_coco(tree, key)]


def _is_coco(tree: Tree, key: str) -> bool:
    """Tell COCO objects by their keys, also in a file that is broken."""
    try:
        data = bytes_of(tree, key)
    except Wrong:
        return False
    keys = {name for name in (*_LISTS, "bbox") if re.search(rb'"%s"\s*:' % name.encode(), data)}
    return {"images", "annotations"} <= keys and bool(keys & {"categories", "bbox"})


def read(tree: Tree, keys: Sequence[str], faults: Faults) -> Read:
    """Read the COCO files of a tree: the parts follow their names or those of the folders around them."""
    kept, notes = _chosen(keys)
    loaded: list[_Loaded] = []
    for key in kept:
        with faults.at(tree.path(key), "", loses="file"):
            loaded.append((key, _lists(bytes_of(tree, key))))
    return _read(tree, loaded, faults, used=frozenset(keys), notes=notes)


def read_file(path: str, faults: Faults) -> Read:
    """Read one COCO file whose pictures lie beside it, or beside the folder that it lies in.

    Raises `DataError` where it is none.
    """
    folder, key = os.path.split(path)
    own = os.path.basename(os.path.abspath(folder))
    if own.casefold() in _FOLDERS:
        key = f"{own}/{key}"
        folder = os.path.dirname(folder) if os.path.basename(folder) == own else os.path.join(folder, "..")
    try:
        with open(path, "rb") as file:
            lists = _lists(file.read())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Wrong as wrong:
        raise DataError(f"{path}: {wrong.why}; {wrong.mend}") from None
    said = _read(tree_beside(folder, key, _file_names(lists)), [(key, lists)], faults, used=frozenset([key]), notes=[])
    return replace(said, noted=[replace(one, split=None) for one in said.noted])  # one file is the whole set


def _lists(data: bytes) -> dict[str, list[Any]]:
    """Return the three lists of a file; raises `Wrong`."""
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Wrong("is no UTF-8 text", "save it as UTF-8") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Wrong(f"is no JSON: {error.msg} in {place}", "mend it there, or export it again") from None
    except (RecursionError, ValueError):  # brackets within brackets, numbers of thousands of digits
        raise Wrong("is no JSON that can be read", "export it again") from None
    if isinstance(content, list):
        raise Wrong("is a list, as of predictions", "give the file that holds images, annotations and categories")
    values = content if isinstance(content, dict) else {}
    for name in _LISTS:
        if not isinstance(values.get(name), list):
            what = f"{name!r} is {shown(values[name])} and no list" if name in values else f"has no list {name!r}"
            hint = "" if name in values else near_miss(name, values)
            raise Wrong(f"{what}{hint}", "COCO files hold images, annotations and categories: export it again")
    return {name: values[name] for name in _LISTS}


def _chosen(keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the files to read: of several of one part those of instances, where there are such; with what to say."""
    by_part: dict[Split | None, list[str]] = defaultdict(list)
    for key in keys:
        by_part[part_named(key)].append(key)
    kept: set[str] = set()
    for files in by_part.values():
        instances = [key for key in files if os.path.basename(key).startswith("instances")]
        kept.update(instances or files)
    left = [key for key in keys if key not in kept]
    notes = [f"not read, for others hold the instances: {', '.join(left[:3])}"] if left else []
    return [key for key in keys if key in kept], notes


def _read(tree: Tree, loaded: list[_Loaded], faults: Faults, *, used: frozenset[str], notes: list[str]) -> Read:
    pictures = Pictures(tree)
    files = [_File(tree, key, lists, pictures, faults) for key, lists in loaded]
    noted = [one for file in files for one in file.noted()]
    named = {one.key for one in noted}
    folders = {os.path.dirname(key) for key in named}
    others = [key for key in tree.pictures if key not in named and os.path.dirname(key) in folders]
    trained = [file for file in files if file.part in (None, "train")] or files
    return Read(
        tree=tree, noted=noted, boxes_are=_BOXES_ARE, used=used,
        classes=tuple(dict.fromkeys(name for file in trained for name in file.classes)),
        notes=[*notes, *listed_nowhere(tree, others, why="in no annotation file")],
    )  # fmt: skip


def _file_names(lists: dict[str, list[Any]]) -> list[str]:
    names = [entry.get("file_name") for entry in lists["images"] if isinstance(entry, dict)]
    return [name for name in names if isinstance(name, str)]


@dataclass(frozen=True, slots=True)
class _Picture:
    """An entry of a picture: its place in the file, and the objects that follow."""

    key: str
    where: str
    size: tuple[int, int] | None
    drawn: list[Drawn] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class _File:
    """Reads the lists of one file; what cannot be used is a fault, and what refers to it is left out with it."""

    def __init__(self, tree: Tree, key: str, lists: dict[str, list[Any]], pictures: Pictures, faults: Faults) -> None:
        self.part = part_named(key)
        self._file, self._faults = tree.path(key), faults
        self._told: set[tuple[str, Hashable]] = set()  # ids that are a fault already
        self._names: dict[Hashable, str | None] = {}  # None: it is there, but cannot be used
        self._images: dict[Hashable, _Picture | None] = {}
        names = _file_names(lists)
        finder = pictures.named(names, part=self.part)
        if len(names) > 1 and not finder.finds_any(names):
            wrong = Wrong(
                f"none of its {len(names):,} pictures is there, as {names[0]}", "put them into a folder beside it"
            )
            faults.add(self._file, "", wrong, loses="file")
            return
        self._read_categories(lists)
        self._read_images(lists["images"], finder)
        self._read_annotations(lists["annotations"])

    @property
    def classes(self) -> list[str]:
        """The names of its classes."""
        return [name for name in self._names.values() if name is not None]

    def noted(self) -> list[Noted]:
        """Return its pictures with what is drawn on them."""
        return [
            Noted(
                key=one.key, file=self._file, drawn=tuple(one.drawn), size=one.size, lost=bool(one.lost),
                split=self.part, where=one.where,
            )
            for one in self._images.values() if one is not None
        ]  # fmt: skip

    def _read_categories(self, lists: dict[str, list[Any]]) -> None:
        used = {_id(entry.get("category_id")) for entry in lists["annotations"] if isinstance(entry, dict)}
        first: dict[str, tuple[Hashable, _Values]] = {}
        for number, entry in enumerate(lists["categories"], 1):
            with self._faults.at(self._file, _called("category", number, entry), loses="nothing"):
                values = _entry(entry)
                key = self._new_id(values, self._names, "category")
                name = name_of(values.get("name"), what="its name")
                self._names[key] = name
                other, earlier = first.setdefault(name, (key, values))
                headings = [one for own, one in ((key, values), (other, earlier)) if own not in used]
                if other != key and not any(_is_heading(one, lists["categories"]) for one in headings):
                    raise Wrong(f"category {shown(other)} has the same name, {name!r}", "make them one, or rename one")

    def _read_images(self, entries: list[Any], finder: Finder) -> None:
        first: dict[str, str] = {}
        for number, entry in enumerate(entries, 1):
            where = _called("image", number, entry)
            with self._faults.at(self._file, where, loses="picture"):
                values = _entry(entry)
                key = self._new_id(values, self._images, "image")
                name = values.get("file_name")
                if not isinstance(name, str) or not name.strip():
                    raise Wrong("its file_name is missing", "write which picture it is, or delete its entry")
                picture = finder.find(name)
                if (other := first.setdefault(picture, where)) is not where:
                    raise Wrong(f"{other} is the same picture", "make them one")
                self._images[key] = _Picture(picture, where, _size(values))

    def _read_annotations(self, entries: list[Any]) -> None:
        ids: set[Hashable] = set()
        for number, entry in enumerate(entries, 1):
            where = _called("annotation", number, entry)
            picture, lost = None, self._faults.objects_lost
            with self._faults.at(self._file, where):
                values = _entry(entry)
                picture = self._picture_of(values)
                name = self._name_of(values)
                if picture is not None and name is not None:
                    self._read_annotation(values, picture, f"{where} ({name})", name, ids)
                else:  # that is a fault already
                    self._faults.lose("object")
            if picture is not None and self._faults.objects_lost > lost:
                picture.lost.append(where)

    def _read_annotation(self, values: _Values, picture: _Picture, where: str, name: str, ids: set[Hashable]) -> None:
        with self._faults.at(self._file, f"{picture.where}, {where}"):
            picture.drawn.append(_drawn(values, where, name))
            self._check_new(_id(values.get("id")), ids, f"{picture.where}, {where}")

    def _new_id(self, values: _Values, known: dict[Hashable, Any], what: str) -> Hashable:
        """Return the id of an entry, which is `known` from now on; where it is so already it means neither."""
        key = _id(values.get("id"))
        if key is None:
            self._told.add((what, _NO_ID))
            said = f"its id is {shown(values['id'])}" if "id" in values else "has no id"
            raise Wrong(said, "give it the number that annotations have for it")
        twice = key in known
        known[key] = None
        if twice:
            raise Wrong(f"another {what} has the same id", "give each its own, and write that into their annotations")
        return key

    def _check_new(self, key: Hashable | None, ids: set[Hashable], where: str) -> None:
        if key is not None and key in ids:
            wrong = Wrong("another annotation has the same id", "give each its own")
            self._faults.add(self._file, where, wrong, loses="nothing")
        ids.add(key)

    def _picture_of(self, values: _Values) -> _Picture | None:
        key = _id(values.get("image_id"))
        if key is None or key not in self._images:
            self._check_told("image", values, "mend or delete it")
        return self._images.get(key)

    def _name_of(self, values: _Values) -> str | None:
        key = _id(values.get("category_id"))
        if key is None or key not in self._names:
            there = ", ".join(shown(known) for known in list(self._names)[:5]) or "none"
            more = " and more" if len(self._names) > 5 else ""
            self._check_told("category", values, f"add the category, or write one of {there}{more}")
        return self._names.get(key)

    def _check_told(self, what: str, values: _Values, mend: str) -> None:
        """Raise `Wrong` for an id that nothing has: once for each, and not where something lacks an id anyway."""
        value = values.get(f"{what}_id")
        if not {(what, _id(value)), (what, _NO_ID)} & self._told:
            self._told |= {(what, _id(value))} - {(what, None)}
            raise Wrong(f"its {what}_id is {shown(value)}, an id that no {what} has", mend)


def _called(what: str, number: int, entry: Any) -> str:
    """Return how to name an entry: by its id and the file's name, else by its place in the list."""
    values = entry if isinstance(entry, dict) else {}
    name = values.get("file_name") or values.get("name")
    key = _id(values.get("id"))
    said = f"{what} {shown(key)}" if key is not None else f"{what} number {number}"
    return f"{said} ({name})" if isinstance(name, str) and what != "annotation" else said


def _entry(value: Any) -> _Values:
    if not isinstance(value, dict):
        raise Wrong(f"is {shown(value)} where an object belongs", "delete it, or export the file again")
    return value


def _id(value: Any) -> Hashable | None:
    """Return an id, None for what cannot be one."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) and value != "" else None


def _is_heading(values: _Values, entries: list[Any]) -> bool:
    """Tell a category that only heads others, as an exporter adds it, which may be called as one of them."""
    above = [entry.get("supercategory") for entry in entries if isinstance(entry, dict) and entry is not values]
    return values.get("supercategory") == "none" and values.get("name") in above


def _size(values: _Values) -> tuple[int, int] | None:
    """Return the width and height that an image is said to have, None where nothing is said."""
    sides = []
    for name in ("width", "height"):
        if values.get(name) is None:
            return None
        try:
            side = number_of(values[name], what=f"its {name}")
        except Wrong as wrong:
            raise Wrong(wrong.why, "write the size of the picture in pixels") from None
        if side <= 0 or side != int(side):
            raise Wrong(f"its {name} is {side:g}", "write the size of the picture in pixels")
        sides.append(int(side))
    return sides[0], sides[1]


def _drawn(values: _Values, where: str, name: str) -> Drawn:
    """Return an annotation's object; raises `Wrong`."""
    crowd = values.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise Wrong(f"its iscrowd is {shown(crowd)}", "write 0, or 1 for a region of many")
    mask = _outline(values.get("segmentation"))
    return Drawn(where, name, _box(values, outlined=mask is not None), mask, crowd=bool(crowd))


def _outline(value: Any) -> Mask | None:
    if value in (None, [], [[]]):
        return None
    if isinstance(value, dict):
        return outlines.of_run_lengths(value)
    if isinstance(value, list):
        return outlines.of_polygons(value)
    raise Wrong(f"its segmentation is {shown(value)}", "write polygons or run lengths, or leave it out")


def _box(values: _Values, *, outlined: bool) -> Box | None:
    """Return the box of an annotation, None where its outline is to tell it."""
    box = values.get("bbox")
    if outlined and box in (None, []):
        return None
    if not isinstance(box, list):
        raise Wrong("has no bbox" if box is None else f"its bbox is {shown(box)}", f"{_BOXES_ARE}: write it")
    if len(box) != 4:
        raise Wrong(f"its bbox has {counted(len(box), 'number')}", f"{_BOXES_ARE}: mend or delete it")
    left, top, width, height = (
        number_of(number, what=f"the {side} of its bbox")
        for number, side in zip(box, ("left", "top", "width", "height"), strict=True)
    )
    if width < 0 or height < 0:
        raise Wrong(f"its bbox has a negative size ({width:g} x {height:g})", f"{_BOXES_ARE}: mend or delete it")
    return left, top, left + width, top + height
