"""Lists that say what videos show from when to when: `video,start,end,label`; a frame a second is a picture."""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Generator, Iterable
from dataclasses import replace

import numpy as np

from resnetkit.data.opening.video import Frame, Video
from resnetkit.data.sources.tables import Cells, Table, check_columns, read_table
from resnetkit.errors import DataError, UsageError
from resnetkit.words import counted

EVERY = 1.0  # seconds
_NEEDED = ("video", "start", "end")
_LATE = 0.5  # seconds by which an interval may end behind its video: people round up
_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_PASSED = 64  # frames that wait for threads which are behind


def read(path: str, *, needed: tuple[str, ...], expected: tuple[str, ...] = ()) -> Table:
    """Read a list of pictures, or one of intervals of videos as the list of their frames; see `tables.read_table`.

    Frames are taken at half seconds, one a second, of a shorter interval the middle one; `image_path` is the video with
    `#` and the seconds. Their `group` is the video where the list names none. Raises `DataError` for a video that
    cannot be read and for times that are none or not in it.
    """
    table = read_table(path, needed=())
    if "video" not in table.columns or "image_path" in table.columns:
        check_columns(path, table.columns, needed, expected=expected)
        return table
    check_columns(path, table.columns, _NEEDED, expected=(*_NEEDED, "label"))
    seconds: dict[str, float | None] = {}
    rows = [(line, frame) for line, row in table.rows for frame in _frames(table, line, row, seconds)]
    kept = tuple(name for name in table.columns if name not in _NEEDED and name != "group")
    return replace(table, columns=("image_path", *kept, "group"), rows=rows, moments=True)


def words(table: Table) -> str:
    """Say how many frames a list of intervals gave, of how many videos."""
    videos = {row["image_path"].rpartition("#")[0] for _, row in table.rows}
    intervals = {line for line, _ in table.rows}
    return (
        f"{counted(len(videos), 'video')}, {counted(len(intervals), 'interval')}: "
        f"{counted(len(table.rows), 'frame')}, one a second"
    )


def _frames(table: Table, line: int, row: Cells, known: dict[str, float | None]) -> list[Cells]:
    """Return the rows of an interval's frames; `known` are the seconds of videos that were opened."""
    if not row["video"]:
        raise table.wrong(line, "video is empty")
    start, end = (_seconds(table, line, row, name) for name in ("start", "end"))
    if end <= start:
        raise table.wrong(line, f"ends at {row['end']}, which is no later than it starts")
    path = os.path.join(os.path.dirname(table.path), row["video"])
    if path not in known:
        try:
            with Video(path) as video:
                known[path] = video.about.seconds
        except (DataError, UsageError, OSError) as error:
            raise table.wrong(line, str(error)) from error
    seconds = known[path]
    if seconds is not None and end > seconds + _LATE:
        raise table.wrong(line, f"ends at {end:.3f} s, and {row['video']} at {seconds:.3f} s")
    times = np.arange(math.ceil(start / EVERY - 0.5) + 0.5, end / EVERY) * EVERY
    others = {name: cell for name, cell in row.items() if name not in _NEEDED}
    others["group"] = others.get("group") or row["video"]
    found = times.tolist() or [(start + end) / 2]
    return [{"image_path": f"{row['video']}#{time:.3f}", **others} for time in found]


def _seconds(table: Table, line: int, row: Cells, name: str) -> float:
    matched = _TIME.fullmatch(row[name])
    if matched is None:
        raise table.wrong(line, f"{name} is {row[name]!r}: write seconds (12.5) or H:MM:SS")
    hours, minutes, seconds = (float(part or 0) for part in matched.groups())
    return 3600 * hours + 60 * minutes + seconds


class FramesAt:
    """Reads frames of videos by `path#seconds`: the first that is shown at that time or later.

    `keys` are those that will be asked for. Each video is read forwards once where these are asked for in their order;
    several threads may be some frames apart.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        wanted: dict[str, set[str]] = {}
        for key in keys:
            path, _, time = key.rpartition("#")
            wanted.setdefault(path, set()).add(time)
        self._videos = {path: _Forwards(path, times) for path, times in wanted.items()}

    def read(self, key: str) -> np.ndarray:
        """Return `[H, W, 3]` uint8; raises `DataError` where there is no such frame."""
        path, _, time = key.rpartition("#")
        return self._videos[path].read(time)

    def __getstate__(self) -> dict[str, list[str]]:
        return {"keys": [f"{path}#{time}" for path, video in self._videos.items() for time in video.times]}

    def __setstate__(self, state: dict[str, list[str]]) -> None:
        FramesAt.__init__(self, state["keys"])


class _Forwards:
    """One video, read from its beginning to its end, as often as somebody goes back."""

    def __init__(self, path: str, times: set[str]) -> None:
        self.times = sorted(times, key=float)
        self._path, self._lock = path, threading.Lock()
        self._frames: Generator[Frame] | None = None
        self._video: Video | None = None
        self._next = 0  # the number of the first of `times` that was not passed
        self._passed: dict[str, Frame] = {}

    def read(self, time: str) -> np.ndarray:
        with self._lock:
            frame = self._passed.pop(time, None)
            if frame is None:
                if self._frames is None or self._next > self.times.index(time):
                    self._begin()
                frame = self._forwards_to(time)
        if frame.image is None:
            raise DataError(f"{self._path}#{time}: {frame.error}")
        return np.asarray(frame.image)

    def _begin(self) -> None:
        self._close()
        self._video = Video(self._path)
        self._frames, self._next = self._video.frames(), 0
        self._passed.clear()

    def _close(self) -> None:
        if self._frames is not None and self._video is not None:
            self._frames.close()
            self._video.__exit__(None, None, None)
        self._frames = self._video = None

    def _forwards_to(self, time: str) -> Frame:
        """Return the frame at that time, and keep those that are passed on the way to it."""
        assert self._frames is not None
        frame: Frame | None = None
        for frame in self._frames:
            while self._next < len(self.times) and frame.time >= float(self.times[self._next]) - 1e-6:
                passed, self._next = self.times[self._next], self._next + 1
                if passed == time:
                    if self._next == len(self.times):
                        self._close()
                    return frame
                self._passed[passed] = frame
                while len(self._passed) > _PASSED:
                    del self._passed[next(iter(self._passed))]
        self._close()
        # People round up: an interval may end a little behind the last frame.
        if frame is not None and float(time) <= frame.time + _LATE + EVERY:
            return frame
        ends = "holds no frames" if frame is None else f"ends at {frame.time:.3f} s"
        raise DataError(f"{self._path}#{time}: the video {ends}")
