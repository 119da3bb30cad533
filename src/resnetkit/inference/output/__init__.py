"""Predictions as people and programs read them: on a stream, in a file or a folder of files."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

from resnetkit import files
from resnetkit.errors import DataError, UsageError, near_miss
from resnetkit.files import csv_writer, replacing
from resnetkit.inference.output import coco, parquet, yolo
from resnetkit.inference.output.rows import Row, RowOf, csv_columns, csv_rows, read_back, without_surrogates
from resnetkit.inference.output.screen import MOST_PROBLEMS, Table, draw_summary
from resnetkit.inference.output.tally import Tally
from resnetkit.inference.prediction import Prediction

__all__ = [
    "FORMATS", "MOST_PROBLEMS", "Format", "Row", "Tally", "Write", "answers", "check_new", "csv_columns", "csv_rows",
    "draw_summary", "format_of", "json_line", "to_file", "to_stream",
]  # fmt: skip

Format = Literal["table", "json", "jsonl", "csv", "parquet", "coco", "yolo"]
FORMATS: tuple[Format, ...] = get_args(Format)
Write = Callable[[Prediction], None]

_BY_SUFFIX: dict[str, Format] = {
    **{f".{name}": name for name in FORMATS if name not in ("table", "coco")},
    ".coco.json": "coco",
}
_OF_DETECTORS: dict[Format, str] = {"coco": "COCO JSON holds", "yolo": "YOLO's label files hold"}


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix asks for, `.coco.json` and `.yolo` being those of detectors.

    Raises `UsageError` for any other, and for .parquet where pyarrow is not installed.
    """
    endings = ("".join(path.suffixes[-2:]).lower(), path.suffix.lower())
    found = next((_BY_SUFFIX[ending] for ending in endings if ending in _BY_SUFFIX), None)
    if found is None:
        known = list(_BY_SUFFIX)
        hint = near_miss(path.suffix.lower(), known)
        raise UsageError(f"--output {path.name}: the suffix sets the format and must be {', '.join(known)}{hint}")
    if found == "parquet":
        parquet.require()
    return found


def check_new(path: Path) -> None:
    """Raise `UsageError` where `to_file` could not write `path` without taking the place of something else."""
    if format_of(path) == "yolo":
        yolo.refuse_present(path)
    files.check_new(path, "--output")


@contextlib.contextmanager
def to_file(
    path: Path, *, top_k: int, gives: RowOf = "class", classes: Sequence[str] = (), video: bool = False
) -> Iterator[Write]:
    """Yield the function that adds a prediction to `path`; the file appears, whole, when the block ends well.

    Files are UTF-8; `classes`, those of the model, are for the formats of detectors, of which `.yolo` is a folder of
    files. Raises `UsageError` for a suffix that names no format, or one of detectors for another model, and for a
    folder that is there.
    """
    format = format_of(path)
    if format in _OF_DETECTORS and gives != "objects":
        raise UsageError(f"--output {path.name}: {_OF_DETECTORS[format]} objects, and this model finds none: use .csv")
    if format == "yolo":
        with yolo.to_folder(path, classes=classes) as write:
            yield write
        return
    if path.is_dir():
        raise UsageError(f"--output {path}: is a folder; name a file")
    with replacing(path) as temporary, contextlib.ExitStack() as stack:
        if format == "parquet":
            columns = csv_columns(top_k, gives=gives, video=video)
            rows = partial(csv_rows, top_k=top_k, gives=gives, video=video)
            yield stack.enter_context(parquet.to_parquet(temporary, columns=columns, rows=rows))
            return
        stream = stack.enter_context(open(temporary, "w", encoding="utf-8", newline=""))
        if format == "coco":
            yield stack.enter_context(coco.to_stream(stream, classes=classes))
        else:
            yield stack.enter_context(to_stream(stream, format=format, top_k=top_k, gives=gives, video=video))


def answers(path: Path) -> Iterator[Row]:
    """Yield `status`, `labels` and `error` of each picture in a .csv, .jsonl or .parquet file that `to_file` wrote.

    `labels` is the one class, in a list, what a picture has of several, or the class of each of its objects. Raises
    `DataError` for a file that is none.
    """
    format = format_of(path)
    assert format in ("csv", "jsonl", "parquet"), "a list in JSON is no stream of rows"
    rows = parquet.answers(path) if format == "parquet" else _rows(path, format)
    try:
        yield from read_back(rows)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: is no whole file of predictions") from error


def _rows(path: Path, format: Format) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream, strict=True) if format == "csv" else map(json.loads, stream)


@contextlib.contextmanager
def to_stream(
    stream: TextIO, *, format: Format, top_k: int, gives: RowOf = "class", video: bool = False
) -> Iterator[Write]:
    """Yield the function that writes a prediction to `stream`; what ends the text is written when the block ends.

    `top_k` sets the number of columns of CSV, `gives` what they hold, of frames of a `video` where in it they are. A
    table is drawn at the end, and becomes a summary above 50 rows.
    """
    if format == "json":
        yield from _json(stream)
    elif format == "jsonl":
        yield lambda prediction: print(json_line(prediction), file=stream, flush=True)
    elif format == "csv":
        writer = csv_writer(stream)
        writer.writerow(csv_columns(top_k, gives=gives, video=video))

        def write(prediction: Prediction) -> None:
            writer.writerows(csv_rows(prediction, top_k=top_k, gives=gives, video=video))
            if video:  # which may be a stream that somebody waits for, and kills
                stream.flush()

        yield write
    else:
        assert format == "table", f"{format} is no text for a stream: to_file writes it"
        table = Table(gives, video=video)
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
    return without_surrogates(json.dumps(prediction.to_json(), ensure_ascii=False, allow_nan=False))
