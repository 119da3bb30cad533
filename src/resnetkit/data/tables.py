"""Lists of pictures in a CSV file: `image_path,label[,split][,group]`."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass

from resnetkit.data.classes import normal_name
from resnetkit.data.dataset import Item, Split
from resnetkit.data.folders import SPLIT_FOLDERS
from resnetkit.errors import DataError, near_miss

Row = dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The rows of a CSV with their line numbers, and the names of its columns."""

    path: str
    columns: tuple[str, ...]
    rows: list[tuple[int, Row]]

    def wrong(self, line: int, why: str) -> DataError:
        """Return the error for one line."""
        return DataError(f"{self.path}, line {line}: {why}")


def read_table(path: str, *, needed: tuple[str, ...]) -> Table:
    """Read a CSV in UTF-8 (with or without byte order mark) that has at least the `needed` columns.

    Raises `DataError` naming the file, the line and what is missing.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = tuple(name.strip() for name in next(reader, []))
            _check_columns(path, columns, needed)
            rows = [(reader.line_num, _row(path, reader.line_num, columns, row)) for row in reader if any(row)]
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: is no UTF-8 text: save it as "CSV UTF-8"') from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return Table(path=path, columns=columns, rows=rows)


def _check_columns(path: str, columns: tuple[str, ...], needed: tuple[str, ...]) -> None:
    for name in needed:
        if name not in columns:
            found = ", ".join(columns).replace("\t", " ") or "nothing"
            separator = _other_separator(columns)
            raise DataError(
                f"{path}, line 1: no column {name!r}{near_miss(name, columns)}; "
                f"expected {','.join(needed)}, found {found}{separator}"
            )
    if len(set(columns)) != len(columns):
        raise DataError(f"{path}, line 1: a column appears twice: {', '.join(columns)}")


def _other_separator(columns: tuple[str, ...]) -> str:
    """Say what stands between the columns where it seems to be no comma."""
    if len(columns) == 1:
        for letter, name in ((";", "semicolon"), ("\t", "tab")):
            if letter in columns[0]:
                return f" (the separator is a {name}: separate the columns with commas)"
    return ""


def _row(path: str, line: int, columns: tuple[str, ...], values: list[str]) -> Row:
    if len(values) != len(columns):
        raise DataError(f"{path}, line {line}: {len(values)} values for {len(columns)} columns; quote commas in names")
    return {name: value if name == "source" else value.strip() for name, value in zip(columns, values, strict=True)}


def labelled(table: Table, *, group_column: str | None) -> list[tuple[str, Item]]:
    """Return (path, item) for each row; paths are relative to the CSV's folder, backslashes are understood."""
    first_line: dict[str, int] = {}
    found = []
    for line, row in table.rows:
        path = picture_path(table, line, row)
        if first_line.setdefault(path, line) != line:
            raise table.wrong(line, f"{row['image_path']} is listed again (first in line {first_line[path]})")
        if not row["label"]:
            raise table.wrong(line, f"{row['image_path']} has no label")
        group = row[group_column] or None if group_column else None
        found.append((path, Item(path, normal_name(row["label"]), _split(table, line, row), group)))
    return found


def picture_path(table: Table, line: int, row: Row) -> str:
    """Return the path of a row's picture as seen from where the CSV was given."""
    if not row["image_path"]:
        raise table.wrong(line, "image_path is empty")
    path = os.path.join(os.path.dirname(table.path), row["image_path"])
    if "\\" in path and not os.path.exists(path):
        path = path.replace("\\", "/")
    return path


def _split(table: Table, line: int, row: Row) -> Split | None:
    if "split" not in table.columns:
        return None
    split = SPLIT_FOLDERS.get(row["split"].casefold())
    if split is None:
        raise table.wrong(line, f"split is {row['split']!r}: expected train, val or test")
    return split
