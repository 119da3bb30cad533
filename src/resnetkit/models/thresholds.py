"""From logits to labels: each by its own sigmoid, and present from its own threshold on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resnetkit.models.cut_offs import CutOffs
from resnetkit.models.decision import Answer, Gives, Question, ranked


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds(CutOffs):
    """How logits become labels: a label is present where its probability is `at` least so much."""

    @property
    def gives(self) -> Gives:
        """None, one or several labels per picture."""
        return "labels"

    @property
    def words(self) -> str:
        """What it holds, in a few words."""
        return f"a threshold for each label, fitted for {self.aim}"

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Return float32 `[N, K]` probabilities of `[N, K]` logits, NaN where those are not finite."""
        logits = np.asarray(outputs, np.float32)
        with np.errstate(invalid="ignore"):
            # float32 is 0 or 1 beyond 80 in any case, and overflows from 88 on
            found = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        return np.where(np.isfinite(logits), found, np.nan).astype(np.float32)

    def answers(self, probabilities: np.ndarray) -> np.ndarray:
        """Return which labels are present, `[N, K]` bool."""
        present: np.ndarray = probabilities >= self.of(probabilities.shape[1])
        return present

    def answer(self, row: np.ndarray, question: Question) -> Answer:
        """Return what `[K]` probabilities say of a picture: its labels, and the most probable classes with them."""
        present = self.answers(row[None])[0]
        top = ranked(row, question.classes)
        chosen = {name for name, is_there in zip(question.classes, present, strict=True) if is_there}
        kept = tuple(entry for place, entry in enumerate(top) if place < question.top_k or entry[0] in chosen)
        return Answer(status="ok", top=kept, labels=tuple(name for name, _ in top if name in chosen))
