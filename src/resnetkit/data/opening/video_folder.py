"""A folder of pictures as a video: its frames in natural order, so many a second."""

from __future__ import annotations

import os
from collections.abc import Generator

from PIL import Image

from resnetkit.data.classes import natural_key
from resnetkit.data.opening import images
from resnetkit.data.opening.failures import one_line
from resnetkit.data.opening.video_frames import ALL, About, Frame, Thinned
from resnetkit.errors import DataError, ResNetKitError, UsageError
from resnetkit.files import open_file

RATE = 25.0


class FrameFolder:
    """A folder of frames, as `Video` is a file of them: the time of frame n is n / `rate` seconds.

    Its pictures are those that lie in it, not below, in natural order (2 before 10); all come in the size of the first
    that can be read. Raises `DataError` where none can, `UsageError` for a rate that is none.
    """

    def __init__(self, source: str, *, rate: float = RATE) -> None:
        if not 0 < rate < float("inf"):
            raise UsageError(f"--rate {rate}: must be a number of frames a second above 0")
        self._rate = rate
        self._paths = _pictures_in(source)
        if not self._paths:
            raise DataError(f"{one_line(source)}: holds no pictures; a folder of frames has them in it, not below")
        width, height = self._first_size(source)
        self.about = About(
            source=one_line(source), width=width, height=height, rate=rate, seconds=len(self._paths) / rate,
            frames=len(self._paths), sound=False,
        )  # fmt: skip

    def __enter__(self) -> FrameFolder:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def frames(self, thinned: Thinned = ALL, *, after: int = -1) -> Generator[Frame]:
        """Yield the frames that are looked at, from that behind number `after` on; a broken one has an `error`."""
        last: float | None = None
        for number, path in enumerate(self._paths):
            time = number / self._rate
            if not thinned.takes(number, time, last):
                continue
            last = time
            if number > after:
                yield self._frame(number, time, path)

    def _frame(self, number: int, time: float, path: str) -> Frame:
        try:
            image = _read(path)
        except DataError as error:
            return Frame(number, time, None, str(error))
        size = self.about.width, self.about.height
        return Frame(number, time, image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))

    def _first_size(self, source: str) -> tuple[int, int]:
        first: ResNetKitError | None = None
        for path in self._paths:
            try:
                return _read(path).size
            except DataError as error:
                first = first or error
        raise DataError(f"{one_line(source)}: none of its {len(self._paths):,} pictures can be read, as {first}")


def _pictures_in(source: str) -> list[str]:
    try:
        names = [entry.name for entry in os.scandir(source) if not entry.name.startswith(".")]
    except OSError as error:
        raise UsageError(f"{one_line(source)}: {error.strerror}") from error
    known = [name for name in names if os.path.splitext(name)[1].lower() in images.IMAGE_SUFFIXES]
    paths = [os.path.join(source, name) for name in sorted(known, key=natural_key)]
    return [path for path in paths if not os.path.isdir(path)]


def _read(path: str) -> Image.Image:
    shown = one_line(path)
    try:
        with open_file(path) as file:
            data = file.read()
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror})") from error
    opened = images.decode(data, name=path)
    try:
        return images.convert(opened, mode="RGB", depth=None)
    except DataError as error:
        raise DataError(f"{shown}: {error}") from error
