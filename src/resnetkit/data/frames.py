"""Files of several pages or frames of which one is a picture, or each of them, or every n-th."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from resnetkit.data.dataset import Dataset, Item, Reader
from resnetkit.data.opening import images
from resnetkit.errors import DataError, ResNetKitError, UsageError

ONE, ALL = "one", "all"
_MOST = 100_000  # frames of a file: a header that claims more is broken


def normal(text: str) -> str:
    """Return `one`, `all` or `every 5` as it is stored; raises `UsageError` for anything else.

    >>> normal("every 1"), normal("Every  5")
    ('all', 'every 5')
    """
    words = str(text).casefold().split()
    if words in ([ONE], [ALL]):
        return words[0]
    if len(words) == 2 and words[0] == "every" and words[1].isdecimal() and int(words[1]) > 0:
        return ALL if int(words[1]) == 1 else f"every {int(words[1])}"
    raise UsageError(f"preprocess.frames={text}: choose one, all or 'every 5'")


def of_files(dataset: Dataset, *, page: int, frames: str) -> Dataset:
    """Return the pictures of a data set's files: the `page` of each, or its `frames`, as `normal` says them.

    The frames of a file are pictures named `file.dcm#12`, counted from 1; they are a group where the file is in none,
    so that no division parts them. Files are read to count them; what cannot be read is left as it is, and so are the
    second pictures of phones (MPO). Raises `UsageError` where objects are marked.
    """
    if frames == dataset.frames:
        return dataset.on_page(page)
    assert dataset.frames == ONE, "frames of frames"
    if dataset.objects != "none":
        raise UsageError("preprocess.frames: objects are marked on one picture of a file: leave it out")
    step = 1 if frames == ALL else int(frames.split()[1])
    items, origins, files, there = list[Item](), dict(dataset.origins), 0, 0
    for item in dataset.items:
        reader, key = dataset.origins[item.source]
        count = _count(reader, key)
        if count == 1:
            items.append(item)
            continue
        of_file, files, there = _Frames(reader, key, item.source, count), files + 1, there + count
        for number in range(1, count + 1, step) if count <= _MOST else (1,):
            source = f"{item.source}#{number}"
            items.append(replace(item, source=source, group=item.group or item.source))
            origins[source] = of_file, str(number)
    kept = len(items) - len(dataset.items) + files
    hold = "1 file holds" if files == 1 else f"{files:,} files hold"
    note = f"{hold} {there:,} frames, of which {kept:,} are pictures ({frames}); those of one file stay together"
    return replace(
        dataset, items=tuple(items), origins=origins, frames=frames, notes=(*dataset.notes, *[note] * bool(files))
    )


def _count(reader: Reader, key: str) -> int:
    """Return how many frames a file has, 1 where that cannot be told: whoever opens it says so."""
    try:
        data = reader.read(key)
        return 1 if isinstance(data, np.ndarray) else images.count(data)
    except (OSError, ResNetKitError):
        return 1


class _Frames:
    """Reads the frames of a file by their numbers."""

    def __init__(self, reader: Reader, key: str, source: str, count: int) -> None:
        self._reader, self._key, self._source, self._count = reader, key, source, count

    def read(self, key: str) -> bytes:
        """Return a file of one frame; raises `OSError` or `DataError`."""
        if self._count > _MOST:
            raise DataError(f"{self._source}: claims {self._count:,} frames, and no file has so many; leave it out")
        data = _kept(self._reader, self._key)  # type: ignore[arg-type] # objects are their own keys
        assert isinstance(data, bytes), "arrays have no frames"
        return images.alone(data, name=f"{self._source}#{key}", number=int(key))


@lru_cache(maxsize=2)
def _kept(reader: Reader, key: str) -> bytes | np.ndarray:
    """Return a file's bytes, which wait for its next frame."""
    return reader.read(key)
