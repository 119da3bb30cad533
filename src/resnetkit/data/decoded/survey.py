"""Reading every file once: what the contents are, how large, how deep, and which cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from resnetkit.data import splits
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.decoded import contents
from resnetkit.data.decoded.cache import Kept
from resnetkit.data.decoded.contents import Content
from resnetkit.data.opening import images, signatures
from resnetkit.data.threads import ordered
from resnetkit.errors import DataError, ResNetKitError
from resnetkit.watcher import Progress

_SIZES_SAMPLED = 2_000
# Measured on 10,000 32x32 WebP: 1.0 s with one thread, 1.4 s with two, which only wait for each other.
TOO_SMALL_FOR_THREADS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What reading every file once tells: content digests, bits of 16-bit pictures, sizes, unreadable files.

    `digests` and `depths` are by source; `unreadable` maps a source to the reason. `sizes` are the (width, height) of
    at most 2,000 pictures spread evenly over the data. `contents`: of each picture that could be decoded, by source.
    `kept`: the pictures themselves, as far as there is room for them; `prepare` uses them up. `several`: files
    with several pages, of which one is used. `dicom`: whether a file is DICOM by its content, whatever its name.
    """

    digests: Mapping[str, str] = field(repr=False)
    depths: Mapping[str, int] = field(repr=False)
    sizes: tuple[tuple[int, int], ...] = field(repr=False)
    unreadable: Mapping[str, str]
    contents: Mapping[str, Content] = field(repr=False, default_factory=dict)
    kept: Kept = field(repr=False, compare=False, default_factory=lambda: Kept(0))
    several: frozenset[str] = field(default=frozenset(), repr=False)
    dicom: bool = False

    @property
    def pixels(self) -> Mapping[str, str]:
        """Return source -> digest of the decoded picture: upright, 8-bit RGB, the same whatever file it lies in.

        That of a large JPEG, which is opened at a part of its size, is of what codes its pixels, whatever its notes.
        Pictures that cannot be decoded have none.
        """
        return {source: one.pixels for source, one in self.contents.items() if one.pixels is not None}

    @property
    def identities(self) -> Mapping[str, str]:
        """Return source -> what is equal for pictures of equal pixels: that of the pixels, else of the file's bytes."""
        return {**self.digests, **self.pixels}

    @property
    def median_short_side(self) -> int:
        """Return the median length of the pictures' shorter sides, in pixels; raises `DataError` without pictures."""
        if not self.sizes:
            raise DataError("no picture can be read, so their size is unknown")
        return int(np.median([min(size) for size in self.sizes]))


class _Look(NamedTuple):
    """One picture: `why` it cannot be read, or its digest and the rest."""

    digest: str = ""
    depth: int | None = None
    size: tuple[int, int] | None = None
    content: Content | None = None
    data: bytes | np.ndarray | None = None
    pixels: np.ndarray | None = None
    several: bool = False
    dicom: bool = False
    why: str | None = None


def survey(dataset: Dataset, *, threads: int, progress: Progress | None = None) -> Survey:
    """Read and decode every file once; one that cannot be read is named in `unreadable` and stops nothing.

    Photos that an earlier run knew by their content are not decoded here.
    """
    every = max(1, len(dataset) // _SIZES_SAMPLED)
    sampled = {item.source for item in dataset.items[::every]}
    digests, depths, unreadable, sizes = {}, {}, {}, []
    found: dict[str, Content] = {}
    several, dicom = set[str](), False
    kept = Kept.for_this_machine()
    looks = _looks(dataset, sampled, threads=threads, progress=progress)
    for item, one in zip(dataset.items, looks, strict=True):
        if one.why is not None:
            unreadable[item.source] = one.why
            continue
        digests[item.source] = one.digest
        if one.depth is not None:
            depths[item.source] = one.depth
        if one.size is not None:
            sizes.append(one.size)
        if one.content is not None:
            found[item.source] = one.content
        if one.several:
            several.add(item.source)
        dicom |= one.dicom
        kept.add(item.source, one.data, one.pixels)
    return Survey(
        digests=digests, depths=depths, unreadable=unreadable, sizes=tuple(sizes), contents=found, kept=kept,
        several=frozenset(several), dicom=dicom,
    )  # fmt: skip


def _looks(dataset: Dataset, sampled: Set[str], *, threads: int, progress: Progress | None) -> Iterator[_Look]:
    """Yield a look at each picture in order; small pictures, as the first one tells, are left to one thread.

    Photos that no earlier run knew are decoded by one process at a time: who waits for it knows them then.
    """
    known = contents.known(dataset)
    new: dict[str, Content] = {}

    def look(item: Item) -> _Look:
        one = _look(dataset, item, known, measure=item.source in sampled)
        if one.content is not None and min(one.content.size) >= contents.PHOTO and one.digest not in known:
            new[one.digest] = one.content
        return one

    def follow(done: int, _: int) -> None:
        if progress:
            progress(done + 1, len(dataset))

    first = [look(item) for item in dataset.items[:1]]
    side = min(first[0].content.size) if first and first[0].content is not None else contents.PHOTO
    with contents.alone(dataset) if new else nullcontext():
        known |= contents.known(dataset) if new else {}
        yield from first
        threads = 1 if side < TOO_SMALL_FOR_THREADS else threads
        yield from ordered(look, dataset.items[1:], threads=threads, progress=follow)
        if new:
            contents.keep(dataset, known | new)


def _look(dataset: Dataset, item: Item, known: Mapping[str, Content], *, measure: bool) -> _Look:
    try:
        data = dataset.read(item)
        digest = splits.digest(data)
        depth = None if isinstance(data, np.ndarray) else images.bits(data, name=item.source)
    except ResNetKitError as error:
        return _Look(why=reason(error, item))
    content, pixels = known.get(digest), None
    if content is None:
        content, pixels = contents.look(data, name=item.source)
    size = content.size if content is not None else None
    if size is None and not isinstance(data, np.ndarray):
        size = images.size(data)
    size = size if measure else None
    if isinstance(data, np.ndarray):
        return _Look(digest, depth, size, content, data)
    whole = pixels is not None and signatures.picture_format(data) != "JPEG"  # JPEGs may be asked for smaller
    several = dataset.page > 1 or images.has_several(data)
    dicom = signatures.is_dicom(data)
    return _Look(digest, depth, size, content, None if whole else data, pixels, several=several, dicom=dicom)


def reason(error: ResNetKitError, item: Item) -> str:
    """Return what is wrong with a picture without its name."""
    return str(error).removeprefix(f"{item.source}: ")
