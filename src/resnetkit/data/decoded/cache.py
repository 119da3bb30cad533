"""Decoded pictures in memory or mapped from files, so that no epoch decodes a picture again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from resnetkit import runtime

MOST_KEPT = 2_000_000_000  # bytes of pictures that were read and not yet made into pixels
_CHUNK = 64 << 20  # bytes: a chunk is never copied, and at most one is partly empty


class Mapped:
    """Pictures that lie in mapped files: picture i is `shapes[i]` pixels at byte `offsets[i]` of `files[file_of[i]]`.

    Pages are read when they are asked for and given up when memory runs short, so the process itself needs none.
    Pictures are `[h, w, channels]` uint8. `shapes` is `[N, 2]`: height and width.
    """

    def __init__(
        self, files: Sequence[np.ndarray], *, file_of: np.ndarray, offsets: np.ndarray, shapes: np.ndarray,
        channels: int,
    ) -> None:  # fmt: skip
        self._files, self._file_of, self._offsets, self._shapes = files, file_of, offsets, shapes
        self._channels = channels
        self.uniform = len(np.unique(shapes, axis=0)) == 1
        self.nbytes = int(shapes.prod(axis=1, dtype=np.int64).sum()) * channels

    def __len__(self) -> int:
        return len(self._file_of)

    def only(self, rows: np.ndarray) -> Mapped:
        """Return the pictures at `rows` alone, in that order."""
        return Mapped(
            self._files, file_of=self._file_of[rows], offsets=self._offsets[rows], shapes=self._shapes[rows],
            channels=self._channels,
        )  # fmt: skip

    def __getitem__(self, index: int) -> np.ndarray:
        height, width = self._shapes[index].tolist()
        start, count = int(self._offsets[index]), height * width * self._channels
        return self._files[self._file_of[index]][start : start + count].reshape(height, width, self._channels)


class Pixels:
    """Decoded pictures: one array `[N, H, W, C]` uint8 where all have one shape, else pieces of larger buffers.

    Those of files (`Mapped`) behave the same and have the same bits.

    >>> pixels = Pixels.collect([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], count=2)
    >>> len(pixels), pixels.uniform, pixels.take(np.array([1]))[0].shape
    (2, False, (4, 6, 3))
    """

    def __init__(self, pictures: np.ndarray | list[np.ndarray] | Mapped) -> None:
        self._pictures = pictures
        self._rows: np.ndarray | None = None
        self.mapped = isinstance(pictures, Mapped)
        self.uniform = pictures.uniform if isinstance(pictures, Mapped) else isinstance(pictures, np.ndarray)
        self.nbytes = (
            sum(picture.nbytes for picture in pictures) if isinstance(pictures, list) else int(pictures.nbytes)
        )

    @classmethod
    def collect(cls, pictures: Iterable[np.ndarray], *, count: int) -> Pixels:
        """Take at most `count` pictures `[h, w, C]` uint8 as they come; what is held never exists twice.

        The first shape is taken for the shape of all until another comes; pages of memory that were reserved for
        that and not written to cost nothing.
        """
        array: np.ndarray | None = None
        pieces: list[np.ndarray] | None = None
        chunk = np.empty(0, np.uint8)
        number = 0
        for picture in pictures:
            assert picture.dtype == np.uint8
            assert picture.ndim == 3
            assert number < count
            if array is None:
                array = np.empty((count, *picture.shape), np.uint8)
            if pieces is None and picture.shape == array.shape[1:]:
                array[number] = picture
            else:
                if pieces is None:
                    pieces = list(array[:number])
                if picture.nbytes > chunk.nbytes:
                    chunk = np.empty(max(_CHUNK, picture.nbytes), np.uint8)
                piece, chunk = chunk[: picture.nbytes].reshape(picture.shape), chunk[picture.nbytes :]
                piece[...] = picture
                pieces.append(piece)
            number += 1
        if pieces is not None:
            return cls(pieces)
        return cls(array[:number] if array is not None else np.empty((0, 0, 0, 3), np.uint8))

    def __len__(self) -> int:
        return len(self._pictures if self._rows is None else self._rows)

    def only(self, rows: np.ndarray) -> Pixels:
        """Return the pictures at `rows` alone, in that order; as good as none is copied.

        >>> Pixels(np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)).only(np.array([2, 0])).take(np.array([1])).item()
        0
        """
        if self._rows is not None:
            rows = self._rows[rows]
        if isinstance(self._pictures, np.ndarray):
            chosen = Pixels(self._pictures)
            chosen._rows = rows
            return chosen
        if isinstance(self._pictures, Mapped):
            return Pixels(self._pictures.only(rows))
        pieces = [self._pictures[row] for row in rows]
        return Pixels(np.stack(pieces) if len({piece.shape for piece in pieces}) == 1 else pieces)

    def take(self, indices: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """Return the pictures at `indices`: `[n, H, W, C]` uint8 (a copy) where uniform, else a list of `[h, w, C]`."""
        if self._rows is not None:
            indices = self._rows[indices]
        if isinstance(self._pictures, np.ndarray):
            return self._pictures[indices]
        chosen = [self._pictures[index] for index in indices]
        if self.uniform and chosen:
            return np.stack(chosen)
        return [picture if picture.flags.writeable else picture.copy() for picture in chosen]  # torch writes, or warns


class Kept:
    """Pictures that have been read and wait to be made into pixels, so that no file is read again.

    Of each the file's bytes, its pixels decoded whole, or both (JPEGs, which training may open smaller). What comes
    when `most` bytes are held is not kept. Threads may `take` at once.
    """

    def __init__(self, most: int) -> None:
        self.most, self._held = most, 0
        self._pictures: dict[str, tuple[bytes | np.ndarray | None, np.ndarray | None]] = {}

    @classmethod
    def for_this_machine(cls) -> Kept:
        """Return one for 2 GB, or for a quarter of the memory that is free where that is less."""
        free = runtime.available_memory()
        return cls(MOST_KEPT if free is None else min(MOST_KEPT, free // 4))

    def add(self, source: str, data: bytes | np.ndarray | None, pixels: np.ndarray | None) -> None:
        """Keep a picture, where there is room; arrays that a reader gave lie in memory anyway."""
        needed = (len(data) if isinstance(data, bytes) else 0) + (0 if pixels is None else pixels.nbytes)
        if self._held + needed <= self.most:
            self._held += needed
            self._pictures[source] = data, pixels

    def look(self, source: str, *, at_least: int | None = None) -> bytes | np.ndarray | None:
        """Return the file's bytes, or the whole pixels where decoding with `at_least` would give these; else None."""
        data, pixels = self._pictures.get(source, (None, None))
        if pixels is None or (data is not None and at_least and min(pixels.shape[:2]) >= 2 * at_least):
            return data
        return pixels

    def take(self, source: str, *, at_least: int | None = None) -> bytes | np.ndarray | None:
        """Return what `look` does, and keep it no longer."""
        found = self.look(source, at_least=at_least)
        self._pictures.pop(source, None)
        return found

    def clear(self) -> None:
        """Keep nothing any longer."""
        self._pictures.clear()
