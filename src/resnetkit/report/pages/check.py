"""The page of a check: what was found, with the pictures side by side, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from resnetkit import files
from resnetkit.checking.forecast import Forecast
from resnetkit.checking.result import KINDS, Check, Finding
from resnetkit.data.dataset import Split
from resnetkit.errors import ResNetKitError
from resnetkit.report.charts import Axis, Chart, Line, lower
from resnetkit.report.pages.page import page_templates
from resnetkit.report.pages.thumbnails import BUDGET, data_uri

_SIDE = 112
_MOST_OF_A_KIND = 60
_MOST_SIDE_BY_SIDE = 4


def write_check_page(check: Check, path: Path, *, opener: Callable[[str], Image.Image]) -> None:
    """Write the page to `path`; `opener` gives the picture of a source, or raises `ResNetKitError`."""
    files.write_text(path, render(check, opener))


def render(check: Check, opener: Callable[[str], Image.Image]) -> str:
    """Return the page as HTML; names from outside are escaped, and none can steer the text around it."""
    album = _Album(opener)
    kinds = [_kind(kind, check.of_kind(kind), album) for kind in check.counts]
    return page_templates().get_template("check.html").render(
        name=check.name, version=version("resnetkit"), count=f"{len(check.items):,}", kinds=kinds, notes=check.notes,
        sentences=[sentence.strip() for sentence in check.report.sentences], counts=_counts(check.report.counts),
        parts=check.report.parts, left_out=f"{len(check.left_out):,}", total=f"{len(check.findings):,}",
        forecast=check.forecast, curve=check.forecast and learning_curve(check.forecast),
    )  # fmt: skip


def _kind(kind: str, found: Sequence[Finding], album: _Album) -> dict[str, Any]:
    shown = found[:_MOST_OF_A_KIND]
    return {
        "anchor": kind.replace(" ", "-").replace(",", ""), "kind": kind, "words": KINDS[kind],
        "count": f"{len(found):,}", "shown": len(shown), "rows": [_row(finding, album) for finding in shown],
        "more": f"{len(found) - len(shown):,}" if len(found) > len(shown) else "",
    }  # fmt: skip


def _row(finding: Finding, album: _Album) -> dict[str, Any]:
    return {"why": finding.why, "pictures": list(_pictures(finding, album))}


def _pictures(finding: Finding, album: _Album) -> Iterator[dict[str, str | None]]:
    together = zip(finding.sources, finding.labels, finding.splits, strict=True)
    for source, label, split in list(together)[:_MOST_SIDE_BY_SIDE]:
        yield {"uri": album.uri(source), "source": source, "label": label, "split": split}


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
    """Thumbnails by source, each made once, as many as the page has room for."""

    def __init__(self, opener: Callable[[str], Image.Image]) -> None:
        self._opener = opener
        self._made: dict[str, str | None] = {}
        self._left = BUDGET

    def uri(self, source: str) -> str | None:
        """Return the data address of a picture; None where it cannot be read or the page is full."""
        if source not in self._made:
            self._made[source] = self._make(source) if self._left > 0 else None
        return self._made[source]

    def _make(self, source: str) -> str | None:
        try:
            uri = data_uri(self._opener(source), side=_SIDE)
        except ResNetKitError:
            return None
        self._left -= len(uri)
        return uri
