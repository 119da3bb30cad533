"""Predictions for the screen: a table, or a summary where they are too many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TextIO

from resnetkit.inference.output.rows import RowOf
from resnetkit.inference.output.tally import Tally
from resnetkit.inference.prediction import Prediction
from resnetkit.models.detection.detected import Detected, counts_of
from resnetkit.words import escaped, percent

MOST_ROWS = 50
MOST_PROBLEMS = 10
_MOST_CLASSES = 20
_SCREEN = 80
_ROWS_HINT = "every row: --output predictions.csv (or .json, .jsonl, .parquet), or --format csv"


class Table:
    """Collects predictions for the screen; memory holds 50 of them, however many there are."""

    def __init__(self, gives: RowOf, *, video: bool = False) -> None:
        self.tally = Tally(gives, video)
        self.rows: list[Prediction] = []
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def add(self, prediction: Prediction) -> None:
        """Take one prediction."""
        self.tally.add(prediction)
        if self.tally.total <= MOST_ROWS:
            self.rows.append(prediction)
        warnings = [f"warning: {prediction.source}: {warning}" for warning in prediction.warnings]
        self.warnings += [warning for warning in warnings if warning not in self.warnings]  # once for all frames
        wrong = prediction.unread or ([] if prediction.error is None else [prediction.error])
        self.errors += [f"error: {one}" for one in wrong]
        del self.errors[MOST_ROWS:], self.warnings[MOST_ROWS:]

    def draw(self, stream: TextIO) -> None:
        """Write the table, or the summary where the rows are too many."""
        problems = self.errors + self.warnings
        if self.tally.total > MOST_ROWS:
            draw_summary(self.tally, problems, stream)
            print(_ROWS_HINT, file=stream)
            return
        if self.rows:
            _draw(stream, *_table_of(self.rows, self.tally.gives))
        if len(self.rows) == 1 and (more := len(self.rows[0].objects or ()) - MOST_ROWS) > 0:
            print(f"and {more:,} less sure; {_ROWS_HINT}", file=stream)
        for problem in problems:
            print(escaped(problem), file=stream)


def draw_summary(tally: Tally, problems: Sequence[str], stream: TextIO) -> None:
    """Write what was said of how many pictures, the largest classes and the first of `problems`."""
    counts = tally.labels.most_common()
    rows = [[escaped(label), f"{count:,}", _beside(tally, label)] for label, count in counts[:_MOST_CLASSES]]
    print(tally, file=stream)
    if rows:
        header = (
            ("class", "objects", f"{tally.thing}s")
            if tally.gives == "objects"
            else ("class", f"{tally.thing}s", "share")
        )
        _draw(stream, header, rows)
    if len(counts) > _MOST_CLASSES:
        print(f"and {len(counts) - _MOST_CLASSES:,} more classes", file=stream)
    for problem in problems[:MOST_PROBLEMS]:
        print(escaped(problem), file=stream)


def _beside(tally: Tally, label: str) -> str:
    if tally.gives == "objects":
        return f"{tally.pictures[label]:,}"
    return percent(tally.labels[label] / tally.total)


_HEADER = ("picture", "class", "probability", "second")
_EDGES = ("left", "top", "right", "bottom")


def _table_of(rows: Sequence[Prediction], gives: RowOf) -> tuple[Sequence[str], list[list[str]]]:
    """Return header and rows for the screen; one picture is shown with all that is said of it."""
    only = rows[0] if len(rows) == 1 else None
    if gives == "objects":
        if only is not None and only.objects:
            sure = "score" if only.objects[0].probability is None else "probability"
            return ("class", sure, *_EDGES), [_object_cells(one) for one in only.objects[:MOST_ROWS]]
        return ("picture", "found", "surest"), [_found_cells(prediction) for prediction in rows]
    if gives == "cases":
        return _cases_told(rows)
    if only is not None and only.top and only.labels is None:
        return _HEADER[1:3], [[escaped(label), percent(probability)] for label, probability in only.top]
    cells = [_cells(prediction) for prediction in rows]
    of_labels = any(prediction.labels is not None for prediction in rows)
    return (("picture", "labels"), [row[:2] for row in cells]) if of_labels else _fitting(cells)


def _object_cells(one: Detected) -> list[str]:
    return [escaped(one.label), percent(one.sure), *(f"{edge:.1f}" for edge in one.box)]


def _found_cells(prediction: Prediction) -> list[str]:
    if prediction.objects is None:
        return [_named(prediction), "error", ""]
    surest = [f"{escaped(one.label)} {percent(one.sure)}" for one in prediction.objects[:1]]
    return [_named(prediction), escaped(counts_of(prediction.names)), *(surest or [""])]


def _named(prediction: Prediction) -> str:
    """Return what a row is of: a picture, or a moment of a video."""
    moment = prediction.moment
    return escaped(prediction.source) + ("" if moment is None else f" at {moment.time:.2f} s")


def _cases_told(rows: Sequence[Prediction]) -> tuple[Sequence[str], list[list[str]]]:
    """Return header and rows of cases, with how many of their pictures have no answer where some have none."""
    cells = [_cells(prediction) for prediction in rows]
    counts = [[f"{one.pictures:,}", *([f"{len(one.unread):,}"] if any(o.unread for o in rows) else [])] for one in rows]
    told = [[source, *count, label, share] for (source, label, share, _), count in zip(cells, counts, strict=True)]
    return ("case", *("pictures", "unread")[: len(counts[0])], "class", "probability"), told


def _cells(prediction: Prediction) -> list[str]:
    """Return the cells under `_HEADER`."""
    source = _named(prediction)
    if prediction.label is None or prediction.probability is None:
        return [source, "error", "", ""]
    if prediction.labels is not None:
        reached = dict(prediction.top)
        told = ", ".join(f"{escaped(label)} {percent(reached[label])}" for label in prediction.labels)
        return [source, told or "none", "", ""]
    label = escaped(prediction.label) + (" (not sure)" if prediction.status == "not_sure" else "")
    second = [f"{escaped(name)} {percent(probability)}" for name, probability in prediction.top[1:2]]
    return [source, label, percent(prediction.probability), *(second or [""])]


def _fitting(rows: list[list[str]]) -> tuple[Sequence[str], list[list[str]]]:
    """Return header and rows, without the second guess where that would not fit on 80 columns."""
    if any(row[-1] for row in rows) and sum(_widths([_HEADER, *rows])) + 2 * (len(_HEADER) - 1) <= _SCREEN:
        return _HEADER, rows
    return _HEADER[:-1], [row[:-1] for row in rows]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    return [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]


def _draw(stream: TextIO, header: Sequence[str], rows: list[list[str]]) -> None:
    """Draw on a terminal, which folds what is too wide; in a pipe write plain lines that are never cut."""
    if stream.isatty():
        _draw_rich(stream, header, rows)
    else:
        _draw_plain(stream, header, rows)


def _draw_rich(stream: TextIO, header: Sequence[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in header:
        table.add_column(name, justify=_justify(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=stream).print(table)


def _draw_plain(stream: TextIO, header: Sequence[str], rows: list[list[str]]) -> None:
    from rich.cells import cell_len

    widths = _widths([header, *rows])
    for row in [header, *rows]:
        padding = [" " * (width - cell_len(cell)) for width, cell in zip(widths, row, strict=True)]
        cells = [
            space + cell if _justify(name) == "right" else cell + space
            for name, cell, space in zip(header, row, padding, strict=True)
        ]
        print("  ".join(cells).rstrip(), file=stream)


def _justify(name: str) -> Literal["left", "right"]:
    return "left" if name in ("picture", "case", "class", "second", "labels", "found", "surest") else "right"
