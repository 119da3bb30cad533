"""Folders of numbered pictures that are frames of a clip each: which they are, by names and by what they look like."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from resnetkit.data.classes import natural_key
from resnetkit.data.dataset import Item
from resnetkit.data.sources.grouping import folder_of
from resnetkit.words import counted

_NUMBERED = re.compile(r"(.*?)(\d+)")
_FEWEST = 10  # neighbours that are compared: of fewer nothing is said
_ALIKE = 0.5  # times as far apart as pictures of two folders: of photos by chance in folders it is 1


def clips_in(items: Sequence[Item], bright: Mapping[str, bytes]) -> list[list[Item]]:
    """Return the pictures of each clip, in order: the folders of one class, two or more, whose pictures are numbered.

    They are clips where neighbours are half as far apart as pictures of two folders of a class, in the middle of all of
    them, or less. `bright`: source -> greys at 8x8 pixels, as `Content.bright`. Pictures that have a group are in no
    clip.
    """
    folders: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: natural_key(item.source)):
        if item.group is None and item.source in bright:
            folders[item.written, folder_of(item.source)].append(item)
    of_class: dict[str, list[list[Item]]] = defaultdict(list)
    for (label, _), members in folders.items():
        if len(members) > 1 and _are_numbered(members):
            of_class[label].append(members)
    clips = {label: found for label, found in of_class.items() if len(found) > 1}
    inside = [_apart(pair, bright) for found in clips.values() for members in found for pair in pairs(members)]
    outside = [_apart(pair, bright) for found in clips.values() for pair in _across(found)]
    if len(inside) < _FEWEST or np.median(inside) >= _ALIKE * np.median(outside):
        return []
    return [members for found in clips.values() for members in found]


def pairs(members: Sequence[Item]) -> Iterator[tuple[Item, Item]]:
    """Yield the neighbours in a clip."""
    yield from pairwise(members)


def said(clips: Sequence[Sequence[Item]]) -> tuple[str, ...]:
    """Say how many clips there are, and how figures count them."""
    if not clips:
        return ()
    return (
        f"{counted(sum(map(len, clips)), 'numbered picture')} in {counted(len(clips), 'folder')} look like frames of "
        f"clips (as {folder_of(clips[0][0].source)}): those of a folder stay on one side. With --group-by folder the "
        "figures count clips too.",
    )


def _are_numbered(members: Sequence[Item]) -> bool:
    names = [_NUMBERED.fullmatch(os.path.splitext(os.path.basename(item.source))[0]) for item in members]
    return all(names) and len({name[1] for name in names if name}) == 1


def _across(folders: Sequence[Sequence[Item]]) -> Iterator[tuple[Item, Item]]:
    """Yield pictures of two folders each, not of the next one, which may go on where this one ends."""
    for number, members in enumerate(folders):
        yield from zip(members, folders[(number + max(1, len(folders) // 2)) % len(folders)], strict=False)


def _apart(pair: tuple[Item, Item], bright: Mapping[str, bytes]) -> float:
    """Return how far two pictures are apart, in greys of 255."""
    one, other = (np.frombuffer(bright[item.source], np.uint8).astype(np.int16) for item in pair)
    return float(np.abs(one - other).mean())
