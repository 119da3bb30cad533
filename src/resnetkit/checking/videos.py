"""Copies inside and between videos and clips: those inside are no surprise, those between two are one finding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from resnetkit.checking.result import Finding
from resnetkit.data.dataset import Item
from resnetkit.data.sources.grouping import folder_of, video_of
from resnetkit.words import counted

_NEIGHBOURS = ("identical", "near", "doubtful")  # what frames of one video are to each other, and no surprise
_COPIES = (*_NEIGHBOURS, "identical across", "near across", "two labels", "near, two labels", "marked differently")


def wholes_of(items: Sequence[Item], clips: Sequence[Sequence[Item]]) -> dict[str, str]:
    """Return source -> the video or the folder of a clip that a frame is of; other pictures are absent."""
    folders = {item.source: folder_of(item.source) for members in clips for item in members}
    return {item.source: video for item in items if (video := video_of(item.source)) is not None} | folders


def between(found: Sequence[Finding], wholes: Mapping[str, str]) -> tuple[list[Finding], tuple[str, ...]]:
    """Return the findings without copies inside one video or clip, which stay together anyway, and their number."""

    def is_between(finding: Finding) -> bool:
        own = {wholes.get(source) for source in finding.sources}
        return len(own) > 1 or None in own

    kept = [one for one in found if one.kind not in _NEIGHBOURS or is_between(one)]
    gone = len(found) - len(kept)
    note = f"not listed: {counted(gone, 'finding')} of copies inside one video or clip, whose frames stay together"
    return kept, (note,) if gone else ()


def united(found: Sequence[Finding], wholes: Mapping[str, str]) -> list[Finding]:
    """Return the findings, those of copies between the same videos or clips as one of each kind: the first, counted."""
    alike: dict[tuple[str, frozenset[str | None]], list[Finding]] = defaultdict(list)
    for number, one in enumerate(found):
        own = frozenset(wholes.get(source) for source in one.sources)
        together = one.kind in _COPIES and None not in own and len(own) > 1
        alike[one.kind, own if together else frozenset([f"alone {number}"])].append(one)
    return [_one_of(own, ones) if len(ones) > 1 else ones[0] for (_, own), ones in alike.items()]


def _one_of(own: frozenset[str | None], ones: Sequence[Finding]) -> Finding:
    what = "pairs" if all(len(one.sources) == 2 for one in ones) else "sets"
    kind = "videos" if all(video_of(str(whole)) for whole in own) else "folders"
    return replace(ones[0], why=f"{len(ones):,} {what} of frames of these {len(own)} {kind}; the first: {ones[0].why}")
