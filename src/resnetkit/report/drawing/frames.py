"""Frames of a video with what was found: fast enough for every frame, one to two milliseconds with eight objects.

Words are drawn once, as on all other pictures, and kept; a frame then only has them pasted.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from resnetkit.data.view import View
from resnetkit.models.detection.detected import Detected
from resnetkit.report.drawing import fonts
from resnetkit.report.drawing.canvas import blank_sheet
from resnetkit.report.drawing.fonts import drawable, isolated
from resnetkit.report.drawing.objects import color_at, color_of, contrast, lay_mask, outline
from resnetkit.words import clock

_GROUND, _PAPER, _NO_CLASS = "#1b1f24", "#ffffff", "#8a929b"
_SMALLEST, _LARGEST = 10, 28  # letters, in pixels
_LETTERS = 1 / 50  # of the longer side
_LONGEST_NAME = 150
_MOST_KEPT = 2048  # words and figures drawn

Box = tuple[int, int, int, int]


class Annotator:
    """Draws frames: a box with name, score and number for each object, and a bar below that tells the rest.

    The bar lies below the picture, which it hides nothing of: what comes out is higher by `bar` pixels, the same for
    all frames of a size. Colours are those of the classes, of tracked objects those of their tracks.

    `warning` is the line for the user where a name can be shown by no font here.

    >>> Annotator(["red", "green"]).drawn(Image.new("RGB", (640, 360)), said=[("red", 0.98)], time=12.48).size
    (640, 384)
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self.warning = fonts.choose(map(drawable, classes)).warning

    def drawn(
        self,
        image: Image.Image,
        *,
        time: float,
        said: Sequence[tuple[str, float | None]] = (),
        objects: Sequence[Detected] = (),
    ) -> Image.Image:
        """Return an upright RGB frame with what is known of it; the frame itself stays as it is.

        `said`: its state, or its labels, each with a probability, if any. A name that is no class, such as "not sure",
        is grey. Of `objects` the bar counts the labels. The oldest tracks get their names first; where there is no
        room left a box has its colour alone.
        """
        letters = _letters(image.size)
        drawn = Image.new("RGB", (image.width, image.height + bar(image.size)), _GROUND)
        drawn.paste(_with_masks(image, objects, self._colors(objects)))
        pen = ImageDraw.Draw(drawn)
        boxes = [_rounded(one, image.size) for one in objects]
        for box, color in zip(boxes, self._colors(objects), strict=True):
            outline(pen, box, color, 2 if max(image.size) < 1000 else 3)
        self._name(drawn, image.size, objects, boxes, letters)
        counts = Counter(one.label for one in objects).most_common()
        # Colours beside counts would be those of classes, where those on the picture are of tracks.
        told = [_plate(label, f" {count}", letters, _PAPER, _GROUND) for label, count in counts]
        told += [self._said(label, sure, letters) for label, sure in said]
        _fill_bar(drawn, image.height, told, _plate("", clock(time), letters, _PAPER, _GROUND), letters)
        return drawn

    def _said(self, label: str, sure: float | None, letters: int) -> Image.Image:
        color = self._color(label)
        return _plate(label, "" if sure is None else f" {_percent(sure)}", letters, contrast(color), color)

    def _color(self, label: str) -> str:
        return color_of(label, self._classes) if label in self._classes else _NO_CLASS

    def _colors(self, objects: Sequence[Detected]) -> list[str]:
        return [self._color(one.label) if one.track is None else color_at(one.track - 1) for one in objects]

    def _name(
        self, drawn: Image.Image, size: tuple[int, int], objects: Sequence[Detected], boxes: Sequence[Box], letters: int
    ) -> None:
        taken: list[Box] = []
        colors = self._colors(objects)
        for number in sorted(range(len(objects)), key=lambda number: objects[number].track or math.inf):
            one = objects[number]
            figures = f" {_percent(one.sure)}" + ("" if one.track is None else f" #{one.track}")
            plate = _plate(one.label, figures, letters, contrast(colors[number]), colors[number])
            for left, top in _places(boxes[number], plate.size, size):
                place = (left, top, left + plate.width, top + plate.height)
                if not any(_meet(place, other) for other in taken):
                    taken.append(place)
                    drawn.paste(plate, (left, top))
                    break


def _fill_bar(drawn: Image.Image, top: int, told: Sequence[Image.Image], when: Image.Image, letters: int) -> None:
    """Lay plates side by side, the time at the right, and say how many there was no room for."""
    gap = letters // 2
    middle = top + (drawn.height - top - when.height) // 2
    left, right = gap, drawn.width - gap - when.width
    drawn.paste(when, (right, middle))
    rests = [_plate("", f"+{number}", letters, _PAPER, _GROUND) for number in range(len(told), 0, -1)]
    for number, (plate, rest) in enumerate(zip(told, rests, strict=True)):
        more = rests[number + 1].width + gap if number + 1 < len(told) else 0
        if left + plate.width + more > right:
            last = rest if number else plate
            drawn.paste(last.crop((0, 0, max(0, right - left), last.height)), (left, middle))
            break
        drawn.paste(plate, (left, middle))
        left += plate.width + gap


def bar(size: tuple[int, int]) -> int:
    """Return how many pixels the bar adds to frames of that size (width, height); even sides stay even."""
    return 2 * math.ceil(0.9 * _letters(size))


def _letters(size: tuple[int, int]) -> int:
    return round(min(max(_LETTERS * max(size), _SMALLEST), _LARGEST))


def _percent(sure: float) -> str:
    return f"{min(99, round(100 * sure))} %"


def _with_masks(image: Image.Image, objects: Sequence[Detected], colors: Sequence[str]) -> Image.Image:
    if all(one.mask is None for one in objects):
        return image
    pixels, view = np.array(image), View.whole(*image.size)
    for one, color in zip(objects, colors, strict=True):
        if one.mask is not None:
            lay_mask(pixels, one.mask, _rounded(one, image.size), color, view)
    return Image.fromarray(pixels)


def _rounded(one: Detected, size: tuple[int, int]) -> Box:
    """Return a box in whole pixels, at least one of them on the picture."""
    left, top, right, bottom = (round(edge) for edge in one.box)
    left, top = min(max(left, 0), size[0] - 1), min(max(top, 0), size[1] - 1)
    return left, top, min(max(right, left + 1), size[0]), min(max(bottom, top + 1), size[1])


def _places(box: Box, plate: tuple[int, int], size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield where a plate can be on the picture, the best place first: above, below, within."""
    left = max(0, min(box[0] - 1, size[0] - plate[0]))
    for top in (box[1] - plate[1] - 1, box[3] + 1, box[1]):
        if top >= 0 and top + plate[1] <= size[1] and left + plate[0] <= size[0]:
            yield left, top


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _plate(name: str, figures: str, letters: int, color: str, fill: str) -> Image.Image:
    """Return a plate with a name, shortened where it is long, and figures behind it."""
    around = round(letters / 3)
    parts = [_stencil(name, letters)] if name else []
    parts += [_stencil(figure, letters) for figure in figures]
    plate = Image.new("RGB", (sum(part.width for part in parts) + 2 * around, math.ceil(1.4 * letters)), fill)
    left = around
    for part in parts:
        plate.paste(color, (left, 0), part)
        left += part.width
    return plate


@functools.lru_cache(maxsize=_MOST_KEPT)
def _stencil(words: str, letters: int) -> Image.Image:
    """Return words drawn once, as a mask as high as their plate."""
    height = math.ceil(1.4 * letters)
    if words == " ":
        return Image.new("L", (round(letters / 3), height))
    words = drawable(words)
    with blank_sheet(texts=[words, "…"]) as sheet:
        words = sheet.fit(words, _LONGEST_NAME * letters / _SMALLEST, size=letters)
        words = words if len(words) == 1 else isolated(words)
        sheet.resize(max(1, round(sheet.width_of(words, size=letters))), height)
        sheet.text(0, height / 2, words, size=letters, color="#000000")
        return ImageOps.invert(sheet.picture().convert("L"))
