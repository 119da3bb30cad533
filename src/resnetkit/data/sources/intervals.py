"""Lists that say what videos show from when to when: `video,start,end,label`; a frame a second is a picture."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from resnetkit.data.opening.video import at
from resnetkit.data.sources import moments
from resnetkit.data.sources.tables import Cells, Table, check_columns, read_table
from resnetkit.errors import DataError, UsageError
from resnetkit.words import counted

_NEEDED = ("video", "start", "end")
_LATE = 0.5  # seconds by which an interval may end behind its video: people round up
_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)


def read(
    path: str, *, needed: tuple[str, ...], expected: tuple[str, ...] = (), group_by: str | None = None
) -> Table:  # fmt: skip
    """Read a list of pictures, or one of intervals of videos as the list of their frames; see `tables.read_table`.

    Frames are taken at half seconds, one a second, of a shorter interval the middle one; `image_path` is the video with
    `#` and the seconds. Their `group` is the video where the list names none; `group_by` is the column of groups if
    another than that. Raises `DataError` for a video that cannot be read, for one in several groups, and for times that
    are none or not in it.
    """
    table = read_table(path, needed=())
    if "video" not in table.columns or "image_path" in table.columns:
        check_columns(path, table.columns, needed, expected=expected)
        return table
    check_columns(path, table.columns, _NEEDED, expected=(*_NEEDED, "label"))
    table = _with_one_name_a_video(table)
    known: dict[str, float | None] = {}
    intervals = [(line, row, *_interval(table, line, row, known)) for line, row in table.rows]
    _check_groups(table, group_by if group_by in table.columns else "group")
    taken: dict[str, set[float]] = {}
    for _, row, start, end in intervals:
        taken.setdefault(row["video"], set()).update(moments.times(start, end))
    # A frame that lies in several intervals is what all of them say.
    rows = [
        (line, _frame(row, time))
        for line, row, start, end in intervals
        for time in sorted(time for time in taken[row["video"]] if start <= time < end)
    ]
    kept = tuple(name for name in table.columns if name not in _NEEDED and name != "group")
    return replace(table, columns=("image_path", *kept, "group"), rows=rows, moments=True)


def _with_one_name_a_video(table: Table) -> Table:
    """Return a list in which a file that is written in several ways has the first name: it is one group."""
    names: dict[str, str] = {}

    def first(row: Cells) -> str:
        name = row["video"]
        return names.setdefault(os.path.realpath(os.path.join(os.path.dirname(table.path), name)), name)

    rows = [(line, {**row, "video": first(row)} if row["video"] else row) for line, row in table.rows]
    return replace(table, rows=rows)


def words(table: Table) -> str:
    """Say how many frames a list of intervals gave, of how many videos."""
    frames = {row["image_path"] for _, row in table.rows}
    videos = {path.rpartition("#")[0] for path in frames}
    intervals = {line for line, _ in table.rows}
    return f"{counted(len(videos), 'video')}, {counted(len(intervals), 'interval')}: {moments.words(len(frames))}"


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
            known[path] = moments.said_seconds(path)
        except (DataError, UsageError, OSError) as error:
            raise table.wrong(line, str(error)) from error
    seconds = known[path]
    if seconds is not None and end > seconds + _LATE:
        raise table.wrong(line, f"ends at {end:.3f} s, and {row['video']} at {seconds:.3f} s")
    return start, end


def _frame(row: Cells, time: float) -> Cells:
    others = {name: cell for name, cell in row.items() if name not in _NEEDED}
    return {"image_path": at(row["video"], time), **others, "group": others.get("group") or row["video"]}


def _check_groups(table: Table, column: str) -> None:
    """Raise `DataError` where a video is in several groups, which would lie on both sides of a division."""
    first: dict[str, tuple[int, str]] = {}
    for line, row in table.rows if column in table.columns else ():
        earlier, group = first.setdefault(row["video"], (line, row[column]))
        if group != row[column]:
            raise table.wrong(
                line, f"{row['video']} is in {column} {row[column]!r}, and in line {earlier} in {group!r}"
            )


def _seconds(table: Table, line: int, row: Cells, name: str) -> float:
    matched = _TIME.fullmatch(row[name])
    if matched is None:
        raise table.wrong(line, f"{name} is {row[name]!r}: write seconds (12.5) or H:MM:SS")
    hours, minutes, seconds = (float(part or 0) for part in matched.groups())
    return 3600 * hours + 60 * minutes + seconds
