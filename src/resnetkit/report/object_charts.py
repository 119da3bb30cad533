"""The charts of found objects: precision and recall of each class, and counts beside the true ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from resnetkit.report.charts import Axis, Chart, Line, upper
from resnetkit.report.curves import reliability_of
from resnetkit.words import percent

MOST_CLASSES = 12
_DOTTED_UP_TO = 3


def per_class(metrics: Mapping[str, Any]) -> list[Chart]:
    """Return precision against recall of each class, those with the least AP@.50 first; the working point is ringed."""
    figures = metrics["per_class"]
    drawn = [name for name, curve in metrics["curves"].items() if curve["recall"]]
    drawn.sort(key=lambda name: figures[name]["ap50"] or 0.0)
    return [_of_class(name, metrics["curves"][name], figures[name]) for name in drawn[:MOST_CLASSES]]


def _of_class(name: str, curve: Mapping[str, Sequence[float]], figures: Mapping[str, Any]) -> Chart:
    points = list(zip(curve["recall"], curve["precision"], strict=True))
    at_work = (figures["recall"], figures["precision"])
    title = f"AP@.50 {percent(figures['ap50'])}"
    return Chart(
        title=title, summary=f"Precision against recall of {name}: {title}",
        x=Axis(label="found, %", low=0.0, high=1.0, percent=True),
        y=Axis(label="right when said, %", low=0.0, high=1.0, percent=True),
        lines=(
            Line(
                name=name, points=points, dots=len(points) <= _DOTTED_UP_TO, ringed="where it works",
                ring=None if None in at_work else at_work,
            ),
        ),
    )  # fmt: skip


def calibration(metrics: Mapping[str, Any]) -> list[Chart]:
    """Return the share of boxes that are right against their scores and, where these were fitted, probabilities."""
    found = metrics.get("calibration_of_boxes")
    if not found:
        return []
    return [reliability_of(found, {"before": "scores"} | ({"after": "probabilities"} if found["after"] else {}))]


def counts(rows: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return how many objects are said against how many there are, a dot for all pictures with equal numbers."""
    pairs = Counter((int(row["objects"]), int(row["found"])) for row in rows)
    most = upper([max(pair) for pair in pairs]) if pairs else 0.0
    if most <= 0:
        return []
    points, weights = zip(*sorted(pairs.items()), strict=True)
    return [
        Chart(
            title="Objects said, of each picture", x=Axis(label="objects there", low=0.0, high=most, whole=True),
            y=Axis(label="objects said", low=0.0, high=most, whole=True),
            summary=f"Objects said against objects there, on {len(rows):,} pictures",
            lines=(
                Line(name="as many as there are", points=((0.0, 0.0), (most, most)), look="ideal"),
                Line(name="pictures", points=points, look="points", dots=True, weights=weights),
            ),
        )
    ]  # fmt: skip
