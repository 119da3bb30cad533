"""What a source gave, arranged: the classes that training knows, a part of it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Sequence

from resnetkit.data import classes
from resnetkit.data.dataset import SPLITS, Item
from resnetkit.errors import UsageError


def checked_classes(sources: list[str], items: tuple[Item, ...], *, named: Collection[str] = ()) -> tuple[str, ...]:
    """Return the classes that training knows, with those `named` by the source itself.

    Raises `DataError` where another part has more.
    """
    everything = classes.class_names([*named, *(name for item in items for name in item.names)])
    known = {*named, *(name for item in items if item.split in (None, "train") for name in item.names)}
    if not known:
        return everything
    counts = Counter((item.split, name) for item in items for name in item.names if name not in known)
    for (split, label), count in sorted(counts.items(), key=lambda entry: str(entry[0])):
        raise classes.unknown_class(label, known, where=f"{' '.join(sources)}, {split} part", count=count)
    return everything


def with_objects(names: tuple[str, ...], items: Collection[Item]) -> tuple[tuple[str, ...], list[str]]:
    """Return the classes of which an object is marked, and what to say of the others that a file names."""
    there = {label for item in items for label in item.labels or ()}
    without = [name for name in names if name not in there]
    if not without or not there:
        return names, []
    some = ", ".join(without[:3]) + (f" and {len(without) - 3} more" if len(without) > 3 else "")
    return tuple(name for name in names if name in there), [f"named, but nowhere marked: {some}"]


def bases(sources: Sequence[str], roots: Sequence[str]) -> tuple[str, ...]:
    """Return what paths begin with before what is known of them (`Dataset.bases`): one source, or folders of classes.

    `roots`: the folders that sources are or lead to. Of an archive that is its own name. A list may name pictures by
    whole paths where it is itself named by another.
    """
    whole = [source.rstrip(os.sep) for source in sources]
    if len(whole) == 1 and (not roots or whole[0] == roots[0].rstrip(os.sep)) and not whole[0].lower().endswith(".csv"):
        return tuple(whole)
    folders = [os.path.dirname(source) for source in whole]
    more = [root.rstrip(os.sep) for root in roots] if len(whole) == 1 else []
    return (*folders, *more, *map(os.path.abspath, folders))


def limited(
    items: tuple[Item, ...], limit: int, names: tuple[str, ...], *, root: str, several: bool = False
) -> tuple[tuple[Item, ...], list[str]]:
    """Keep `limit` items of each part: the first of every class, then the second, in an order made of the paths.

    Paths count from the folder that is `root` or that the list `root` lies in. Where pictures may have several labels,
    those with the same ones count as a class here.
    """
    if limit < (1 if several else max(1, len(names))):
        each = "" if several else f" for each of the {len(names)} classes"
        raise UsageError(f"--limit {limit} is less than one image{each}")
    folder = os.path.dirname(root) if root.lower().endswith(".csv") else root
    keys = {item.source: _path_hash(item.source.removeprefix(folder)) for item in items}
    rank: dict[str, tuple[int, bytes]] = {}
    seen: Counter[tuple[str | None, str]] = Counter()
    for item in sorted(items, key=lambda item: keys[item.source]):
        rank[item.source] = (seen[item.split, item.written], keys[item.source])
        seen[item.split, item.written] += 1
    kept: set[str] = set()
    notes = []
    for split in (None, *SPLITS):
        part = sorted((item.source for item in items if item.split == split), key=rank.__getitem__)
        kept.update(part[:limit])
        if len(part) > limit:
            notes.append(f"--limit {limit}: {limit:,} of {len(part):,} {split + ' ' if split else ''}images are used")
    return tuple(item for item in items if item.source in kept), notes


def _path_hash(path: str) -> bytes:
    return hashlib.blake2b(path.replace(os.sep, "/").lstrip("/").encode("utf-8"), digest_size=8).digest()
