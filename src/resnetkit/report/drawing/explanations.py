"""A picture beside the heat maps of a few classes, as one PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetkit.explaining.overlay import overlay
from resnetkit.explaining.scores import Scores
from resnetkit.report.drawing.canvas import FAINT, INK, LINE, MARGIN, WRONG, sheet
from resnetkit.report.drawing.fonts import drawable
from resnetkit.words import percent

_SIDE = 300
_GAP = 20
_TOP = 84
_BELOW = 100
# Sums over sixteen steps differ by a hundredth for nothing.
_AS_GOOD = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMap:
    """What speaks for one class: its probability in [0, 1], `[S, S]` heat in [0, 1], and how good that map is."""

    label: str
    probability: float
    heat: np.ndarray
    scores: Scores

    @property
    def verdict(self) -> str:
        """Say in words what the scores mean."""
        if not self.heat.any():
            return "nothing speaks for it"
        gain = self.scores.random_deletion - self.scores.deletion
        if gain > _AS_GOOD:
            return "better than a random map"
        return "no better than a random map" if gain > -_AS_GOOD else "worse than a random map"


def draw(picture: np.ndarray, maps: Sequence[ClassMap], path: Path, *, title: str, method: str) -> str | None:
    """Draw `[h, w, C] uint8` and what speaks for each class; returns the line for the user as the other plots do."""
    names = [drawable(one.label) for one in maps]
    with sheet(path, texts=[*names, drawable(title)]) as drawn:
        columns = 1 + len(maps)
        drawn.resize(max(680, 2 * MARGIN + columns * (_SIDE + _GAP) - _GAP), _TOP + _SIDE + _BELOW)
        drawn.header(drawable(title), f"{method}: bright is what speaks for the class, divided by its own maximum")
        bottom = _TOP + _SIDE
        drawn.image(picture, MARGIN, bottom, _SIDE, frame=LINE, thickness=1)
        drawn.text(MARGIN, bottom + 18, "as the model sees it", size=14, color=FAINT)
        for number, (one, name) in enumerate(zip(maps, names, strict=True), start=1):
            left = MARGIN + number * (_SIDE + _GAP)
            glowing = overlay(picture, one.heat, at_least=_SIDE)
            drawn.image(glowing, left, bottom, _SIDE, frame=LINE, thickness=1)
            sure = percent(one.probability)
            room = _SIDE - drawn.width_of(sure, size=16) - 12
            drawn.text(left, bottom + 18, drawn.fit(name, room, size=16), size=16)
            drawn.text(left + _SIDE, bottom + 18, sure, size=16, align="right")
            good = one.verdict.startswith("better")
            drawn.text(left, bottom + 44, one.verdict, size=14, color=INK if good else WRONG)
            scores = one.scores
            words = (
                f"deletion {scores.deletion:.2f} (random {scores.random_deletion:.2f}, low is good)",
                f"insertion {scores.insertion:.2f} (random {scores.random_insertion:.2f}, high is good)",
            )
            for line, text in enumerate(words):
                drawn.text(left, bottom + 64 + 18 * line, text, size=12.5, color=FAINT)
    return drawn.warning
