"""How probabilities of neighbouring frames become steady ones: exponential, median, N of M, hidden Markov.

All are about things that have one of K values at any time, each with a row of probabilities: a picture of one class is
one thing (`[1, K]`), of several labels each is a thing that is there or not (`[T, 2]`).
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from resnetkit.errors import UsageError, near_miss
from resnetkit.inference.video.smoothers import Fading, Forward, MedianWindow, Smoother, Tell, Votes
from resnetkit.words import seconds_of

_WAYS = "choose none, 'exponential 0.5s', 'median 1s', 'median 9', '3 of 5' or 'hmm 10s'"
_MOST_FRAMES = 2000


class Smoothing(ABC):
    """How frames are smoothed, as a person asked for it; `begin` starts it for one video."""

    @property
    @abstractmethod
    def words(self) -> str:
        """How it is asked for."""

    @abstractmethod
    def begin(self, tell: Tell) -> Smoother:
        """Return a smoother that has seen nothing."""

    def window(self, rate: float) -> int:
        """Return how many frames it looks back on, at `rate` frames a second; 1 where what was seen fades."""
        return 1


@dataclass(frozen=True, slots=True)
class Unsmoothed(Smoothing):
    """Each frame for itself."""

    @property
    def words(self) -> str:
        """How it is asked for."""
        return "none"

    def begin(self, tell: Tell) -> Smoother:
        """Return a smoother that tells each frame as it is."""
        return Fading(tell, lambda _: 0.0)


@dataclass(frozen=True, slots=True)
class Exponential(Smoothing):
    """The mean of all frames, where what is `half_life` seconds older weighs half as much."""

    half_life: float

    @property
    def words(self) -> str:
        """How it is asked for."""
        return f"exponential {self.half_life:g}s"

    def begin(self, tell: Tell) -> Smoother:
        """Return a smoother that has seen nothing."""
        return Fading(tell, lambda passed: 0.5 ** (passed / self.half_life))


@dataclass(frozen=True, slots=True)
class Median(Smoothing):
    """The median of each value's probabilities over the last `frames`, or over those of the last `seconds`."""

    frames: int | None = None
    seconds: float | None = None

    @property
    def words(self) -> str:
        """How it is asked for."""
        return f"median {self.frames}" if self.seconds is None else f"median {self.seconds:g}s"

    def begin(self, tell: Tell) -> Smoother:
        """Return a smoother that has seen nothing."""
        seconds = math.inf if self.seconds is None else self.seconds
        return MedianWindow(tell, self.frames or _MOST_FRAMES, seconds=seconds)

    def window(self, rate: float) -> int:
        """Return how many frames it looks back on."""
        return min(_MOST_FRAMES, self.frames or math.ceil((self.seconds or 0) * rate))


@dataclass(frozen=True, slots=True)
class NOfM(Smoothing):
    """A value is told once `needed` of the last `of` frames say so, and until another is: hysteresis."""

    needed: int
    of: int

    @property
    def words(self) -> str:
        """How it is asked for."""
        return f"{self.needed} of {self.of}"

    def begin(self, tell: Tell) -> Smoother:
        """Return a smoother that has seen nothing."""
        return Votes(tell, self.needed, self.of)

    def window(self, rate: float) -> int:
        """Return how many frames it looks back on."""
        return self.of


@dataclass(frozen=True, slots=True)
class HiddenMarkov(Smoothing):
    """The forward filter of a hidden Markov model whose states last `dwell` seconds on average, all equally frequent.

    A frame's evidence is its calibrated probabilities, of which a tenth is taken to say nothing, so that one frame that
    is sure and wrong does not decide; frames closer than 0.1 s are near copies and count in parts. What comes out is
    the probability of a state under this model, which lies nearer to 0 and 1 than the calibrated one of a picture: what
    is likely again and again becomes certain, and "not sure" is rare.
    Source: Rabiner 1989, A Tutorial on Hidden Markov Models, equations 19 to 20, in continuous time.
    """

    dwell: float

    @property
    def words(self) -> str:
        """How it is asked for."""
        return f"hmm {self.dwell:g}s"

    def begin(self, tell: Tell) -> Smoother:
        """Return a smoother that has seen nothing."""
        return Forward(tell, self.dwell)


def asked(text: str) -> Smoothing:
    """Return the smoothing that a text asks for.

    `none`; `exponential 0.5s`, by its half-life; `median 1s` or, in frames, `median 9`; `3 of 5`, N of the last M
    frames; `hmm 10s`, by the mean time that a state lasts. Raises `UsageError` for anything else.

    >>> asked("exponential 0.5s"), asked("3 of 5")
    (Exponential(half_life=0.5), NOfM(needed=3, of=5))
    """
    words = " ".join(text.split())
    if words == "none":
        return Unsmoothed()
    if votes := re.fullmatch(r"(\d{1,9}) of (\d{1,9})", words):
        return _n_of_m(int(votes[1]), int(votes[2]))
    way, _, length = words.partition(" ")
    if way not in ("exponential", "median", "hmm"):
        hint = near_miss(way, ("none", "exponential", "median", "hmm")) if way else ""
        raise UsageError(f"--smooth {text!r}: {_WAYS}{hint}")
    if way == "median" and re.fullmatch(r"\d{1,9}", length):
        return Median(frames=_within(int(length), text))
    seconds = seconds_of(length)
    if seconds is None:
        also = ", or frames, as in 'median 9'" if way == "median" else ""
        raise UsageError(f"--smooth {text!r}: say how many seconds, as in '{way} 2s'{also}")
    if way == "exponential":
        return Exponential(seconds)
    return HiddenMarkov(seconds) if way == "hmm" else Median(seconds=seconds)


def check_rate(smoothing: Smoothing, rate: float) -> None:
    """Raise `UsageError` where a median's seconds hold more frames than are kept, at `rate` frames a second."""
    seconds = smoothing.seconds if isinstance(smoothing, Median) else None
    if seconds is not None and seconds * rate > _MOST_FRAMES:
        raise UsageError(
            f"--smooth '{smoothing.words}': is more than {_MOST_FRAMES:,} frames at {rate:.4g} a second; ask for "
            f"{_MOST_FRAMES / rate:.3g}s or less, look at fewer frames, or take 'exponential {seconds / 2:g}s'"
        )


def _n_of_m(needed: int, of: int) -> NOfM:
    if not 0 < needed <= of:
        raise UsageError(f"--smooth '{needed} of {of}': the first number is at least 1 and no more than the second")
    if 2 * needed <= of:
        raise UsageError(
            f"--smooth '{needed} of {of}': two classes could hold at once; ask for {of // 2 + 1} of {of} or more"
        )
    return NOfM(needed, _within(of, f"{needed} of {of}"))


def _within(frames: int, text: str) -> int:
    if not 1 <= frames <= _MOST_FRAMES:
        raise UsageError(f"--smooth {text!r}: frames are between 1 and {_MOST_FRAMES:,}")
    return frames
