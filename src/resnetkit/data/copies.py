"""Which pictures of a set show the same photo: looked for before a split is made or judged, kept for later runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from resnetkit import files, runtime
from resnetkit.data import images
from resnetkit.data.cache_entries import Cleared, Entry
from resnetkit.data.dataset import Dataset, Item, decoded
from resnetkit.data.near_copies import OPENED, near_copies_among, thumbnail
from resnetkit.data.survey import Progress, ordered
from resnetkit.errors import ResNetKitError

# 3 kB each while they are compared, and a minute of one core: what is compared grows with the square.
MOST = 70_000
_RULES = 2  # of finding them: raised with them, so that what was found by others is not used

Pairs = tuple[tuple[Item, Item], ...]


def copies_of(
    dataset: Dataset, digests: Mapping[str, str], *, parts_alone: bool, threads: int, progress: Progress | None
) -> Pairs:
    """Return the pairs that show the same photo in other bytes; with `parts_alone` those of two parts.

    `digests` by source; pictures without one cannot be read. What was found is kept by content, label and part.
    """
    first: dict[str, Item] = {}
    for item in dataset.items:
        if item.source in digests:
            first.setdefault(f"{digests[item.source]} {item.split if parts_alone else ''}", item)
    items = list(first.values())
    assert len(items) <= MOST
    keys = [digests[item.source] for item in items]
    kept = copies_folder() / f"{_key(items, keys, parts_alone)}.json"
    numbers = _read(kept, len(items))
    if numbers is None:
        numbers = _found(dataset, items, parts_alone=parts_alone, threads=threads, progress=progress)
        with contextlib.suppress(OSError):  # a cache that cannot be written is looked for again
            files.write_text(kept, json.dumps({"data": dataset.name, "pictures": len(items), "pairs": numbers}))
    return tuple((items[one], items[two]) for one, two in numbers)


def copies_folder() -> Path:
    """Return the folder of what was found, below `RESNETKIT_CACHE`."""
    return runtime.cache_folder() / "copies"


def _found(
    dataset: Dataset, items: Sequence[Item], *, parts_alone: bool, threads: int, progress: Progress | None
) -> list[tuple[int, int]]:
    def small(item: Item) -> np.ndarray | None:
        try:
            data = dataset.read(item)
            picture = decoded(data, name=item.source, at_least=OPENED)
            return thumbnail(images.convert(picture, mode="RGB", depth=None))
        except ResNetKitError:
            return None  # named when it is decoded

    thumbnails = list(ordered(small, items, threads=threads, progress=progress))
    labels, parts = [str(item.label) for item in items], [str(item.split) for item in items]
    found = near_copies_among(thumbnails, labels, parts=parts if parts_alone else None)
    return [(pair.first, pair.second) for pair in found]


def _key(items: Sequence[Item], digests: Sequence[str], parts_alone: bool) -> str:
    rows = [f"{digest} {item.label} {item.split}" for item, digest in zip(items, digests, strict=True)]
    said = json.dumps([_RULES, parts_alone, rows])
    return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _read(path: Path, count: int) -> list[tuple[int, int]] | None:
    """Return what an earlier run found, or None where there is nothing whole."""
    try:
        pairs = [(int(one), int(two)) for one, two in json.loads(path.read_text(encoding="ascii"))["pairs"]]
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return pairs if all(0 <= one < two < count for one, two in pairs) else None


def entries() -> list[Entry]:
    """Return what is kept."""
    return [entry for path in _files() if (entry := _entry(path)) is not None]


def _entry(path: Path) -> Entry | None:
    try:
        about, status = json.loads(path.read_text(encoding="ascii")), path.stat()
        data, pictures = str(about["data"]), int(about["pictures"])
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return Entry(
        data=data, what="near-copies", pictures=pictures, bytes=status.st_size, last_used=status.st_mtime,
        path=str(path),
    )  # fmt: skip


def clear() -> Cleared:
    """Remove all of it."""
    removed = num_bytes = failed = 0
    for path in _files():
        size = path.stat().st_size
        try:
            path.unlink()
        except OSError:
            failed += 1
        else:
            removed, num_bytes = removed + 1, num_bytes + size
    return Cleared(files=removed, bytes=num_bytes, kept=0, failed=failed)


def _files() -> list[Path]:
    return sorted(path for path in copies_folder().glob("*.json") if path.is_file() and not path.is_symlink())
