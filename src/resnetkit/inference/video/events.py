"""From the states of a video to events: what held from when to when, while the frames come."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from resnetkit.errors import UsageError
from resnetkit.inference.video.states import State
from resnetkit.inference.video.tracks import Track
from resnetkit.words import counted


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A label that held from `start` to `end`, in seconds of the video.

    It began with the frame of number `first_frame`, and `end` is the time of the frame at which it held no more; at the
    end of a video, that of the last frame and the time between the last two. `frames` are those looked at,
    `unanswered` those of them that had no answer and changed nothing. `probability` is the mean of the smoothed
    probabilities of the others, and `greatest` the greatest; of a detector that is not calibrated both are None, and
    `score` is the mean of its smoothed scores. `lag`: how many
    seconds a state may begin and end after what is seen, measured on clean switches, None where that is not known.
    `track`, of an object that was followed, is the number of its track; it then ends with the last frame that it was
    found on, and `probability`, `greatest` and `score` are those of the `Track`, the first None where tracks were not
    calibrated.
    """

    video: str
    label: str
    start: float
    end: float
    first_frame: int
    last_frame: int
    frames: int
    unanswered: int
    probability: float | None
    greatest: float | None
    lag: float | None
    track: int | None = None
    score: float | None = None

    @property
    def seconds(self) -> float:
        """How long it held."""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which events are told: those of `least` so many seconds.

    A hole that is shorter than that is closed: the event before it goes on.
    """

    least: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.least < math.inf:
            raise UsageError(f"--min-event {self.least:g}: must be a number of seconds, 0 or more")


EVERY = Wanted()
_ROUNDING = 1e-6


@dataclass(slots=True)
class _Open:
    """What is known of an event that has not ended."""

    start: float
    first_frame: int
    last_frame: int
    frames: int = 0
    unanswered: int = 0
    total: float = 0.0
    greatest: float = 0.0

    def add(self, number: int, probability: float, *, answered: bool) -> None:
        self.last_frame = number
        self.frames += 1
        if answered:
            self.total += probability
            self.greatest = max(self.greatest, probability)
        else:
            self.unanswered += 1


@dataclass(slots=True)
class Events:
    """The events of one video, as frame after frame is added; each is returned when it has ended.

    Of several labels each has its own, which may overlap; "not sure" is none. Only events that have not ended are
    remembered, and counts: `counts` and `seconds` by label of those told, `short` of those left out, `closed` of holes.
    `scores`: what states tell are the scores of a detector that is not calibrated.
    Where there is a least time an event is returned that much later. What is added may be read back from rows that were
    written: the same events come out.

    >>> events = Events("cars.mp4")
    >>> for number, label in enumerate(("red", "red", "green")):
    ...     for event in events.add(number, number / 2, State((label,), (0.9,))):
    ...         print(event.label, event.start, event.end, event.frames)
    red 0.0 1.0 2
    >>> [(event.label, event.end) for event in events.end()]
    [('green', 1.5)]
    """

    video: str
    wanted: Wanted = EVERY
    lag: float | None = None
    scores: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    short: int = 0
    closed: int = 0
    _over: dict[str, tuple[float, _Open]] = field(default_factory=dict)
    _open: dict[str, _Open] = field(default_factory=dict)
    _time: float | None = None
    _gap: float = 0.0

    def add(self, number: int, time: float, state: State, *, answered: bool = True) -> list[Event]:
        """Take what holds at the frame of a `number`, at `time` in seconds, and return the events that are over."""
        holds = state.probability
        self._end([label for label in self._open if label not in holds], time)
        over = self._told(time)
        for label, probability in holds.items():
            if label in self._over:
                _, self._open[label] = self._over.pop(label)
                self.closed += 1
            event = self._open.setdefault(label, _Open(time, number, number))
            event.add(number, probability, answered=answered)
        self._gap, self._time = max(0.0, time - (time if self._time is None else self._time)), time
        return over

    def of_track(self, track: Track) -> list[Event]:
        """Take a track that ended, which is an event; none where it was too short."""
        if track.end - track.begin < self.wanted.least - _ROUNDING:
            self.short += 1
            return []
        event = Event(
            video=self.video, label=track.label, start=track.begin, end=track.end, first_frame=track.first,
            last_frame=track.last, frames=track.frames, unanswered=0, probability=track.probability,
            greatest=track.greatest, lag=None, track=track.number, score=track.score,
        )  # fmt: skip
        self._count(event)
        return [event]

    def end(self) -> list[Event]:
        """Return the events that hold at the end of the video; to be called once, also where it was cut short."""
        self._end(list(self._open), (self._time or 0.0) + self._gap)
        return self._told(math.inf)

    def _end(self, labels: Sequence[str], time: float) -> None:
        """Take labels that hold no more: an event that was long enough may go on after a hole."""
        for label in labels:
            event = self._open.pop(label)
            # Frame times are no round numbers: what lasts 12 frames of 1/24 s is half a second long.
            if max(0.0, time - event.start) >= self.wanted.least - _ROUNDING:
                self._over[label] = time, event
            else:
                self.short += 1

    def _told(self, time: float) -> list[Event]:
        """Return the events that nothing can continue at a `time`, in the order in which they ended."""
        ended = [label for label, (end, _) in self._over.items() if time - end >= self.wanted.least - _ROUNDING]
        told = [self._event(label, *self._over.pop(label)) for label in ended]
        for event in told:
            self._count(event)
        return told

    def _count(self, event: Event) -> None:
        self.counts[event.label] += 1
        self.seconds[event.label] = self.seconds.get(event.label, 0.0) + event.seconds

    def _event(self, label: str, time: float, known: _Open) -> Event:
        mean = known.total / max(known.frames - known.unanswered, 1)
        return Event(
            video=self.video, label=label, start=known.start, end=max(time, known.start), first_frame=known.first_frame,
            last_frame=known.last_frame, frames=known.frames, unanswered=known.unanswered,
            probability=None if self.scores else mean, greatest=None if self.scores else known.greatest,
            score=mean if self.scores else None, lag=self.lag,
        )  # fmt: skip

    @property
    def words(self) -> str:
        """How many there are of which label, and how many were too short."""
        of_which = ", ".join(f"{label} {number:,}" for label, number in self.counts.most_common(5))
        more = f", {len(self.counts) - 5} more labels" if len(self.counts) > 5 else ""
        short = f"; {self.short:,} shorter than {self.wanted.least:g} s left out" if self.short else ""
        short += f"; {counted(self.closed, 'hole')} shorter than that closed" if self.closed else ""
        return f"{counted(self.counts.total(), 'event')}{of_which and f' ({of_which}{more})'}{short}"
