"""A video over time: what its picture shows is said once, a page's template writes it as SVG and `drawing` as PNG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.inference.video.timeline import MOST_EVENTS, Timeline
from resnetkit.words import counted, duration, percent

COLUMNS = 900  # of time, a pixel each
MOST_ROWS = 12
_STRENGTHS, _HEIGHTS = 10, 13  # as many shades and heights are told apart
_STEPS = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of columns, `first` to before `after`: how strong its colour is and how high it is, both in (0, 1]."""

    first: int
    after: int
    strength: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A label over time: what frames say by themselves above what is told smoothed, and the spans of its events."""

    name: str
    share: str
    events: str
    own: tuple[Bar, ...]
    state: tuple[Bar, ...]
    spans: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """What is drawn: a row for each label, `gaps` where there is no answer or no frame, ticks in columns with words."""

    title: str
    note: str
    lag: str
    rows: tuple[Row, ...]
    gaps: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    columns: int = COLUMNS


def picture(timeline: Timeline, *, video: str, smoothing: str, lag: str, sure: str = "probability") -> Picture:
    """Return the picture of a timeline that has ended.

    `smoothing` and `lag` say how states were made and how late they are, `sure` what they are high by. Up to 12 classes
    have a row each; of more, those that were told for longest, and one row for all others.
    """
    seconds, number = max(timeline.seconds, 1e-9), timeline.counts.total()
    events = f"{counted(number, 'event')} in {duration(timeline.seconds)}"
    longest = f"; the {MOST_EVENTS} longest are marked" if number > MOST_EVENTS else ""
    missing = np.clip(1 - timeline.columns(timeline.covered - timeline.unanswered, COLUMNS), 0, 1)
    return Picture(
        title=f"{video}: {events}{longest}",
        note=f"grey: frame by frame; blue: smoothed ({smoothing}), as high as its {sure}; underlined: events",
        lag=lag,
        rows=tuple(_row(timeline, name, places) for name, places in _chosen(timeline)),
        gaps=_bars(np.where(missing > 0.01, missing, 0), np.ones(COLUMNS)),
        ticks=tuple((value / seconds * COLUMNS, words) for value, words in ticks(timeline.seconds)),
    )


def ticks(seconds: float) -> list[tuple[float, str]]:
    """Return up to nine round times with their words.

    >>> ticks(10.0)[1:3], ticks(75.0)[1:3], ticks(3 * 3600.0)[1:3]
    ([(2, '2 s'), (4, '4 s')], [(10, '0:10'), (20, '0:20')], [(1800, '0:30'), (3600, '1:00')])
    """
    step = next((step for step in _STEPS if seconds / step <= 8), math.ceil(seconds / 8 / 86400) * 86400)
    return [(number * step, clock(number * step, seconds)) for number in range(int(seconds / step + 1e-9) + 1)]


def clock(time: float, seconds: float) -> str:
    """Return a time of a video that is so many seconds long: seconds, minutes and seconds, or hours and minutes."""
    if seconds < 60:
        return f"{time:g} s"
    whole = round(time)
    if seconds < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole % 3600 // 60:02d}"


def _chosen(timeline: Timeline) -> list[tuple[str, list[int]]]:
    """Return the rows that are drawn: their names, and the numbers of the classes in them."""
    number = len(timeline.classes)
    if number <= MOST_ROWS:
        return [(name, [place]) for place, name in enumerate(timeline.classes)]
    told = (timeline.state + timeline.own).sum(axis=0)
    longest = sorted(np.argsort(-told, kind="stable")[: MOST_ROWS - 1].tolist())
    others = [place for place in range(number) if place not in longest]
    return [*((timeline.classes[place], [place]) for place in longest), (f"{len(others)} other classes", others)]


def _row(timeline: Timeline, name: str, places: list[int]) -> Row:
    own, state, sure = (
        timeline.columns(values[:, places].sum(axis=1), COLUMNS)
        for values in (timeline.own, timeline.state, timeline.sure)
    )
    names = {timeline.classes[place] for place in places}
    events = sum(timeline.counts[one] for one in names)
    of_row = [event for event in timeline.events if event.label in names]
    scale = COLUMNS / max(timeline.seconds, 1e-9)
    spans = tuple(
        (event.start * scale, event.end * scale, clock(round(event.start, 1), timeline.seconds)) for event in of_row
    )
    return Row(
        name=name,
        share=percent(float(state.mean())),
        events=f"{events:,}",
        own=_bars(own, np.ones(COLUMNS)),
        state=_bars(state, sure / np.maximum(state, 1e-9)),
        spans=spans,
    )


def _bars(shares: np.ndarray, heights: np.ndarray) -> tuple[Bar, ...]:
    """Return columns as bars, equal neighbours in one; what holds for a hundredth of a column can still be seen."""
    strengths = np.ceil(np.sqrt(shares) * _STRENGTHS - 1e-3).astype(int)
    steps = np.where(strengths > 0, np.clip(np.ceil(heights * _HEIGHTS - 1e-3), 1, _HEIGHTS), 0).astype(int)
    changes = np.flatnonzero((np.diff(strengths) != 0) | (np.diff(steps) != 0)) + 1
    edges: Sequence[int] = [0, *changes.tolist(), len(shares)]
    return tuple(
        Bar(first, after, strengths[first] / _STRENGTHS, steps[first] / _HEIGHTS)
        for first, after in itertools.pairwise(edges)
        if strengths[first] > 0
    )
