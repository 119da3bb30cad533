"""The state of a video at each frame: what is told of it, by the frame itself and steadied by those before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from resnetkit.errors import UsageError
from resnetkit.inference.video.smoothers import NOT_SURE, Smoothed
from resnetkit.inference.video.smoothing import Smoothing
from resnetkit.models.cut_offs import CutOffs
from resnetkit.models.decision import Decision
from resnetkit.models.detection.sureness import Sureness

# Clean switches, as rows of probabilities before and after: [T, K] both.
Switch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class State:
    """What holds at a time: one label or none ("not sure"), or those of several; each with its probability."""

    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()

    @property
    def probability(self) -> dict[str, float]:
        """The probability of each label that holds."""
        return dict(zip(self.labels, self.probabilities, strict=True))


class Reading(Protocol):
    """How the probabilities of a frame, `[K]`, are read as things that have values, and these as a state."""

    def rows(self, probabilities: np.ndarray) -> np.ndarray:
        """Return `[T, values]` probabilities."""

    def tell(self, rows: np.ndarray) -> np.ndarray:
        """Return the value of each thing, `[T]`, -1 for "not sure"."""

    def state(self, told: Smoothed) -> State:
        """Return the labels that hold."""

    def switches(self, before: float, after: float) -> Sequence[Switch]:
        """Return the kinds of clean switches there are, from pictures that the model is so sure of to such ones."""


class OneClass:
    """Pictures of one class each: the state is what the decision tells of smoothed probabilities, or "not sure"."""

    def __init__(self, decision: Decision, classes: Sequence[str]) -> None:
        """Raises `UsageError` for a decision that gives sets of classes."""
        if decision.least is not None:
            raise UsageError("--coverage gives sets of classes, and the state of a video is one: use --reject")
        self._decision, self._classes = decision, tuple(classes)

    def rows(self, probabilities: np.ndarray) -> np.ndarray:
        """Return `[1, K]`."""
        return probabilities[None]

    def tell(self, rows: np.ndarray) -> np.ndarray:
        """Return the class that the decision tells, `[1]`."""
        told, threshold = self._decision.told(rows), self._decision.threshold
        # As in a picture's own answer: its most probable class decides whether there is an answer.
        return told if threshold is None else np.where(rows.max(axis=1) < threshold, NOT_SURE, told)

    def state(self, told: Smoothed) -> State:
        """Return the one class, or none."""
        value = int(told.values[0])
        return State() if value == NOT_SURE else _rounded((self._classes[value],), told.rows[:, value])

    def switches(self, before: float, after: float) -> Sequence[Switch]:
        """Return a switch between two classes, or with a class that is looked for to it and from it."""
        number = len(self._classes)
        if number < 2:
            return ()
        first = 0 if self._decision.point is None else self._decision.point.finding
        second = (first + 1) % number

        def picture(of: int, sure: float) -> np.ndarray:
            row = np.full((1, number), (1 - sure) / (number - 1))
            row[0, of] = sure
            return row

        there = picture(second, before), picture(first, after)
        gone = picture(first, before), picture(second, after)
        return (there,) if self._decision.point is None else (there, gone)


class SeveralLabels:
    """Pictures of several labels or objects: each label is there or not, from its own cut-off on.

    Of a detector, rows are the greatest scores among the objects of a label (`greatest_scores`), on which its cut-offs
    lie; what states tell of these is their calibrated probability where the detector has one.
    """

    def __init__(self, cut_offs: CutOffs, classes: Sequence[str]) -> None:
        self._at, self._classes = cut_offs.of(len(classes)), tuple(classes)
        self._platt = cut_offs.platt if isinstance(cut_offs, Sureness) else None

    def rows(self, probabilities: np.ndarray) -> np.ndarray:
        """Return `[K, 2]`: each label's probability not to be there, and to be."""
        return np.stack([1 - probabilities, probabilities], axis=1)

    def tell(self, rows: np.ndarray) -> np.ndarray:
        """Return 1 for each label that is there, else 0."""
        # As float32, in which a picture's own answer is compared with them.
        return (rows[:, 1].astype(np.float32) >= self._at).astype(np.int64)

    def state(self, told: Smoothed) -> State:
        """Return the labels that are there, in the order of the classes."""
        there = np.flatnonzero(told.values == 1).tolist()
        sure = told.rows[there, 1] if self._platt is None else self._platt.of(told.rows[there, 1])
        return _rounded([self._classes[number] for number in there], sure)

    def switches(self, before: float, after: float) -> Sequence[Switch]:
        """Return all labels appearing at once, and going."""
        number = len(self._classes)
        first, then = (self.rows(np.full(number, sure)) for sure in (before, after))
        return (first[:, ::-1], then), (first, then[:, ::-1])


def greatest_scores(objects: Sequence[tuple[str, float]], classes: Sequence[str]) -> np.ndarray:
    """Return `[K]`: the greatest score among the objects (label, score) of each class, 0 where there are none.

    >>> greatest_scores([("car", 0.5), ("car", 0.75)], ("bus", "car")).tolist()
    [0.0, 0.75]
    """
    greatest = dict.fromkeys(classes, 0.0)
    for label, score in objects:
        greatest[label] = max(greatest[label], score)
    return np.array(list(greatest.values()))


@dataclass(frozen=True, slots=True)
class Told:
    """What is told at a frame: its `own` state, None where it has no answer, and the steadied `state`."""

    own: State | None
    state: State


class States:
    """The states of one video, frame after frame, in memory that does not grow.

    `frames` are counted, those `unanswered` among them, and how often what is told changed: frame by frame
    (`own_changes`) and smoothed (`changes`).

    >>> from resnetkit.inference.video.smoothing import asked
    >>> states = States(asked("2 of 3"), OneClass(Decision(), ("red", "green")))
    >>> for number, red in enumerate((0.9, 0.8, 0.1, 0.9)):
    ...     print(states.add(np.array([red, 1 - red]), time=number / 25).state.labels)
    ()
    ('red',)
    ('red',)
    ('red',)
    >>> states.own_changes, states.changes
    (2, 0)
    """

    def __init__(self, smoothing: Smoothing, reading: Reading) -> None:
        self._reading = reading
        self._smoother = smoothing.begin(reading.tell)
        self._own: State | None = None
        self._state: State | None = None
        self.frames = self.unanswered = self.own_changes = self.changes = 0

    def add(self, probabilities: np.ndarray | None, *, time: float) -> Told:
        """Take the probabilities of the next frame, `[K]`, None where it has no answer, and return what is told.

        `time` in seconds. Without an answer the state stays; before the first it is none.
        """
        rows = None if probabilities is None else self._reading.rows(probabilities)
        smoothed = self._smoother.step(rows, time)
        own = None if rows is None else self._reading.state(Smoothed(values=self._reading.tell(rows), rows=rows))
        state = State() if smoothed is None else self._reading.state(smoothed)
        self.frames += 1
        if own is None:
            self.unanswered += 1
        else:
            self.own_changes += _changed(self._own, own)
            self._own = own if self._own or own.labels else None
        self.changes += _changed(self._state, state)
        self._state = state if self._state or state.labels else None
        return Told(own, state)


def _changed(before: State | None, now: State) -> bool:
    """Tell whether there is another state than before; the first in which anything holds is no change."""
    return before is not None and before.labels != now.labels


def _rounded(labels: Sequence[str], probabilities: np.ndarray) -> State:
    """Return a state with six decimals, as rows have them: what is made of read rows is what was made at once."""
    return State(tuple(labels), tuple(round(float(one), 6) for one in probabilities))
