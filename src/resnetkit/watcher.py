"""Somebody who looks on while work goes on: a progress bar, a notebook, nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Progress = Callable[[int, int], None]  # hears how many are done, of how many
Count = Callable[[int, int | None], None]  # the same where it is not known of how many
Row = dict[str, Any]  # of results.csv: what an epoch reached


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What a progress bar shows after a step; loss and the task's `figures` are means over the epoch so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    figures: Mapping[str, float]
    lr: float
    images_per_second: float
    seconds_left: float

    @property
    def top1(self) -> float | None:
        """The accuracy so far, where the task has one."""
        return self.figures.get("top1")


class Watcher:
    """Hears of everything and is silent; those who show it derive from this."""

    def note(self, text: str) -> None:
        """Hear of something that a person should know, in a line or several."""

    def step(self, step: Step) -> None:
        """Hear of a training step."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Hear of a finished epoch: a row of `results.csv`."""

    @contextmanager
    def counting(self, what: str, unit: str = "") -> Iterator[Count]:
        """Yield a function `(done, total)` that hears how far `what` is; `total` is None where it is not known."""
        yield lambda done, total: None
