"""Columns of a list, and tags of DICOM files that are no identity, for the figures of pictures that differ in them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from resnetkit.data.columns import Column
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.opening import dicom_header, signatures
from resnetkit.data.sources import arrays, patients, tables
from resnetkit.data.sources.by_number import may_be_dicom
from resnetkit.errors import DataError, UsageError, near_miss
from resnetkit.words import one_line

_ANY = r".{1,64}"
_WORD = r"[A-Z0-9_ ]{1,16}"
# Those that may be asked for, with what a value looks like: anything else in them counts as no value.
TAGS = {
    "PatientSex": "[MFO]",
    "PatientAge": r"\d{1,3}[DWMY]",
    "Modality": _WORD,
    "BodyPartExamined": _WORD,
    "Manufacturer": _ANY,
    "ManufacturerModelName": _ANY,
    "MagneticFieldStrength": r"[0-9.]{1,16}",
    "InstitutionName": _ANY,
    "StationName": _ANY,
}
_HASHED = ("InstitutionName", "StationName")
_AGE = "PatientAge"
_DECADES = tuple(float(age) for age in range(10, 100, 10))
_A_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_WHO = ("PatientName", "PatientBirthDate", "PatientAddress", "OtherPatientIDs", *patients.TAGS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A column that was asked for: what a list says of pictures by their paths, or None for a tag of their files."""

    name: str
    edges: tuple[float, ...] | None
    cells: Mapping[str, str] | None = field(repr=False)

    def of(self, dataset: Dataset, items: Sequence[Item]) -> Column:
        """Return what it says of these pictures, frames of its files among them; raises `UsageError` for nothing."""
        files = [_file_of(dataset, item) for item in items]
        if self.cells is None:
            values = _of_tags(self.name, dataset, files)
            edges = self.edges if self.edges or self.name != _AGE else _DECADES
            missing = "no picture is a DICOM file that has this tag"
        else:
            said = (self.cells.get(file.source) or self.cells.get(dataset.origins[file.source][1]) for file in files)
            values, edges, missing = tuple(value or None for value in said), self.edges, "says nothing of the pictures"
            values = _untelling(self.name, values, dataset.tells)
        if not any(values):
            raise UsageError(f"--by {self.name}: {missing}")
        return Column(name=self.name, values=values, edges=edges)


def wanted(by: str | Sequence[str], data: Sequence[Any]) -> tuple[Wanted, ...]:
    """Return the columns of `data` that are asked for by name, as `age` or, with the edges of bands, `age:40,60`.

    Raises `UsageError` for a name that is neither a column of the list nor one of `TAGS`, for a tag that says who
    somebody is, and for edges that make no sense; `DataError` for a picture of which a list says two things.
    """
    by = (by,) if isinstance(by, str) else by
    given = [] if not by or arrays.pair_of(data) is not None else list(arrays.paths_of(data))
    path = os.path.expanduser(given[0]) if len(given) == 1 else ""
    is_list = path.lower().endswith(".csv") and os.path.isfile(path)
    table = tables.read_table(path, needed=("image_path",)) if is_list else None
    found = [_one(text, table) for text in by]
    for number, one in enumerate(found):
        if one.name in [earlier.name for earlier in found[:number]]:
            raise UsageError(f"--by {one.name}: is asked for twice")
    return tuple(found)


def _one(text: str, table: tables.Table | None) -> Wanted:
    columns = () if table is None else table.columns
    name, colon, edges = (text, "", "") if text in columns else text.rpartition(":")
    name = name if colon or text in columns else text
    if name == "label":
        raise UsageError("--by label: is what is told apart; the figures of each class are there without it")
    if table is not None and name in columns:
        return Wanted(name=name, edges=_edges(text, edges) if colon else None, cells=_cells(table, name))
    if name in TAGS:
        return Wanted(name=name, edges=_edges(text, edges) if colon else None, cells=None)
    if name in _WHO:
        aged = " (PatientAge tells how old people are)" if name == "PatientBirthDate" else ""
        raise UsageError(f"--by {name}: says who somebody is, and is not read for figures{aged}")
    there = f"columns {', '.join(columns)}, and " if columns else ""
    raise UsageError(
        f"--by {name}: no such column or tag; there are {there}of DICOM files "
        f"{', '.join(TAGS)}{near_miss(name, [*columns, *TAGS])}"
    )


def _edges(text: str, written: str) -> tuple[float, ...]:
    try:
        edges = tuple(float(edge) for edge in written.split(","))
    except ValueError:
        edges = ()
    rising = all(low < high for low, high in pairwise(edges))
    if not edges or not rising or not all(map(math.isfinite, edges)):
        raise UsageError(f"--by {text}: bands begin at rising numbers, as in age:40,60")
    return edges


def _cells(table: tables.Table, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line, row in table.rows:
        path, value = tables.picture_path(table, line, row), row[name]
        if found.setdefault(path, value) != value:
            if may_be_dicom(path):  # its tags may say these values too
                raise table.wrong(line, f"{name} is something else here than for the same picture above")
            raise table.wrong(line, f"{name} is {value!r} here, and {found[path]!r} for the same picture above")
    return found


def _file_of(dataset: Dataset, item: Item) -> Item:
    """Return a picture, or the file of which it is a frame (`data.frames`)."""
    return item if item.source in dataset.origins else replace(item, source=item.source.rpartition("#")[0])


def _untelling(
    name: str, values: tuple[str | None, ...], tells: Callable[[str], bool] | None
) -> tuple[str | None, ...]:
    """Return the values of a column, all as hashes where an identifying tag of the DICOM files says one of them."""
    there = set(values) - {None}
    if tells is None or not any(tells(value) for value in there if value is not None):
        return values
    key = patients.key()
    return tuple(value and patients.hashed(value, tag=f"column {name}", key=key) for value in values)


def _of_tags(name: str, dataset: Dataset, items: Sequence[Item]) -> tuple[str | None, ...]:
    key = patients.key() if name in _HASHED else b""

    def value(item: Item) -> str | None:
        try:
            data = dataset.read(item)
        except DataError:
            return None
        if isinstance(data, np.ndarray) or not signatures.is_dicom(data):
            return None
        said = dicom_header.text(data, name)
        if not re.fullmatch(TAGS[name], said):
            return None
        if name == _AGE:
            return f"{int(said[:-1]) / _A_YEAR[said[-1]]:g}"
        return patients.hashed(said, tag=name, key=key) if key else one_line(said)

    said = {item.source: value(item) for item in {item.source: item for item in items}.values()}
    return tuple(said[item.source] for item in items)
