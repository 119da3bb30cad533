"""Videos, frame by frame, with the time that each is shown at; files are read by PyAV."""

from __future__ import annotations

import os
from collections.abc import Generator

from resnetkit.data.opening.failures import one_line
from resnetkit.data.opening.video_decoding import Decoding, Shown
from resnetkit.data.opening.video_frames import ALL, About, Frame, Moving, Say, Thinned, library, nobody
from resnetkit.errors import DataError

__all__ = ["ALL", "About", "Frame", "Moving", "Say", "Thinned", "Video", "is_stream", "is_video", "library"]

# fmt: off
VIDEO_SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp",
    ".ogv", ".y4m", ".mjpeg", ".mjpg",
))
# fmt: on


def is_video(source: str) -> bool:
    """Tell by its name whether a source is a video file, a stream or a camera."""
    return os.path.splitext(source)[1].lower() in VIDEO_SUFFIXES or is_stream(source)


def is_stream(source: str) -> bool:
    """Tell whether a source is a stream (rtsp://, http:// ...) or a camera (camera:0), which has no end."""
    return source.startswith(("rtsp://", "rtsps://", "rtmp://", "udp://", "http://", "https://", "camera:"))


class Video:
    """An open video file: `about`, and its `frames` from the first. A context manager; from one thread at a time.

    `say` is told where it ends before its header says so, or breaks off. Raises `DataError` for what is no video or
    holds no pictures, `UsageError` for a path that is not there and where PyAV is not installed.
    """

    def __init__(self, source: str, *, say: Say = nobody) -> None:
        self._source, self._say = source, say
        self._decoding: Decoding | None = self._open()
        self._fresh = True
        self.about: About = self._decoding.about

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *error: object) -> None:
        if self._decoding is not None:
            self._decoding.close()

    def frames(self, thinned: Thinned = ALL, *, after: int = -1) -> Generator[Frame]:
        """Yield the frames that are looked at, from that behind number `after` on: those that a full reading gives.

        A frame that is broken has an `error`, and the rest go on. Each call begins with the first frame. Raises
        `DataError` where the rest of a file holds nothing that can be decoded.
        """
        decoding = self._from_the_first()
        last: float | None = None
        for number, shown in enumerate(decoding.shows()):
            if thinned.takes(number, shown.time, last):
                last = shown.time
                if number > after:
                    yield frame_of(decoding, number, shown)

    def _open(self) -> Decoding:
        return Decoding(self._source, shown=one_line(self._source), say=self._say)

    def _from_the_first(self) -> Decoding:
        assert self._decoding is not None
        if not self._fresh:
            self._decoding.close()
            self._decoding = self._open()
        self._fresh = False
        return self._decoding


def frame_of(decoding: Decoding, number: int, shown: Shown) -> Frame:
    """Return a frame that was shown, with its picture, or why it has none."""
    if shown.error is not None:
        return Frame(number, shown.time, None, shown.error)
    try:
        return Frame(number, shown.time, decoding.picture(shown.frame))
    except DataError as error:
        return Frame(number, shown.time, None, str(error))
