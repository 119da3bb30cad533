"""What the pictures of a list are: one label for each, several in a cell, or a column for each label."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from resnetkit.data.classes import in_order, normal_name, several_names
from resnetkit.data.dataset import Item, labels_written
from resnetkit.data.sources import intervals
from resnetkit.data.sources.by_number import may_be_dicom
from resnetkit.data.sources.tables import Cells, Table, check_columns, picture_path, split_of
from resnetkit.errors import DataError, UsageError, near_miss
from resnetkit.words import counted

Asked = Literal["auto", "classification", "multilabel", "detection"]  # the task, which says what labels mean
Pictures = list[tuple[str, Item]]

_NEEDED = ("image_path", "label")
_MOST_SLIPS = 0.2  # of a column of marks that may be something else, for it to be told as one of marks
_PRESENT, _ABSENT, _NOT_KNOWN = {"1", "true", "x", "yes"}, {"0", "false", "no"}, {"", "?"}
_MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """The pictures of a list by path, the labels that have a column each, and what to say of them."""

    table: Table
    pictures: Pictures
    several: bool = False
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Said:
    """What the rows of a picture say: which labels it has, has not, or may have; not `known`: nothing at all."""

    labels: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    known: bool = True

    def and_also(self, other: _Said) -> _Said:
        return _Said(
            self.labels | other.labels, self.absent | other.absent, self.unknown | other.unknown,
            self.known or other.known,
        )  # fmt: skip

    def of(self, item: Item) -> Item:
        """Return the item with that: a label is unknown where no row knows it."""
        unknown = in_order(self.unknown - self.labels - self.absent)
        return replace(item, labels=in_order(self.labels), unknown=unknown)


def asked(task: str) -> Asked:
    """Return a task by its name; raises `UsageError` for another, with the nearest."""
    for known in get_args(Asked):
        if task == known:
            return known
    raise UsageError(f"--task {task}: expected {', '.join(get_args(Asked))}{near_miss(str(task), get_args(Asked))}")


def read_list(path: str, *, task: Asked, group_by: str | None) -> Listed:
    """Read `image_path,label[,split][,group]`, or a column of marks for each label in place of `label`.

    `video,start,end` in place of `image_path` are intervals of videos, see `intervals.read`.

    Paths are relative to the CSV's folder, backslashes are understood. `task` as `auto` means several labels where a
    cell has `;` between names, where there are columns of marks, or where a picture is listed again with another label.
    Raises `DataError` naming the line, for rows that contradict one another and for labels that cannot be understood.
    """
    table = intervals.read(path, needed=("image_path",), expected=_NEEDED, group_by=group_by)
    marked: list[str] = []
    others: list[str] = []
    if "label" not in table.columns:
        marked, others = _columns(table, besides={"image_path", "split", "group", "", group_by})
        _check_marked(table, marked, others, task)
    if not table.rows:
        raise DataError(f"{path}: has no rows below {','.join(table.columns)}; add one for each picture")
    group = group_by if group_by in table.columns else "group" if "group" in table.columns else None
    if marked:
        pictures, notes = _united(table, group, lambda _, row: _of_columns(row, marked))
        names = in_order(map(normal_name, marked))
        notes = (*notes, *_no_labels(table, others))
        return Listed(table=table, pictures=pictures, several=True, names=names, notes=notes)
    if task == "multilabel" or (task == "auto" and _says_several(table)):
        wrong = several_names((row["label"] for _, row in table.rows), parted=True)
        pictures, notes = _united(table, group, lambda line, row: _of_cell(table, line, row["label"], wrong))
        return Listed(table=table, pictures=pictures, several=True, notes=notes)
    pictures = _single(table, group)
    repeated = len(table.rows) - len(pictures)
    rows = "row repeats" if repeated == 1 else "rows repeat"
    notes = (f"{repeated:,} {rows} an earlier one: each picture is used once",) if repeated else ()
    return Listed(table=table, pictures=pictures, notes=notes)


def parted(pictures: Pictures) -> tuple[Pictures, list[str]]:
    """Return pictures whose one label is a cell of several with those labels, and what to say of them.

    Raises `DataError` for a label that cannot be understood.
    """
    found, notes = _known((key, item, _said(item.written)) for key, item in pictures)
    return found, list(notes)


def _says_several(table: Table) -> bool:
    """Tell whether a column of labels plainly holds several for a picture, in one cell or in several rows."""
    if any(sum(bool(name.strip()) for name in row["label"].split(";")) > 1 for _, row in table.rows):
        return True
    first: dict[str, str] = {}
    for _, row in table.rows:
        if row["label"]:
            path, label = os.path.normpath(row["image_path"].replace("\\", "/")), normal_name(row["label"])
            if first.setdefault(path, label) != label:
                return True
    return False


def _columns(table: Table, *, besides: set[str | None]) -> tuple[list[str], list[str]]:
    """Return the columns that say yes and no, and the others."""
    columns = [name for name in table.columns if name not in besides]
    marks = {name: {_mark(row[name]) for _, row in table.rows} - _NOT_KNOWN for name in columns}
    marked = [name for name in columns if marks[name] and marks[name] <= _PRESENT | _ABSENT]
    return marked, [name for name in columns if name not in marked]


def _mark(value: str) -> str:
    """Return a cell so that marks can be told: numbers are compared as numbers."""
    value = value.strip().casefold()
    try:
        return f"{float(value):g}"
    except ValueError:
        return value


def _check_marked(table: Table, marked: list[str], others: list[str], task: Asked) -> None:
    """Raise `DataError` for a table without a column `label` in which the other columns are no labels either."""
    if task == "classification" and len(marked) > 1:
        raise DataError(
            f"{table.path}, line 1: has a column for each label ({_some(marked)}): write the name of one into a column "
            "called label, or add --task multilabel"
        )
    misspelt = task == "auto" and near_miss("label", others)  # then what is marked may be anything
    if len(marked) < (1 if task == "multilabel" else 2) or misspelt:
        if not misspelt:
            _check_nearly_marked(table, others)
        check_columns(table.path, table.columns, _NEEDED)


def _check_nearly_marked(table: Table, columns: list[str]) -> None:
    """Raise `DataError` where all of these columns say yes and no but for a few values, with the first of them."""
    slips = []
    for name in columns:
        said = [(line, row[name]) for line, row in table.rows if row[name]]
        wrong = [(line, name, value) for line, value in said if _mark(value) not in _PRESENT | _ABSENT | _NOT_KNOWN]
        if len(wrong) > _MOST_SLIPS * len(said) or not {_mark(value) for _, value in said} & _ABSENT:
            return
        slips += wrong
    if slips:
        line, name, value = min(slips)
        why = f"column {name} says yes and no, but {value!r} here: write 1 for yes, 0 for no, ? for not known"
        raise table.wrong(line, why)


def _no_labels(table: Table, columns: list[str]) -> tuple[str, ...]:
    """Say which columns beside those of labels are none, by a value that is no mark."""
    if not columns:
        return ()
    holding = []
    for name in columns:
        values = [row[name] for _, row in table.rows if _mark(row[name]) not in _PRESENT | _ABSENT | _NOT_KNOWN]
        value = next(iter(values), "") or next((row[name] for _, row in table.rows if row[name]), "")
        shown = value if len(value) <= 20 else value[:19] + "…"
        holding.append((name, f"it holds {shown!r}" if value else "it is empty"))
    if len(columns) == 1:
        return (f"column {columns[0]} is no label: {holding[0][1]}",)
    return (f"columns that are no labels: {_some([f'{name} ({why})' for name, why in holding])}",)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _of_columns(row: Cells, marked: list[str]) -> _Said:
    marks = {name: _mark(row[name]) for name in marked}
    labels = frozenset(normal_name(name) for name in marked if marks[name] in _PRESENT)
    absent = frozenset(normal_name(name) for name in marked if marks[name] in _ABSENT)
    unknown = frozenset(normal_name(name) for name in marked if marks[name] in _NOT_KNOWN)
    return _Said(labels, absent, unknown, bool(labels or absent))


def _of_cell(table: Table, line: int, cell: str, wrong: dict[str, str]) -> _Said:
    if cell in wrong:
        raise table.wrong(line, wrong[cell])
    try:
        return _said(cell)
    except DataError as error:
        raise table.wrong(line, str(error)) from None


def _said(cell: str) -> _Said:
    """Read `cat;dog`, `cat;dog?` where nobody knows of a dog, nothing for none, `?` where nobody knows anything."""
    names = [normal_name(name.strip()) for name in cell.split(";")] if cell.strip() else []
    if names == ["?"]:
        return _Said(known=False)
    if "?" in names:
        raise DataError(f"label {cell!r} has '?' beside names: write '?' alone, or the name that nobody knows, as a;b?")
    if "" in names:
        raise DataError(f"label {cell!r} has an empty name: write one between two ';', and none at the ends")
    labels, unknown = labels_written(";".join(names))
    return _Said(frozenset(labels), unknown=frozenset(name.strip() for name in unknown))


def _united(
    table: Table, group_column: str | None, said_in: Callable[[int, Cells], _Said]
) -> tuple[Pictures, tuple[str, ...]]:
    """Return each picture with all that its rows say; raises `DataError` where they name two parts or groups."""
    first: dict[str, tuple[int, str, Item]] = {}
    said: dict[str, _Said] = {}
    for line, row in table.rows:
        path, item = _unlabelled(table, line, row, group_column)
        key = os.path.normpath(path)
        earlier, _, other = first.setdefault(key, (line, path, item))
        if replace(item, source=other.source) != other:
            raise table.wrong(line, _contradiction(row, item, other, line=earlier))
        now = said_in(line, row)
        said[key] = said[key].and_also(now) if key in said else now
    pictures, notes = _known((path, item, said[key]) for key, (_, path, item) in first.items())
    if repeated := len(table.rows) - len(first):
        rows = "row lists" if repeated == 1 else "rows list"
        notes = (f"{repeated:,} {rows} a picture again: a picture has the labels of all its rows", *notes)
    return pictures, notes


def _known(pictures: Iterable[tuple[str, Item, _Said]]) -> tuple[Pictures, tuple[str, ...]]:
    """Return the pictures of which something is known, and what to say of the others."""
    kept, gone = [], []
    for key, item, said in pictures:
        if said.known:
            kept.append((key, said.of(item)))
        else:
            gone.append(item.source)
    return kept, (f"left out, labels not known: {counted(len(gone), 'picture')} (first: {gone[0]})",) if gone else ()


def _unlabelled(table: Table, line: int, row: Cells, group_column: str | None) -> tuple[str, Item]:
    """Return what a row says beside the label."""
    path = picture_path(table, line, row)
    group = row[group_column] or None if group_column else None
    return path, Item(path, split=split_of(table, line, row), group=group)


def _single(table: Table, group_column: str | None) -> Pictures:
    """Return each picture with its one label."""
    several = several_names(row["label"] for _, row in table.rows)
    for line, row in table.rows:
        if row["label"] in several:
            raise table.wrong(line, several[row["label"]])
    first: dict[str, tuple[int, str, Item]] = {}
    for line, row in table.rows:
        path, item = _unlabelled(table, line, row, group_column)
        if not row["label"]:
            raise table.wrong(line, f"{_shown(row)} has no label: write one, or add --task multilabel")
        item = replace(item, labels=(normal_name(row["label"]),))
        earlier, _, other = first.setdefault(os.path.normpath(path), (line, path, item))
        if replace(item, source=other.source) != other:
            raise table.wrong(line, _contradiction(row, item, other, line=earlier))
    return [(path, item) for _, path, item in first.values()]


def _shown(row: Cells) -> str:
    """Return what to call the picture of a row: not by its path where that may tell who is pictured."""
    return "the picture" if may_be_dicom(row["image_path"]) else row["image_path"]


def _contradiction(row: Cells, item: Item, other: Item, *, line: int) -> str:
    what = f"{_shown(row)} is listed again (first in line {line})"
    if item.labels == other.labels:
        return f"{what} with another {'split' if item.split != other.split else 'group'}"
    if may_be_dicom(row["image_path"]):
        return f"{what}, as something else: keep one row, or add --task multilabel"
    return f"{what}, as {item.written!r} and {other.written!r}: keep one row, or add --task multilabel"
