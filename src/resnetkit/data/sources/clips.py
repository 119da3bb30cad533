"""Folders of videos as folders of pictures: of each video a frame a second, and all of a video in one group."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from resnetkit.data.classes import natural_key
from resnetkit.data.dataset import Item
from resnetkit.data.opening.failures import one_line
from resnetkit.data.opening.video import at, is_video, library, parted
from resnetkit.data.sources import moments
from resnetkit.data.sources.folders import Tree
from resnetkit.errors import DataError, UsageError
from resnetkit.files import open_file
from resnetkit.words import counted

Pictures = list[tuple[str, Item]]

_IN_ARCHIVE = "videos are not read inside archives: unpack it"


def with_videos(tree: Tree) -> Tree:
    """Return a tree whose videos count as pictures, with what is to be said of those that cannot.

    Raises `DataError` for an archive with nothing but videos, `UsageError` for such a folder where PyAV is missing.
    """
    videos = [key for key in tree.others if is_video(key) and not _is_program(tree, key)]
    if not videos:
        return tree
    known = set(videos)
    others = [key for key in tree.others if key not in known]
    try:
        if tree.inside_archive:
            raise DataError(f"{tree.source}: {_IN_ARCHIVE}")
        library()
    except (DataError, UsageError) as error:
        if not tree.pictures:
            raise
        why = _IN_ARCHIVE if tree.inside_archive else str(error)
        note = f"{counted(len(videos), 'video')} not used (first: {tree.path(videos[0])}): {why}"
        return replace(tree, others=others, notes=(*tree.notes, note))
    return replace(tree, pictures=sorted([*tree.pictures, *videos], key=natural_key), others=others)


def taken(tree: Tree, found: Pictures) -> tuple[Pictures, Pictures]:
    """Return the pictures among what was found in a tree, and the frames of the videos among it.

    The keys of frames are for `moments.VideoFrames`. A video that cannot be read is one frame: reading it says why. A
    picture beside a video of its name, as phones take both at once, is in the group of that.
    """
    videos = [(key, item) for key, item in found if is_video(key)]
    if not videos:
        return found, []
    beside = {os.path.splitext(item.source)[0]: item.source for _, item in videos}
    pictures = [
        (key, replace(item, group=beside.get(os.path.splitext(item.source)[0])))
        for key, item in found
        if not is_video(key)
    ]
    return pictures, [frame for key, item in videos for frame in _frames(os.path.join(tree.source, key), item)]


def said(items: Iterable[Item]) -> list[str]:
    """Say how many frames of how many videos are among pictures; what cannot be read is told where it is read."""
    sources = [item.source for item in items]
    of_frames = [found[0] for source in sources if (found := parted(source)) is not None]
    if not of_frames:
        return []
    pictures = len(sources) - len(of_frames) - sum(map(is_video, sources))
    beside = f"; beside them {counted(pictures, 'picture')}" * bool(pictures)
    return [f"{counted(len(set(of_frames)), 'video')}: {moments.words(len(of_frames))}{beside}"]


def nobody_says(video: str, *, folder: str | None = None) -> str:
    """Return what is said of a video, or a `folder` of videos, of which nothing tells what it shows.

    Raises as `moments.seconds` does.
    """
    name = one_line(os.path.basename(video))
    end = int(100 * moments.seconds(video)) / 100
    what = f"{one_line(video)}: is a video, and nothing tells" if folder is None else f"{folder}: nothing tells"
    which = "it shows" if folder is None else "its videos show"
    return (
        f"{what} what {which}: put each video into a folder of its class, or write what shows when into a .csv "
        f"beside it: video,start,end,label and below that {name},0,{end:.2f},CLASS"
    )


def _is_program(tree: Tree, key: str) -> bool:
    """Tell whether a file is TypeScript, which has the suffix of MPEG's transport streams and not their packets."""
    if tree.inside_archive or not key.lower().endswith(".ts"):
        return False
    try:
        with open_file(os.path.join(tree.source, key)) as file:
            packet = file.read(189)
    except OSError:
        return False
    return not packet.startswith(b"G") or packet[188:] != b"G"


def _frames(path: str, item: Item) -> Iterator[tuple[str, Item]]:
    try:
        times = moments.times(0, moments.seconds(path))
    except (DataError, UsageError):
        yield at(path, 0), item
        return
    for time in times:
        yield at(path, time), replace(item, source=at(item.source, time), group=item.source)
