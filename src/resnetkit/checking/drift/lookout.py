"""One picture after another held against a reference, until they are no longer like it; in constant memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from PIL import Image

from resnetkit.checking.drift.chart import Chart, Space, components_of, limit
from resnetkit.checking.drift.looks import Difference, differences, looks_of
from resnetkit.checking.drift.reference import Reference

# A picture nearer to the last one that counted than this share of how far two of the reference are apart is a copy.
_COPY = 0.35
# A scene that lasts counts once in so many copies. Not only one that the reference has nothing like: with 208 pictures
# of traffic lights a black frame lies nearer to the reference's mean and to its nearest picture than many of its own.
STILL = 60
# Below that a change of all pictures that is plain to the eye may be missed (benchmarks/watching.py).
ENOUGH = 50
_KEPT, _SHOWN, _SIDE = 256, 12, 128

Seen = Literal["counted", "copy", "alarm"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A picture of today: its number among all, from 1, what it is called, and in a video its time in seconds."""

    number: int
    source: str
    time: float | None = None

    @property
    def words(self) -> str:
        """Say which it is."""
        return f"picture {self.number:,} ({self.source})"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"picture": self.number, "source": self.source, "time": self.time}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A picture that speaks for an alarm: `share` of what all say together, `[h, w, C] uint8` `pixels`, made small."""

    sighting: Sighting
    share: float
    pixels: np.ndarray = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """Pictures are no longer like the reference: `since` when, as far as `at` could tell, and `differing` of them.

    `shown`: those of the last 256 that say it most. `earlier`: it began before what is remembered. `still`: how many
    copies in a row came before it.
    """

    at: Sighting
    since: Sighting
    differing: int
    earlier: bool
    still: int
    level: float
    limit: float
    looks: tuple[Difference, ...]
    shown: tuple[Shown, ...] = field(repr=False)

    @property
    def words(self) -> str:
        """Say it in a line."""
        before = " or before" if self.earlier else ""
        plain = "; ".join(look.words for look in self.looks) or "what the network sees, nothing plain to the eye"
        lasts = f"; the picture stands still, {self.still:,} copies in a row" if self.still >= STILL else ""
        return (
            f"since {self.since.words}{before} the pictures differ from the reference: {plain}; told at "
            f"{self.at.words}, after {self.differing:,} that count{lasts}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "at": self.at.to_json(), "since": self.since.to_json(), "or_before": self.earlier,
            "differing": self.differing, "still": self.still, "level": self.level, "limit": self.limit,
            "looks": {
                look.name: {"now": look.now, "reference": look.reference, "deviations": look.deviations}
                for look in self.looks
            },
            "shown": [one.sighting.to_json() for one in self.shown],
        }  # fmt: skip


class Lookout:
    """Holds pictures against a reference: `see` each in turn.

    `every`: so many pictures like the reference pass between two false alarms, on average, or more.
    """

    def __init__(self, reference: Reference, *, every: int) -> None:
        self.reference, self.every = reference, every
        self._space = Space.of(reference.features, components_of(reference.features))
        whole = self._space.scores(reference.features)
        self._apart = float(np.median(np.linalg.norm(whole - np.roll(whole, len(whole) // 2, axis=0), axis=1)))
        self.chart = Chart(
            limit(reference.features, reference.groups, every=every), width=whole.shape[1],
            known_from=len(np.unique(reference.groups)),
        )  # fmt: skip
        self.counted = self.copies = 0
        self.levels: deque[float] = deque(maxlen=2_000)
        self._last: np.ndarray | None = None
        self._in_a_row = 0
        self._sightings: deque[Sighting] = deque(maxlen=len(self.chart.memory))
        self._pixels: deque[np.ndarray] = deque(maxlen=_KEPT)
        self._looks: deque[np.ndarray] = deque(maxlen=_KEPT)

    def see(self, sighting: Sighting, pixels: np.ndarray, features: np.ndarray) -> Seen:
        """Take a picture, `[H, W, C]` as the network gets it, and its features `[C]`."""
        [scores] = self._space.scores(features[None])
        if self._is_copy(scores):
            self.copies += 1
            return "copy"
        self._last = scores
        self.counted += 1
        self._sightings.append(sighting)
        self._pixels.append(_small(pixels))
        self._looks.append(looks_of(pixels[None])[0])
        alarm = self.chart.add(scores)
        self.levels.append(self.chart.level)
        return "alarm" if alarm else "counted"

    def _is_copy(self, scores: np.ndarray) -> bool:
        if self._last is None or np.linalg.norm(scores - self._last) > _COPY * self._apart:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        return self._in_a_row % STILL != 0

    @property
    def still(self) -> int:
        """How many copies came in a row."""
        return self._in_a_row

    def alarm(self) -> Alarm:
        """Return what is to be said where the chart stands above its limit."""
        differing = self.chart.changed()
        remembered = list(self._sightings)
        since = self.chart.recent()[-differing:]
        kept = min(differing, len(self._pixels))
        return Alarm(
            at=remembered[-1], since=remembered[-differing], differing=differing,
            earlier=differing == len(self.chart.memory), still=self.still,
            level=self.chart.level, limit=self.chart.limit,
            looks=differences(np.stack(list(self._looks)[-kept:]), self.reference.looks),
            shown=self._most(since, kept),
        )  # fmt: skip

    def _most(self, since: np.ndarray, kept: int) -> tuple[Shown, ...]:
        """Return pictures that lie furthest in the direction in which all of them went."""
        towards = since.mean(axis=0)
        says = since[-kept:] @ towards
        shares = says / max(float(np.abs(says).sum()), 1e-12)
        sightings, pixels = list(self._sightings)[-kept:], list(self._pixels)[-kept:]
        return tuple(
            Shown(sighting=sightings[number], share=float(shares[number]), pixels=pixels[number])
            for number in np.argsort(-says, kind="stable")[:_SHOWN]
        )

    def restart(self) -> None:
        """Begin anew after an alarm."""
        self.chart.restart()
        for kept in (self._sightings, self._pixels, self._looks):
            kept.clear()


def _small(pixels: np.ndarray) -> np.ndarray:
    """Return pixels `[h, w, C] uint8` of at most 128 a side."""
    if pixels.dtype != np.uint8:
        pixels = (pixels.astype(np.float32) * (255 / np.iinfo(pixels.dtype).max)).astype(np.uint8)
    if max(pixels.shape[:2]) <= _SIDE:
        return pixels.copy()
    if pixels.shape[2] not in (1, 3):
        step = -(-max(pixels.shape[:2]) // _SIDE)
        return pixels[::step, ::step].copy()
    shown = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    shown.thumbnail((_SIDE, _SIDE))
    return np.asarray(shown).reshape(shown.height, shown.width, -1).copy()
