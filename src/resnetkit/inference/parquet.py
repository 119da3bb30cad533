"""Predictions as Parquet, typed columns that other programs read without parsing. Needs pyarrow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from resnetkit.errors import DataError, missing_extra
from resnetkit.inference.predictor import Prediction

# Rows are kept until so many are there: a group is what Parquet compresses, and what a reader can skip.
_ROWS_OF_A_GROUP = 1_000


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
    path: Path, *, columns: list[str], row: Callable[[Prediction], list[str]]
) -> Iterator[Callable[[Prediction], None]]:
    """Yield the function that adds a prediction to `path`; the file can be read when the block has ended.

    `row` makes the cells under `columns`, as text. Probabilities become float64, everything else text; an empty cell
    is null.
    """
    pyarrow = require()
    kinds = [pyarrow.float64() if _is_probability(name) else pyarrow.string() for name in columns]
    schema = pyarrow.schema(list(zip(columns, kinds, strict=True)))
    rows: list[list[Any]] = []

    def write(prediction: Prediction) -> None:
        rows.append([_value(name, cell) for name, cell in zip(columns, row(prediction), strict=True)])
        if len(rows) == _ROWS_OF_A_GROUP:
            flush()

    def flush() -> None:
        if rows:
            file.write_table(pyarrow.table(list(zip(*rows, strict=True)), schema=schema))
            rows.clear()

    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as file:
        yield write
        flush()


def _is_probability(column: str) -> bool:
    return column == "probability" or column.startswith("probability_")


def _value(column: str, cell: str) -> str | float | None:
    if not cell:
        return None
    return float(cell) if _is_probability(column) else cell


def answers(path: Path) -> Iterator[dict[str, Any]]:
    """Yield `status`, `label` or `labels`, and `error` of each row; raises `DataError` for a file that is none."""
    pyarrow = require()
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            named = "labels" if "labels" in file.schema_arrow.names else "label"
            for batch in file.iter_batches(columns=["status", named, "error"]):
                yield from batch.to_pylist()
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: is no whole Parquet file of predictions") from error
