"""Which pictures are held out: decided by their content, so that new photos do not move old ones."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np

from resnetkit.data.classes import natural_key
from resnetkit.data.dataset import Item, Split, labels_written
from resnetkit.data.sources.tables import read_table
from resnetkit.data.stratified import stratified
from resnetkit.data.units import Unit, units_of
from resnetkit.errors import DataError, UsageError
from resnetkit.files import csv_writer, write_text
from resnetkit.words import counted

# One in five, as in five-fold cross-validation: of 250 photos 50 are held out, whose accuracy is then known to about
# ten points (interval of 45 in 50: 78 to 97 %), and four fifths of the photos still train.
DEFAULT_VAL_SHARE = 0.2
# What an earlier run held out is a little more or less than the share, and is held out again as a whole.
_NEARLY_ALL = 0.75
# From so many held-out pictures on, half of them score what the other half has selected: 200 leave an accuracy known to
# about seven points or better.
ENOUGH_TO_HALVE = 400
# What is kept on one side of a split that is made: identical files, those of equal pixels, or also certain copies.
KeepTogether = Literal["copies", "pixels", "files"]
T = TypeVar("T")


def digest(data: bytes | np.ndarray) -> str:
    """Return the content's fingerprint, 32 hexadecimal digits: equal for identical files, or identical arrays."""
    if isinstance(data, np.ndarray):
        header = f"{data.dtype.str} {data.shape}\0".encode()
        return hashlib.blake2b(header + data.tobytes(), digest_size=16).hexdigest()
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def hold_out(
    items: Sequence[Item], digests: Sequence[str], *, share: float, seed: int, alike: Iterable[tuple[str, str]] = (),
    trained: Collection[str] = (), several: bool = False, below: Callable[[str], str] = str,
) -> tuple[Item, ...]:  # fmt: skip
    """Divide the training part into train and val; items of other parts stay as they are.

    Pictures that share a group or their content form a unit, and so do those of contents that are `alike` (pairs of
    digests). A unit is held out when a hash of (seed, group or content) falls below `share`: what was decided for a
    photo does not depend on the other photos (but for those that join its unit), and each class gives `share` of its
    units on average. One correction: a class whose units all fall on one side moves its lowest (to val) or highest (to
    train), where no other class loses its last one; a class with one unit stays in train.

    Of `trained`, sources that the starting weights learnt from, none is held out, nor what shares a unit with them:
    `share` of all is then taken from the others, all of these where they are little more than that.

    Where pictures may have `several` labels, or none, units are held out by `stratified`: each label gives `share` of
    its pictures as nearly as that goes, and has units on both sides where it has two or more; one with a single unit
    trains. Rare labels need that; the cost is what hashes give: here, where a photo goes depends on the others.

    Data that has a val part already comes back with its unassigned items in train. `digests` belong to `items`;
    `below`: what a group is called wherever the data lie.
    """
    if not 0 < share < 1:
        raise UsageError(f"the share to hold out must lie between 0 and 1, not {share}")
    assert len(items) == len(digests)
    if any(item.split == "val" for item in items):
        return tuple(replace(item, split=item.split or "train") for item in items)
    part = [index for index, item in enumerate(items) if item.split in (None, "train")]
    units = units_of(items, digests, part, alike, trained=set(trained), seed=seed, below=below)
    if several and not _share_of_free(units, share)[1]:
        _hold_out_stratified(units, share)
    else:
        _hold_out_share(units, share)
        _give_every_class_both_sides(units)
    split: dict[int, Split] = {index: "val" if unit.held_out else "train" for unit in units for index in unit.members}
    sides = (split.get(index, item.split) for index, item in enumerate(items))
    return tuple(
        item if item.split == side else replace(item, split=side) for item, side in zip(items, sides, strict=True)
    )


def halve(
    items: Sequence[Item], digests: Sequence[str], *, seed: int, alike: Iterable[tuple[str, str]] = (),
    several: bool = False, below: Callable[[str], str] = str,
) -> tuple[Item, ...]:  # fmt: skip
    """Divide the val part as `hold_out` does train: half of it stays, to select, half becomes test, to score.

    Nothing changes where there are fewer than `ENOUGH_TO_HALVE`, or a test part already.
    """
    held_out = [index for index, item in enumerate(items) if item.split == "val"]
    if len(held_out) < ENOUGH_TO_HALVE or any(item.split == "test" for item in items):
        return tuple(items)
    part = [replace(items[index], split=None) for index in held_out]
    # A seed that no person can ask for: these heights shall not be those that decided what is held out.
    own = [digests[index] for index in held_out]
    divided = hold_out(part, own, share=0.5, seed=-1 - seed, alike=alike, several=several, below=below)
    half: dict[int, Split] = {
        index: "test" if item.split == "val" else "val" for index, item in zip(held_out, divided, strict=True)
    }
    return tuple(replace(item, split=half.get(index, item.split)) for index, item in enumerate(items))


def into_folds(
    items: Sequence[Item], digests: Sequence[str], *, count: int, seed: int, alike: Iterable[tuple[str, str]] = (),
    trained: Collection[str] = (), several: bool = False, below: Callable[[str], str] = str,
) -> list[int]:  # fmt: skip
    """Return of each item the fold that holds it out, 1 to `count`; 0 for one that always trains or is no part of it.

    Units are those of `hold_out`; each goes to the fold that has fewest of its classes, the larger ones first, those of
    one size in an order that content decides, so that folds are alike in classes and in size. What `trained` the
    starting weights, and what shares a unit with it, is never held out.
    Raises `UsageError` where a class has too few units for a picture of it in every fold.

    Where pictures may have `several` labels, or none, folds are those of `stratified`. A label that has fewer units
    than there are folds is in some of them only, and of two units or more no fold holds out all, if labels that share
    pictures leave that choice. The fold that holds out the only unit of a label cannot learn it. Raises `UsageError`
    where there are fewer units than folds.
    """
    part = [index for index, item in enumerate(items) if item.split in (None, "train")]
    units = units_of(items, digests, part, alike, trained=set(trained), seed=seed, below=below)
    if several:
        return _stratified_folds(units, count, len(items))
    _check_folds(units, count)
    number = [0] * len(items)
    held: list[Counter[str]] = [Counter() for _ in range(count)]
    for unit in sorted((unit for unit in units if unit.free), key=lambda unit: (-len(unit.members), unit.height)):
        own = Counter(label for index in unit.members for label in items[index].labels or ())
        fold = min(range(count), key=lambda k: (sum(held[k][label] for label in own), held[k].total(), k))
        held[fold] += own
        for index in unit.members:
            number[index] = fold + 1
    _check_taught(items, part, number, count)
    return number


def _check_folds(units: Sequence[Unit], count: int) -> None:
    """Raise `UsageError` where a class cannot give one unit to each fold; one that is known already gives none."""
    given = Counter(label for unit in units if unit.free for label in unit.labels)
    _check_known(len(given))
    label, fewest = min(given.items(), key=lambda pair: (pair[1], pair[0]))
    if fewest < count:
        way_out = f"use --folds {fewest}, or add pictures" if fewest > 1 else "add pictures, or take the class out"
        raise UsageError(
            f"--folds {count}: class {label!r} has {fewest} picture{'s'[: fewest > 1]} to hold out (groups and copies "
            f"count once), and each fold needs one: {way_out}"
        )


def _stratified_folds(units: Sequence[Unit], count: int, num_items: int) -> list[int]:
    """Return of each item its fold, by the pictures of every label; what trained, and all that is no part of it, has 0.

    A fold comes away with nothing only where there are fewer units than folds, for an empty one lacks most of all.
    """
    free = sum(unit.free for unit in units)
    _check_known(free)
    if free < count:
        raise UsageError(
            f"--folds {count}: there {'is' if free == 1 else 'are'} {counted(free, 'picture')} to hold out (groups and "
            f"copies count once), and each fold needs one: {f'use --folds {free}, or ' * (free > 1)}add pictures"
        )
    trains = {index: 0 for index, unit in enumerate(units) if not unit.free}
    number = [0] * num_items
    for unit, fold in zip(units, stratified(units, [0, *[1 / count] * count], given=trains), strict=True):
        for index in unit.members:
            number[index] = fold
    return number


def _check_known(num_free: int) -> None:
    """Raise `UsageError` where nothing is free to be held out."""
    if not num_free:
        raise UsageError("--folds: the starting weights know all of these pictures, so none can be held out")


def _check_taught(items: Sequence[Item], part: Sequence[int], number: Sequence[int], count: int) -> None:
    """Raise `UsageError` where a fold would hold out all of a class, as groups of several classes can bring about."""
    for fold in range(1, count + 1):
        taught = {label for index in part if number[index] != fold for label in items[index].labels or ()}
        for label in sorted({label for index in part for label in items[index].labels or ()} - taught):
            raise UsageError(f"--folds {count}: one group holds all of class {label!r}, which no fold could then learn")


def _hold_out_share(units: Sequence[Unit], share: float) -> None:
    of_free, all_free = _share_of_free(units, share)
    for unit in units:
        unit.held_out = unit.free and (unit.height < of_free or all_free)


def _share_of_free(units: Sequence[Unit], share: float) -> tuple[float, bool]:
    """Return which share of what is free makes `share` of all, and whether all of that is held out for being so few."""
    total, free = (sum(len(unit.members) for unit in of) for of in (units, [unit for unit in units if unit.free]))
    of_free = share if free == total else share * total / max(1, free)
    return of_free, of_free > _NEARLY_ALL and free < total


def _hold_out_stratified(units: Sequence[Unit], share: float) -> None:
    """Hold out a share of the pictures of every label; one with a single unit trains."""
    times = Counter(label for unit in units for label in unit.labels)
    trains = {
        index: 0 for index, unit in enumerate(units) if not unit.free or any(times[label] == 1 for label in unit.labels)
    }
    for unit, side in zip(units, stratified(units, [1 - share, share], given=trains), strict=True):
        unit.held_out = side == 1


def _give_every_class_both_sides(units: list[Unit]) -> None:
    """Move single units so that each class with two or more has one on both sides."""
    units.sort(key=lambda unit: unit.height)
    of_class: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        for label in unit.labels:
            of_class[label].append(unit)
    for label in sorted(of_class):
        own = of_class[label]
        if not any(not unit.held_out for unit in own):
            own[-1].held_out = False
    for label in sorted(of_class):
        own = of_class[label]
        if len(own) > 1 and not any(unit.held_out for unit in own):
            movable = (unit for unit in own if unit.free and not _last_in_train(unit, of_class))
            for unit in movable:
                unit.held_out = True
                break


def _last_in_train(unit: Unit, of_class: Mapping[str, list[Unit]]) -> bool:
    return any(sum(not other.held_out for other in of_class[label]) == 1 for label in unit.labels)


def write_split(path: Path, items: Iterable[Item], folds: Mapping[str, int] | None = None) -> None:
    """Write `source,label,split[,group][,fold]` with one row for each item, atomically; `folds`: source -> its fold."""
    rows = sorted(items, key=lambda item: natural_key(item.source))
    grouped = any(item.group is not None for item in rows)
    text = io.StringIO()
    writer = csv_writer(text)
    writer.writerow(["source", "label", "split", *["group"] * grouped, *["fold"] * (folds is not None)])
    for item in rows:
        more = [item.group or ""] * grouped + ([] if folds is None else [folds.get(item.source) or ""])
        writer.writerow([item.source, item.written, item.split, *more])
    write_text(path, text.getvalue())


def read_split(path: Path) -> dict[str, Split]:
    """Read what `write_split` wrote: source -> part; raises `DataError` naming the file and the line."""
    table = read_table(str(path), needed=("source", "split"))
    rows: dict[str, Split] = {}
    for line, row in table.rows:
        split = next((name for name in get_args(Split) if name == row["split"]), None)
        if split is None:
            raise table.wrong(line, f"split is {row['split']!r}: expected train, val or test")
        rows[row["source"]] = split
    return rows


def read_folds(path: Path) -> dict[str, int]:
    """Read the folds that `write_split` wrote: source -> fold of what is held out in one; raises `DataError`."""
    table = read_table(str(path), needed=("source", "fold"))
    rows: dict[str, int] = {}
    for line, row in table.rows:
        if not (row["fold"] or "0").isdecimal():
            raise table.wrong(line, f"fold is {row['fold']!r}: expected a number")
        rows[row["source"]] = int(row["fold"] or 0)
    return rows


def read_items(path: Path, *, several: bool = False) -> dict[str, Item]:
    """Read the pictures of `write_split`, with labels and group: source -> item without its part."""
    table = read_table(str(path), needed=("source", "split", "label"))
    items = {}
    for _, row in table.rows:
        labels, unknown = labels_written(row["label"]) if several else ((row["label"],), ())
        items[row["source"]] = Item(row["source"], labels, group=row.get("group") or None, unknown=unknown)
    return items


def reuse_split(items: Sequence[Item], rows: Mapping[str, Split]) -> tuple[tuple[Item, ...], int]:
    """Give each item the part it had in an earlier run; return the items and how many were not there then.

    Those join train, unless the data itself says otherwise. The same data under another path is recognised by what
    follows the folders that all paths share. Raises `DataError` where the rows know none of the pictures.
    """
    found = found_in(items, rows)
    if not any(found):
        example = next(iter(rows), "nothing")
        raise DataError(f"the split is of other data: it begins with {example}, the data with {items[0].source}")
    divided = (replace(item, split=part or item.split or "train") for item, part in zip(items, found, strict=True))
    return tuple(divided), found.count(None)


def found_in(items: Sequence[Item], rows: Mapping[str, T]) -> list[T | None]:
    """Return what `rows`, by source, say of each item, also where the same data lie under another path now."""
    found = [rows.get(item.source) for item in items]
    if any(value is not None for value in found):
        return found
    below = {rest: rows[source] for source, rest in _below_common(rows).items()}
    rest = _below_common(item.source for item in items)
    return [below.get(rest[item.source]) for item in items]


def _below_common(sources: Iterable[str]) -> dict[str, str]:
    """Return each source without the folders that all of them share."""
    parts = {source: source.replace("::", "/").replace(os.sep, "/").split("/") for source in sources}
    folders = [names[:-1] for names in parts.values()]
    depth = next((i for i, level in enumerate(zip(*folders, strict=False)) if len(set(level)) > 1), None)
    depth = min(map(len, folders), default=0) if depth is None else depth
    return {source: "/".join(names[depth:]) for source, names in parts.items()}
