"""Decoded pictures in memory or mapped from files, so that no epoch decodes a picture again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

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
        return len(self._pictures)

    def take(self, indices: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """Return the pictures at `indices`: `[n, H, W, C]` uint8 (a copy) where uniform, else a list of `[h, w, C]`."""
        if isinstance(self._pictures, np.ndarray):
            return self._pictures[indices]
        chosen = [self._pictures[index] for index in indices]
        if self.uniform and chosen:
            return np.stack(chosen)
        return [picture if picture.flags.writeable else picture.copy() for picture in chosen]  # torch writes, or warns
