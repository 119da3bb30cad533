"""Videos, frame by frame, with the time that each is shown at: files, and the one door to all that moves."""

from __future__ import annotations

import os
import re
from collections.abc import Generator

from resnetkit.data.opening.failures import one_line
from resnetkit.data.opening.video_decoding import Decoding, frame_of
from resnetkit.data.opening.video_folder import RATE, FrameFolder
from resnetkit.data.opening.video_frames import ALL, About, Frame, Moving, Say, Thinned, library, nobody
from resnetkit.data.opening.video_live import CAMERA, PATIENCE, Live
from resnetkit.errors import UsageError

__all__ = [
    "ALL", "About", "Frame", "FrameFolder", "Live", "Moving", "Say", "Thinned", "Video", "at", "is_stream",
    "is_video", "library", "open_video", "parted",
]  # fmt: skip

# fmt: off
VIDEO_SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp",
    ".ogv", ".y4m", ".mjpeg", ".mjpg",
))
# fmt: on
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?")


def is_video(source: str) -> bool:
    """Tell by its name whether a source is a video file, a stream or a camera."""
    return os.path.splitext(source)[1].lower() in VIDEO_SUFFIXES or is_stream(source)


def is_stream(source: str) -> bool:
    """Tell whether a source is a stream (rtsp://, http:// ...) or a camera (camera:0), which has no end."""
    return source.startswith(("rtsp://", "rtsps://", "rtmp://", "udp://", "http://", "https://", CAMERA))


def at(video: str, time: float) -> str:
    """Return what a frame of a video is called, as `drive.mp4#12.480`: the first at or after that time, in seconds."""
    return f"{video}#{time:.3f}"


def parted(source: str) -> tuple[str, float] | None:
    """Return the video and the time of a source that `at` called so, None for another.

    >>> parted("a/drive.mp4#12.480"), parted("scan.dcm#12")
    (('a/drive.mp4', 12.48), None)
    """
    video, _, time = source.rpartition("#")
    return (video, float(time)) if _SECONDS.fullmatch(time) and is_video(video) else None


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
                    yield frame_of(decoding, number, shown.time, shown)

    def _open(self) -> Decoding:
        return Decoding(self._source, shown=one_line(self._source), say=self._say)

    def _from_the_first(self) -> Decoding:
        assert self._decoding is not None
        if not self._fresh:
            self._decoding.close()
            self._decoding = self._open()
        self._fresh = False
        return self._decoding


def open_video(
    source: str, *, rate: float | None = None, say: Say = nobody, patience: float = PATIENCE
) -> Video | Live | FrameFolder:
    """Open whatever shows one frame after the other: a video file, a stream, a camera, a folder of frames.

    `rate`: frames a second of a folder, which does not say it. `say` is told, a line each, what a person should know:
    streams that stall, files that are cut off. `patience`: seconds without a frame until a stream is given up. Raises
    as `Video`, `Live` and `FrameFolder` do, and `UsageError` for a rate of what has its own.
    """
    if os.path.isdir(source):
        return FrameFolder(source, rate=RATE if rate is None else rate)
    if rate is not None:
        raise UsageError(f"{one_line(source)}: has time stamps of its own; a rate is for folders of frames")
    return Live(source, say=say, patience=patience) if is_stream(source) else Video(source, say=say)
