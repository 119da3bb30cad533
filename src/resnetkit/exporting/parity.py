"""Does the export answer as the model does? Both see the same files, each from the first byte on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from resnetkit.data.opening import images, signatures
from resnetkit.data.opening.images import upright_size
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, ResNetKitError
from resnetkit.exporting.standalone.pictures import read, read_values
from resnetkit.models.costs import Costs
from resnetkit.models.point import Point

# Of float32 probabilities whose pixels agree within one grey level.
TOLERANCE = 1e-3
# Of the edges of a box in pixels of the picture, which may be far larger than what the network sees.
PIXELS = 0.1
_SAME = 0.5  # overlap of two boxes of one object, where figures differ by more
MODES = ("RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "I;16", "turned by EXIF")


Verdict = Literal["same", "tie", "other"]
Reference = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How an export's answer for one picture, the second, differs from the model's, the first.

    `probabilities`: how far two of them are apart at most. Of detectors: `objects` that either says, those of them
    that both say, `matched`, and how many pixels their edges are apart at most.
    """

    verdict: Verdict
    probabilities: float
    objects: int = 0
    matched: int = 0
    pixels: float = 0.0


# Tells how the export's answer, the second, differs from the model's: `[K]` probabilities each, or rows of objects.
Differ = Callable[[np.ndarray, np.ndarray], Difference]


def by_first_class(wanted: np.ndarray, answered: np.ndarray) -> Difference:
    """Tell whether the most probable class is the same; it may be another that is as probable within the tolerance."""
    first, second = int(wanted.argmax()), int(answered.argmax())
    verdict: Verdict = "same"
    if first != second:
        verdict = "tie" if wanted[first] - wanted[second] <= TOLERANCE else "other"
    return Difference(verdict=verdict, probabilities=_apart(wanted, answered))


def by_point(point: Point) -> Differ:
    """Return what tells whether the class told is the same, where one is looked for and told from a threshold on."""

    def differ(wanted: np.ndarray, answered: np.ndarray) -> Difference:
        first, second = (int(point.told(one[None])[0]) for one in (wanted, answered))
        verdict: Verdict = "same"
        if first != second:
            crossed = point.finding in (first, second)
            apart = abs(wanted[point.finding] - point.at) if crossed else wanted[first] - wanted[second]
            verdict = "tie" if apart <= TOLERANCE else "other"
        return Difference(verdict=verdict, probabilities=_apart(wanted, answered))

    return differ


def by_costs(costs: Costs) -> Differ:
    """Return what tells whether the class told is the same, where it is the one that costs least on average."""

    def differ(wanted: np.ndarray, answered: np.ndarray) -> Difference:
        first, second = (int(costs.told(one[None])[0]) for one in (wanted, answered))
        verdict: Verdict = "same"
        if first != second:
            expected, matrix = costs.expected(wanted[None])[0], costs.matrix(len(wanted))
            worth = np.abs(matrix[:, first] - matrix[:, second]).max()  # of a probability, in costs
            verdict = "tie" if expected[second] - expected[first] <= TOLERANCE * worth else "other"
        return Difference(verdict=verdict, probabilities=_apart(wanted, answered))

    return differ


def by_labels(at: np.ndarray) -> Differ:
    """Return what tells whether the labels are the same, for their thresholds `[K]`."""

    def differ(wanted: np.ndarray, answered: np.ndarray) -> Difference:
        others = (wanted >= at) != (answered >= at)
        verdict: Verdict = "same"
        if others.any():
            verdict = "tie" if (abs(wanted - at)[others] <= TOLERANCE).all() else "other"
        return Difference(verdict=verdict, probabilities=_apart(wanted, answered))

    return differ


def by_objects(at: np.ndarray, *, exact: bool = True) -> Differ:
    """Return what tells whether the objects are the same that are at least so sure, for the least scores `[K]`.

    Rows are `[R, 6]` or more: left, top, right, bottom in pixels of the picture, score, class, mask; those of class -1
    are none. Two objects are one where class, edges and score agree within the tolerances; not `exact`, as in int8,
    where they are of one class and overlap by half. One that only one of the two says is a tie where its score is
    within the tolerance of the least score of its class.
    """

    def differ(wanted: np.ndarray, answered: np.ndarray) -> Difference:
        wanted, answered = ((rows[rows[:, 5] >= 0]) for rows in (wanted, answered))
        pairs = _paired(wanted, answered, exact=exact)
        first, second = wanted[pairs[:, 0]], answered[pairs[:, 1]]
        # How far above its least score each is: of both, of one alone.
        above = [rows[:, 4] - at[rows[:, 5].astype(int)] for rows in (first, second)]
        both, either = np.minimum(*above) >= 0, np.maximum(*above) >= 0
        alone = [np.delete(rows, own, axis=0) for rows, own in ((wanted, pairs[:, 0]), (answered, pairs[:, 1]))]
        others = [*(rows[:, 4] - at[rows[:, 5].astype(int)] for rows in alone), np.maximum(*above)[either & ~both]]
        surplus = np.concatenate(others)
        surplus = surplus[surplus >= 0]
        masks = min(wanted.shape[1], answered.shape[1])  # torchvision's have no numbers of masks
        verdict: Verdict = "same" if not len(surplus) else "tie" if surplus.max() <= TOLERANCE else "other"
        return Difference(
            verdict=verdict, objects=int(both.sum()) + len(surplus), matched=int(both.sum()),
            probabilities=max(_apart(first[:, 4], second[:, 4]), _apart(first[:, 6:masks], second[:, 6:masks])),
            pixels=_apart(first[:, :4], second[:, :4]),
        )  # fmt: skip

    return differ


def _paired(wanted: np.ndarray, answered: np.ndarray, *, exact: bool) -> np.ndarray:
    """Return which rows are the same object, `[P, 2]`: each with the nearest that none before it took."""
    pairs, free = [], np.ones(len(answered), bool)
    for number, row in enumerate(wanted):
        apart = np.abs(answered[:, :4] - row[:4]).max(axis=1, initial=0)
        near = free & (answered[:, 5] == row[5])
        if exact:
            near &= (apart <= PIXELS) & (np.abs(answered[:, 4] - row[4]) <= TOLERANCE)
        else:
            near &= _overlaps(answered[:, :4], row[:4]) >= _SAME
        if near.any():
            nearest = int(np.where(near, apart, np.inf).argmin())
            free[nearest] = False
            pairs.append((number, nearest))
    return np.array(pairs, int).reshape(-1, 2)


def _overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the share of their union that each of `boxes` `[R, 4]` and one box have in common."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = sides.clip(0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / (areas - shared).clip(1e-9)


def _apart(wanted: np.ndarray, answered: np.ndarray) -> float:
    return float(np.abs(wanted - answered).max(initial=0))


@dataclass(kw_only=True, slots=True)
class Parity:
    """What was compared and how far apart the two are; `largest_difference` is one of probabilities, in [0, 1].

    `same_top1`: pictures of the same answer, the first class or all labels; `ties`: those whose answers differ since
    two probabilities, or one and its threshold, are equal within the tolerance. Of detectors, `objects` that either
    says on all pictures, `matched` of them that both say, and the `largest_box_difference` of their edges in pixels.
    """

    pictures: int = 0
    largest_difference: float = 0.0
    same_top1: int = 0
    ties: list[str] = field(default_factory=list)
    different_top1: list[str] = field(default_factory=list)
    largest_pixel_difference: int = 0
    modes: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    of_objects: bool = False
    objects: int = 0
    matched: int = 0
    largest_box_difference: float = 0.0

    @property
    def words(self) -> str:
        """How far they agree, in words."""
        if not self.of_objects:
            return (
                f"the answer is the same for {self.same_top1} of {self.pictures}, probabilities within "
                f"{self.largest_difference:.1e}"
            )
        return (
            f"{self.matched:,} of {self.objects:,} objects are the same, boxes within "
            f"{self.largest_box_difference:.1e} pixels and probabilities within {self.largest_difference:.1e}"
        )

    def add(self, name: str, difference: Difference) -> None:
        """Count what came out for one picture."""
        self.pictures += 1
        self.largest_difference = max(self.largest_difference, difference.probabilities)
        self.largest_box_difference = max(self.largest_box_difference, difference.pixels)
        self.objects += difference.objects
        self.matched += difference.matched
        self.same_top1 += difference.verdict == "same"
        if difference.verdict != "same":
            (self.ties if difference.verdict == "tie" else self.different_top1).append(name)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `parity.json`."""
        return {
            "pictures": self.pictures,
            "tolerance": TOLERANCE,
            "largest_difference": round(self.largest_difference, 7),
            **self._objects_json(),
            "same_top1": self.same_top1,
            "ties": self.ties,
            "different_top1": self.different_top1,
            "decoded_pixels_differ_by_at_most": self.largest_pixel_difference,
            "tested_modes": dict(self.modes),
            "untested_modes": [mode for mode in MODES if mode not in self.modes],
            "unreadable": self.unreadable,
        }

    def _objects_json(self) -> dict[str, Any]:
        if not self.of_objects:
            return {}
        apart = round(self.largest_box_difference, 5)
        return {"objects": self.objects, "matched_objects": self.matched, "largest_box_difference": apart}

    def check(self) -> None:
        """Raise `DataError` where the two disagree: a picture with another answer, or by more than `TOLERANCE`."""
        if self.pictures == 0:
            raise DataError("no picture could be read to compare the export with the model: give others with --images")
        if self.different_top1 or self.largest_difference > TOLERANCE:
            worst = f"; another answer for {self.different_top1[0]}" if self.different_top1 else ""
            apart = f"probabilities differ by up to {self.largest_difference:.4f}"
            apart = self.words if self.of_objects else apart
            raise DataError(
                f"the export answers differently: {apart}{worst}; "
                "nothing was written. Please report it, with this picture if you can"
            )


def compare(
    pictures: Iterable[tuple[str, bytes]],
    *,
    reference: Reference,
    exported: Callable[[np.ndarray], np.ndarray],
    preprocess: Preprocess,
    differ: Differ = by_first_class,
    of_objects: bool = False,
) -> Parity:
    """Compare the two on picture files, given as name and content.

    `reference` maps `[1, S, S, C] uint8` pixels and the picture's width and height to `[K]` probabilities or to rows of
    objects, and reads the file as this package does; `exported` maps a decoded `[H, W, C] uint8` picture to them, and
    reads it as the export's `predict.py` does. `differ` tells how two answers differ; `of_objects` that they are rows.
    """
    parity = Parity(of_objects=of_objects)
    for name, content in pictures:
        try:
            image = images.decode(images.of_page(content, name=name, page=preprocess.page), name=name)
            decoded, theirs = _given(image, content, preprocess)
        except (ResNetKitError, OSError, SyntaxError, ValueError):
            parity.unreadable.append(name)
            continue
        parity.modes[image.mode] += 1
        parity.modes["turned by EXIF"] += images.orientation(image) != 1
        apart = int(abs(decoded.astype(float) - theirs).max())
        parity.largest_pixel_difference = max(parity.largest_pixel_difference, apart)
        wanted = reference(preprocess.pixels(image)[None], upright_size(image))
        parity.add(name, differ(wanted, exported(theirs)))
    parity.modes += Counter()  # drops zeros
    return parity


def _given(image: images.Opened, content: bytes, preprocess: Preprocess) -> tuple[np.ndarray, np.ndarray]:
    """Return what this package makes of a file `[H, W, C]` for the graph, and what the export's `predict.py` makes.

    That reads no DICOM, whose values both have from here. Raises as these do.
    """
    if preprocess.windows:
        found = images.measured_values(image)
        if found.inverted or found.padding is not None or found.size != found.values.shape[::-1]:
            raise DataError("holds values that are not what a window shows: inverted, of padding or not square")
        values = found.values.astype(np.float32)[..., None]
        return values, values if signatures.is_dicom(content) else read_values(content, preprocess.page)
    decoded = np.asarray(preprocess.convert(image))
    decoded = decoded.reshape(*decoded.shape[:2], preprocess.channels)
    if signatures.is_dicom(content):
        return decoded, decoded
    return decoded, read(content, preprocess.channels, preprocess.depth, preprocess.page)
