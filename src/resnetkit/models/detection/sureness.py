"""From what a detector puts out to the objects on a picture: each class from its own score on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from resnetkit.errors import DataError, UsageError
from resnetkit.models.decision import Answer, Gives, Question, check_known
from resnetkit.models.detection.detected import Detected
from resnetkit.models.detection.found import Found
from resnetkit.models.thresholds import goal_of

_HALF = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Sureness:
    """How sure a detector must be: an object is told where its score is `at` least so much.

    `at`: one score for each class, empty for a half. They were fitted for a `goal`, `f1`, `precision 0.9` or
    `recall 0.95`, on `fitted_on` held-out pictures, whose content is `fitted_to`; `unmet` are the classes that could
    not be brought there.
    """

    at: tuple[float, ...] = ()
    goal: str = "f1"
    unmet: tuple[str, ...] = ()
    fitted_on: int | None = None
    fitted_to: str | None = None

    def __post_init__(self) -> None:
        for name in ("at", "unmet"):
            if not isinstance(getattr(self, name), list | tuple):
                raise UsageError(f"decision.{name} must be a list, not {getattr(self, name)!r:.40}")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for value in self.at:
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
                raise UsageError(f"decision.at must be scores between 0 and 1, not {value!r:.40}")
        goal_of(self.goal)

    @property
    def gives(self) -> Gives:
        """Objects, each in its place."""
        return "objects"

    @property
    def temperature(self) -> None:
        """None: scores are taken as they are."""
        return

    @property
    def words(self) -> str:
        """What it holds, in a few words."""
        return f"a least score for each class, fitted for {self.goal}"

    def of(self, num_classes: int) -> np.ndarray:
        """Return the least score of each class, `[K]` float32; raises `DataError` for another number of classes."""
        if not self.at:
            return np.full(num_classes, _HALF, np.float32)
        if len(self.at) != num_classes:
            raise DataError(f"its decision has {len(self.at)} scores for {num_classes} classes: make it again")
        return np.array(self.at, np.float32)

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

    def to_json(self) -> dict[str, Any]:
        """Return the `decision` dict of a checkpoint's header: what differs from the defaults."""
        default = Sureness()
        plain = {name: value for name, value in asdict(self).items() if value != getattr(default, name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Sureness:
        """Read a header's `decision` dict; an empty one means the defaults.

        Raises `DataError` for unknown fields, which would change the answers, `UsageError` for impossible values.
        """
        check_known(values, cls)
        return cls(**values)


def _box(corners: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in corners)
    return left, top, right, bottom
