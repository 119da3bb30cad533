"""From logits to labels: each by its own sigmoid, and present from its own threshold on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from resnetkit.errors import DataError, UsageError
from resnetkit.models.decision import Answer, Gives, Question, check_known, ranked

_HALF = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """How logits become labels: a label is present where its probability is `at` least so much.

    `at`: one probability for each class, empty for a half. They were fitted for a `goal`, `f1`, `precision 0.9` or
    `recall 0.9`, on `fitted_on` held-out pictures, whose content is `fitted_to`; `unmet` are the classes that could not
    be brought there.
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
                raise UsageError(f"decision.at must be probabilities between 0 and 1, not {value!r:.40}")
        goal_of(self.goal)

    @property
    def gives(self) -> Gives:
        """None, one or several labels per picture."""
        return "labels"

    @property
    def temperature(self) -> None:
        """None: no softmax, each output by itself."""
        return

    @property
    def words(self) -> str:
        """What it holds, in a few words."""
        return f"a threshold for each label, fitted for {self.goal}"

    def of(self, num_classes: int) -> np.ndarray:
        """Return the threshold of each class, `[K]` float32; raises `DataError` for another number of classes."""
        if not self.at:
            return np.full(num_classes, _HALF, np.float32)
        if len(self.at) != num_classes:
            raise DataError(f"its decision has {len(self.at)} thresholds for {num_classes} classes: make it again")
        return np.array(self.at, np.float32)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return float32 `[N, K]` probabilities of `[N, K]` logits, NaN where those are not finite."""
        logits = np.asarray(logits, np.float32)
        with np.errstate(invalid="ignore"):
            # float32 is 0 or 1 beyond 80 in any case, and overflows from 88 on
            found = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        return np.where(np.isfinite(logits), found, np.nan).astype(np.float32)

    def answers(self, probabilities: np.ndarray) -> np.ndarray:
        """Return which labels are present, `[N, K]` bool."""
        present: np.ndarray = probabilities >= self.of(probabilities.shape[1])
        return present

    def answer(self, probabilities: np.ndarray, question: Question) -> Answer:
        """Return what `[K]` probabilities say of a picture: its labels, and the most probable classes with them."""
        present = self.answers(probabilities[None])[0]
        top = ranked(probabilities, question.classes)
        chosen = {name for name, is_there in zip(question.classes, present, strict=True) if is_there}
        kept = tuple(entry for place, entry in enumerate(top) if place < question.top_k or entry[0] in chosen)
        return Answer(status="ok", top=kept, labels=tuple(name for name, _ in top if name in chosen))

    def to_json(self) -> dict[str, Any]:
        """Return the `decision` dict of a checkpoint's header: what differs from the defaults."""
        default = Thresholds()
        plain = {name: value for name, value in asdict(self).items() if value != getattr(default, name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Thresholds:
        """Read a header's `decision` dict; an empty one means the defaults.

        Raises `DataError` for unknown fields, which would change the answers, `UsageError` for impossible values.
        """
        check_known(values, cls)
        return cls(**values)


def goal_of(text: str) -> tuple[str, float]:
    """Return what thresholds shall reach, and how much of it: `("f1", 1.0)`, `("precision", 0.9)`, `("recall", 0.9)`.

    Raises `UsageError` for anything else.
    """
    name, _, share = text.strip().partition(" ")
    try:
        wanted = float(share) if share else 1.0
    except ValueError:
        wanted = -1.0
    if (name == "f1" and share) or name not in ("f1", "precision", "recall") or not 0 < wanted <= 1:
        raise UsageError(f"--goal {text!r}: choose f1, 'precision 0.9' or 'recall 0.9'")
    if name != "f1" and not share:
        raise UsageError(f"--goal {text}: say how much, as in '{name} 0.9'")
    return name, wanted
