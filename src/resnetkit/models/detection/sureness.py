"""From what a detector puts out to the objects on a picture: each class from its own score on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from resnetkit.models.cut_offs import CutOffs
from resnetkit.models.decision import Answer, Gives, Question
from resnetkit.models.detection.detected import Detected
from resnetkit.models.detection.found import Found
from resnetkit.models.detection.platt import Platt


@dataclass(frozen=True, kw_only=True, slots=True)
class Sureness(CutOffs):
    """How sure a detector must be: an object is told where its score is `at` least so much.

    `platt` makes probabilities of scores; None: the boxes of held-out pictures were too few to tell. `tracks` makes
    that of a track of the mean of its boxes' probabilities; None: nobody moved held-out pictures, or their tracks were
    too few.
    """

    platt: Platt | None = None
    tracks: Platt | None = None

    @property
    def gives(self) -> Gives:
        """Objects, each in its place."""
        return "objects"

    @property
    def words(self) -> str:
        """What it holds, in a few words."""
        known = "scores as they are" if self.platt is None else f"probabilities from {self.platt.boxes:,} boxes"
        known += "" if self.tracks is None else f", of tracks from {self.tracks.boxes:,},"
        return f"{known} and a least score for each class, fitted for {self.aim}"

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Return what a detector puts out as it is, `[N, D, 6]` or more: least scores are compared with its scores."""
        return outputs

    def answer(self, row: np.ndarray, question: Question) -> Answer:
        """Return the objects in the `[D, 6]` or more numbers of one picture, the surest first.

        The threshold is applied here whatever the graph did: one of ONNX may give a box that is none.
        """
        width, height = question.size
        found = Found.of(row, question.view, width=width, height=height).from_score(self.of(len(question.classes)))
        sure = None if self.platt is None else self.platt.of(found.scores).tolist()
        objects = (
            Detected(
                label=question.classes[found.labels[number]],
                score=float(found.scores[number]),
                box=_box(found.boxes[number]),
                mask=None if found.masks is None else found.mask(number, width=width, height=height),
                probability=None if sure is None else sure[number],
            )
            for number in np.argsort(-found.scores, kind="stable").tolist()
        )
        return Answer(status="ok", top=(), objects=tuple(objects))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read a header's `decision` dict, as `CutOffs.from_json` does."""
        read = {name: Platt.from_json(values[name]) for name in ("platt", "tracks") if values.get(name) is not None}
        return super(Sureness, cls).from_json({**values, **read})


def _box(corners: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in corners)
    return left, top, right, bottom
