"""Lists of pictures in a CSV file: `image_path,label[,split][,group]`."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass

from resnetkit.data.dataset import Split
from resnetkit.data.opening.images import IMAGE_SUFFIXES
from resnetkit.data.opening.video import parted
from resnetkit.data.sources.folders import SPLIT_FOLDERS
from resnetkit.errors import DataError, near_miss
from resnetkit.files import open_file

Cells = dict[str, str]

_SUFFIXES = sorted(suffix for known in IMAGE_SUFFIXES for suffix in (known, known.upper()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The rows of a CSV with their line numbers, and the names of its columns.

    `moments`: whether its pictures are frames of videos.
    """

    path: str
    columns: tuple[str, ...]
    rows: list[tuple[int, Cells]]
    moments: bool = False

    def wrong(self, line: int, why: str) -> DataError:
        """Return the error for one line."""
        return DataError(f"{self.path}, line {line}: {why}")


def read_table(path: str, *, needed: tuple[str, ...], expected: tuple[str, ...] = ()) -> Table:
    """Read a CSV in UTF-8 (with or without byte order mark) that has at least the `needed` columns.

    `expected` are the columns to name where one is missing, if others than those. Raises `DataError` naming the file,
    the line and what is missing.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = tuple(name.strip() for name in next(reader, []))
            check_columns(path, columns, needed, expected=expected)
            rows = [(reader.line_num, _row(path, reader.line_num, columns, row)) for row in reader if any(row)]
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: is no UTF-8 text: save it as "CSV UTF-8"') from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return Table(path=path, columns=columns, rows=rows)


def check_columns(
    path: str, columns: tuple[str, ...], needed: tuple[str, ...], *, expected: tuple[str, ...] = ()
) -> None:
    """Raise `DataError` for a missing column, naming those that are `expected`, and for one that is there twice."""
    for name in needed:
        if name not in columns:
            found = ", ".join(columns).replace("\t", " ") or "nothing"
            separator = _other_separator(columns)
            raise DataError(
                f"{path}, line 1: no column {name!r}{near_miss(name, columns)}; "
                f"expected {','.join(expected or needed)}, found {found}{separator}"
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


def _row(path: str, line: int, columns: tuple[str, ...], values: list[str]) -> Cells:
    if len(values) != len(columns):
        raise DataError(f"{path}, line {line}: {len(values)} values for {len(columns)} columns; quote commas in names")
    return {name: value if name == "source" else value.strip() for name, value in zip(columns, values, strict=True)}


def picture_path(table: Table, line: int, row: Cells) -> str:
    """Return the path of a row's picture as seen from where the CSV was given."""
    if not row["image_path"]:
        raise table.wrong(line, "image_path is empty")
    if "\0" in row["image_path"]:
        raise table.wrong(line, "image_path holds a NUL character; write the path without it")
    path = os.path.join(os.path.dirname(table.path), row["image_path"])
    if "\\" in path and not os.path.exists(path):
        path = path.replace("\\", "/")
    return path


class ListedFiles:
    """Reads files by their paths; one that is not there is looked for with the other suffixes of pictures."""

    def read(self, key: str) -> bytes:
        """Return a file's bytes; raises `OSError`, or `DataError` that says what is there instead."""
        try:
            with open_file(key) as file:
                return file.read()
        except FileNotFoundError:
            begins = (key, _without_suffix(key))
            there = next(
                (name + suffix for name in begins for suffix in ("", *_SUFFIXES) if os.path.isfile(name + suffix)), None
            )
            if there is None:
                raise
            raise DataError(f"{key}: is not there, but {os.path.basename(there)} is: write that") from None


def check_some_exist(table: Table, paths: list[str]) -> None:
    """Raise `DataError` where none of the pictures of a list is there and it is plain what to write instead."""
    if not paths or any("::" in path or os.path.exists(path) or parted(path) is not None for path in paths):
        return
    line, row = table.rows[0]
    if there := _meant(picture_path(table, line, row), folder=os.path.dirname(table.path)):
        name = row["image_path"]
        raise DataError(
            f"{table.path}: none of the {len(paths):,} pictures is there, as line {line}, {name}: "
            f"write {there} for {name}, and so on"
        )


def _meant(path: str, *, folder: str) -> str | None:
    """Return what to write in a list in `folder` to find the picture that `path`, which is not there, seems to mean."""
    here, name = folder or ".", os.path.basename(path)
    below = [entry.path for entry in sorted(os.scandir(here), key=lambda entry: entry.name) if entry.is_dir()]
    as_written = os.path.relpath(path, here)  # as seen from where the command is given
    places = (os.path.dirname(path), here, *below, os.path.dirname(as_written))
    for wanted in (name, _without_suffix(name)):  # one of another suffix only where the name itself is nowhere
        for place in places:
            entries = sorted(os.listdir(place or ".")) if os.path.isdir(place or ".") else []
            for entry in entries:
                root, suffix = os.path.splitext(entry)
                if entry.casefold() == name.casefold() or (root == wanted and suffix.lower() in ("", *IMAGE_SUFFIXES)):
                    return os.path.relpath(os.path.join(place, entry), here)
    return None


def _without_suffix(path: str) -> str:
    """Return a path without the suffix of a picture, as it is where it has none."""
    root, suffix = os.path.splitext(path)
    return root if suffix.lower() in IMAGE_SUFFIXES else path


def split_of(table: Table, line: int, row: Cells) -> Split | None:
    """Return the part that a row names, None in a table without parts; raises `DataError` for another word."""
    if "split" not in table.columns:
        return None
    split = SPLIT_FOLDERS.get(row["split"].casefold())
    if split is None:
        raise table.wrong(line, f"split is {row['split']!r}: expected train, val or test")
    return split
