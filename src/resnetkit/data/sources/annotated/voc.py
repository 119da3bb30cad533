"""Pascal VOC: an XML file for each picture, and lists of the pictures of each part."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from resnetkit.data.classes import normal_name
from resnetkit.data.dataset import Split
from resnetkit.data.marks import Box
from resnetkit.data.opening.images import IMAGE_SUFFIXES
from resnetkit.data.sources.annotated.drawn import Drawn, Noted, Read
from resnetkit.data.sources.annotated.faults import Faults, Wrong, name_of, number_in, shown
from resnetkit.data.sources.annotated.parts import (
    Names,
    below,
    bytes_of,
    folders_of,
    join,
    listed_nowhere,
    stem,
    text_of,
)
from resnetkit.data.sources.folders import Tree
from resnetkit.errors import DataError
from resnetkit.words import counted

_BOXES_ARE = "VOC boxes are xmin, ymin, xmax, ymax in pixels, counted from 1"
_FOLDERS = {"jpegimages": "annotations", "images": "annotations"}
_SIDES = ("xmin", "ymin", "xmax", "ymax")
# A part and the list that tells it, where a better one does not: trainval is both.
_LISTS: tuple[tuple[str, Split], ...] = (("train", "train"), ("val", "val"), ("test", "test"))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a VOC set lies in a tree: the folder around it (empty: the top), and what its folders are called."""

    root: str
    pictures: str
    annotations: str


def found_in(tree: Tree) -> Layout | None:
    """Return where a tree holds pictures beside XML files; raises `DataError` where it holds several such sets."""
    folders = folders_of(tree)
    by_name = {folder.casefold(): folder for folder in folders}
    holding = {os.path.dirname(key) for key in tree.others if key.lower().endswith(".xml")}
    found: dict[str, Layout] = {}
    for folder in sorted(folders, key=lambda folder: (os.path.basename(folder).casefold() != "jpegimages", folder)):
        root, name = os.path.split(folder)
        beside = by_name.get(join(root, _FOLDERS.get(name.casefold(), "\0")).casefold())
        if beside is not None and any(one == beside or one.startswith(f"{beside}/") for one in holding):
            found.setdefault(beside, Layout(root, folder, beside))
    layouts = list(found.values())
    if len(layouts) > 1:
        raise DataError(
            f"{tree.source}: holds {len(layouts)} sets ({', '.join(one.root or one.pictures for one in layouts[:3])}): "
            f"name one of them, as {tree.path(layouts[0].root)}"
        )
    return layouts[0] if layouts else None


def read(tree: Tree, layout: Layout, faults: Faults) -> Read:
    """Read a VOC set. Pictures that its lists leave out are not used, nor are those without an XML file."""
    said = _Said(tree, faults)
    pictures = _by_stem(below(tree.pictures, layout.pictures), layout.pictures)
    files = _by_stem([key for key in below(tree.others, layout.annotations) if _is_xml(key)], layout.annotations)
    parts = _parts(tree, join(layout.root, "ImageSets/Main"), said, Names([*pictures, *files]))
    _check_pictures(said, layout.pictures, pictures, files)
    noted, without = [], []
    for name, keys in pictures.items():
        if parts is not None and name not in parts:
            continue
        if name not in files:
            without.append(keys[0])
            continue
        one = said.noted(files[name][0], keys, pictures, split=None if parts is None else parts[name])
        if one is not None:
            noted.append(one)
    unlisted = [keys[0] for name, keys in pictures.items() if parts is not None and name not in parts]
    notes = listed_nowhere(tree, unlisted, why="in no list of ImageSets/Main")
    notes += listed_nowhere(tree, without, why="without an XML file")
    if said.difficult:
        notes.append(f"{counted(said.difficult, 'object')} said to be difficult: they count as the others do")
    used = {key for keys in files.values() for key in keys} | set(below(tree.others, join(layout.root, "ImageSets")))
    return Read(tree=tree, noted=noted, boxes_are=_BOXES_ARE, used=frozenset(used), notes=notes)


def _is_xml(key: str) -> bool:
    return key.lower().endswith(".xml")


def _by_stem(keys: Sequence[str], folder: str) -> dict[str, list[str]]:
    """Return files by what they are called below a folder, without their suffix."""
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(normal_name(stem(key.removeprefix(f"{folder}/"))), []).append(key)
    return found


def _parts(tree: Tree, folder: str, said: _Said, names: Names) -> dict[str, Split] | None:
    """Return the part of each picture that is listed, None where there are no lists; trainval alone is train."""
    lists = {name: join(folder, f"{name}.txt") for name in ("train", "val", "trainval", "test")}
    there = {name: key for name, key in lists.items() if key in tree.others}
    if not there:
        return None
    if "train" not in there and "trainval" in there:
        there["train"] = there.pop("trainval")
    found: dict[str, Split] = {}
    for name, part in _LISTS:
        if name in there:
            said.read_list(there[name], part, names, found)
    return found


def _check_pictures(
    said: _Said, folder: str, pictures: Mapping[str, list[str]], files: Mapping[str, list[str]]
) -> None:
    """Add a fault for each annotation without a picture."""
    folded = {name.casefold(): keys[0] for name, keys in pictures.items()}
    for name, keys in files.items():
        if name not in pictures:
            why, other = f"its picture {folder}/{name}.* is not there", folded.get(name.casefold())
            wrong = Wrong(why, "copy it there, or delete this file")
            if other is not None:
                wrong = Wrong(f"{why}, but {other} is", "rename one of the two")
            said.faults.add(said.tree.path(keys[0]), "", wrong, loses="picture")


@dataclass(slots=True)
class _Said:
    """Reads lists and XML files of a tree; what is wrong there goes to `faults`."""

    tree: Tree
    faults: Faults
    difficult: int = 0
    _lists: dict[str, str] = field(default_factory=dict)  # where a picture was listed first

    def read_list(self, key: str, part: Split, names: Names, found: dict[str, Split]) -> None:
        """Read the names of the pictures of a part, one a line; a second column is what other lists have."""
        file = self.tree.path(key)
        text = ""
        with self.faults.at(file, "", loses="file"):
            text = text_of(self.tree, key)
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            with self.faults.at(file, f"line {number}", loses="picture"):
                name = self._listed(line.strip(), names)
                if name in found:
                    twice = f"{name} is listed again, first in {self._lists[name]}"
                    raise Wrong(twice, "a picture is in one part: list it once")
                found[name], self._lists[name] = part, f"{file}, line {number}"

    def _listed(self, line: str, names: Names) -> str:
        bare = stem(line) if os.path.splitext(line)[1].lower() in IMAGE_SUFFIXES else line
        for name in (bare, line, line.rsplit(maxsplit=1)[0]):
            if (key := names.find(name)) is not None:
                return key
        raise names.missing(bare)

    def noted(
        self, key: str, pictures: Sequence[str], others: Mapping[str, list[str]], *, split: Split | None
    ) -> Noted | None:
        """Return what an XML file says of its picture; None where it cannot be used."""
        file = self.tree.path(key)
        with self.faults.at(file, "", loses="picture"):
            root = _xml(bytes_of(self.tree, key))
            picture = _picture(root, pictures, others)
            size = _size(root.find("size"))
            drawn, lost = [], self.faults.objects_lost
            for number, one in enumerate(root.findall("object"), 1):
                where = f"object {number}"
                name = (one.findtext("name") or "").strip()
                with self.faults.at(file, f"{where} ({name})" if name else where):
                    label = name_of(one.findtext("name"))
                    drawn.append(Drawn(f"{where} ({label})", label, _box(one)))
                    self.difficult += one.findtext("difficult", "").strip() == "1"
            lost = self.faults.objects_lost - lost
            return Noted(key=picture, file=file, drawn=tuple(drawn), size=size, lost=lost > 0, split=split)
        return None


def _xml(data: bytes) -> ElementTree.Element:
    """Return the element `annotation` of a file; raises `Wrong`."""
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise Wrong("declares entities, which no annotation needs", "export it again, or delete it")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        (line, column), why = error.position, str(error).partition(":")[0]
        raise Wrong(
            f"is no XML: {why} in line {line}, column {column + 1}", "mend it there, or export it again"
        ) from None
    except (ValueError, LookupError):  # of an encoding that there is not
        raise Wrong("is no XML that can be read: its encoding is not known", "save it as UTF-8") from None
    if root.tag != "annotation":
        raise Wrong(f"holds {shown(root.tag)} where 'annotation' belongs", "export it again, or delete it")
    return root


def _picture(root: ElementTree.Element, pictures: Sequence[str], others: Mapping[str, list[str]]) -> str:
    """Return the picture of an XML file: that of its own name; raises `Wrong` where it names another that is there."""
    written = (root.findtext("filename") or "").strip()
    exact = [key for key in pictures if os.path.basename(key) == written]
    if len(pictures) > 1 and not exact:
        both = " and ".join(os.path.basename(key) for key in pictures[:2])
        raise Wrong(f"there are {both}, and its filename is {shown(written)}", "write which it is")
    if not exact and written and stem(written) in others and stem(written) != stem(os.path.basename(pictures[0])):
        own = os.path.basename(pictures[0])
        raise Wrong(f"its filename is {written}, which is there beside {own}", f"write {own}, or rename the file")
    return (exact or pictures)[0]


def _size(size: ElementTree.Element | None) -> tuple[int, int] | None:
    """Return the width and height that a picture is said to have; None where nothing is said, or 0 x 0."""
    if size is None:
        return None
    try:
        width, height = (number_in(size.findtext(name), what=f"its {name}") for name in ("width", "height"))
    except Wrong as wrong:
        raise Wrong(wrong.why, "write the size of the picture in pixels") from None
    if width == height == 0:  # as some tools write where they do not know it
        return None
    for name, side in (("width", width), ("height", height)):
        if side <= 0 or side != int(side):
            raise Wrong(f"its {name} is {side:g}", "write the size of the picture in pixels")
    return int(width), int(height)


def _box(element: ElementTree.Element) -> Box:
    """Return the box of an object; pixels are counted from 1 in the file, and the last belongs to it."""
    box = element.find("bndbox")
    if box is None:
        raise Wrong("has no bndbox", f"{_BOXES_ARE}: write it, or delete the object")
    for name in _SIDES:
        if (count := len(box.findall(name))) != 1:
            said = f"its bndbox has no {name}" if not count else f"its bndbox has {count} times {name}"
            raise Wrong(said, f"{_BOXES_ARE}: mend or delete it")
    left, top, right, bottom = (number_in(box.findtext(name), what=f"its {name}") for name in _SIDES)
    for low, high, names in ((left, right, ("xmin", "xmax")), (top, bottom, ("ymin", "ymax"))):
        if low > high:
            raise Wrong(f"its {names[0]} {low:g} lies beyond its {names[1]} {high:g}", "swap them, or delete it")
    return left - 1, top - 1, right, bottom
