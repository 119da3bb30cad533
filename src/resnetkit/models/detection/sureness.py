"""From what a detector puts out to the objects on a picture: each class from its own score on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.models.cut_offs import CutOffs
from resnetkit.models.decision import Answer, Gives, Question
from resnetkit.models.detection.detected import Detected
from resnetkit.models.detection.found import Found


@dataclass(frozen=True, kw_only=True, slots=True)
class Sureness(CutOffs):
    """How sure a detector must be: an object is told where its score is `at` least so much."""

    @property
    def gives(self) -> Gives:
        """Objects, each in its place."""
        return "objects"

    @property
    def words(self) -> str:
        """What it holds, in a few words."""
        return f"a least score for each class, fitted for {self.aim}"

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Return what a detector puts out as it is, `[N, D, 6]` or more: its scores are probabilities already."""
        return outputs

    def answer(self, row: np.ndarray, question: Question) -> Answer:
        """Return the objects in the `[D, 6]` or more numbers of one picture, the surest first.

        The threshold is applied here whatever the graph did: one of ONNX may give a box that is none.
        """
        width, height = question.size
        found = Found.of(row, question.view, width=width, height=height).from_score(self.of(len(question.classes)))
        objects = (
            Detected(
                label=question.classes[found.labels[number]],
                score=float(found.scores[number]),
                box=_box(found.boxes[number]),
                mask=None if found.masks is None else found.mask(number, width=width, height=height),
            )
            for number in np.argsort(-found.scores, kind="stable").tolist()
        )
        return Answer(status="ok", top=(), objects=tuple(objects))


def _box(corners: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in corners)
    return left, top, right, bottom
