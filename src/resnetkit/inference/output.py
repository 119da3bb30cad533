"""Predictions as people and programs read them: a table, JSON, JSON lines, CSV, Parquet; on a stream or in a file."""

from __future__ import annotations

import contextlib
import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO, get_args

from resnetkit.errors import DataError, UsageError, near_miss
from resnetkit.files import csv_writer, replacing
from resnetkit.inference import parquet
from resnetkit.inference.predictor import Prediction
from resnetkit.words import counted, escaped, percent

Format = Literal["table", "json", "jsonl", "csv", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
Write = Callable[[Prediction], None]


class Row(NamedTuple):
    """What is counted of a row."""

    status: str
    labels: Sequence[str]
    error: str | None


MOST_ROWS = 50
_MOST_CLASSES = 20
MOST_PROBLEMS = 10
_SCREEN = 80
_ROWS_HINT = "every row: --output predictions.csv (or .json, .jsonl, .parquet), or --format csv"


@dataclass(slots=True)
class Tally:
    """Counts of the predictions that went by, for a summary and an exit code."""

    total: int = 0
    not_sure: int = 0
    errors: int = 0
    named: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, prediction: Prediction) -> None:
        """Count one prediction; only answers with status `ok` count for their class, or for each of their labels."""
        self.count(prediction.status, names_of(prediction))

    def count(self, status: str, labels: Sequence[str]) -> None:
        """Count one row as `add` does, for each of its labels."""
        self.total += 1
        self.not_sure += status == "not_sure"
        self.errors += status == "error"
        self.named += status == "ok"
        if status == "ok":
            self.labels.update(labels)

    @property
    def exit_code(self) -> int:
        """0 when all pictures were read, 4 when some were, 3 when none was."""
        if not self.errors:
            return 0
        return 3 if self.errors == self.total else 4

    def __str__(self) -> str:
        parts = [f"{self.named:,} named"]
        parts += [f"{self.not_sure:,} not sure"] if self.not_sure else []
        parts += [f"{self.errors:,} could not be read or named"] if self.errors else []
        return f"{counted(self.total, 'picture')}: {', '.join(parts)}"


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix asks for.

    Raises `UsageError` for any but .json, .jsonl, .csv, .parquet, and for the last where pyarrow is not installed.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS or suffix == "table":
        known = [f".{name}" for name in FORMATS if name != "table"]
        hint = near_miss(f".{suffix}", known)
        raise UsageError(f"--output {path.name}: the suffix sets the format and must be {', '.join(known)}{hint}")
    if suffix == "parquet":
        parquet.require()
    return suffix


@contextlib.contextmanager
def to_file(path: Path, *, top_k: int, several: bool = False) -> Iterator[Write]:
    """Yield the function that adds a prediction to `path`; the file appears, whole, when the block ends well.

    Files are UTF-8. Raises `UsageError` for a suffix that names no format and for a folder.
    """
    format = format_of(path)
    if path.is_dir():
        raise UsageError(f"--output {path}: is a folder; name a file")
    with replacing(path) as temporary, contextlib.ExitStack() as stack:
        if format == "parquet":
            columns, row = csv_columns(top_k, several=several), partial(csv_row, top_k=top_k, several=several)
            yield stack.enter_context(parquet.to_parquet(temporary, columns=columns, row=row))
        else:
            stream = stack.enter_context(open(temporary, "w", encoding="utf-8", newline=""))
            yield stack.enter_context(to_stream(stream, format=format, top_k=top_k, several=several))


def answers(path: Path) -> Iterator[Row]:
    """Yield `status`, `labels` and `error` of each row of a .csv, .jsonl or .parquet file that `to_file` wrote.

    `labels` is the one class, in a list, or what a picture has of several. Raises `DataError` for a file that is none.
    """
    format = format_of(path)
    assert format in ("csv", "jsonl", "parquet"), "a list in JSON is no stream of rows"
    rows = parquet.answers(path) if format == "parquet" else _rows(path, format)
    try:
        for row in rows:
            yield Row(str(row["status"]), _labels(row), row["error"] or None)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: is no whole file of predictions") from error


def _rows(path: Path, format: Format) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream, strict=True) if format == "csv" else map(json.loads, stream)


def _labels(row: Mapping[str, Any]) -> Sequence[str]:
    """Return the labels of a row as `to_file` wrote it: JSON holds a list of several, a cell has `;` between them."""
    if "labels" not in row:
        return [row["label"]] if row["label"] else []
    labels = row["labels"] or []
    return labels.split(";") if isinstance(labels, str) else labels


@contextlib.contextmanager
def to_stream(stream: TextIO, *, format: Format, top_k: int, several: bool = False) -> Iterator[Write]:
    """Yield the function that writes a prediction to `stream`; what ends the text is written when the block ends.

    `top_k` sets the number of columns of CSV, `several` is for models of several labels. A table is drawn at the end,
    and becomes a summary above 50 rows.
    """
    assert format != "parquet", "Parquet is no text: to_file writes it"
    if format == "json":
        yield from _json(stream)
    elif format == "jsonl":
        yield lambda prediction: print(json_line(prediction), file=stream, flush=True)
    elif format == "csv":
        writer = csv_writer(stream)
        writer.writerow(csv_columns(top_k, several=several))
        yield lambda prediction: writer.writerow(csv_row(prediction, top_k=top_k, several=several))
    else:
        table = _Table()
        yield table.add
        table.draw(stream)


def _json(stream: TextIO) -> Iterator[Write]:
    before = "[\n"

    def write(prediction: Prediction) -> None:
        nonlocal before
        stream.write(before + json_line(prediction))
        before = ",\n"

    yield write
    stream.write("[]\n" if before == "[\n" else "\n]\n")


def json_line(prediction: Prediction) -> str:
    """Return one prediction as JSON on one line, readable in every script.

    Bytes of a path that are no UTF-8 become `\\udcXX`, which `json.loads` turns into the path Python opens.
    """
    return _without_surrogates(json.dumps(prediction.to_json(), ensure_ascii=False, allow_nan=False))


def csv_columns(top_k: int, *, several: bool = False) -> list[str]:
    """Return the header of the CSV; where a picture has `several` labels, those, and probabilities as JSON.

    >>> ",".join(csv_columns(2))
    'source,status,label,probability,label_2,probability_2,warnings,error'
    """
    if several:
        return ["source", "status", "labels", "probabilities", "warnings", "error"]
    further = [name for rank in range(2, top_k + 1) for name in (f"label_{rank}", f"probability_{rank}")]
    return ["source", "status", "label", "probability", *further, "warnings", "error"]


def csv_row(prediction: Prediction, *, top_k: int, several: bool = False) -> list[str]:
    """Return the cells under `csv_columns`; several warnings are joined by "; ", nothing is an empty cell."""
    if several:
        reached = {label: round(probability, 6) for label, probability in prediction.top}
        pairs = [";".join(prediction.labels or ()), json.dumps(reached, ensure_ascii=False) if reached else ""]
    else:
        pairs = [cell for label, probability in prediction.top[:top_k] for cell in (label, f"{probability:.6f}")]
        pairs += [""] * (2 * top_k - len(pairs))
    cells = [prediction.source, prediction.status, *pairs, "; ".join(prediction.warnings), prediction.error or ""]
    return [_without_surrogates(cell) for cell in cells]


def _without_surrogates(text: str) -> str:
    """Escape what stands for bytes that are no UTF-8 (`surrogateescape`): such text could not be written."""
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)


def names_of(prediction: Prediction) -> Sequence[str]:
    """Return what a picture is called: the labels that it has, or its one class; nothing where there is an error."""
    if prediction.labels is not None:
        return prediction.labels
    return () if prediction.label is None else (prediction.label,)


class _Table:
    """Collects predictions for the screen; memory holds 50 of them, however many there are."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.rows: list[Prediction] = []
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def add(self, prediction: Prediction) -> None:
        """Take one prediction."""
        self.tally.add(prediction)
        if self.tally.total <= MOST_ROWS:
            self.rows.append(prediction)
        self.warnings += [f"warning: {prediction.source}: {warning}" for warning in prediction.warnings]
        self.errors += [f"error: {prediction.error}"] if prediction.error is not None else []
        del self.errors[MOST_ROWS:], self.warnings[MOST_ROWS:]

    def draw(self, stream: TextIO) -> None:
        """Write the table, or the summary where the rows are too many."""
        problems = self.errors + self.warnings
        if self.tally.total > MOST_ROWS:
            draw_summary(self.tally, problems, stream)
            print(_ROWS_HINT, file=stream)
            return
        if len(self.rows) == 1 and self.rows[0].top and self.rows[0].labels is None:
            _draw(stream, _HEADER[1:3], [[escaped(label), percent(p)] for label, p in self.rows[0].top])
        elif self.rows:
            rows = [_cells(prediction) for prediction in self.rows]
            of_labels = any(prediction.labels is not None for prediction in self.rows)
            header, rows = (("picture", "labels"), [row[:2] for row in rows]) if of_labels else _fitting(rows)
            _draw(stream, header, rows)
        for problem in problems:
            print(escaped(problem), file=stream)


def draw_summary(tally: Tally, problems: Sequence[str], stream: TextIO) -> None:
    """Write how many pictures were named, the largest classes and the first of `problems`."""
    counts = tally.labels.most_common()
    rows = [[escaped(label), f"{count:,}", percent(count / tally.total)] for label, count in counts[:_MOST_CLASSES]]
    print(tally, file=stream)
    if rows:
        _draw(stream, ("class", "pictures", "share"), rows)
    if len(counts) > _MOST_CLASSES:
        print(f"and {len(counts) - _MOST_CLASSES:,} more classes", file=stream)
    for problem in problems[:MOST_PROBLEMS]:
        print(escaped(problem), file=stream)


_HEADER = ("picture", "class", "probability", "second")


def _cells(prediction: Prediction) -> list[str]:
    """Return the cells under `_HEADER`."""
    source = escaped(prediction.source)
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
    return "right" if name in ("probability", "pictures", "share") else "left"
