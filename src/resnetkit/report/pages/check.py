"""The page of a check: what was found, with the pictures side by side, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from resnetkit import files
from resnetkit.checking.forecast import Forecast
from resnetkit.checking.result import KINDS, Check, Finding
from resnetkit.checking.shortcuts import Shortcuts
from resnetkit.data.dataset import Split
from resnetkit.data.marks import Object
from resnetkit.errors import ResNetKitError
from resnetkit.report.charts import Axis, Chart, Line, lower
from resnetkit.report.drawing.objects import draw_objects
from resnetkit.report.pages.page import page_templates
from resnetkit.report.pages.thumbnails import BUDGET, data_uri

_SIDE = 112
_MOST_OF_A_KIND = 60
_MOST_SIDE_BY_SIDE = 4
_DRAWN_SIDE = 560  # of a picture with boxes, on which names can be read
_MOST_DRAWN = 12  # of a kind
_SAMPLES = 6  # pictures with all that is marked on them
_CLOSE = 0.4  # of the sides: objects are shown with at least so much of their picture
_WHOLE = ("giant object", "cut ones missing", "crowded", "few objects")  # findings about a picture as a whole


def write_check_page(check: Check, path: Path, *, opener: Callable[[str], Image.Image]) -> None:
    """Write the page to `path`; `opener` gives the picture of a source, or raises `ResNetKitError`."""
    files.write_text(path, render(check, opener))


def render(check: Check, opener: Callable[[str], Image.Image]) -> str:
    """Return the page as HTML; names from outside are escaped, and none can steer the text around it."""
    album = _Album(opener, tuple(check.report.objects))
    faults = [f"{one.sources[0]}: {one.why}" for one in check.of_kind("annotation")]
    kinds = [_kind(kind, check.of_kind(kind), album) for kind in check.counts if kind != "annotation"]
    return page_templates().get_template("check.html").render(
        name=check.name, version=version("resnetkit"), count=f"{len(check.items):,}", kinds=kinds, notes=check.notes,
        faults=faults, samples=list(_samples(check, album)), objects=_counts(check.report.objects),
        sentences=[sentence.strip() for sentence in check.report.sentences], counts=_counts(check.report.counts),
        parts=check.report.parts, left_out=f"{len(check.left_out):,}", total=f"{len(check.findings):,}",
        shortcuts=None if check.shortcuts is None else _told_by(check.shortcuts),
        forecast=check.forecast, curve=check.forecast and learning_curve(check.forecast),
    )  # fmt: skip


def _kind(kind: str, found: Sequence[Finding], album: _Album) -> dict[str, Any]:
    drawn = any(finding.marks for finding in found)
    shown = found[: _MOST_DRAWN if drawn else _MOST_OF_A_KIND]
    return {
        "drawn": drawn,
        "anchor": kind.replace(" ", "-").replace(",", ""), "kind": kind, "words": KINDS[kind],
        "count": f"{len(found):,}", "shown": len(shown), "rows": [_row(finding, album) for finding in shown],
        "more": f"{len(found) - len(shown):,}" if len(found) > len(shown) else "",
    }  # fmt: skip


def _row(finding: Finding, album: _Album) -> dict[str, Any]:
    return {"why": finding.why, "pictures": list(_pictures(finding, album))}


def _pictures(finding: Finding, album: _Album) -> Iterator[dict[str, str | None]]:
    together = zip(finding.sources, finding.labels, finding.splits, strict=True)
    for source, label, split in list(together)[:_MOST_SIDE_BY_SIDE]:
        uri = album.drawn(source, finding.marks, closer=finding.kind not in _WHOLE) if finding.marks else None
        yield {"uri": uri or album.uri(source), "source": source, "label": label, "split": split}


def _samples(check: Check, album: _Album) -> Iterator[dict[str, str | None]]:
    """Yield some pictures with all that is marked on them: whether the boxes lie where they belong is seen at once."""
    marked = [item for item in check.items if item.marks]
    count = min(_SAMPLES, len(marked))
    for item in (marked[number * len(marked) // count] for number in range(count)):
        uri = album.drawn(item.source, item.marks or (), closer=False)
        yield {"uri": uri, "source": item.source, "label": item.written, "split": str(item.split)}


def _told_by(found: Shortcuts) -> dict[str, Any]:
    """Return the table of what tells the class, with what is worth a look."""
    rows = [
        (one.name, [f"{one.area:.3f}", f"{one.low:.3f} to {one.high:.3f}", f"{one.by_chance:.3f}"])
        for one in found.sources
    ]
    by = f", features of {found.network}" if found.network else ""
    return {
        "title": "What tells the class alone", "rows": rows,
        "header": ["from", "ROC-AUC", "95 % interval", "shuffled labels up to"],
        "words": f"A linear probe{by}, on {found.count:,} pictures that it was not fitted to; the mean over classes.",
    }  # fmt: skip


def _counts(counts: Mapping[str, Mapping[Split, int]]) -> list[tuple[str, list[str]]]:
    rows = [(label, [f"{number:,}" for number in parts.values()]) for label, parts in counts.items()]
    return rows if len(rows) <= _MOST_OF_A_KIND else []


def learning_curve(forecast: Forecast) -> Chart:
    """Return accuracy over pictures: as measured, and as forecast with its interval."""
    count = float(forecast.count)
    ends = ((count, forecast.now), (2 * count, forecast.twice))
    measured = [(float(pictures), accuracy) for pictures, accuracy in forecast.curve]
    lines = (
        Line(name="held-out pictures", points=measured, dots=True),
        Line(name="forecast", points=[(at, figure.value) for at, figure in ends], look="other", dots=True),
        Line(name="95 % interval", points=[(at, figure.low) for at, figure in ends], look="ideal"),
        Line(name="", points=[(at, figure.high) for at, figure in ends], look="ideal"),
    )  # fmt: skip
    return Chart(
        title="Accuracy of a linear head, %", summary="; ".join(forecast.sentences), lines=lines,
        x=Axis(label="pictures fitted to", low=0.0, high=2 * count, whole=True),
        y=Axis(label="accuracy, %", low=lower([y for line in lines for _, y in line.points]), high=1.0, percent=True),
    )  # fmt: skip


class _Album:
    """Thumbnails by source, each made once, and pictures with boxes, as many as the page has room for."""

    def __init__(self, opener: Callable[[str], Image.Image], classes: Sequence[str]) -> None:
        self._opener, self._classes = opener, classes
        self._made: dict[str, str | None] = {}
        self._left = BUDGET

    def uri(self, source: str) -> str | None:
        """Return the data address of a picture; None where it cannot be read or the page is full."""
        if source not in self._made:
            self._made[source] = self._make(source) if self._left > 0 else None
        return self._made[source]

    def drawn(self, source: str, marks: Sequence[Object], *, closer: bool) -> str | None:
        """Return the data address of a picture with objects on it, or of the part around them where that is closer."""

        def picture() -> Image.Image:
            image = self._opener(source)
            image, shown = _close(image, marks) if closer else (image, marks)
            return draw_objects(image, shown, classes=self._classes)

        return self._put(picture, side=_DRAWN_SIDE) if self._left > 0 else None

    def _make(self, source: str) -> str | None:
        return self._put(lambda: self._opener(source), side=_SIDE)

    def _put(self, picture: Callable[[], Image.Image], *, side: int) -> str | None:
        try:
            uri = data_uri(picture(), side=side)
        except ResNetKitError:
            return None
        self._left -= len(uri)
        return uri


def _close(image: Image.Image, marks: Sequence[Object]) -> tuple[Image.Image, list[Object]]:
    """Return the part of a picture around objects, as they lie there."""
    boxes = [mark.box for mark in marks]
    lows = [min(box[axis] for box in boxes) for axis in (0, 1)]
    highs = [max(box[2 + axis] for box in boxes) for axis in (0, 1)]
    corners = [_around(low, high, side) for low, high, side in zip(lows, highs, image.size, strict=True)]
    (left, right), (top, bottom) = corners
    shown = [
        replace(mark, mask=None, box=(mark.box[0] - left, mark.box[1] - top, mark.box[2] - left, mark.box[3] - top))
        for mark in marks
    ]
    return image.crop((left, top, right, bottom)), shown


def _around(low: float, high: float, side: int) -> tuple[int, int]:
    """Return where a part of a side begins and ends that has its middle between two points, and room beside them."""
    length = round(min(side, max(_CLOSE * side, 1.5 * (high - low))))
    begin = round(min(max((low + high - length) / 2, 0), side - length))
    return begin, begin + length
