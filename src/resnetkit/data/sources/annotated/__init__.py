"""Annotated pictures: objects in COCO JSON, Pascal VOC, YOLO text or pictures of masks become pictures with marks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from resnetkit.data.dataset import Item, Marked
from resnetkit.data.sources.annotated import coco, mask_pictures, voc, yolo
from resnetkit.data.sources.annotated.drawn import Read
from resnetkit.data.sources.annotated.faults import Fault, Faults, Faulty
from resnetkit.data.sources.annotated.outlines import is_its_box
from resnetkit.data.sources.annotated.parts import once, unsplit
from resnetkit.data.sources.annotated.placing import placed
from resnetkit.data.sources.archives import is_archive
from resnetkit.data.sources.folders import Tree, read_tree
from resnetkit.errors import DataError, UsageError
from resnetkit.words import counted

__all__ = ["Annotated", "Fault", "Faulty", "Kind", "Recognised", "counted_objects", "faults_of", "read", "recognised"]

Kind = Literal["COCO", "Pascal VOC", "YOLO", "masks"]

FILES = (".json", ".yaml", ".yml")  # that are a set themselves
EXPECTED = "expected COCO JSON, Pascal VOC, YOLO text, or pictures beside masks/"
_MOST_CLASSES = 5


@dataclass(frozen=True, slots=True)
class Recognised:
    """What kind of annotated set something is, and the call that reads it."""

    kind: Kind
    name: str
    read: Callable[[Faults], Read]


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotated:
    """The pictures of an annotated set by key, with their marks, and the classes that its files name themselves.

    `faults` are what was left out. `ignored` are files that are neither pictures nor annotations.
    """

    kind: Kind
    tree: Tree
    pictures: list[tuple[str, Item]]
    classes: tuple[str, ...]
    objects: Marked
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]
    ignored: tuple[str, ...]


def recognised(path: str, tree: Tree | None = None) -> Recognised | None:
    """Return what annotated set a path plainly is, None where it is none; `tree`: what lies there, where known.

    Of a folder or an archive that is several, the first counts: COCO JSON, Pascal VOC, YOLO, pictures of masks.
    Raises `DataError` for a folder that holds several sets of one kind.
    """
    if os.path.isfile(path) and path.lower().endswith(FILES):
        if path.lower().endswith(".json"):
            return Recognised("COCO", path, lambda faults: coco.read_file(path, faults))
        return Recognised("YOLO", path, lambda faults: yolo.read_file(path, faults))
    if tree is None:
        if not (os.path.isdir(path) or (os.path.isfile(path) and is_archive(Path(path)))):
            return None
        tree = read_tree(path)
    inside = tree
    if keys := coco.found_in(inside):
        return Recognised("COCO", path, lambda faults: coco.read(inside, keys, faults))
    if (layout := voc.found_in(inside)) is not None:
        return Recognised("Pascal VOC", path, lambda faults: voc.read(inside, layout, faults))
    if (labelled := yolo.found_in(inside)) is not None:
        return Recognised("YOLO", path, lambda faults: yolo.read(inside, labelled, faults))
    if folders := mask_pictures.found_in(inside):
        return Recognised("masks", path, lambda faults: mask_pictures.read(inside, folders, faults))
    return None


def read(found: Recognised, *, faulty: Faulty = "stop") -> Annotated:
    """Read an annotated set; only the headers of its pictures are read.

    Raises `DataError` with the first faults of its annotations, or leaves out what they are of with `faulty="skip"`,
    and where nothing is left.
    """
    faults = Faults()
    said = found.read(faults)
    noted = unsplit(once(said.noted, faults, tree=said.tree))
    pictures, notes = placed(replace(said, noted=noted), faults)
    if faulty == "stop":
        faults.check(found.name)
    if not pictures:
        first = f", the first: {faults.found[0]}" if faults.found else ""
        raise DataError(f"{found.name}: no annotated picture can be used{first}")
    objects, pictures, outlines = _outlined(pictures)
    used = said.used
    return Annotated(
        kind=found.kind, tree=said.tree, pictures=pictures, classes=said.classes, objects=objects,
        notes=(*outlines, *said.notes, *notes, *faults.notes()), faults=tuple(faults.found),
        ignored=tuple(said.tree.path(key) for key in said.tree.others if key not in used),
    )  # fmt: skip


def faults_of(path: str | Path) -> list[Fault]:
    """Return all that is wrong with the annotations of a set; raises `UsageError` for what is no annotated set."""
    found = recognised(os.fspath(path))
    if found is None:
        raise UsageError(f"{path}: is no annotated set; {EXPECTED}")
    faults = Faults()
    said = found.read(faults)
    placed(replace(said, noted=once(said.noted, faults, tree=said.tree)), faults)
    return faults.found


def check_not_asked(task: str, name: str) -> None:
    """Raise `UsageError` where objects are asked for of pictures on which none is marked."""
    if task == "detection":
        raise UsageError(
            f"nothing is marked on the pictures of {name}, and finding objects, by --task or by the model, needs that; "
            f"{EXPECTED}"
        )


def _outlined(pictures: list[tuple[str, Item]]) -> tuple[Marked, list[tuple[str, Item]], list[str]]:
    """Return whether objects have outlines, all of them; where some have none, these are left out of the others."""
    marks = [mark for _, item in pictures for mark in item.marks or ()]
    drawn = [mark for mark in marks if mark.mask is not None]
    if not drawn:
        return "boxes", pictures, []
    boxes = all(mark.mask is not None and is_its_box(mark.mask, mark.box) for mark in drawn)
    if not boxes and all(mark.mask is not None or mark.crowd for mark in marks):
        return "masks", pictures, []
    why = "outlines are the boxes again" if boxes else f"{len(drawn):,} of {len(marks):,} objects have an outline"
    bare = [
        (key, replace(item, marks=tuple(replace(mark, mask=None) for mark in item.marks or ())))
        for key, item in pictures
    ]
    return "boxes", bare, [f"{why}: boxes alone are used"]


def counted_objects(items: Iterable[Item], objects: Marked) -> str:
    """Say how many objects are on how many pictures, and how many of these are background.

    >>> counted_objects([Item("1", ("a",), marks=()), Item("2", (), marks=())], "boxes")
    '0 objects in boxes on 0 of 2 pictures; 2 pictures are background'
    """
    items = list(items)
    counts = Counter(mark.label for item in items for mark in item.marks or () if not mark.crowd)
    crowds = sum(mark.crowd for item in items for mark in item.marks or ())
    some = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(_MOST_CLASSES))
    more = f" and {len(counts) - _MOST_CLASSES} more" if len(counts) > _MOST_CLASSES else ""
    background = sum(not item.marks for item in items)
    how = "with outlines" if objects == "masks" else "in boxes"
    said = (
        f"{counted(counts.total(), 'object')} {how} on {len(items) - background:,} of {counted(len(items), 'picture')}"
    )
    said += f" ({some}{more})" if some else ""
    said += f", {counted(crowds, 'crowd region')}" if crowds else ""
    return f"{said}; {counted(background, 'picture')} {'is' if background == 1 else 'are'} background"
