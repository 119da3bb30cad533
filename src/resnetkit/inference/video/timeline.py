"""What a video shows over its whole time, in a fixed number of bins however long it is: the data of a picture of it."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from resnetkit.inference.video.events import Event
from resnetkit.inference.video.states import Told

BINS = 2048
MOST_EVENTS = 200
_FIRST_WIDTH = 1 / 64  # seconds; halving the number of bins doubles it, without a rounding
_STALL = 4.0  # a frame stands for this many times the usual time between frames at most


class Timeline:
    """For how long each label was told in each bin of time; bins become twice as wide when all are full.

    A frame stands for the time until the next one; where frames fail to come, for four times the usual time at most,
    and no frame stands for the rest. `own` and `state` are seconds, `[BINS, K]`, of what frames say by themselves and
    smoothed; `sure` is the smoothed probability times its seconds; `unanswered` `[BINS]` the seconds of frames without
    an answer, `covered` `[BINS]` those of all. `events` are the longest, `counts` how many
    there are of each label.

    >>> from resnetkit.inference.video.states import State
    >>> timeline = Timeline(("red", "green"))
    >>> for number in range(100):
    ...     red = State(("red",), (0.9,))
    ...     timeline.add(number / 25, Told(red, red))
    >>> timeline.end()
    >>> timeline.seconds, round(float(timeline.state[:, 0].sum()), 6)
    (4.0, 4.0)
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.width = _FIRST_WIDTH
        self.seconds = 0.0
        self.counts: Counter[str] = Counter()
        shape = (BINS, len(self.classes))
        self.own, self.state, self.sure = (np.zeros(shape, np.float32) for _ in range(3))
        self.covered, self.unanswered = np.zeros(BINS), np.zeros(BINS)
        self._number = {label: number for number, label in enumerate(self.classes)}
        self._events: list[tuple[float, int, Event]] = []
        self._last: tuple[float, Told] | None = None
        self._gaps, self._gap, self._total_gap = 0, 0.0, 0.0

    @property
    def events(self) -> list[Event]:
        """The longest `MOST_EVENTS`, in the order in which they began."""
        return sorted((event for _, _, event in self._events), key=lambda event: (event.start, event.track or 0))

    def add(self, time: float, told: Told) -> None:
        """Take what is told at the next frame, at `time` in seconds from the first."""
        if self._last is not None:
            gap = max(0.0, time - self._last[0])
            usual = self._total_gap / self._gaps if self._gaps >= 8 else math.inf
            self._stands_for(self._last[0], min(gap, _STALL * usual))
            self._gap, self._gaps, self._total_gap = gap, self._gaps + 1, self._total_gap + min(gap, _STALL * usual)
        self.seconds = max(self.seconds, time)
        self._last = time, told

    def add_event(self, event: Event) -> None:
        """Take an event that ended."""
        self.counts[event.label] += 1
        entry = (event.seconds, -self.counts.total(), event)
        if len(self._events) < MOST_EVENTS:
            heapq.heappush(self._events, entry)
        else:
            heapq.heappushpop(self._events, entry)

    def end(self) -> None:
        """Take the last frame for as long as the one before it; to be called once."""
        if self._last is not None:
            self.seconds = max(self.seconds, self._last[0] + self._gap)
            self._stands_for(self._last[0], self._gap)

    def _stands_for(self, start: float, seconds: float) -> None:
        """Credit the last frame with the time from `start` on."""
        assert self._last is not None
        while start + seconds > BINS * self.width:
            self._halve()
        told = self._last[1]
        holds = told.state.probability
        first, last = int(start / self.width), min(BINS - 1, int((start + seconds) / self.width))
        for place in range(first, last + 1):
            within = min(start + seconds, (place + 1) * self.width) - max(start, place * self.width)
            self.covered[place] += within
            if told.own is None:
                self.unanswered[place] += within
            for label in () if told.own is None else told.own.labels:
                self.own[place, self._number[label]] += within
            for label, probability in holds.items():
                self.state[place, self._number[label]] += within
                self.sure[place, self._number[label]] += within * probability

    def _halve(self) -> None:
        """Make of each two bins one, of twice the width."""
        for values in (self.own, self.state, self.sure, self.covered, self.unanswered):
            values[: BINS // 2] = values[0::2] + values[1::2]
            values[BINS // 2 :] = 0
        self.width *= 2

    def columns(self, values: np.ndarray, number: int) -> np.ndarray:
        """Return seconds in bins, `[BINS]`, as shares of each of `number` columns that the whole time is cut into."""
        edges = np.linspace(0, self.seconds, number + 1)
        total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
        # The last bin that anything is in ends with the video.
        until = np.interp(edges, np.minimum(np.arange(BINS + 1) * self.width, self.seconds), total)
        shares: np.ndarray = np.clip(np.diff(until) / max(self.seconds / number, 1e-9), 0, 1)
        return shares
