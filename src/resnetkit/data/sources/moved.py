"""Pictures of an earlier run found again where they lie now: by what they hold, whatever they are called."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnetkit.data.classes import class_names, natural_key
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.frames import of_files
from resnetkit.data.sources import open_arrays, open_data, open_pictures
from resnetkit.data.sources.arrays import pair_of
from resnetkit.data.splits import digest
from resnetkit.data.threads import ordered
from resnetkit.errors import DataError, ResNetKitError
from resnetkit.watcher import Progress


def found_again(
    data: Sequence[Any], wanted: Sequence[tuple[str, str]], items: Mapping[str, Item], *, run: str, in_order: bool,
    threads: int, rename: Mapping[str, str] | None = None, progress: Progress | None = None,
    several: Sequence[str] = (), page: int = 1, frames: str = "one",
) -> Dataset:  # fmt: skip
    """Return `items` of a run, in the order of `wanted`, read from the pictures of the same content under `data`.

    `wanted` are (digest, source) of the run's pictures; the sources stay those of the run, so that all its files go on
    naming each picture alike. `several`: the labels of a run whose pictures may have several. `page` and `frames`:
    which pictures it reads of files. Where they are not `in_order`, as in runs of older versions, they are put into
    that of folders: another order gives other bits. Of several of one content each is taken once, as far as they go.
    Raises `DataError` that names the first picture whose content is not among them.
    """
    pair = pair_of(data)
    pictures = of_files(open_pictures(*data) if pair is None else open_arrays(pair[0]), page=page, frames=frames)
    if not in_order:
        wanted = sorted(wanted, key=lambda row: natural_key(row[1]))

    def content(item: Item) -> str | None:
        try:
            return digest(pictures.read(item))
        except ResNetKitError:
            return None

    alike: dict[str | None, deque[Item]] = defaultdict(deque)
    found = ordered(content, pictures.items, threads=threads, progress=progress)
    for item, key in zip(pictures.items, found, strict=True):
        alike[key].append(item)
    missing = [source for key, source in wanted if key not in alike]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise DataError(
            f"{run}: {len(missing):,} of its {len(wanted):,} pictures {are} not in {pictures.name} with the same "
            f"content, the first {missing[0]}; name the folders that hold them all, or start a new run"
        )
    labels, origins = _labels(data, rename, several=bool(several)), {}
    now = [{labels.get(one.source) for one in alike[key]} - {None} for key, _ in wanted]
    others = sum(
        bool(named) and items[source].labels not in named for named, (_, source) in zip(now, wanted, strict=True)
    )
    notes = (f"{others:,} pictures lie under another class now; the labels are those of split.csv",) if others else ()
    for key, source in wanted:
        alike[key].rotate(-1)
        origins[source] = pictures.origins[alike[key][-1].source]
    kept = tuple(items[source] for _, source in wanted)
    names = tuple(several) or class_names(label for item in kept for label in item.labels or ())
    return replace(
        pictures, items=kept, classes=names, origins=origins, ignored=(), outside=(), empty=(), notes=notes,
        several=bool(several),
    )  # fmt: skip


def _labels(
    data: Sequence[Any], rename: Mapping[str, str] | None, *, several: bool
) -> dict[str, tuple[str, ...] | None]:
    """Return the classes under which pictures lie now, by source; none where they do not lie in classes."""
    try:
        return {
            item.source: item.labels
            for item in open_data(*data, rename=rename, task="multilabel" if several else "classification").items
        }
    except ResNetKitError:
        return {}


def seen_from(folder: Path, name: str) -> str:
    """Return a path that was relative to `folder` as an absolute one; names such as `digits` stay."""
    path, separator, member = name.partition("::")
    return f"{folder / path}{separator}{member}" if (folder / path).exists() else name
