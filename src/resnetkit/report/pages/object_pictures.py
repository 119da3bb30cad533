"""The pictures of a detector's page: mistakes of every kind cut out, and whole pictures, truth beside what was said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, zip_longest
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from resnetkit.data.marks import Box, Object
from resnetkit.data.view import View
from resnetkit.evaluation.detection.mistakes import KINDS, Mistake
from resnetkit.evaluation.detection.overlaps import box_overlaps
from resnetkit.evaluation.detection.rereading import Reread, reread
from resnetkit.evaluation.detection.rows import shown_of
from resnetkit.models.detection.detected import Detected
from resnetkit.report.drawing.objects import draw_boxes, draw_found
from resnetkit.report.pages.content import Answer, Opener
from resnetkit.report.pages.thumbnails import Album, data_uri, filled

if TYPE_CHECKING:
    from PIL import Image

MOST_OF_A_KIND, MOST_WHOLE = 12, 6
_CUT_SIDE, _WHOLE_SIDE = 224, 640
_AROUND, _LEAST = 0.75, 24  # what is shown around a mistake: of its longer side, and pixels at least
_FOUND = 0.5
_KEPT_OPEN = 4


def album(rows: Sequence[Answer], opener: Opener, *, metrics: Mapping[str, Any] | None, seconds: float | None) -> Album:
    """Return the worst mistakes of each kind, by `Mistake`, and the pictures with most mistakes, by number of the row.

    The worst picture comes first, then kinds in turns, and the other whole pictures last.
    """
    assert metrics is not None, "rows of predictions have their figures"
    again = reread(rows, metrics)
    mistakes = again.mistakes
    wholes = sorted(range(len(rows)), key=lambda number: (-_num_wrong(rows[number]), number))[:MOST_WHOLE]
    wholes = [number for number in wholes if _num_wrong(rows[number])] or wholes[:1]
    of_kinds = ([one for one in mistakes if one.kind == kind][:MOST_OF_A_KIND] for kind in KINDS)
    in_turn = [one for one in chain.from_iterable(zip_longest(*of_kinds)) if one is not None]

    @lru_cache(maxsize=_KEPT_OPEN)
    def opened(number: int) -> Image.Image:
        return opener(rows[number])

    def uri(one: Mistake | int) -> str:
        if isinstance(one, int):
            return data_uri(_whole(opened(one), rows[one], metrics), side=_WHOLE_SIDE)
        return data_uri(cut(opened(one.picture), one, again, metrics["classes"]), side=_CUT_SIDE)

    return filled([*wholes[:1], *in_turn, *wholes[1:]], uri, seconds=seconds)


def name_of(row: Answer) -> str:
    """Return the file of a row."""
    return PurePath(row["source"].rpartition("::")[2]).name or str(row["source"])


def _num_wrong(row: Answer) -> int:
    return int(row["missed"]) + int(row["false_alarms"])


def _whole(image: Image.Image, row: Answer, metrics: Mapping[str, Any]) -> Image.Image:
    """Return a picture with all that is said of it and, dashed, all that is there."""
    truth, found = shown_of(row, metrics, view=View.whole(*image.size))
    return draw_found(image, found, classes=metrics["classes"], truth=truth)


def cut(image: Image.Image, one: Mistake, again: Reread, classes: Sequence[str]) -> Image.Image:
    """Return what is around a mistake, with its boxes alone: what was said and, dashed, what is there."""
    left, top, right, bottom = around([box for box in (one.box, one.true_box) if box is not None], *image.size)

    def moved(box: Box) -> Box:
        return box[0] - left, box[1] - top, box[2] - left, box[3] - top

    said = [] if one.box is None or one.label is None else [Detected(classes[one.label], one.score or 0.0, one.box)]
    said += _found_already(one, again, classes) if one.kind == "doubled" else []
    objects = [Detected(each.label, each.score, moved(each.box)) for each in said]
    truth = []
    if one.true_box is not None and one.true_label is not None:
        truth = [Object(classes[one.true_label], moved(one.true_box))]
    return draw_boxes(image.crop((left, top, right, bottom)), objects, classes=classes, truth=truth, side=_CUT_SIDE)


def _found_already(one: Mistake, again: Reread, classes: Sequence[str]) -> Iterator[Detected]:
    """Yield what was said of the object before it was said once more."""
    import numpy as np

    found, at = again.read.founds[one.picture], again.at[one.picture]
    overlaps = box_overlaps(found.boxes, np.array([one.true_box], np.float32))[:, 0]
    same = (found.labels == one.label) & (found.scores >= at[found.labels]) & (overlaps >= _FOUND)
    for number in np.flatnonzero(same).tolist():
        box = tuple(found.boxes[number].tolist())
        if box != one.box:
            yield Detected(classes[int(found.labels[number])], float(found.scores[number]), box)


def around(boxes: Sequence[Box], width: int, height: int) -> tuple[int, int, int, int]:
    """Return the square around boxes, with some of what is beside them; at an edge the picture ends it.

    >>> around([(10, 10, 30, 20)], 200, 100), around([(150, 80, 200, 100)], 200, 90)
    ((0, 0, 68, 68), (102, 0, 200, 90))
    """
    left, top = (min(box[side] for box in boxes) for side in (0, 1))
    right, bottom = (max(box[side] for box in boxes) for side in (2, 3))
    longer = max(right - left, bottom - top)
    side = round(longer + 2 * max(_LEAST, _AROUND * longer / 2))
    x0, x1 = _along((left + right) / 2, side, width)
    y0, y1 = _along((top + bottom) / 2, side, height)
    return x0, y0, x1, y1


def _along(middle: float, side: int, whole: int) -> tuple[int, int]:
    """Return where so much around the middle begins and ends, moved into the picture."""
    start = max(0, min(round(middle - side / 2), whole - side))
    return start, min(whole, start + side)
