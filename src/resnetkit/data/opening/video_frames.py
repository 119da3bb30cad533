"""What videos give: frames with their times, which of them are looked at, and what a video says of itself."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Protocol, Self

from PIL import Image

from resnetkit.errors import UsageError, missing_extra

_BACK = 0.25  # seconds, or three frames: a clock that goes further back has begun anew
Say = Callable[[str], None]  # is told what a person should know of a video while it is read, a line each


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video: `image`, RGB and upright, or `error`, why there is none.

    `number` counts all frames in the order in which they are shown, from 0. `time`: the seconds from the first of them,
    by the stream's own time stamps.
    """

    number: int
    time: float
    image: Image.Image | None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Thinned:
    """Which frames are looked at: every n-th, or so many `a_second`, the first one always."""

    every: int = 1
    a_second: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"--every {self.every}: must be at least 1")
        if self.a_second is not None and not 0 < self.a_second < float("inf"):
            raise UsageError(f"{self.a_second} frames a second: must be a number above 0")

    def takes(self, number: int, time: float, last: float | None) -> bool:
        """Tell whether a frame is looked at; `last` is the time of the one before that was, None before the first."""
        if self.a_second is None:
            return number % self.every == 0
        # The ticks are those of the clock, not of the frame before: an uneven rate does not add up.
        return last is None or int(time * self.a_second + 1e-6) > int(last * self.a_second + 1e-6)


ALL = Thinned()


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What a video says of itself: width and height of its upright frames, frames a second, seconds, how many frames.

    None where it does not say. All its frames have that width and height. `live`: whether it is a stream or a camera,
    which has no end. `source` is told without the password of an address.
    """

    source: str
    width: int
    height: int
    rate: float | None
    seconds: float | None
    frames: int | None
    sound: bool
    live: bool = False


class Clock:
    """Seconds from the first frame, by time stamps: they never go back. `steady`: whether no stamp was amiss yet.

    A frame without a stamp, or with one behind `most`, is `interval` later than the frame before, one with an earlier
    stamp as late as that. Stamps that go further back are of a clock that began anew: it goes on from there.
    """

    def __init__(self, interval: float, *, most: float | None = None, start: float = 0.0) -> None:
        self._interval, self._most, self._next = interval, most, start
        self._offset: float | None = None
        self.last: float | None = None
        self.steady = True

    def stamp_of(self, time: float) -> float | None:
        """Return the stamp of a time, None where there was none yet."""
        return None if self._offset is None else time - self._offset

    def skipped_to(self, time: float) -> None:
        """Note that the frames before a time are left out: those that come have their stamps alone."""
        self.last, self._next = None, time

    def at(self, stamp: float | None) -> float:
        """Return the time of the next frame."""
        time = self._told(stamp)
        self.last = time
        self._next = time + self._interval
        return time

    def _told(self, stamp: float | None) -> float:
        if stamp is None:
            self.steady = False
            return self._next
        if self._offset is None:
            self._offset = self._next - stamp
        time = stamp + self._offset
        if self._most is not None and time > self._most:
            self.steady = False
            return self._next
        if self.last is None:
            return time
        if time < self.last - max(_BACK, 3 * self._interval):
            self._offset, self.steady = self._next - stamp, False
            return self._next
        return max(time, self.last)


class Moving(Protocol):
    """An open video of any kind: a file, a stream or a camera, a folder of frames."""

    about: About

    def frames(self, thinned: Thinned = ALL, *, after: int = -1) -> Generator[Frame]:
        """Yield the frames that are looked at, from that behind number `after` on; see `Video.frames`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def nobody(_: str) -> None:
    """Stand where nobody is told."""


def library() -> ModuleType:
    """Return PyAV; raises `UsageError` naming the extra where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise missing_extra("videos", "video") from error
    return av
