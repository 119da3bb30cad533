"""YOLO text: a .txt of lines `class x y width height` for each picture, in shares, and data.yaml with the names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resnetkit.data.dataset import SPLITS, Split
from resnetkit.data.marks import Box, Mask
from resnetkit.data.sources.annotated.drawn import Drawn, Noted, Read
from resnetkit.data.sources.annotated.faults import Faults, Wrong, number_in, shown
from resnetkit.data.sources.annotated.parts import (
    Names,
    below,
    bytes_of,
    folders_of,
    listed_nowhere,
    part_named,
    stem,
    text_of,
)
from resnetkit.data.sources.annotated.told import Told, path_in, told_by, told_in
from resnetkit.data.sources.folders import Tree, read_tree
from resnetkit.errors import DataError
from resnetkit.words import counted

_BOXES_ARE = "YOLO boxes are class, middle x, middle y, width, height in shares of the picture"
_NO_LABELS = {"classes.txt", "labels.txt", "notes.txt", "readme.txt", "train.txt", "val.txt", "test.txt"}
_NAMES, _PARTS = re.compile(rb"""(?m)^["']?names["']?\s*:"""), re.compile(rb"""(?m)^["']?(train|nc)["']?\s*:""")
_ROUNDED = 1.01  # a share that is no more than rounded


@dataclass(frozen=True, slots=True)
class Layout:
    """Folders called images, and the file that describes the set, where there is one."""

    pictures: tuple[str, ...]
    told: str | None


def found_in(tree: Tree) -> Layout | None:
    """Return where a tree holds `images/` and `labels/` with .txt, or such a folder and a file that names classes."""
    folders = folders_of(tree)
    named = {folder.casefold(): folder for folder in folders}
    pictures = sorted(folder for folder in folders if os.path.basename(folder).casefold() == "images")
    texts = {os.path.dirname(key) for key in tree.others if _is_text(key)}
    labelled = [folder for folder in pictures if _has_labels(folder, named, texts)]
    files = [key for key in tree.others if key.lower().endswith((".yaml", ".yml")) and key.count("/") <= 2]
    files.sort(key=lambda key: (key.count("/"), os.path.basename(key) != "data.yaml", key))
    told = next((key for key in files if _tells_names(tree, key)), None)
    if not labelled and not (told and pictures):
        return None
    return Layout(tuple(labelled or pictures), told)


def _is_text(key: str) -> bool:
    return key.lower().endswith(".txt") and os.path.basename(key).casefold() not in _NO_LABELS


def _tells_names(tree: Tree, key: str) -> bool:
    try:
        text = bytes_of(tree, key)
    except Wrong:
        return False
    return bool(_NAMES.search(text) and _PARTS.search(text))


def _has_labels(pictures: str, folders: Mapping[str, str], texts: Iterable[str]) -> bool:
    labels = folders.get(_labels_beside(pictures).casefold())
    return labels is not None and any(one == labels or one.startswith(f"{labels}/") for one in texts)


def _labels_beside(pictures: str) -> str:
    """Return the folder of labels for a path in a folder of pictures: the last `images` is `labels`.

    >>> _labels_beside("train/images/cat/1.jpg")
    'train/labels/cat/1.jpg'
    """
    parts = pictures.split("/")
    for place in range(len(parts) - 1, -1, -1):
        if parts[place].casefold() == "images":
            return "/".join([*parts[:place], "labels", *parts[place + 1 :]])
    return pictures


def read(tree: Tree, layout: Layout, faults: Faults) -> Read:
    """Read a YOLO set: parts by its data.yaml or by the names of folders; a picture without a .txt is background."""
    return _read(tree, layout, told_in(tree, layout.told, faults), faults)


def read_file(path: str, faults: Faults) -> Read:
    """Read the set that a data.yaml describes, in the folder that it names or lies in; raises `DataError` for none."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
        own = os.path.dirname(path)
        named = os.path.join(own, path_in(text))
        tree = read_tree(os.path.normpath(named) if os.path.isdir(named) else own or ".")
        told = told_by(text, file=path, tree=tree, folder="", faults=faults)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text; save it as UTF-8") from error
    except Wrong as wrong:
        raise DataError(f"{path}: {wrong.why}; {wrong.mend}") from None
    layout = found_in(tree)
    if layout is None:
        raise DataError(f"{path}: {tree.source} holds no images/ beside labels/ with .txt files; write its path: there")
    return _read(tree, layout, told, faults)


def _read(tree: Tree, layout: Layout, told: Told, faults: Faults) -> Read:
    parts, notes = _parts(tree, layout, told, faults)
    labels = Names(key for key in tree.others if _is_text(key))
    noted, without, unlabelled = list[Noted](), list[str](), list[str]()
    for part, keys in parts.items():
        found = {key: labels.find(stem(_labels_beside(key)) + ".txt") for key in keys}
        if not any(found.values()):
            unlabelled += keys
            continue
        without += [key for key, label in found.items() if label is None]
        for key, label in found.items():
            before = faults.objects_lost
            drawn = () if label is None else tuple(_drawn(tree, label, told, faults))
            lost, file = faults.objects_lost > before, tree.path(label or key)
            noted.append(Noted(key=key, file=file, drawn=drawn, shares=True, lost=lost, split=part))
    _check_pictures(tree, layout, faults)
    named = {key for keys in parts.values() for key in keys}
    others = [key for folder in layout.pictures for key in below(tree.pictures, folder) if key not in named]
    if without:
        said = f"{counted(len(without), 'picture')} without a .txt: background, as YOLO has it"
        notes.append(f"{said} (first: {tree.path(without[0])})")
    notes += listed_nowhere(tree, unlabelled, why="of a part without any .txt")
    notes += listed_nowhere(tree, others, why=f"in no part of {os.path.basename(told.file)}")
    used = {key for key in tree.others if key.lower().endswith((".txt", ".yaml", ".yml", ".cache"))}
    return Read(
        tree=tree, noted=noted if told.usable else [], boxes_are=_BOXES_ARE,
        classes=tuple(told.names.values()), used=frozenset(used), notes=notes,
    )  # fmt: skip


def _parts(
    tree: Tree, layout: Layout, told: Told, faults: Faults
) -> tuple[dict[Split | None, list[str]], list[str]]:  # fmt: skip
    """Return the pictures of each part, and what to say of them."""
    if not told.parts:
        found: dict[Split | None, list[str]] = {}
        for key in dict.fromkeys(key for folder in layout.pictures for key in below(tree.pictures, folder)):
            found.setdefault(part_named(os.path.dirname(key)), []).append(key)
        return found, []
    listed, notes = dict[Split | None, list[str]](), list[str]()
    for part in (part for part in SPLITS if part in told.parts):
        try:
            listed[part] = told.pictures(part, faults)
        except Wrong as wrong:
            if part == "test":  # as exporters write it also where there is no such part
                notes.append(f"{told.file}: {wrong.why}")
            else:
                faults.add(told.file, "", wrong, loses="nothing")
    for part in ("val", "test"):
        if part in listed and listed[part] == listed.get("train"):
            del listed[part]
            notes.append(f"{told.file} has the same pictures as train and as {part}: they are train")
    return {part: keys for part, keys in listed.items() if keys}, notes


def _check_pictures(tree: Tree, layout: Layout, faults: Faults) -> None:
    """Add a fault for each label file without a picture."""
    there = Names(stem(_labels_beside(key)) for key in tree.pictures)
    for folder in dict.fromkeys(_labels_beside(one) for one in layout.pictures):
        for key in below(tree.others, folder):
            if _is_text(key) and there.find(stem(key)) is None:
                name = os.path.basename(stem(key))
                why = f"there is no picture {name} with it in {_images_beside(folder)}"
                faults.add(tree.path(key), "", Wrong(why, "copy it there, or delete this file"), loses="picture")


def _images_beside(labels: str) -> str:
    return "/".join([*labels.split("/")[:-1], "images"])


def _drawn(tree: Tree, key: str, told: Told, faults: Faults) -> Iterable[Drawn]:
    """Yield the objects of a label file."""
    file = tree.path(key)
    text = ""
    with faults.at(file, "", loses="file"):
        text = text_of(tree, key)
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        where = f"line {number}"
        with faults.at(file, where):
            label = _label(fields[0], told)
            if label is None:  # that is a fault of the names already
                faults.lose("object")
                continue
            where = f"{where} ({label})"
            with faults.at(file, where):
                box, mask = _shape(fields[1:], keypoints=told.keypoints)
                yield Drawn(where, label, box, mask)


def _label(field: str, told: Told) -> str | None:
    """Return the class of a number; raises `Wrong` for one that has no name."""
    if "," in field:
        raise Wrong(f"{shown(field)} has commas", "write spaces between the numbers")
    value = number_in(field, what="its class")
    if value != int(value):
        raise Wrong(f"its class is {value:g}", "write the number of a class: 0, 1, 2 and so on")
    if int(value) in told.names:
        return told.names[int(value)]
    if not told.usable:
        return None
    first, last = min(told.names, default=0), max(told.names, default=-1)
    raise Wrong(
        f"its class is {int(value)}, and {os.path.basename(told.file)} has names for {first} to {last}",
        "YOLO counts classes from 0: add the name, or mend the number",
    )


def _shape(fields: Sequence[str], *, keypoints: bool) -> tuple[Box | None, Mask | None]:
    """Return the box of four numbers, or the outline of six and more; with keypoints the box stands before them."""
    if keypoints and len(fields) > 4:
        fields = fields[:4]
    if len(fields) == 5:
        raise Wrong("has 6 numbers, as predictions have with their confidence", f"{_BOXES_ARE}: delete the sixth")
    if len(fields) < 4 or (len(fields) > 4 and len(fields) % 2):
        raise Wrong(
            f"has {counted(len(fields) + 1, 'value')}",
            "write a class and 4 numbers of a box, or a class and x, y of 3 points or more",
        )
    if len(fields) > 4:
        points = [_share(field, what="a number of its outline", negative=True) for field in fields]
        return None, Mask(polygons=(tuple(points),))
    sides = zip(fields, ("middle x", "middle y", "width", "height"), strict=True)
    across, down, width, height = (_share(field, what=f"its {name}") for field, name in sides)
    return (across - width / 2, down - height / 2, across + width / 2, down + height / 2), None


def _share(text: str, *, what: str, negative: bool = False) -> float:
    value = number_in(text, what=what)
    if value > _ROUNDED:
        raise Wrong(
            f"{what} is {value:g}, which is no share", "are these pixels? divide by width and height of the picture"
        )
    if value < (1 - _ROUNDED if negative or what.startswith("its middle") else 0):
        raise Wrong(f"{what} is {value:g}, below 0", f"{_BOXES_ARE}: mend or delete it")
    return value
