"""Objects on their picture: boxes, masks and names that can be read on any ground."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw

from resnetkit.data.marks import Mask, Object
from resnetkit.data.view import View
from resnetkit.models.detection.detected import Detected
from resnetkit.report.drawing.canvas import Sheet, blank_sheet
from resnetkit.report.drawing.fonts import drawable, isolated

# The longer side of what is drawn, in pixels: between these names can be read and the picture fits a screen.
_SMALLEST, _LARGEST = 640, 1600
# Okabe and Ito's palette, told apart with every kind of colour vision; more classes get further hues.
_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
_GOLDEN = 0.618034  # hues in steps of the golden section stay apart however many there are
_HIDDEN = 0.4  # how much of the picture a mask hides
_BEYOND = 4  # pixels that a mask may reach beyond its box
_DASH = 7
_LONGEST_NAME = 150
_LEGEND, _ROW, _APART = 14, 26, 6  # letters of the legend, a row of it, and the room between two words, in pixels
_MOST_HIDDEN = 0.5  # a name that hides more of an object is left out: the legend tells its colour
_OVERLAP = 0.5  # a truth that a box of its class covers so far needs no name of its own


def color_of(label: str, classes: Sequence[str]) -> str:
    """Return the colour of a class, the same on every picture of a model.

    >>> color_of("b", ["a", "b"]), color_of("i", list("abcdefghi"))
    ('#56b4e9', '#cc6688')
    """
    return color_at(classes.index(label))


def color_at(place: int) -> str:
    """Return the colour at a place, counted from 0, in a row of them that has no end."""
    if place < len(_COLORS):
        return _COLORS[place]
    strength = (0.7, 0.9, 0.5)[place % 3]
    red, green, blue = colorsys.hsv_to_rgb(place * _GOLDEN % 1, strength, 1 if place % 2 else 0.8)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def draw_objects(
    image: Image.Image,
    objects: Sequence[Detected | Object],
    *,
    classes: Sequence[str],
    truth: Sequence[Object] | None = None,
) -> Image.Image:
    """Return the upright picture with its objects: a box each in the colour of its class, its mask, name and score.

    The surest get their names first; where there is no room left a box has its colour alone. `truth` is dashed in
    black and white, with its name where no box of its class lies. Small pictures are enlarged, large ones made smaller.
    """
    return _drawn(image, objects, classes, truth or (), legend=())


def draw_found(
    image: Image.Image,
    objects: Sequence[Detected | Object],
    *,
    classes: Sequence[str],
    truth: Sequence[Object] | None = None,
) -> Image.Image:
    """Return what `draw_objects` does, and below it what each colour means and how many there are of it."""
    counts = Counter(one.label for one in objects).most_common()
    legend = [(f"{count:,}", drawable(label), color_of(label, classes)) for label, count in counts]
    legend = legend or [("nothing", "found", "#ffffff")]
    return _drawn(
        image, objects, classes, truth or (), legend=[*legend, *([("dashed:", "truth", "#ffffff")] if truth else [])]
    )


def draw_boxes(
    image: Image.Image,
    objects: Sequence[Detected | Object],
    *,
    classes: Sequence[str],
    truth: Sequence[Object] = (),
    side: int,
) -> Image.Image:
    """Return the upright picture with its boxes and no names, those of `truth` dashed; its longer side is `side`."""
    return _boxed(image, objects, classes, truth, scale=side / max(image.size))[0]


@dataclass(frozen=True, slots=True)
class _Mark:
    """An object in pixels of what is drawn; `sure` is its score in words, empty where it has none."""

    label: str
    sure: str
    box: tuple[int, int, int, int]
    color: str
    mask: Mask | None


def _drawn(
    image: Image.Image, objects: Sequence[Detected | Object], classes: Sequence[str], truth: Sequence[Object],
    *, legend: Sequence[tuple[str, str, str]],
) -> Image.Image:  # fmt: skip
    ground, marks, known = _boxed(image, objects, classes, truth, scale=_scale(image.size))
    return _lettered(ground, marks, list(_missed(known, marks)), legend)


def _boxed(
    image: Image.Image, objects: Sequence[Detected | Object], classes: Sequence[str], truth: Sequence[Object],
    *, scale: float,
) -> tuple[Image.Image, list[_Mark], list[_Mark]]:  # fmt: skip
    """Return the picture with everything but words, and what was drawn on it: objects and true ones."""
    width, height = (max(1, round(side * scale)) for side in image.size)
    view = View.whole(*image.size).resized(height=height, width=width)
    marks = [_mark(one, view, classes) for one in objects]
    pixels = np.array(_enlarged(image, width, height))
    for mark in reversed(marks):
        if mark.mask is not None:
            lay_mask(pixels, mark.mask, mark.box, mark.color, view)
    ground = Image.fromarray(pixels)
    pen = ImageDraw.Draw(ground)
    thickness = 2 if max(width, height) < 1000 else 3
    for mark in reversed(marks):
        outline(pen, mark.box, mark.color, thickness if mark.mask is None else 1)
    known = [_mark(one, view, classes) for one in truth]
    for mark in known:
        _dashed(pen, mark.box)
    return ground, marks, known


def _scale(size: tuple[int, int]) -> float:
    longest = max(size)
    if longest > _LARGEST:
        return _LARGEST / longest
    return float(-(-_SMALLEST // longest))


def _enlarged(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return the picture in colours and of that size; the pixels of small ones are repeated."""
    resampling = Image.Resampling.NEAREST if width >= image.width else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((width, height), resampling)


def _mark(one: Detected | Object, view: View, classes: Sequence[str]) -> _Mark:
    (left, top), (right, bottom) = view.into(np.reshape(one.box, (2, 2))).round().astype(int).tolist()
    sure = f" {min(99, round(100 * one.sure))} %" if isinstance(one, Detected) else ""
    box = (left, top, max(right, left + 1), max(bottom, top + 1))
    return _Mark(one.label, sure, box, color_of(one.label, classes), one.mask)


def lay_mask(pixels: np.ndarray, mask: Mask, box: tuple[int, int, int, int], color: str, view: View) -> None:
    """Lay the mask of what is in a box over `pixels`, `[h, w, 3]`, half transparent, its edge in full colour."""
    left, top = (max(0, edge - _BEYOND) for edge in box[:2])
    right, bottom = min(view.width, box[2] + _BEYOND), min(view.height, box[3] + _BEYOND)
    inside = mask.into(view.cropped(top=top, left=left, height=bottom - top, width=right - left))
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    hidden = np.where(inside & ~core, 1.0, _HIDDEN * inside)[..., None]
    below = pixels[top:bottom, left:right]
    below[...] = (below * (1 - hidden) + 255 * np.array(to_rgb(color)) * hidden).round()


def outline(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], color: str, thickness: int) -> None:
    """Draw a frame with its outer edge on the box, and a line around it that sets it off from any ground."""
    left, top, right, bottom = box
    if min(right - left, bottom - top) < 8 * thickness:
        thickness = 1
    pen.rectangle((left - 1, top - 1, right, bottom), outline=contrast(color), width=1)
    pen.rectangle((left, top, right - 1, bottom - 1), outline=color, width=thickness)


def _dashed(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    """Draw a thin frame whose dashes are black and white in turns."""
    left, top, right, bottom = box[0], box[1], box[2] - 1, box[3] - 1
    for start, end in (((left, top), (right, top)), ((right, top), (right, bottom)),
                       ((right, bottom), (left, bottom)), ((left, bottom), (left, top))):  # fmt: skip
        length = abs(end[0] - start[0]) + abs(end[1] - start[1])
        for number, begin in enumerate(range(0, length, _DASH)):
            along = [
                tuple(a + (b - a) * min(at, length) / max(length, 1) for a, b in zip(start, end, strict=True))
                for at in (begin, begin + _DASH)
            ]
            pen.line(along, fill="white" if number % 2 else "black", width=1)


def contrast(color: str) -> str:
    """Return black or white, whichever stands out more from a colour: 4.5 to 1 at least (WCAG's rule for text)."""
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
    return "#000000" if float(np.dot(linear, (0.2126, 0.7152, 0.0722))) > 0.179 else "#ffffff"


def _missed(truth: Sequence[_Mark], marks: Sequence[_Mark]) -> Iterator[_Mark]:
    """Yield the true objects that no box of their class covers."""
    for one in truth:
        alike = np.array([mark.box for mark in marks if mark.label == one.label]).reshape(-1, 4)
        shared = _shared(one.box, alike)
        if not (shared >= _OVERLAP * (_area(alike) + _area(np.array([one.box])) - shared)).any():
            yield one


Plate = tuple[str, int, int]  # words, left, top


@dataclass(frozen=True, slots=True)
class _Room:
    """Where names can be written on a picture of `size` (width, height): not over one another, and not beyond it."""

    sheet: Sheet
    size: tuple[int, int]
    letters: int
    boxes: np.ndarray
    taken: list[tuple[int, int, int, int]] = field(default_factory=list)

    def take(self, mark: _Mark) -> Plate | None:
        """Return the words of an object and where they go, None where they would hide more than they tell."""
        widest = max(_LONGEST_NAME, mark.box[2] - mark.box[0])
        name = isolated(self.sheet.fit(drawable(mark.label), widest, size=self.letters))
        for words in dict.fromkeys((f"{name}{mark.sure}", name)):
            places = list(self._places(mark.box, *self.sheet.plate_size(words, size=self.letters)))
            hidden = [round(self._hidden(place), 1) for place in places]  # a better place outweighs a sliver
            if places and min(hidden) < _MOST_HIDDEN:
                self.taken.append(places[hidden.index(min(hidden))])
                return words, *self.taken[-1][:2]
        return None

    def _places(self, box: tuple[int, int, int, int], width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield where a plate can be, the best place first: above, within, below, beside."""
        for left, top in _beside(box, width, height):
            left = max(0, min(left, self.size[0] - width))
            place = (left, top, left + width, top + height)
            if top >= 0 and place[3] <= self.size[1] and not (self.taken and _shared(place, self.taken).any()):
                yield place

    def _hidden(self, place: tuple[int, int, int, int]) -> float:
        """Return how much a plate hides of the object that it hides most of."""
        return float((_shared(place, self.boxes) / _area(self.boxes)).max(initial=0))


def _beside(box: tuple[int, int, int, int], width: int, height: int) -> Iterator[tuple[int, int]]:
    left, top, right, bottom = box
    yield left - 1, top - height - 1
    yield left, top
    yield left - 1, bottom + 1
    yield right - width + 1, top - height - 1
    yield right - width, bottom - height
    yield right - width + 1, bottom + 1
    yield left, bottom - height
    yield right + 2, top
    yield left - width - 2, top


def _shared(box: Sequence[int], others: Sequence[Sequence[int]] | np.ndarray) -> np.ndarray:
    """Return the area that a box shares with each of others, `[N]`."""
    boxes = np.asarray(others)
    return _area(np.concatenate([np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])], axis=1))


def _area(boxes: np.ndarray) -> np.ndarray:
    area: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1)
    return area


def _rows(sheet: Sheet, legend: Sequence[tuple[str, str, str]], width: int) -> list[list[tuple[int, str, str]]]:
    """Return the legend in rows of (left, words, colour), as wide as the picture where a row holds more than one."""
    rows: list[list[tuple[int, str, str]]] = []
    left = width
    for count, name, color in legend:
        words = f"{count} {isolated(sheet.fit(name, max(_LONGEST_NAME, width // 2), size=_LEGEND))}"
        needed = sheet.plate_size(words, size=_LEGEND)[0] + _APART
        if left + needed > width:
            rows.append([])
            left = _APART
        rows[-1].append((left, words, color))
        left += needed
    return rows


def _lettered(
    ground: Image.Image, marks: Sequence[_Mark], missed: Sequence[_Mark], legend: Sequence[tuple[str, str, str]]
) -> Image.Image:
    """Return the picture with the names that find room on it, and the legend below."""
    texts = [drawable(mark.label) for mark in (*marks, *missed)] + [word for words in legend for word in words[:2]]
    size = 13 if max(ground.size) < 1000 else 17
    with blank_sheet(texts=[*texts, "…"]) as sheet:
        room = _Room(sheet, ground.size, size, np.array([mark.box for mark in (*marks, *missed)]).reshape(-1, 4))
        plates = [(mark.color, room.take(mark)) for mark in marks]
        plates += [("#ffffff", room.take(mark)) for mark in missed]
        rows = _rows(sheet, legend, ground.width)
        widest = max(
            (left + sheet.plate_size(words, size=_LEGEND)[0] for row in rows for left, words, _ in row), default=0
        )
        sheet.resize(max(ground.width, widest + _APART), ground.height + _ROW * len(rows) + (_APART if rows else 0))
        sheet.ground(np.asarray(ground))
        for color, plate in plates:
            if plate is not None:
                sheet.plate(*plate, size=size, fill=color, color=contrast(color))
        for number, row in enumerate(rows):
            for left, words, color in row:
                top = ground.height + _APART + _ROW * number
                sheet.plate(words, left, top, size=_LEGEND, fill=color, color=contrast(color))
        return sheet.picture()
