"""The rows of predictions.csv of found objects: written once, and read again to compare detectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnetkit.data.marks import Box, Object, Truth
from resnetkit.data.view import View
from resnetkit.errors import DataError
from resnetkit.evaluation.detection.matching import Matches
from resnetkit.models.detection.detected import Detected
from resnetkit.models.detection.found import Found

COLUMNS = (
    "source", "objects", "found", "right", "missed", "false_alarms", "split", "truth", "predictions", "group",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """What rows tell: what is on each picture, and what was found there."""

    truths: list[Truth]
    founds: list[Found]


def rows_of(
    matches: Matches, truths: Sequence[Truth], founds: Sequence[Found], at: np.ndarray, *,
    sources: Sequence[str], groups: Sequence[str | None], classes: Sequence[str], split: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return a row (`COLUMNS`) for each picture.

    `objects` true ones, crowds aside; `found`: what is said at the working point `at` (`[K]`, or `[N, K]`), of which so
    many are `right` and the others `false_alarms`; `missed` objects were not found. `truth` (label, box, crowd) and
    `predictions` (label, score, box; all of them, the surest first) are lists as JSON; boxes are left, top, right,
    bottom in pixels.
    """
    said = matches.said(at)
    shown, right = matches.each(said).sum(axis=1), matches.each(said & matches.right[0]).sum(axis=1)
    objects = matches.objects.sum(axis=1)
    return [
        {
            "source": source, "objects": int(objects[n]), "found": int(shown[n]), "right": int(right[n]),
            "missed": int(objects[n] - right[n]), "false_alarms": int(shown[n] - right[n]), "split": split,
            "truth": _written(_true_entries(truths[n], classes)),
            "predictions": _written(_found_entries(founds[n], classes)), "group": groups[n],
        }
        for n, source in enumerate(sources)
    ]  # fmt: skip


def read_rows(rows: Sequence[Mapping[str, str]], classes: Sequence[str]) -> Read:
    """Return what rows of predictions.csv tell; raises `DataError` for a class that is not among `classes`."""
    index = {name: number for number, name in enumerate(classes)}
    truths, founds = [], []
    for row in rows:
        true, found = json.loads(row["truth"]), json.loads(row["predictions"])
        if unknown := {one["label"] for one in [*true, *found]} - set(index):
            raise DataError(f"{row['source']}: the class {min(unknown)!r} is not known to all of these runs")
        truths.append(
            Truth(
                boxes=_boxes(true),
                labels=_labels(true, index),
                crowd=np.array([one.get("crowd", False) for one in true], bool),
            )
        )
        scores = np.array([one["score"] for one in found], np.float32)
        founds.append(Found(boxes=_boxes(found), scores=scores, labels=_labels(found, index)))
    return Read(truths=truths, founds=founds)


def shown_of(row: Mapping[str, Any], metrics: Mapping[str, Any], *, view: View) -> tuple[list[Object], list[Detected]]:
    """Return what is on the picture of a row and what is said of it at the working point, where a view shows them."""
    at = {name: one["threshold"] for name, one in metrics["per_class"].items()}
    truth = [Object(one["label"], _into(one["box"], view), one.get("crowd", False)) for one in json.loads(row["truth"])]
    found = [
        Detected(one["label"], one["score"], _into(one["box"], view))
        for one in json.loads(row["predictions"])
        if one["score"] >= at[one["label"]]
    ]
    return truth, found


def _into(box: Sequence[float], view: View) -> Box:
    (left, top), (right, bottom) = view.into(np.reshape(box, (2, 2))).tolist()
    return left, top, right, bottom


def _true_entries(truth: Truth, classes: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"label": classes[label], "box": box} | ({"crowd": True} if crowd else {})
        for label, box, crowd in zip(truth.labels.tolist(), _rounded(truth.boxes), truth.crowd.tolist(), strict=True)
    ]


def _found_entries(found: Found, classes: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"label": classes[label], "score": round(score, 6), "box": box}
        for label, score, box in zip(
            found.labels.tolist(), found.scores.astype(np.float64).tolist(), _rounded(found.boxes), strict=True
        )
    ]


def _rounded(boxes: np.ndarray) -> list[list[float]]:
    found: list[list[float]] = np.round(boxes.astype(np.float64), 2).tolist()
    return found


def _written(entries: list[dict[str, Any]]) -> str:
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":"))


def _boxes(entries: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([one["box"] for one in entries], np.float32).reshape(-1, 4)


def _labels(entries: Sequence[Mapping[str, Any]], index: Mapping[str, int]) -> np.ndarray:
    return np.array([index[one["label"]] for one in entries], np.int64)
