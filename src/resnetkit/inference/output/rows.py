"""Predictions as rows: the columns and cells of CSV and Parquet, and what such rows said, read back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from resnetkit.inference.prediction import Prediction
from resnetkit.models.decision import Gives

# What a row is of: a picture with what it is given, or a case of several with its class.
RowOf = Gives | Literal["cases"]

_OF_FRAMES = ("frame", "time", "state", "state_probability")
_OF_OBJECTS = ("object", "label", "score", "probability", "left", "top", "right", "bottom")


class Row(NamedTuple):
    """What is counted of a picture: `labels` are its class, its labels or those of its objects."""

    status: str
    labels: Sequence[str]
    error: str | None


def csv_columns(top_k: int, *, gives: RowOf = "class", video: bool = False) -> list[str]:
    """Return the header of the CSV; of several labels, those, and probabilities as JSON; of objects, a row each.

    Of cases `source` is the name of one, `pictures` their number, `unread` a line for each of those without an answer.
    Of frames of a `video` there is where in it they are, what it shows by then, and the track of each object.

    >>> ",".join(csv_columns(2))
    'source,status,label,probability,label_2,probability_2,warnings,error'
    >>> ",".join(csv_columns(2, gives="objects"))
    'source,status,object,label,score,probability,left,top,right,bottom,warnings,error'
    """
    further = [name for rank in range(2, top_k + 1) for name in (f"label_{rank}", f"probability_{rank}")]
    between: dict[RowOf, Sequence[str]] = {
        "class": ["label", "probability", *further],
        "cases": ["pictures", "unread", "label", "probability", *further],
        "labels": ["labels", "probabilities"],
        "objects": _OF_OBJECTS,
    }
    moment = _OF_FRAMES if video else ()
    track = ["track"] if video and gives == "objects" else []
    return ["source", *moment, "status", *between[gives], *track, "warnings", "error"]


def csv_rows(prediction: Prediction, *, top_k: int, gives: RowOf = "class", video: bool = False) -> list[list[str]]:
    """Return the rows of a picture under `csv_columns`: one, or one for each of several objects.

    Several warnings are joined by "; ", nothing is an empty cell. Objects of a picture are numbered from 1, so that a
    row without a number, or with a 1, begins the next picture.
    """
    warnings, error = "; ".join(prediction.warnings), prediction.error or ""
    moment = _of_moment(prediction) if video else []
    tracks = _of_tracks(prediction) if video and gives == "objects" else itertools.repeat([])
    return [
        [
            without_surrogates(cell)
            for cell in (prediction.source, *moment, prediction.status, *cells, *track, warnings, error)
        ]
        for cells, track in zip(_CELLS[gives](prediction, top_k), tracks, strict=False)
    ]


def _of_moment(prediction: Prediction) -> list[str]:
    """Return the cells that say where in its video a frame is, and what that shows by then."""
    moment = prediction.moment
    assert moment is not None, "a frame has a moment"
    state = moment.state or ()
    shown = ";".join(label for label, _ in state), ";".join(f"{probability:.6f}" for _, probability in state)
    return [str(moment.frame), f"{moment.time:.3f}", *shown]


def _of_tracks(prediction: Prediction) -> list[list[str]]:
    """Return the cell of the track of each object."""
    return [["" if one.track is None else str(one.track)] for one in prediction.objects or ()] or [[""]]


def _of_class(prediction: Prediction, top_k: int) -> list[list[str]]:
    pairs = [cell for label, probability in prediction.top[:top_k] for cell in (label, f"{probability:.6f}")]
    return [pairs + [""] * (2 * top_k - len(pairs))]


def _of_case(prediction: Prediction, top_k: int) -> list[list[str]]:
    [cells] = _of_class(prediction, top_k)
    return [[str(prediction.pictures), "; ".join(prediction.unread), *cells]]


def _of_labels(prediction: Prediction, top_k: int) -> list[list[str]]:
    reached = {label: round(probability, 6) for label, probability in prediction.top}
    return [[";".join(prediction.labels or ()), json.dumps(reached, ensure_ascii=False) if reached else ""]]


def _of_objects(prediction: Prediction, top_k: int) -> list[list[str]]:
    rows = [
        [str(number), one.label, f"{one.score:.6f}", _or_empty(one.probability), *(f"{edge:.2f}" for edge in one.box)]
        for number, one in enumerate(prediction.objects or (), start=1)
    ]
    return rows or [[""] * len(_OF_OBJECTS)]


def _or_empty(probability: float | None) -> str:
    return "" if probability is None else f"{probability:.6f}"


_CELLS: dict[RowOf, Callable[[Prediction, int], list[list[str]]]] = {
    "class": _of_class,
    "cases": _of_case,
    "labels": _of_labels,
    "objects": _of_objects,
}


def without_surrogates(text: str) -> str:
    """Escape what stands for bytes that are no UTF-8 (`surrogateescape`): such text could not be written."""
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)


def read_back(rows: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield what each picture was told to be, of the rows of CSV, JSON lines or Parquet.

    Raises `KeyError` for rows that are none, `ValueError` where objects of a picture are missing.
    """
    last: tuple[Row, list[str]] | None = None
    for row in rows:
        if "object" not in row:
            yield Row(str(row["status"]), _labels(row), row["error"] or None)
            continue
        number = int(row["object"] or 0)
        if number <= 1:
            if last is not None:
                yield last[0]
            labels: list[str] = []
            last = Row(str(row["status"]), labels, row["error"] or None), labels
        if last is None or number > 1 + len(last[1]):
            raise ValueError("objects of a picture are missing")
        if number:
            last[1].append(row["label"])
    if last is not None:
        yield last[0]


def _labels(row: Mapping[str, Any]) -> Sequence[str]:
    """Return the labels of a row as it was written: JSON holds a list of several, a cell has `;` between them."""
    if "objects" in row:
        return [one["label"] for one in row["objects"]]
    if "labels" not in row:
        return [row["label"]] if row["label"] else []
    labels = row["labels"] or []
    return labels.split(";") if isinstance(labels, str) else labels
