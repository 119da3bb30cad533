"""Frames of videos as pictures: which are taken, one a second, and reading them by names such as `drive.mp4#12.480`."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator

import numpy as np

from resnetkit.data.opening.failures import one_line
from resnetkit.data.opening.video import at, parted
from resnetkit.data.opening.video_decoding import Decoding, Shown
from resnetkit.errors import DataError, UsageError
from resnetkit.words import counted

_MOST_OPEN = 8  # videos that wait for their next frame
_FAR = 5.0  # seconds: nearer frames are reached by going on
_ROUNDED = 0.0006  # seconds: times of frames are told to a thousandth
_LONGER = 1.0  # seconds that the last frame goes on being shown: the sound may be longer


def times(start: float, end: float) -> list[float]:
    """Return at which times between two frames are taken: at half seconds, where there is none in the middle.

    >>> times(0, 2), times(1.6, 2.4)
    ([0.5, 1.5], [2.0])
    """
    found: list[float] = (np.arange(math.ceil(start - 0.5) + 0.5, end)).tolist()
    return found or [round((start + end) / 2, 3)]


def said_seconds(path: str) -> float | None:
    """Return how long a video says it is, None where it does not; raises as `Decoding` does."""
    with Decoding(path, shown=one_line(path)) as decoding:
        return decoding.about.seconds


def seconds(path: str) -> float:
    """Return how long a video is: one that does not say it is read to its end. Raises as `Decoding` does."""
    if (said := said_seconds(path)) is not None:
        return said
    with Decoding(path, shown=one_line(path)) as decoding:
        last = max((shown.time for shown in decoding.shows()), default=0.0)
        return last + 1 / (decoding.about.rate or 25)


def words(frames: int) -> str:
    """Say how many frames were taken."""
    return f"{counted(frames, 'frame')}, one a second"


class VideoFrames:
    """Reads frames by names such as `drive.mp4#12.480`: the first that is shown at that time or later.

    Videos stay open and are read forwards: frames in order cost one reading, whatever thread asks for which.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: deque[_Forwards] = deque()

    def read(self, key: str) -> np.ndarray:
        """Return `[H, W, 3]` uint8, upright.

        Raises `DataError` for a broken frame, a time behind the last, and a video that is not there.
        """
        found = parted(key)
        assert found is not None, f"{key} is no frame of a video"
        path, time = found
        try:
            video = self._nearest(path, time) or _Forwards(path)
        except UsageError as error:  # it was taken away
            raise DataError(str(error)) from error
        try:
            pixels = video.at(time)
        except BaseException:
            video.close()
            raise
        with self._lock:
            self._idle.append(video)
            gone = self._idle.popleft() if len(self._idle) > _MOST_OPEN else None
        if gone is not None:
            gone.close()
        return pixels

    def __getstate__(self) -> dict[str, object]:
        return {}  # another process opens them itself

    def __setstate__(self, state: dict[str, object]) -> None:
        VideoFrames.__init__(self)

    def _nearest(self, path: str, time: float) -> _Forwards | None:
        """Return the open video, which nobody reads now, that is nearest before a time."""
        with self._lock:
            before = [one for one in self._idle if one.path == path and one.reaches(time)]
            if not before:
                return None
            nearest = max(before, key=lambda one: one.passed)
            self._idle.remove(nearest)
            return nearest


class _Forwards:
    """A video that is read from its beginning on; `passed` is the time of the frame before the last one shown."""

    def __init__(self, path: str) -> None:
        self.path, self.passed = path, -1.0
        self._last: Shown | None = None
        self._open()

    def close(self) -> None:
        """Close it."""
        self._decoding.close()

    def reaches(self, time: float) -> bool:
        """Tell whether a frame lies ahead."""
        return time - _ROUNDED > self.passed

    def at(self, time: float) -> np.ndarray:
        """Return the first frame at or after a time that lies ahead."""
        last = None if self._last is None else self._last.time
        if time - (last or 0.0) > _FAR and not self._skip(time):
            self.close()
            self._open()
        while self._last is None or self._last.time < time - _ROUNDED:
            shown = next(self._shows, None)
            if shown is None:
                break
            self.passed, self._last = self._time, shown
        if self._last is None or self._last.time < time - _LONGER:
            raise DataError(f"{at(one_line(self.path), time)}: the video ends before, at {self._time:.2f} s")
        if self._last.error is not None:
            raise DataError(f"{at(one_line(self.path), time)}: is {self._last.error}")
        try:
            return np.asarray(self._decoding.picture(self._last.frame))
        except DataError as error:
            raise DataError(f"{at(one_line(self.path), time)}: {error}") from error

    @property
    def _time(self) -> float:
        return -1.0 if self._last is None else self._last.time

    def _open(self) -> None:
        self._decoding = Decoding(self.path, shown=one_line(self.path))
        self._shows: Iterator[Shown] = self._decoding.shows()
        self.passed, self._last = -1.0, None

    def _skip(self, time: float) -> bool:
        """Go near a time without reading what lies before; tell whether the frames from there on are sure to come."""
        if self._last is None:  # the clock begins with the first frame
            self._last = next(self._shows, None)
        if not self._decoding.skip_to(time):
            return True  # going on reaches it as well
        self._shows = self._decoding.shows()
        self._last = next(self._shows, None)
        self.passed = self._time
        return self._last is not None and self._last.error is None and self._last.time <= time + _ROUNDED
