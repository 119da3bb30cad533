"""What makes probabilities of tracks: fitted on held-out pictures that the network sees moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from resnetkit.data.prepared import Part
from resnetkit.data.targets import object_targets
from resnetkit.evaluation.detection.calibration import ENOUGH
from resnetkit.evaluation.detection.moved import COPIES, Copy, copies_of, drawn
from resnetkit.evaluation.detection.tracks import Judged, fit_tracks, tracks_of
from resnetkit.models.detection.sureness import Sureness
from resnetkit.tasks.detection.scoring import of_known
from resnetkit.watcher import Watcher
from resnetkit.words import counted

if TYPE_CHECKING:
    from resnetkit.training.task import Ask


def with_tracks(
    decision: Sureness, part: Part, *, classes: Sequence[str], where: str, ask: Ask, watcher: Watcher
) -> Sureness:
    """Return the decision with what makes probabilities of tracks, None where too few are right or wrong.

    At most 60 pictures pass the network, each in three copies. Without probabilities of boxes there are none of tracks.
    """
    if decision.platt is None:
        return decision
    assert part.sizes is not None, "these pictures have no marks"
    truths, chosen = object_targets(part.items, classes, where=where), drawn([item.group for item in part.items])
    sizes = [(width, height) for width, height in part.sizes.tolist()]
    tracks: list[Judged] = []
    moved: dict[int, list[Copy]] = {}

    def pixels_of(number: int) -> np.ndarray:
        pixels = part.pixels.take(np.array([number]))[0]
        moved[number] = copies_of(pixels, part.views[number], size=sizes[number], seed=number)
        return np.stack([copy.pixels for copy in moved[number]])

    with watcher.counting("moving held-out pictures") as progress:
        for done, (number, rows) in enumerate(ask(chosen, pixels_of), start=1):
            copies = moved.pop(number)
            founds = [
                of_known(copy.found(row), part.items[number], classes) for copy, row in zip(copies, rows, strict=True)
            ]
            tracks += tracks_of(copies, founds, truths[number], classes=classes, decision=decision)
            progress(done, len(chosen))
    judged = [one for one in tracks if one.counts]
    fit, right = fit_tracks(judged), round(sum(one.right for one in judged))
    words = (
        f"{len(chosen):,} held-out pictures, moved {COPIES} times, have {counted(len(judged), 'track')}, {right} right"
    )
    if fit is None:
        watcher.note(f"{words}: too few for probabilities of tracks, {ENOUGH.replace('boxes', 'tracks')} make some")
    else:
        watcher.note(f"{words}: what makes probabilities of them is fitted to these")
    return replace(decision, tracks=fit)
