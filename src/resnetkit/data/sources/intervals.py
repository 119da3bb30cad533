"""Lists that say what videos show from when to when: `video,start,end,label`; a frame a second is a picture."""

from __future__ import annotations

import math
import os
import re
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from resnetkit.data.opening.failures import one_line
from resnetkit.data.opening.video import at, parted
from resnetkit.data.opening.video_decoding import Decoding, Shown
from resnetkit.data.sources.tables import Cells, Table, check_columns, read_table
from resnetkit.errors import DataError, UsageError
from resnetkit.words import counted

_NEEDED = ("video", "start", "end")
_LATE = 0.5  # seconds by which an interval may end behind its video: people round up
_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_MOST_OPEN = 8  # videos that wait for their next frame
_FAR = 5.0  # seconds: nearer frames are reached by going on
_ROUNDED = 0.0006  # seconds: times of frames are told to a thousandth
_LONGER = 1.0  # seconds that the last frame goes on being shown: the sound may be longer


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
    known: dict[str, float | None] = {}
    intervals = [(line, row, *_interval(table, line, row, known)) for line, row in table.rows]
    _check_groups(table)
    taken: dict[str, set[float]] = {}
    for _, row, start, end in intervals:
        taken.setdefault(row["video"], set()).update(_times(start, end))
    # A frame that lies in several intervals is what all of them say.
    rows = [
        (line, _frame(row, time))
        for line, row, start, end in intervals
        for time in sorted(time for time in taken[row["video"]] if start <= time < end)
    ]
    kept = tuple(name for name in table.columns if name not in _NEEDED and name != "group")
    return replace(table, columns=("image_path", *kept, "group"), rows=rows, moments=True)


def words(table: Table) -> str:
    """Say how many frames a list of intervals gave, of how many videos."""
    frames = {row["image_path"] for _, row in table.rows}
    videos = {path.rpartition("#")[0] for path in frames}
    intervals = {line for line, _ in table.rows}
    return (
        f"{counted(len(videos), 'video')}, {counted(len(intervals), 'interval')}: "
        f"{counted(len(frames), 'frame')}, one a second"
    )


def _interval(table: Table, line: int, row: Cells, known: dict[str, float | None]) -> tuple[float, float]:
    """Return from when to when an interval goes; `known` are the seconds of videos that were opened."""
    if not row["video"]:
        raise table.wrong(line, "video is empty")
    start, end = (_seconds(table, line, row, name) for name in ("start", "end"))
    if end <= start:
        raise table.wrong(line, f"ends at {row['end']}, which is no later than it starts")
    path = os.path.join(os.path.dirname(table.path), row["video"])
    if path not in known:
        try:
            with Decoding(path, shown=one_line(path)) as decoding:
                known[path] = decoding.about.seconds
        except (DataError, UsageError, OSError) as error:
            raise table.wrong(line, str(error)) from error
    seconds = known[path]
    if seconds is not None and end > seconds + _LATE:
        raise table.wrong(line, f"ends at {end:.3f} s, and {row['video']} at {seconds:.3f} s")
    return start, end


def _times(start: float, end: float) -> list[float]:
    """Return at which times of an interval frames are taken: at half seconds, of a short one in its middle.

    >>> _times(0, 2), _times(1.6, 2.4)
    ([0.5, 1.5], [2.0])
    """
    found: list[float] = (np.arange(math.ceil(start - 0.5) + 0.5, end)).tolist()
    return found or [round((start + end) / 2, 3)]


def _frame(row: Cells, time: float) -> Cells:
    others = {name: cell for name, cell in row.items() if name not in _NEEDED}
    return {"image_path": at(row["video"], time), **others, "group": others.get("group") or row["video"]}


def _check_groups(table: Table) -> None:
    """Raise `DataError` where a video is in several groups, which would lie on both sides of a division."""
    first: dict[str, tuple[int, str]] = {}
    for line, row in table.rows if "group" in table.columns else ():
        earlier, group = first.setdefault(row["video"], (line, row["group"]))
        if group != row["group"]:
            raise table.wrong(line, f"{row['video']} is in group {row['group']!r}, and in line {earlier} in {group!r}")


def _seconds(table: Table, line: int, row: Cells, name: str) -> float:
    matched = _TIME.fullmatch(row[name])
    if matched is None:
        raise table.wrong(line, f"{name} is {row[name]!r}: write seconds (12.5) or H:MM:SS")
    hours, minutes, seconds = (float(part or 0) for part in matched.groups())
    return 3600 * hours + 60 * minutes + seconds


class VideoFrames:
    """Reads frames by names such as `drive.mp4#12.480`: the first that is shown at that time or later.

    Videos stay open and are read forwards: frames in order cost one reading, whatever thread asks for which.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: deque[_Forwards] = deque()

    def read(self, key: str) -> np.ndarray:
        """Return `[H, W, 3]` uint8, upright; raises `DataError` for a broken frame, and a time behind the last."""
        found = parted(key)
        assert found is not None, f"{key} is no frame of a video"
        path, time = found
        video = self._nearest(path, time) or _Forwards(path)
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
