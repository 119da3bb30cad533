"""Videos, frame by frame, with the time that each is shown at; read by PyAV."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from PIL import Image

from resnetkit.errors import DataError, UsageError, missing_extra

# fmt: off
VIDEO_SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp",
    ".ogv", ".y4m", ".mjpeg", ".mjpg",
))
# fmt: on


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
            raise UsageError(f"--per-second {self.a_second}: must be a number above 0")

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

    None where it does not say. `live`: whether it is a stream or a camera, which has no end.
    """

    source: str
    width: int
    height: int
    rate: float | None
    seconds: float | None
    frames: int | None
    sound: bool
    live: bool = False


def is_video(source: str) -> bool:
    """Tell by its name whether a source is a video file, a stream or a camera."""
    return os.path.splitext(source)[1].lower() in VIDEO_SUFFIXES or is_stream(source)


def is_stream(source: str) -> bool:
    """Tell whether a source is a stream (rtsp://, http:// ...) or a camera (camera:0), which has no end."""
    return source.startswith(("rtsp://", "rtsps://", "rtmp://", "udp://", "http://", "https://", "camera:"))


class Video:
    """An open video: `about`, and its `frames` from the first. A context manager; from one thread at a time.

    Raises `DataError` for what is no video or holds no pictures, `UsageError` where PyAV is not installed.
    """

    def __init__(self, source: str) -> None:
        av = library()
        try:
            self._container: Any = av.open(source)
        except (OSError, ValueError, av.FFmpegError) as error:
            raise DataError(f"{source}: cannot be read as a video ({error})") from error
        if not self._container.streams.video:
            raise DataError(f"{source}: holds no pictures")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        context = self._stream.codec_context
        self.about = About(
            source=source, width=context.width, height=context.height,
            rate=float(self._stream.average_rate or 0) or None,
            seconds=None if self._container.duration is None else self._container.duration / av.time_base,
            frames=self._stream.frames or None, sound=bool(self._container.streams.audio), live=is_stream(source),
        )  # fmt: skip

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def frames(self, thinned: Thinned = ALL, *, after: int = -1) -> Generator[Frame]:
        """Yield the frames that are looked at, from that behind number `after` on.

        A frame that is broken has an `error`, and the rest go on.
        """
        begin: float | None = None
        last: float | None = None
        for number, frame in enumerate(self._container.decode(self._stream)):
            begin = frame.time if begin is None else begin
            time = frame.time - begin
            if not thinned.takes(number, time, last):
                continue
            last = time
            if number > after:
                yield Frame(number, time, frame.to_image())


def library() -> ModuleType:
    """Return PyAV; raises `UsageError` naming the extra where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise missing_extra("videos", "video") from error
    return av
