"""Annotations meet their pictures: sizes compared, boxes of EXIF-turned pictures turned, what reaches outside cut."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from resnetkit.data.classes import in_order
from resnetkit.data.dataset import Item
from resnetkit.data.marks import Box, Mask, Object
from resnetkit.data.opening import images
from resnetkit.data.sources.annotated import outlines
from resnetkit.data.sources.annotated.drawn import Drawn, Noted, Read
from resnetkit.data.sources.annotated.faults import Faults, Wrong
from resnetkit.data.sources.folders import Tree
from resnetkit.data.threads import ordered
from resnetkit.errors import DataError, ResNetKitError
from resnetkit.files import open_file
from resnetkit.runtime import available_threads
from resnetkit.words import counted

_BEGINNING = 1 << 17  # bytes: what stands before the pixels of a JPEG
_MANY = 1_000  # pictures, from which on threads read
_LITTLE, _SHARE = 2.0, 0.01  # a box reaches over the border by this many pixels, or this share of the side, by rounding
_THIN = 1.0  # pixels: no wider or higher, an object is more likely a slip of the mouse
_NOTHING = 0.01  # pixels: what is rounded to nothing

_Tallied = Literal["turned", "upright", "square", "cut", "cut far", "thin", "sizeless"]
_SAID: dict[_Tallied, tuple[str, str]] = {
    "turned": ("picture", "turned by EXIF, with boxes of the picture as it is stored: these are turned too"),
    "upright": ("picture", "turned by EXIF: boxes are taken as drawn on the upright picture"),
    "square": ("picture", "turned by EXIF to the same size: boxes are taken as drawn on the upright picture"),
    "sizeless": ("picture", "without a size in the annotation: boxes are taken as drawn on the picture that is there"),
    "cut": ("box", "over the border by a pixel or two, or 1 % of the side: cut there"),
    "cut far": ("box", "far over the border, the middle inside: cut there"),
    "thin": ("object", "of one pixel or less in width or height, maybe a slip of the mouse: mend or delete"),
}


@dataclass(slots=True)
class _Tallies:
    """How often something worth a note came up, and where first."""

    counts: dict[_Tallied, tuple[int, str]] = field(default_factory=dict)

    def add(self, what: _Tallied, where: str) -> None:
        number, first = self.counts.get(what, (0, where))
        self.counts[what] = (number + 1, first)

    def notes(self) -> list[str]:
        """Return a sentence for each."""
        said = []
        for what, (thing, why) in _SAID.items():
            if what in self.counts:
                number, first = self.counts[what]
                things = f"{number:,} boxes" if thing == "box" and number != 1 else counted(number, thing)
                said.append(f"{things} {why} (first: {first})")
        return said


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a picture's header tells: its upright size and its EXIF orientation."""

    width: int
    height: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def stored(self) -> tuple[int, int]:
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def placed(read: Read, faults: Faults) -> tuple[list[tuple[str, Item]], list[str]]:
    """Return the pictures with their objects in pixels of the upright picture, and what a person should know.

    Only the headers of the pictures are read. What is wrong goes to `faults`.
    """
    tallies = _Tallies()
    frames = ordered(
        lambda one: _frame(read.tree, one.key), read.noted, progress=None,
        threads=available_threads() if len(read.noted) > _MANY else 1,
    )  # fmt: skip
    found = []
    for one, frame in zip(read.noted, frames, strict=True):
        name = read.tree.path(one.key)
        if isinstance(frame, str):
            wrong = Wrong(frame.removeprefix(f"{name}: "), "the picture with its annotation is left out otherwise")
            faults.add(name, "", wrong, loses="picture")
            continue
        try:
            turn = _turn(one, frame, tallies, name=name)
        except Wrong as wrong:
            faults.add(one.file, one.where, wrong, loses="picture")
            continue
        marks = tuple(_objects(one, frame, turn, read.boxes_are, tallies, faults))
        if not marks and (one.drawn or one.lost):  # it is no background
            faults.lose("picture")
            continue
        labels = in_order(mark.label for mark in marks)
        found.append((one.key, Item(name, labels, split=one.split, marks=marks)))
    return found, tallies.notes()


def _frame(tree: Tree, key: str) -> _Frame | str:
    """Return what the header of a picture tells, or why it cannot be read."""
    name = tree.path(key)
    try:
        if not tree.inside_archive:
            with open_file(os.path.join(tree.source, key)) as file:
                beginning = file.read(_BEGINNING)
            if beginning.startswith(b"\xff\xd8\xff"):
                try:
                    return _Frame(*images.frame(beginning, name=name))
                except DataError:  # more stands before its pixels than is usual
                    pass
        data = tree.reader.read(key)
        assert isinstance(data, bytes)
        return _Frame(*images.frame(data, name=name))
    except ResNetKitError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"


def _turn(one: Noted, frame: _Frame, tallies: _Tallies, *, name: str) -> int:
    """Return the EXIF orientation that is yet to be applied to the objects; raises `Wrong` for another size."""
    if one.size is None:
        if frame.orientation > 1:
            tallies.add("upright", name)
        elif not one.shares:
            tallies.add("sizeless", name)
        return 1
    if one.size not in (frame.upright, frame.stored):
        (wide, high), (width, height) = one.size, frame.upright
        raise Wrong(
            f"it is said to be {wide} x {high}, but {name} is {width} x {height}",
            "put the picture back that was annotated, or export its annotation again",
        )
    if frame.orientation > 1 and frame.stored == frame.upright:
        tallies.add("square", name)
    if one.size == frame.upright:
        return 1
    tallies.add("turned", name)
    return frame.orientation


def _objects(
    one: Noted, frame: _Frame, turn: int, boxes_are: str, tallies: _Tallies, faults: Faults
) -> Iterable[Object]:
    """Yield the objects of a picture, upright and inside of it."""
    seen: dict[tuple[object, ...], str] = {}
    size = frame.upright if turn == 1 else frame.stored
    for drawn in one.drawn:
        where = ", ".join(filter(None, [one.where, drawn.where]))
        try:
            drawn = _in_pixels(drawn, frame) if one.shares else drawn
            box, mask = _inside(drawn, size, boxes_are, tallies, where=f"{one.file}, {where}"), drawn.mask
            key = (drawn.label, *(round(side, 2) for side in box), drawn.crowd, mask)
            if key in seen:
                raise Wrong(f"it is the same as {seen[key]}: class and box", "delete one of the two")
            seen[key] = drawn.where
        except Wrong as wrong:
            faults.add(one.file, where, wrong)
            continue
        if turn > 1:
            width, height = size
            box = outlines.turned_box(box, turn, width=width, height=height)
            mask = mask and outlines.turned_mask(mask, turn, width=width, height=height)
        yield Object(drawn.label, box, crowd=drawn.crowd, mask=mask)


def _in_pixels(drawn: Drawn, frame: _Frame) -> Drawn:
    """Return an object whose numbers are shares in pixels."""
    width, height = frame.upright
    box = drawn.box
    if box is not None:
        left, top, right, bottom = (round(side * (height if place % 2 else width), 3) for place, side in enumerate(box))
        box = left, top, right, bottom
    return replace(drawn, box=box, mask=drawn.mask and outlines.scaled(drawn.mask, width, height))


def _inside(drawn: Drawn, size: tuple[int, int], boxes_are: str, tallies: _Tallies, *, where: str) -> Box:
    """Return the part of the box that lies inside the picture; raises `Wrong` where it is none, or says nothing."""
    width, height = size
    if drawn.mask is not None:
        _check_mask(drawn.mask, drawn.box, size)
    box = drawn.box or outlines.around(drawn.mask or Mask())
    left, top, right, bottom = box
    if right - left < _NOTHING or bottom - top < _NOTHING:
        raise Wrong(f"its box is empty ({right - left:g} x {bottom - top:g} pixels)", "draw it again, or delete it")
    cut = max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
    said = f"its box {_shown(box)} lies %s the picture of {width} x {height} pixels"
    if cut[2] - cut[0] < _NOTHING or cut[3] - cut[1] < _NOTHING:
        raise Wrong(said % "outside", f"{boxes_are}: mend or delete it")
    if cut != box:
        if _reaches(box, size) <= 1:
            tallies.add("cut", where)
        elif 0 <= (left + right) / 2 <= width and 0 <= (top + bottom) / 2 <= height:
            tallies.add("cut far", where)
        else:
            raise Wrong(said % "mostly outside", f"{boxes_are}: mend or delete it")
    if min(right - left, bottom - top) <= _THIN:
        tallies.add("thin", where)
    return cut


def _shown(box: Box) -> str:
    return f"({', '.join(f'{side:.6g}' for side in box)})"


def _reaches(box: Box, size: tuple[int, int]) -> float:
    """Return how far a box reaches over the border, in units of what is little."""
    width, height = size
    left, top, right, bottom = box
    across, down = max(-left, right - width), max(-top, bottom - height)
    return max(across / max(_LITTLE, _SHARE * width), down / max(_LITTLE, _SHARE * height))


def _check_mask(mask: Mask, box: Box | None, size: tuple[int, int]) -> None:
    """Raise `Wrong` for run lengths of another picture, and for an outline that lies elsewhere than the box."""
    width, height = size
    if mask.size is not None and mask.size != (height, width):
        raise Wrong(
            f"its run lengths are of {mask.size[1]} x {mask.size[0]} pixels, the picture is {width} x {height}",
            "draw the outline again, or delete the object",
        )
    if box is None:
        return
    left, top, right, bottom = outlines.around(mask)
    if right < box[0] or left > box[2] or bottom < box[1] or top > box[3]:
        raise Wrong(
            f"its outline {_shown((left, top, right, bottom))} lies elsewhere than its box {_shown(box)}",
            "mend either, or delete the object",
        )
