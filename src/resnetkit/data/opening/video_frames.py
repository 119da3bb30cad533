"""What videos give: frames with their times, which of them are looked at, and what a video says of itself."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Protocol, Self

from PIL import Image

from resnetkit.errors import UsageError, missing_extra

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
