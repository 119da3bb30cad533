"""How long after the picture its state changes: measured by running the smoother itself over clean switches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.inference.video.smoothers import Smoothed
from resnetkit.inference.video.smoothing import Smoothing
from resnetkit.inference.video.states import Reading, Switch
from resnetkit.words import counted

_SURE, _UNSURE = 0.9, 0.6  # how sure the model is of typical pictures, and of those that it hardly knows
_LONGEST = 20_000  # frames: what has not changed by then is said not to
_STILL = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Lag:
    """So many frames, `quickest` to `slowest` by the kind of switch, after the first with another picture.

    0: the state changes with that frame. None: there is a kind of switch that the state does not follow. `unsure`: the
    slowest where the model is less sure of the new picture than of those before. `rate` is in frames a second.
    """

    quickest: int | None
    slowest: int | None
    unsure: int | None
    rate: float

    @property
    def seconds(self) -> float | None:
        """The slowest, in seconds."""
        return None if self.slowest is None else self.slowest / self.rate

    @property
    def words(self) -> str:
        """What is said of it, a sentence's end.

        >>> print(Lag(quickest=9, slowest=9, unsure=25, rate=25.0).words)
        states change 0.36 s (9 frames) after the picture does, 1.00 s where the model is only 60 % sure of the new one
        """
        if self.slowest is None or self.quickest is None:
            return "some states do not change at all when the picture does: the model is not sure enough for it"
        if self.slowest == 0:
            return "states change with the picture"
        least = "" if self.quickest == self.slowest else f"{self.quickest / self.rate:.2f} to "
        fewest = "" if self.quickest == self.slowest else f"{self.quickest} to "
        frames = f"{fewest}{counted(self.slowest, 'frame')}"
        longer = ""
        if self.unsure is not None and self.unsure > self.slowest + 1:
            longer = (
                f", {self.unsure / self.rate:.2f} s where the model is only {100 * _UNSURE:.0f} % sure of the new one"
            )
        return f"states change {least}{self.slowest / self.rate:.2f} s ({frames}) after the picture does{longer}"


def measured(smoothing: Smoothing, reading: Reading, *, rate: float) -> Lag:
    """Return the lag at `rate` frames a second on clean switches between pictures that the model is 0.9 sure of.

    Every kind of switch that the reading has is run: before it until nothing changes any more, after it until the state
    does; then again to pictures that it is 0.6 sure of. With flicker around a switch single lags are shorter or longer.

    >>> from resnetkit.inference.video.smoothing import asked
    >>> from resnetkit.inference.video.states import OneClass
    >>> from resnetkit.models.decision import Decision
    >>> measured(asked("median 0.7s"), OneClass(Decision(), ("red", "green")), rate=25.0).words
    'states change 0.32 s (8 frames) after the picture does'
    """
    quickest, slowest = _between(smoothing, reading, reading.switches(_SURE, _SURE), rate)
    _, unsure = _between(smoothing, reading, reading.switches(_SURE, _UNSURE), rate)
    return Lag(quickest=quickest, slowest=slowest, unsure=unsure, rate=rate)


def _between(
    smoothing: Smoothing, reading: Reading, switches: Sequence[Switch], rate: float
) -> tuple[int | None, int | None]:
    """Return the quickest and the slowest of these switches, None where there is none that is followed."""
    lags = [one for switch in switches for one in _of_switch(smoothing, reading, switch, rate)]
    known = [one for one in lags if one is not None]
    return (min(known), max(known)) if lags and len(known) == len(lags) else (None, None)


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
