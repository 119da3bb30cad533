"""How long one and the same picture stands, and when that is an alarm."""

from __future__ import annotations

import re
from dataclasses import dataclass

from resnetkit.checking.drift.alarm import Sighting
from resnetkit.errors import UsageError
from resnetkit.words import seconds_of

# Fewer are no still picture, however far apart they are: a stream may have stalled between two of them.
LEAST_COPIES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Still:
    """How long a picture may stand still: so many `copies` in a row, or so many `seconds`; never an alarm without both.

    Pictures without a time count as one a second.
    """

    copies: int | None = None
    seconds: float | None = None


def asked(text: str) -> Still:
    """Return what `600`, copies in a row, `10m` or `none` asks for; raises `UsageError`.

    >>> asked("600"), asked("10m")
    (Still(copies=600, seconds=None), Still(copies=None, seconds=600.0))
    """
    if text == "none":
        return Still()
    if re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII) and int(text) >= LEAST_COPIES:
        return Still(copies=int(text))
    seconds = seconds_of(text)
    if seconds is None:
        raise UsageError(
            f"--still {text}: write it as 600 (copies in a row, {LEAST_COPIES} or more), 10m (or 600s, 2h) or none"
        )
    return Still(seconds=seconds)


class Standing:
    """The clock of a picture that stands still, in constant memory.

    `copies` of the picture came in a row, and it stands for `seconds`; `timed`: whether these are by the time of
    frames.
    """

    def __init__(self, most: Still) -> None:
        self._most, self._told = most, False
        self._time: float | None = None
        self.copies, self.seconds, self.timed = 0, 0.0, True

    def moved(self, sighting: Sighting) -> None:
        """Take a picture that is another than the one before."""
        self._time, self._told = sighting.time, False
        self.copies, self.seconds, self.timed = 0, 0.0, True

    def stood(self, sighting: Sighting) -> bool:
        """Take a copy; tells whether with it the picture stands still for too long, once for each picture.

        Where time goes back, because another video begins, the clock waits.
        """
        self.copies += 1
        if sighting.time is None:
            self.seconds, self.timed = self.seconds + 1, False
        elif self._time is not None:
            self.seconds += max(0.0, sighting.time - self._time)
        self._time = sighting.time
        if self._told or self.copies < LEAST_COPIES:
            return False
        by_number = self._most.copies is not None and self.copies >= self._most.copies
        by_time = self._most.seconds is not None and self.seconds >= self._most.seconds - 1e-6
        self._told = by_number or by_time
        return self._told
