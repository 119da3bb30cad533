"""Which pictures of a set are one, saved again or made smaller: found before a split is made or judged, and kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from resnetkit import files
from resnetkit.data.copies import resaved
from resnetkit.data.dataset import Dataset, Item, decoded
from resnetkit.data.decoded import contents
from resnetkit.data.decoded.cache_entries import Cleared, Entry
from resnetkit.data.decoded.survey import Survey
from resnetkit.data.opening import images
from resnetkit.errors import ResNetKitError

MOST = 200_000  # pictures that are searched: two seconds of one core for 60,000

Pairs = tuple[tuple[Item, Item], ...]


def copies_of(dataset: Dataset, surveyed: Survey, *, parts_alone: bool) -> Pairs:
    """Return the pairs that are certainly one picture in other pixels; with `parts_alone` those of two parts.

    Of pictures with equal pixels one is looked at (in each part). What was found is kept by content and part.
    """
    first: dict[tuple[str, str | None], Item] = {}
    identities = surveyed.identities
    for item in dataset.items:
        if item.source in surveyed.contents:
            first.setdefault((identities[item.source], item.split if parts_alone else None), item)
    items = list(first.values())
    assert len(items) <= MOST
    kept = copies_folder() / f"{_key(items, surveyed, parts_alone)}.json"
    numbers = _read(kept, len(items))
    if numbers is None:
        numbers = _found(dataset, items, surveyed, parts_alone=parts_alone)
        with contextlib.suppress(OSError):  # a cache that cannot be written is looked for again
            files.write_text(kept, json.dumps({"data": dataset.name, "pictures": len(items), "pairs": numbers}))
    return tuple((items[one], items[two]) for one, two in numbers)


def copies_folder() -> Path:
    """Return the folder of what was found, below `RESNETKIT_CACHE`."""
    return contents.folder()


def _found(
    dataset: Dataset, items: Sequence[Item], surveyed: Survey, *, parts_alone: bool
) -> list[tuple[int, int]]:  # fmt: skip
    def opened(number: int, at_least: int) -> Image.Image:
        source = items[number].source
        try:
            data = surveyed.kept.look(source, at_least=at_least)
            data = dataset.read(items[number]) if data is None else data
            return open_to_compare(data, name=source, at_least=at_least)
        except ResNetKitError:
            return Image.new("RGB", (1, 1))  # is no copy of anything; named when it is decoded

    parts = [str(item.split) for item in items] if parts_alone else None
    return resaved.resaved_pairs([surveyed.contents[item.source] for item in items], opened, parts=parts)


def open_to_compare(data: bytes | np.ndarray, *, name: str, at_least: int) -> Image.Image:
    """Return a picture as `resaved_pairs` compares it, upright and in RGB; raises `DataError` naming it."""
    return images.convert(decoded(data, name=name, at_least=at_least), mode="RGB", depth=None)


def _key(items: Sequence[Item], surveyed: Survey, parts_alone: bool) -> str:
    rows = [f"{surveyed.digests[item.source]} {item.split if parts_alone else ''}" for item in items]
    # What decides besides the pictures.
    versions = [resaved.VERSION, contents.VERSION, images.VERSION, Image.__version__]
    said = json.dumps([versions, parts_alone, rows]).encode()
    return hashlib.blake2b(said, digest_size=16).hexdigest()


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
        status = path.stat()
        if path.name.endswith(contents.SUFFIX):
            what, (data, pictures) = "contents", contents.described(path)
        else:
            about = json.loads(path.read_text(encoding="ascii"))
            what, data, pictures = "near-copies", str(about["data"]), int(about["pictures"])
    except (OSError, ValueError, TypeError, LookupError, EOFError):
        return None
    return Entry(
        data=data, what=what, pictures=pictures, bytes=status.st_size, last_used=status.st_mtime, path=str(path)
    )


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
    found = (path for path in copies_folder().glob("*") if path.name.endswith((".json", contents.SUFFIX)))
    return sorted(path for path in found if path.is_file() and not path.is_symlink())
