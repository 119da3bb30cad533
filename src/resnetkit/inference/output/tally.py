"""Counts of predictions that went by, for a summary and an exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from resnetkit.inference.output.rows import RowOf
from resnetkit.inference.prediction import Prediction
from resnetkit.words import counted


@dataclass(slots=True)
class Tally:
    """How many pictures, cases of several, or frames of a `video` there were, and what was said of them.

    `labels` counts answers of each class, of objects each one; `pictures` those where it is said at least once;
    `unread` are pictures of cases that have no answer.
    """

    gives: RowOf = "class"
    video: bool = False
    total: int = 0
    unread: int = 0
    not_sure: int = 0
    errors: int = 0
    named: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    pictures: Counter[str] = field(default_factory=Counter)
    empty: int = 0

    def add(self, prediction: Prediction) -> None:
        """Count one prediction; only answers with status `ok` count for their class, labels or objects."""
        self.count(prediction.status, prediction.names)
        self.unread += len(prediction.unread)

    def count(self, status: str, labels: Sequence[str]) -> None:
        """Count one picture as `add` does, for each of its labels or objects."""
        self.total += 1
        self.not_sure += status == "not_sure"
        self.errors += status == "error"
        self.named += status == "ok"
        if status == "ok":
            self.labels.update(labels)
            self.pictures.update(set(labels))
            self.empty += not labels

    @property
    def exit_code(self) -> int:
        """0 when all pictures were read, 4 when some were, 3 when none was."""
        if not self.errors and not self.unread:
            return 0
        return 3 if self.errors == self.total else 4

    def __str__(self) -> str:
        return f"{counted(self.total, self.thing)}: {', '.join(self._parts())}"

    @property
    def thing(self) -> str:
        """What is counted."""
        return "case" if self.gives == "cases" else "frame" if self.video else "picture"

    def _parts(self) -> list[str]:
        errors = f"{self.errors:,} could not be read or named"
        if self.gives == "objects":
            found = f"{counted(self.labels.total(), 'object')} on {self.named - self.empty:,} of them"
            return [found, *([f"none on {self.empty:,}"] if self.empty else []), *([errors] if self.errors else [])]
        unsure = [f"{self.not_sure:,} not sure"] if self.not_sure else []
        if self.gives == "cases":
            errors = f"{self.errors:,} without an answer"
        unread = [f"{counted(self.unread, 'picture')} could not be read or named"] if self.unread else []
        return [f"{self.named:,} named", *unsure, *([errors] if self.errors else []), *unread]
