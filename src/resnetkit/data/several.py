"""Pictures that may have several labels: what is one picture by its content, and how many have how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from resnetkit.data.classes import in_order
from resnetkit.data.dataset import Dataset, Item
from resnetkit.errors import DataError
from resnetkit.words import counted


def united(items: Iterable[Item], digests: Mapping[str, str]) -> tuple[Item, ...]:
    """Return the pictures with those of one content and part made one that has all their labels.

    `digests`: source -> content; a picture that is not there stays as it is. Of those that are one the first gives
    the source and the place; the group is that of the first which has one.
    """
    alike: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        content = digests.get(item.source)
        key = ("source", item.source) if content is None else ("content", str(item.split), content)
        alike.setdefault(key, []).append(item)
    return tuple(members[0] if len(members) == 1 else _one_of(members) for members in alike.values())


def unite(dataset: Dataset, digests: Mapping[str, str]) -> Dataset:
    """Return the data with `united` pictures, where it unites them, and say how many they are."""
    if not dataset.unites:
        return dataset
    items = united(dataset.items, digests)
    several = sum(len(item.labels or ()) > 1 for item in items)
    said = f"{counted(len(dataset.items), 'file')} are {counted(len(items), 'picture')}, {several:,} in several folders"
    return replace(dataset, items=items, notes=(*dataset.notes, said), unites=False)


def without_columns(dataset: Dataset, classes: Iterable[str]) -> tuple[Dataset, tuple[str, ...]]:
    """Return the data with those of `classes` not known that its list has no column for, and which these are."""
    missing = tuple(name for name in classes if dataset.columns and name not in dataset.columns)
    if not missing:
        return dataset, ()
    items = tuple(replace(item, unknown=(*item.unknown, *missing)) for item in dataset.items)
    return replace(dataset, items=items), missing


def _one_of(members: list[Item]) -> Item:
    looked_at = [item.labels for item in members if item.labels is not None]
    labels = in_order(label for own in looked_at for label in own)
    return replace(
        members[0],
        labels=labels if looked_at else None,
        group=next((item.group for item in members if item.group is not None), None),
        unknown=in_order({name for item in members for name in item.unknown} - set(labels)),
    )


def check_differ(dataset: Dataset) -> None:
    """Raise `DataError` for one class only, and where no picture to learn from lacks a label that another has.

    Objects are told from what is around them: one class of them is enough.
    """
    items = [item for item in dataset.items if item.split in (None, "train") or not dataset.several]
    counts = Counter(label for item in items for label in item.labels or ())
    if not dataset.several:
        if len(counts) < 2:
            raise DataError(
                f"{dataset.name}: one class only ({next(iter(counts))}); there must be two or more to tell apart"
            )
        return
    if dataset.objects != "none":
        if all(mark.crowd for item in items for mark in item.marks or ()):
            raise DataError(f"{dataset.name}: no object is marked on the pictures to train on")
        return
    known = {name: sum(name not in item.unknown for item in items) for name in counts}
    if known == counts:
        have = f"have every label that is known of them ({', '.join(sorted(counts))})" if counts else "have no label"
        raise DataError(
            f"{dataset.name}: the pictures to train on {have}; a label is learnt from pictures with it and without it"
        )


def counted_labels(items: Iterable[Item]) -> str:
    """Say how many pictures have several labels, none, or some of which nobody knows.

    >>> counted_labels([Item("1", ("a", "b")), Item("2", ()), Item("3", ("a",), unknown=("b",)), Item("4", ())])
    'several labels per picture: 1 picture has several, 2 none, 1 is not known in part'
    """
    several = none = in_part = 0
    for item in items:
        several += len(item.labels or ()) > 1
        none += item.labels == () and not item.unknown
        in_part += bool(item.unknown)
    said = [f"{several:,} {'picture has' if several == 1 else 'pictures have'} several"]
    said += [f"{none:,} none"] if none else []
    said += [f"{in_part:,} {'is' if in_part == 1 else 'are'} not known in part"] if in_part else []
    return f"several labels per picture: {', '.join(said)}"
