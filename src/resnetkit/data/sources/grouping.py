"""Which pictures are of one patient, study or series: by a column, a tag, the folder they lie in, or their names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from resnetkit.data.dataset import Item
from resnetkit.data.groups import NoGroupsError
from resnetkit.data.opening.video import is_video, parted
from resnetkit.data.sources import patients
from resnetkit.errors import near_miss

FOLDER, VIDEO = "folder", "video"
_WORDS = (*patients.TAGS, FOLDER, VIDEO)


def of_videos(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Return the items; a frame of a video that is in no group is in that of its video, for its neighbours are copies.

    Nothing that divides may part these.
    """
    return tuple(
        replace(item, group=video) if item.group is None and (video := video_of(item.source)) is not None else item
        for item in items
    )


def grouped(
    items: tuple[Item, ...], by: str, columns: tuple[str, ...], read: Callable[[Item], bytes | np.ndarray], *,
    shown: Callable[[str], str] = str,
) -> tuple[tuple[Item, ...], list[str]]:  # fmt: skip
    """Give each item its group, and say how many there are and how many items are in none.

    `by`: one of the `columns` of a list, whose values the items have already; one of `patients.TAGS`; `folder`, the one
    that a file lies in; `video`, the one that a frame is of; else a regular expression with one group in parentheses,
    searched in each path, of a frame in that of its video. `read` returns the bytes of a file, or the pixels of an
    array, `shown` is how a path is told. Raises `NoGroupsError` where there is no group.
    """
    if by in patients.TAGS and by not in columns:
        return patients.grouped(items, by, read)
    found, nowhere = items, "that column is empty"
    if by not in columns:
        ways = {FOLDER: folder_of, VIDEO: video_of}
        find, nowhere = ways[by] if by in ways else _by_pattern(by, columns), "found in no path"
        found = tuple(replace(item, group=find(item.source)) for item in items)
    if items and all(item.group is None for item in found):
        raise NoGroupsError(f"--group-by {by}: {nowhere}; the first is {shown(items[0].source)}")
    found = of_videos(found)
    without = [item.source for item in found if item.group is None]
    notes = [f"{len({item.group for item in found} - {None}):,} groups by {by}"]
    if without:
        notes.append(f"{len(without):,} of {len(items):,} images are in no group (first: {shown(without[0])})")
    return found, notes


def folder_of(source: str) -> str:
    """Return the folder that a picture lies in, of a file or inside an archive.

    >>> folder_of("a/b/1.dcm"), folder_of("1.dcm"), folder_of("a/x.zip::b/1.dcm"), folder_of("a/x.zip::1.dcm")
    ('a/b', '.', 'a/x.zip::b', 'a/x.zip')
    """
    container, _, member = source.rpartition("::")
    folder = os.path.dirname(member)
    if not container:
        return folder or "."
    return f"{container}::{folder}" if folder else container


def video_of(source: str) -> str | None:
    """Return the video that a frame is of, of a video itself (that cannot be read) itself, None for other pictures.

    >>> video_of("a/drive.mp4#12.480"), video_of("a/1.jpg")
    ('a/drive.mp4', None)
    """
    found = parted(source) if "#" in source else None
    if found is None:
        return source if is_video(source) else None
    return found[0]


def _by_pattern(pattern: str, columns: tuple[str, ...]) -> Callable[[str], str | None]:
    """Return what finds a pattern in a path; raises `NoGroupsError` for text that is none."""
    try:
        search = re.compile(pattern)
    except re.error as error:
        raise NoGroupsError(f"--group-by {pattern}: is no regular expression ({error})") from error
    if search.groups < 1 and columns:
        raise NoGroupsError(
            f"--group-by {pattern}: no such column; there are {', '.join(columns)}{near_miss(pattern, columns)}"
        )
    if search.groups < 1:
        raise NoGroupsError(
            f"--group-by {pattern}: put parentheses around what names the group, as in '(patient[0-9]+)'"
            f"{near_miss(pattern, _WORDS)}"
        )

    def find(source: str) -> str | None:
        match = search.search(video_of(source) or source)
        return match[1] if match else None

    return find
