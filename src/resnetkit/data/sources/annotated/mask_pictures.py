"""Pictures beside pictures of masks: palette or grey, where each value but 0 is one object."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.data.classes import normal_name
from resnetkit.data.dataset import Split
from resnetkit.data.marks import Mask
from resnetkit.data.opening import images, signatures
from resnetkit.data.opening.many_bands import ManyBands
from resnetkit.data.sources.annotated.drawn import Drawn, Noted, Read
from resnetkit.data.sources.annotated.faults import Faults, Wrong, name_of
from resnetkit.data.sources.annotated.parts import (
    below,
    bytes_of,
    folders_of,
    join,
    listed_nowhere,
    part_named,
    stem,
)
from resnetkit.data.sources.folders import Tree, readable
from resnetkit.data.threads import ordered
from resnetkit.errors import ResNetKitError
from resnetkit.runtime import available_threads
from resnetkit.words import counted

OBJECT = "object"  # the class where nothing names one
_BOXES_ARE = "boxes are those around the masks"
_PICTURES = {"images": "masks", "pngimages": "pedmasks", "jpegimages": "masks"}
_BORDER = 255  # of a palette: the line around objects that belongs to none, as Pascal VOC draws it
_LOSSLESS = "save it as PNG, palette or grey, with one value for each object and 0 for the rest"
_MASK = re.compile(r"[ _.-]?masks?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A picture of masks: its key, the class of what it shows, and the place of its picture below its folder."""

    key: str
    label: str
    below: str


def found_in(tree: Tree) -> list[tuple[str, str]]:
    """Return the folders of pictures with those of their masks, where some masks are called as pictures are."""
    folders = folders_of(tree)
    named = {folder.casefold(): folder for folder in folders}
    found = []
    for folder in sorted(folders):
        root, name = os.path.split(folder)
        masks = named.get(join(root, _PICTURES.get(name.casefold(), "\0")).casefold())
        if masks is not None and any(True for _ in _drawings(tree, folder, masks)):
            found.append((folder, masks))
    return found


def _drawings(tree: Tree, pictures: str, masks: str) -> Iterator[_Drawing]:
    """Yield the masks that are called as a picture is; a folder more than the picture has names the class."""
    stems = {_below(key, pictures) for key in below(tree.pictures, pictures)}
    for key in below(tree.pictures, masks):
        parts = _below(key, masks).split("/")
        for name in dict.fromkeys((parts[-1], _MASK.sub("", parts[-1]))):
            path = [*parts[:-1], name]
            if (whole := "/".join(path)) in stems:
                yield _Drawing(key, OBJECT, whole)
                break
            without = ((one, "/".join([*path[:place], *path[place + 1 :]])) for place, one in enumerate(path[:-1]))
            if (found := next(((one, rest) for one, rest in without if rest in stems), None)) is not None:
                yield _Drawing(key, *found)
                break


def _below(key: str, folder: str) -> str:
    """Return how a file is called below a folder, without its suffix."""
    return normal_name(stem(key.removeprefix(f"{folder}/")))


def read(tree: Tree, layout: Sequence[tuple[str, str]], faults: Faults) -> Read:
    """Read pictures with their masks; a picture without a mask is not used, one whose mask is all 0 is background."""
    noted, without, borders, named = list[Noted](), list[str](), 0, set[str]()
    for pictures, masks in layout:
        drawings = _once(tree, masks, list(_drawings(tree, pictures, masks)), faults)
        threads = available_threads() if len(drawings) > 1 else 1
        opened = ordered(lambda one: _instances(tree, one.key), drawings, threads=threads, progress=None, chunk=4)
        found: dict[str, list[tuple[_Drawing, _Opened]]] = {}
        for one, said in zip(drawings, opened, strict=True):
            if isinstance(said, Wrong):
                faults.add(tree.path(one.key), "", said, loses="file")
                found.setdefault(one.below, [])
            else:
                found.setdefault(one.below, []).append((one, said))
                borders += said.border
        for key in below(tree.pictures, pictures):
            name = _below(key, pictures)
            if name not in found:
                without.append(key)
            elif found[name]:
                noted += _noted(tree, key, found[name], faults, part=part_named(os.path.dirname(key)))
                named.update(one.label for one, _ in found[name])
    notes = listed_nowhere(tree, without, why="without a mask")
    if named == {OBJECT}:
        notes.append(f"every value of a mask is one {OBJECT!r}: folders in masks/ would name other classes")
    if borders:
        notes.append(f"{counted(borders, 'mask')} with {_BORDER} in a palette: taken as the border, which is no object")
    return Read(tree=tree, noted=noted, boxes_are=_BOXES_ARE, notes=notes)


def _once(tree: Tree, masks: str, drawings: Sequence[_Drawing], faults: Faults) -> list[_Drawing]:
    """Return one mask for a picture and class; others are faults, as are those that belong to no picture."""
    first: dict[tuple[str, str], str] = {}
    for one in drawings:
        other = first.setdefault((one.below, one.label), one.key)
        if other != one.key:
            wrong = Wrong(f"{tree.path(other)} is of the same picture and class", "delete one of the two")
            faults.add(tree.path(one.key), "", wrong, loses="file")
    used = {one.key for one in drawings}
    for key in below(tree.pictures, masks):
        if key not in used:
            wrong = Wrong("there is no picture of that name", "copy it there, or delete this mask")
            faults.add(tree.path(key), "", wrong, loses="picture")
    return [one for one in drawings if first[one.below, one.label] == one.key]


@dataclass(frozen=True, slots=True)
class _Opened:
    """The objects of a picture of masks by their value, its (width, height), and whether it has border lines."""

    masks: dict[int, Mask]
    size: tuple[int, int]
    border: bool


def _noted(
    tree: Tree, key: str, found: Sequence[tuple[_Drawing, _Opened]], faults: Faults, *, part: Split | None
) -> list[Noted]:
    """Return a picture with what all its masks show; none where its masks cannot be used."""
    drawn: list[Drawn] = []
    size = found[0][1].size
    for one, opened in found:
        file = tree.path(one.key)
        with faults.at(file, "", loses="picture"):
            label = name_of(readable(one.label), what="the name of its folder")
            if opened.size != size:
                raise Wrong(
                    f"is {opened.size[0]} x {opened.size[1]}, another mask of it {size[0]} x {size[1]}", _LOSSLESS
                )
            drawn += [Drawn(f"value {value} ({label})", label, None, mask) for value, mask in opened.masks.items()]
            continue
        return []
    return [Noted(key=key, file=tree.path(found[0][0].key), drawn=tuple(drawn), size=size, split=part)]


def _instances(tree: Tree, key: str) -> _Opened | Wrong:
    """Return the masks of a picture of masks by value, or what is wrong with it."""
    name = tree.path(key)
    try:
        data = bytes_of(tree, key)
        if signatures.picture_format(data) == "JPEG":
            raise Wrong("is a JPEG, whose values are not exact", _LOSSLESS)
        values, palette = _values(images.decode(data, name=name))
    except Wrong as wrong:
        return wrong
    except ResNetKitError as error:
        return Wrong(str(error).removeprefix(f"{name}: "), _LOSSLESS)
    masks = masks_of(values)
    border = palette and len(masks) > 1 and masks.pop(_BORDER, None) is not None
    return _Opened(masks, (values.shape[1], values.shape[0]), border)


def _values(image: images.Opened) -> tuple[np.ndarray, bool]:
    """Return the values of a picture `[H, W]`, and whether they are those of a palette; raises `Wrong` for colours."""
    if isinstance(image, ManyBands):
        raise Wrong(f"has {image.words}", _LOSSLESS)
    values = np.asarray(image)
    if values.ndim == 3:
        if image.mode not in ("RGB", "RGBA", "LA") or any(
            (values[..., 0] != values[..., n]).any() for n in (1, 2)[: values.shape[2] - 2]
        ):
            raise Wrong("is in colours, which are no numbers of objects", _LOSSLESS)
        values = values[..., 0]
    if not np.issubdtype(values.dtype, np.integer) and values.dtype != bool:
        raise Wrong("holds fractions", _LOSSLESS)
    return values.astype(np.int64), image.mode == "P"


def masks_of(values: np.ndarray) -> dict[int, Mask]:
    """Return the mask of each value but 0 of a picture `[H, W]`.

    >>> masks_of(np.array([[0, 7], [7, 3]]))
    {3: Mask(polygons=(), counts=(3, 1), size=(2, 2)), 7: Mask(polygons=(), counts=(1, 2, 1), size=(2, 2))}
    """
    flat = values.ravel(order="F")
    places = np.flatnonzero(flat)
    order = np.argsort(flat[places], kind="stable")
    places = places[order]
    found, starts = np.unique(flat[places], return_index=True)
    masks = {}
    for value, own in zip(found.tolist(), np.split(places, starts[1:]), strict=True) if len(found) else ():
        breaks = np.flatnonzero(np.diff(own) > 1)
        first, last = own[np.concatenate([[0], breaks + 1])], own[np.concatenate([breaks, [-1]])] + 1
        edges = np.concatenate([np.column_stack([first, last]).ravel(), [flat.size] if last[-1] < flat.size else []])
        counts = np.diff(edges.astype(np.int64), prepend=0)
        masks[value] = Mask(counts=tuple(counts.tolist()), size=values.shape)
    return masks
