"""What smoothings remember while the frames of one video come, and what they tell at each."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# What rows of probabilities tell: [T, K] to the number of a value for each thing, [T], -1 for "not sure".
Tell = Callable[[np.ndarray], np.ndarray]
NOT_SURE = -1

# Pictures of a camera within so many seconds are near copies, and their evidence is no independent one. What ResNet-20
# says of a road below a bridge is correlated by a half after 0.12 s, of a hand after 0.09 s; of what changes slowly, as
# seen from a car or over a belt, after 0.9 and 1.6 s.
_COPIES = 0.1
# The part of frames that say nothing of what is there, however sure the network is.
_ASTRAY = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoothed:
    """What is told at a frame of each thing: its value, `[T]`, -1 for "not sure", and the probabilities, `[T, K]`."""

    values: np.ndarray
    rows: np.ndarray


class Smoother(ABC):
    """What a smoothing remembers of the frames of one video; memory does not grow with them."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._last: Smoothed | None = None

    def step(self, rows: np.ndarray | None, time: float) -> Smoothed | None:
        """Take `[T, K]` probabilities of the next frame, None where it has no answer, and return what is told now.

        `time` in seconds. A frame without an answer changes nothing but counts as time; None before the first answer.
        """
        if rows is not None:
            return self.seen(rows, time)
        self._without(time)
        return self._last

    def seen(self, rows: np.ndarray, time: float) -> Smoothed:
        """Take a frame that has an answer."""
        self._last = self._seen(rows.astype(np.float64), time)
        return self._last

    def _without(self, time: float) -> None:  # noqa: B027 - most smoothers take the time from the next answer
        """Take note of a frame that has no answer."""

    @abstractmethod
    def _seen(self, rows: np.ndarray, time: float) -> Smoothed: ...

    def _told(self, rows: np.ndarray) -> Smoothed:
        return Smoothed(values=self._tell(rows), rows=rows)


class _Timed(Smoother):
    """Remembers what it told last, and when."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(tell)
        self._time = -math.inf

    def _passed(self, time: float) -> float:
        """Return the seconds since the last answer, infinitely many before the first; time never runs back."""
        passed, self._time = max(0.0, time - self._time), max(time, self._time)
        return passed


class Fading(_Timed):
    """A mean in which what was seen fades; `left` says which part of it is left after so many seconds."""

    def __init__(self, tell: Tell, left: Callable[[float], float]) -> None:
        super().__init__(tell)
        self._left = left

    def _seen(self, rows: np.ndarray, time: float) -> Smoothed:
        left = self._left(self._passed(time))
        return self._told(rows if self._last is None else rows + left * (self._last.rows - rows))


class Forward(_Timed):
    """The forward filter of states that last `dwell` seconds on average."""

    def __init__(self, tell: Tell, dwell: float) -> None:
        super().__init__(tell)
        self._dwell = dwell

    def _seen(self, rows: np.ndarray, time: float) -> Smoothed:
        passed, even = self._passed(time), 1 / rows.shape[1]
        before = np.full_like(rows, even)
        if self._last is not None and even < 1:
            # A state is left at the rate 1 / dwell for any other, so what is known fades towards all being equal.
            before += math.exp(-passed / (self._dwell * (1 - even))) * (self._last.rows - even)
        after = before * ((1 - _ASTRAY) * rows + _ASTRAY * even) ** min(1.0, passed / _COPIES)
        return self._told(after / after.sum(axis=1, keepdims=True))


class _Window(Smoother):
    """Remembers the last frames: the time of each with its rows, None where it has no answer."""

    def __init__(self, tell: Tell, frames: int) -> None:
        super().__init__(tell)
        self._frames: deque[tuple[float, np.ndarray | None]] = deque(maxlen=frames)

    def _without(self, time: float) -> None:
        self._frames.append((time, None))

    def _answered(self) -> np.ndarray:
        return np.stack([rows for _, rows in self._frames if rows is not None])


class MedianWindow(_Window):
    """The median of each value's probabilities over the last `frames`, or those of the last `seconds` of them."""

    def __init__(self, tell: Tell, frames: int, *, seconds: float) -> None:
        super().__init__(tell, frames)
        self._seconds = seconds

    def _seen(self, rows: np.ndarray, time: float) -> Smoothed:
        self._frames.append((time, rows))
        while time - self._frames[0][0] > self._seconds - 1e-6:
            self._frames.popleft()
        ordered = np.sort(self._answered(), axis=0)  # a quarter of the time of np.median
        middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        total = middle.sum(axis=1, keepdims=True)
        # Where frames are sure of one value each, and of different ones, no median is above zero: nothing changes.
        stays = rows if self._last is None else self._last.rows
        return self._told(np.where(total > 0, middle / np.where(total > 0, total, 1), stays))


class Votes(_Window):
    """A value holds once `needed` of the last `of` frames say so, and until another does."""

    def __init__(self, tell: Tell, needed: int, of: int) -> None:
        super().__init__(tell, of)
        self._needed = needed
        self._said: deque[np.ndarray | None] = deque(maxlen=of)

    def _without(self, time: float) -> None:
        super()._without(time)
        self._said.append(None)

    def _seen(self, rows: np.ndarray, time: float) -> Smoothed:
        self._frames.append((time, rows))
        now = self._tell(rows)
        self._said.append(now)
        # Only what this frame says can have become enough now.
        enough = sum((said == now).astype(int) for said in self._said if said is not None) >= self._needed
        held = np.full(len(rows), NOT_SURE) if self._last is None else self._last.values
        return Smoothed(values=np.where(enough, now, held), rows=self._answered().mean(axis=0))
