"""One answer from those for several pictures of one patient, study or series: their mean, or that of the surest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from resnetkit.errors import UsageError, near_miss

_WAYS = "choose mean, max or 'top 3'"


@dataclass(frozen=True, slots=True)
class Aggregation:
    """How the probabilities of a case's pictures become those of the case; `words` is how a person asked for it.

    The mean of all where `most` is None, else of the `most` pictures that are surest of class `of_class`. Without a
    class in question each class has its own surest, and these are scaled to sum to 1. A case of fewer pictures gives
    all of them.
    """

    words: str = "mean"
    most: int | None = None
    of_class: int | None = None

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return `[K]` float64 from the `[n, K]` probabilities of a case's pictures."""
        running = Running(self)
        for row in rows:
            running.add(row)
        return running.result()


MEAN = Aggregation()


@dataclass(slots=True)
class Running:
    """The same of pictures that come one by one, in memory that does not grow with their number, `count`."""

    how: Aggregation
    count: int = 0
    _kept: np.ndarray | None = field(default=None, repr=False)  # their sum, `[K]`, or the rows that count, `[m, K]`

    def add(self, row: np.ndarray) -> None:
        """Take the probabilities of one picture, `[K]`."""
        row, self.count = row.astype(np.float64), self.count + 1
        if self.how.most is None:
            self._kept = row if self._kept is None else self._kept + row
            return
        rows = row[None] if self._kept is None else np.concatenate([self._kept, row[None]])
        if self.how.of_class is None:
            self._kept = np.sort(rows, axis=0)[-self.how.most :]
        else:
            self._kept = rows[np.argsort(-rows[:, self.how.of_class], kind="stable")[: self.how.most]]

    def result(self) -> np.ndarray:
        """Return what they are together, `[K]`, of at least one."""
        assert self._kept is not None, "of no pictures there is no answer"
        if self.how.most is None:
            return self._kept / self.count
        surest: np.ndarray = self._kept.mean(axis=0)
        return surest if self.how.of_class is not None else surest / surest.sum()


def asked(words: str, classes: Sequence[str], *, finding: int | None = None) -> Aggregation:
    """Return what `mean`, `max` or `top 3` asks for; behind the last two may stand the class in question.

    Without that it is the `finding`, the number of a class that is looked for. Of two classes there must be one: the
    surest pictures of one are the least sure of the other. Raises `UsageError` there, and for anything else.

    >>> asked("top 3 ill", ("healthy", "ill"))
    Aggregation(words='top 3 ill', most=3, of_class=1)
    """
    way, _, behind = " ".join(words.split()).partition(" ")
    number, name = ("1", behind) if way == "max" else behind.partition(" ")[::2]
    if way == "mean" and not behind:
        return MEAN
    if way not in ("max", "top") or not number.isdecimal() or int(number) < 1:
        raise UsageError(f"one answer for several pictures by {words!r}: {_WAYS}")
    if not name and finding is not None:
        return Aggregation(f"{words.strip()} {classes[finding]}", int(number), finding)
    if not name and len(classes) == 2:
        ways = " or ".join(f"'{words.strip()} {one}'" for one in classes)
        raise UsageError(f"--aggregate {words.strip()}: the surest of which class? write {ways}")
    if name and name not in classes:
        known = ", ".join(classes[:5]) + ", ..." * (len(classes) > 5)
        raise UsageError(f"--aggregate {words!r}: no class {name!r}; there are {known}{near_miss(name, classes)}")
    return Aggregation(words.strip(), int(number), classes.index(name) if name else None)
