"""Marked objects that a person should look at again: by their boxes alone, no network looks at the pictures."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.checking.result import Finding
from resnetkit.data.dataset import Item
from resnetkit.data.marks import Object
from resnetkit.models.detection.frames import LIGHT_AREA, frame_for
from resnetkit.models.detection.spec import DETECTIONS
from resnetkit.words import counted

_TWICE = 0.8  # overlap (IoU) of two boxes of one class: two objects that lie so are rare
_TWO_NAMES = 0.9  # of two classes: a rider covers less of a horse
_TINY = 8.0  # pixels of the frame, the square root of an object's area: two cells of the finest stage
_GIANT = 0.95  # of the picture
_ODD = 4.0  # robust standard deviations of the logarithm of the side, from the class's middle one
_LEAST_SPREAD = 0.1
_LEAST_TO_COMPARE = 20  # objects of a class, to say what is odd among them
_LITTLE, _SHARE = 2.0, 0.005  # so near to the border, in pixels or in sides, a box ends there
_FALSE_ALARMS = 0.2  # pictures in a whole set that would be said by chance to leave out objects at the border
_IMBALANCE, _FEW = 10, 100  # times fewer than the largest class, and fewer than so many
_MANY = 0.01  # of the objects are tiny: it is not a slip or two


@dataclass(frozen=True, slots=True)
class _Marked:
    """A picture of `size` (width, height), the objects on it that somebody told apart, and their boxes `[M, 4]`."""

    item: Item
    size: tuple[int, int]
    marks: tuple[Object, ...]
    boxes: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        """The square roots of the areas of the objects, `[M]`."""
        return np.sqrt((self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1]))

    @property
    def at_border(self) -> np.ndarray:
        """Which objects end where the picture does, `[M]` bool."""
        near = np.maximum(_LITTLE, _SHARE * np.array(self.size, np.float64))
        ends = np.logical_or(self.boxes[:, :2] <= near, self.boxes[:, 2:] >= self.size - near)
        return np.asarray(ends.any(axis=1))

    def finding(self, kind: str, why: str, numbers: Sequence[int], score: float | None = None) -> Finding:
        """Return what is to be said of some of its objects."""
        return Finding.of(kind, [self.item], why, score, marks=[self.marks[number] for number in numbers])


def findings(items: Sequence[Item], sizes: Sequence[tuple[int, int] | None]) -> tuple[list[Finding], tuple[str, ...]]:
    """Return what is to be looked at, the worst of each kind first, and what is to be said of the objects at large.

    `sizes`: (width, height) of the upright pictures, None where one cannot be read: it is left out, and so are regions
    of many that nobody told apart.
    """
    together = zip(items, sizes, strict=True)
    pictures = [_marked(item, size) for item, size in together if size is not None and item.marks is not None]
    if not pictures:
        return [], ()
    frame = _frame(pictures)
    found = [
        *_overlapping(pictures), *_odd_sizes(pictures), *_giants(pictures), *_cut_left_out(pictures),
        *_tiny(pictures, frame), *_crowded(pictures), *_empty(pictures), *_small_classes(pictures),
    ]  # fmt: skip
    return found, tuple(_said(pictures, frame))


def _marked(item: Item, size: tuple[int, int]) -> _Marked:
    marks = tuple(mark for mark in item.marks or () if not mark.crowd)
    return _Marked(item, size, marks, np.array([mark.box for mark in marks], np.float64).reshape(-1, 4))


def _frame(pictures: Sequence[_Marked]) -> tuple[int, int]:
    """Return height and width of what the light detector would see of the pictures."""
    sizes = np.array([one.size for one in pictures], np.float64)
    return frame_for(float(np.median(sizes[:, 0] / sizes[:, 1])), area=LIGHT_AREA)


def _scale(one: _Marked, frame: tuple[int, int]) -> float:
    return min(frame[1] / one.size[0], frame[0] / one.size[1])


def _overlapping(pictures: Sequence[_Marked]) -> Iterator[Finding]:
    """Yield pairs of boxes that are nearly the same, those that overlap most first."""
    pairs = [(overlap, one, pair) for one in pictures for overlap, pair in _pairs(one)]
    for overlap, one, pair in sorted(pairs, key=lambda entry: -entry[0]):
        first, second = (one.marks[number].label for number in pair)
        kind, what = ("marked twice", f"{first} twice") if first == second else ("two names", f"{first} and {second}")
        yield one.finding(kind, f"{what}: boxes {overlap:.0%} alike", pair, round(overlap, 4))


def _pairs(one: _Marked) -> Iterator[tuple[float, tuple[int, int]]]:
    boxes = one.boxes
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for number in range(len(boxes) - 1):
        box, others = boxes[number], boxes[number + 1 :]
        both = np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2])
        shared = both.clip(0).prod(axis=1)
        overlaps = shared / (area[number] + area[number + 1 :] - shared)
        for other in np.flatnonzero(overlaps > _TWICE):
            pair = number, number + 1 + int(other)
            if one.marks[pair[0]].label == one.marks[pair[1]].label or overlaps[other] > _TWO_NAMES:
                yield float(overlaps[other]), pair


def _odd_sizes(pictures: Sequence[_Marked]) -> Iterator[Finding]:
    """Yield objects much larger or smaller than others of their class; one that the border cuts may be small."""
    by_class: dict[str, list[tuple[float, bool, _Marked, int]]] = defaultdict(list)
    for one in pictures:
        for number, (side, cut) in enumerate(zip(one.sides, one.at_border, strict=True)):
            by_class[one.marks[number].label].append((float(side), bool(cut), one, number))
    found = []
    for label, objects in by_class.items():
        if len(objects) < _LEAST_TO_COMPARE:
            continue
        sides = np.log([side for side, *_ in objects])
        middle = float(np.median(sides))
        spread = max(_LEAST_SPREAD, 1.4826 * float(np.median(np.abs(sides - middle))))
        for (_, cut, one, number), away in zip(objects, (sides - middle) / spread, strict=True):
            if away > _ODD or (away < -_ODD and not cut):
                why = f"{label} of {_of_box(one.boxes[number])} pixels; the middle one measures {np.exp(middle):.0f}"
                found.append((-abs(away), one.finding("odd size", why, [number])))
    yield from (finding for _, finding in sorted(found, key=lambda entry: entry[0]))


def _of_box(box: np.ndarray, scale: float = 1.0) -> str:
    width, height = (box[2:] - box[:2]) * scale
    return f"{width:.0f} x {height:.0f}"


def _giants(pictures: Sequence[_Marked]) -> Iterator[Finding]:
    for one in pictures:
        for number in np.flatnonzero(one.sides**2 >= _GIANT * np.prod(one.size)):
            share = one.sides[number] ** 2 / np.prod(one.size)
            yield one.finding("giant object", f"{one.marks[number].label}: {share:.0%} of the picture", [int(number)])


def _cut_left_out(pictures: Sequence[_Marked]) -> Iterator[Finding]:
    """Yield pictures none of whose objects ends at the border, though by the others some would.

    The chance of that is the product over its classes: as many in a row that do not end there, where of those on other
    pictures some do (beta-binomial, Jeffreys' prior). Named is what one such set of five would have by chance.
    """
    cut, there = Counter[str](), Counter[str]()
    own = []
    for one in pictures:
        labels = [mark.label for mark in one.marks]
        own.append((Counter(np.array(labels, object)[one.at_border]), Counter(labels)))
        cut, there = cut + own[-1][0], there + own[-1][1]
    found = []
    for one, (_, objects) in zip(pictures, own, strict=True):
        if one.at_border.any() or not objects:
            continue
        others = {label: there[label] - count for label, count in objects.items()}
        known = {label: count for label, count in objects.items() if others[label] >= _LEAST_TO_COMPARE}
        chance = math.exp(sum(_none_of(count, cut[label], others[label]) for label, count in known.items()))
        if chance * len(pictures) < _FALSE_ALARMS:
            expected = sum(count * cut[label] / others[label] for label, count in known.items())
            why = f"none of {objects.total():,} objects ends at the border; by the others {expected:.0f} would"
            found.append((chance, one.finding("cut ones missing", why, range(len(one.marks)), chance)))
    yield from (finding for _, finding in sorted(found, key=lambda entry: entry[0]))


def _none_of(count: int, cut: int, others: int) -> float:
    """Return the logarithm of the chance that none of `count` objects is cut, where `cut` of `others` are."""
    whole = others - cut + 0.5
    return math.lgamma(whole + count) + math.lgamma(others + 1) - math.lgamma(whole) - math.lgamma(others + 1 + count)


def _tiny(pictures: Sequence[_Marked], frame: tuple[int, int]) -> Iterator[Finding]:
    """Yield pictures with objects that are next to nothing at the size of the frame, the smallest first."""
    found = []
    for one in pictures:
        seen = one.sides * _scale(one, frame)
        if small := [int(number) for number in np.argsort(seen, kind="stable") if seen[number] < _TINY]:
            first = f"{one.marks[small[0]].label} of {_of_box(one.boxes[small[0]], _scale(one, frame))} pixels"
            why = f"{first} in the frame; {len(small):,} of {counted(len(seen), 'object')} so small"
            found.append((seen[small[0]], one.finding("tiny object", why, small)))
    yield from (finding for _, finding in sorted(found, key=lambda entry: entry[0]))


def _crowded(pictures: Sequence[_Marked]) -> Iterator[Finding]:
    """Yield pictures with more objects than the light detector returns, the fullest first."""
    for one in sorted(pictures, key=lambda one: -len(one.marks)):
        if len(one.marks) > DETECTIONS:
            why = f"{len(one.marks):,} objects; a detector returns {DETECTIONS} at most"
            yield one.finding("crowded", why, range(len(one.marks)))


def _empty(pictures: Sequence[_Marked]) -> Iterator[Finding]:
    for one in pictures:
        if not one.item.marks:
            yield one.finding("no object", "nothing is marked: background?", [])


def _small_classes(pictures: Sequence[_Marked]) -> Iterator[Finding]:
    """Yield one picture of each class that has far fewer objects to train on than the largest."""
    counts: Counter[str] = Counter()
    first: dict[str, tuple[_Marked, int]] = {}
    for one in pictures:
        for number, mark in enumerate(one.marks):
            if one.item.split == "train":
                counts[mark.label] += 1
            first.setdefault(mark.label, (one, number))
    most = max(counts.values(), default=0)
    for label in sorted(first, key=lambda label: counts[label]):
        if counts[label] * _IMBALANCE <= most and counts[label] < _FEW:
            one, number = first[label]
            yield one.finding("few objects", f"{label} has {counts[label]:,}, the largest class {most:,}", [number])


def _said(pictures: Sequence[_Marked], frame: tuple[int, int]) -> Iterator[str]:
    """Say how many objects a picture has, and how large they are for the light detector."""
    counts = [len(one.marks) for one in pictures]
    yield f"objects of a picture: {np.median(counts):.0f} in the middle one, {max(counts):,} at most"
    sides = np.concatenate([one.sides * _scale(one, frame) for one in pictures])
    if not len(sides):
        return
    small, middle, large = np.quantile(sides, (0.02, 0.5, 0.98))
    tiny = int((sides < _TINY).sum())
    yield (
        f"in the frame of the light detector, {frame[0]}x{frame[1]} (height x width), objects measure {small:.0f} to "
        f"{large:.0f} pixels, the middle one {middle:.0f}"
        + (f"; {tiny:,} of {len(sides):,} are below {_TINY:.0f}" if tiny else "")
        + (": a larger --image-size shows them better" if tiny > _MANY * len(sides) else "")
    )
