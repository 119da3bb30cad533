"""Line charts: what they show is said once, a page's template writes it as SVG and `drawing` as PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

WIDTH, HEIGHT = 400, 260
_DOT, _LARGEST_DOT = 3.2, 9.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 40

Point = tuple[float, float]
Look = Literal["own", "other", "ideal", "points", "first", "second", "third", "fourth", "fifth"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """What is counted along one side: `percent` shows fractions as percent, `whole` has no ticks between numbers."""

    label: str
    low: float
    high: float
    percent: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        assert self.low < self.high, (self.low, self.high)

    def ticks(self) -> list[tuple[float, str]]:
        """Return up to six round values with their words."""
        factor = 100 if self.percent else 1
        step = _round_step((self.high - self.low) * factor / 5)
        step = max(step, 1) if self.whole else step
        first = math.ceil(self.low * factor / step - 1e-9)
        last = math.floor(self.high * factor / step + 1e-9)
        return [(i * step / factor, f"{round(i * step, 10):g}") for i in range(first, last + 1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a chart: `own` is drawn strong, `other` dashed, `ideal` faint, of `points` the dots alone.

    `first` to `fifth` are told apart by colour and dashes. `dots` marks its points, with areas by `weights` where these
    are given, and `ring` one of them, which is `ringed`.
    """

    name: str
    points: Sequence[Point]
    look: Look = "own"
    dots: bool = False
    weights: Sequence[float] = ()
    ring: Point | None = None
    ringed: str = "the model"

    def radius(self, number: int) -> float:
        """Return the radius of the dot of a point, in pixels."""
        share = self.weights[number] / max(self.weights) if self.weights else 0.0
        return round(_DOT + (_LARGEST_DOT - _DOT) * share**0.5, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart; `summary` says in words what it shows, and the pixels are those of an SVG's viewBox."""

    title: str
    summary: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM

    def across(self, value: float) -> float:
        """Return where a value lies from left to right."""
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return round(self.left + share * (self.right - self.left), 1)

    def down(self, value: float) -> float:
        """Return where a value lies from top to bottom; what lies outside stays at the edge."""
        share = min(1.0, max(0.0, (value - self.y.low) / (self.y.high - self.y.low)))
        return round(self.bottom - share * (self.bottom - self.top), 1)

    def path(self, line: Line) -> str:
        """Return the points of a line for an SVG polyline."""
        return " ".join(f"{self.across(x)},{self.down(y)}" for x, y in line.points)


def upper(values: Sequence[float]) -> float:
    """Return a round number that no value exceeds, for the end of an axis that starts at zero."""
    highest = max(values, default=0.0)
    if highest <= 0:
        return 1.0
    step = _round_step(highest / 5)
    return math.ceil(highest / step - 1e-9) * step


def lower(values: Sequence[float]) -> float:
    """Return a round share in [0, 1) at or below all values, so that high accuracies can be told apart."""
    return max(0.0, math.floor(min(values, default=0.0) * 10 - 0.25) / 10)


def _round_step(step: float) -> float:
    """Return the next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
