"""Predictions as Parquet, typed columns that other programs read without parsing. Needs pyarrow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from resnetkit.errors import DataError, missing_extra
from resnetkit.inference.prediction import Prediction

# Rows are kept until so many are there: a group is what Parquet compresses, and what a reader can skip.
_ROWS_OF_A_GROUP = 1_000
_NUMBERS = ("probability", "score", "left", "top", "right", "bottom")
_WHOLE = ("object", "pictures")
_READ_BACK = ("status", "object", "label", "labels", "error")


def require() -> Any:
    """Return `pyarrow`; raises `UsageError` where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise missing_extra("Parquet files", "parquet") from error
    return pyarrow


@contextlib.contextmanager
def to_parquet(
    path: Path, *, columns: list[str], rows: Callable[[Prediction], list[list[str]]]
) -> Iterator[Callable[[Prediction], None]]:
    """Yield the function that adds a prediction to `path`; the file can be read when the block has ended.

    `rows` makes the cells under `columns`, as text. Probabilities, scores and places become float64, the number of an
    object and how many pictures a case has int64, everything else text; an empty cell is null.
    """
    pyarrow = require()
    kinds = {float: pyarrow.float64(), int: pyarrow.int64(), str: pyarrow.string()}
    schema = pyarrow.schema([(name, kinds[_kind(name)]) for name in columns])
    waiting: list[list[Any]] = []

    def write(prediction: Prediction) -> None:
        for row in rows(prediction):
            waiting.append([_kind(name)(cell) if cell else None for name, cell in zip(columns, row, strict=True)])
        if len(waiting) >= _ROWS_OF_A_GROUP:
            flush()

    def flush() -> None:
        if waiting:
            file.write_table(pyarrow.table(list(zip(*waiting, strict=True)), schema=schema))
            waiting.clear()

    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as file:
        yield write
        flush()


def _kind(column: str) -> type[float] | type[int] | type[str]:
    if column in _WHOLE:
        return int
    return float if column in _NUMBERS or column.startswith("probability_") else str


def answers(path: Path) -> Iterator[dict[str, Any]]:
    """Yield of each row what `rows.read_back` asks for; raises `DataError` for a file that is none."""
    pyarrow = require()
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=[name for name in _READ_BACK if name in file.schema_arrow.names]):
                yield from batch.to_pylist()
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: is no whole Parquet file of predictions") from error
