"""Reading every file once: what the contents are, how large, how deep, and which cannot be read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from resnetkit.data import images, splits
from resnetkit.data.dataset import Dataset, Item
from resnetkit.errors import DataError, ResNetKitError

Progress = Callable[[int, int], None]

_SIZES_SAMPLED = 2_000
_CHUNK = 32  # files that a thread takes at once

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What reading every file once tells: content digests, bits of 16-bit pictures, sizes, unreadable files.

    `digests` and `depths` are by source; `unreadable` maps a source to the reason. `sizes` are the (width, height) of
    at most 2,000 pictures spread evenly over the data. `several`: files with several pages, of which the first is used.
    """

    digests: Mapping[str, str] = field(repr=False)
    depths: Mapping[str, int] = field(repr=False)
    sizes: tuple[tuple[int, int], ...] = field(repr=False)
    unreadable: Mapping[str, str]
    several: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def median_short_side(self) -> int:
        """Return the median length of the pictures' shorter sides, in pixels; raises `DataError` without pictures."""
        if not self.sizes:
            raise DataError("no picture can be read, so their size is unknown")
        return int(np.median([min(size) for size in self.sizes]))


def survey(dataset: Dataset, *, threads: int, progress: Progress | None = None) -> Survey:
    """Read every file once; a file that cannot be read is named in `unreadable` and stops nothing."""
    every = max(1, len(dataset) // _SIZES_SAMPLED)
    sampled = {item.source for item in dataset.items[::every]}

    several = set()

    def look(item: Item) -> tuple[str | None, int | None, tuple[int, int] | None, str | None]:
        try:
            data = dataset.read(item)
            size = _size(data) if item.source in sampled else None
            if isinstance(data, np.ndarray):
                return splits.digest(data), None, size, None
            if images.has_several(data):
                several.add(item.source)
            return splits.digest(data), images.bits(data, name=item.source), size, None
        except ResNetKitError as error:
            return None, None, None, reason(error, item)

    digests, depths, unreadable, sizes = {}, {}, {}, []
    for item, (digest, depth, size, why) in zip(
        dataset.items, ordered(look, dataset.items, threads=threads, progress=progress), strict=True
    ):
        if digest is None:
            unreadable[item.source] = why or ""
            continue
        digests[item.source] = digest
        if depth is not None:
            depths[item.source] = depth
        if size is not None:
            sizes.append(size)
    return Survey(digests=digests, depths=depths, unreadable=unreadable, sizes=tuple(sizes), several=frozenset(several))


def _size(data: bytes | np.ndarray) -> tuple[int, int] | None:
    """Return (width, height) from the header, None where it cannot be read."""
    if isinstance(data, np.ndarray):
        return data.shape[1], data.shape[0]
    return images.size(data)


def reason(error: ResNetKitError, item: Item) -> str:
    """Return what is wrong with a picture without its name."""
    return str(error).removeprefix(f"{item.source}: ")


def ordered(
    function: Callable[[_T], _R], items: Sequence[_T], *, threads: int, progress: Progress | None, chunk: int = _CHUNK
) -> Iterator[_R]:
    """Yield `function(item)` in order, computed by threads that are never far ahead of what has been taken.

    A thread takes `chunk` items at once; the results of at most `4 * threads + 1` chunks are waiting.
    """
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    waiting: deque[Future[list[_R]]] = deque()
    done = 0
    pool = ThreadPoolExecutor(threads)
    try:
        for taken in chunks:
            waiting.append(pool.submit(lambda part: [function(item) for item in part], taken))
            while waiting and (len(waiting) > 4 * threads or taken is chunks[-1]):
                results = waiting.popleft().result()
                yield from results
                done += len(results)
                if progress:
                    progress(done, len(items))
    finally:
        # Not waited for: what was left half read may be collected in one of these very threads.
        pool.shutdown(wait=False, cancel_futures=True)
