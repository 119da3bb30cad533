"""How long after the picture its state changes: measured by running the smoother itself over clean switches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resnetkit.inference.video.smoothers import Smoothed
from resnetkit.inference.video.smoothing import Smoothing
from resnetkit.inference.video.states import Reading, Switch
from resnetkit.words import counted

_LONGEST = 20_000  # frames: what has not changed by then is said not to
_STILL = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Lag:
    """So many frames, `quickest` to `slowest` by the kind of switch, after the first with another picture.

    0: the state changes with that frame. None: there is a kind of switch that the state does not follow. `rate` is in
    frames a second.
    """

    quickest: int | None
    slowest: int | None
    rate: float

    @property
    def seconds(self) -> float | None:
        """The slowest, in seconds."""
        return None if self.slowest is None else self.slowest / self.rate

    @property
    def words(self) -> str:
        """What is said of it, a sentence's end.

        >>> Lag(quickest=9, slowest=9, rate=25.0).words, Lag(quickest=0, slowest=0, rate=25.0).words
        ('states change 0.36 s (9 frames) after the picture does', 'states change with the picture')
        """
        if self.slowest is None or self.quickest is None:
            return "some states do not change at all when the picture does: the model is not sure enough for it"
        if self.slowest == 0:
            return "states change with the picture"
        least = "" if self.quickest == self.slowest else f"{self.quickest / self.rate:.2f} to "
        fewest = "" if self.quickest == self.slowest else f"{self.quickest} to "
        frames = f"{fewest}{counted(self.slowest, 'frame')}"
        return f"states change {least}{self.slowest / self.rate:.2f} s ({frames}) after the picture does"


def measured(smoothing: Smoothing, reading: Reading, *, rate: float, sure: float = 0.9) -> Lag:
    """Return the lag at `rate` frames a second on clean switches between pictures that the model is so `sure` of.

    Every kind of switch that the reading has is run: before it until nothing changes any more, after it until the state
    does. With flicker around a switch single lags are shorter or longer.

    >>> from resnetkit.inference.video.smoothing import asked
    >>> from resnetkit.inference.video.states import OneClass
    >>> from resnetkit.models.decision import Decision
    >>> measured(asked("exponential 0.35s"), OneClass(Decision(), ("red", "green")), rate=25.0).words
    'states change 0.32 s (8 frames) after the picture does'
    """
    lags = [_of_switch(smoothing, reading, switch, rate) for switch in reading.switches(sure)]
    known = [one for pair in lags for one in pair if one is not None]
    complete = bool(lags) and all(one is not None for pair in lags for one in pair)
    return Lag(quickest=min(known) if complete else None, slowest=max(known) if complete else None, rate=rate)


def _of_switch(smoothing: Smoothing, reading: Reading, switch: Switch, rate: float) -> tuple[int | None, int | None]:
    """Return after how many frames the first and the last of the things has its new value."""
    before, after = switch
    smoother = smoothing.begin(reading.tell)
    number, moves, told = 0, True, Smoothed(values=reading.tell(before), rows=np.full_like(before, np.nan))
    while number < smoothing.window(rate) or (moves and number < _LONGEST):
        then, told = told, smoother.seen(before, number / rate)
        moves, number = not np.abs(told.rows - then.rows).max() < _STILL, number + 1
    wanted, first = reading.tell(after), None
    if (told.values == wanted).any() or (wanted < 0).any():
        return None, None
    for passed in range(_LONGEST):
        there = smoother.seen(after, (number + passed) / rate).values == wanted
        first = passed if first is None and there.any() else first
        if there.all():
            return first, passed
    return None, None
