"""One picture after another held against a reference, until they are no longer like it; in constant memory."""

from __future__ import annotations

from collections import deque

import numpy as np
from PIL import Image

from resnetkit.checking.drift.alarm import Alarm, Shown, Sighting
from resnetkit.checking.drift.chart import Chart, Space, components_of, limit
from resnetkit.checking.drift.looks import differences, looks_of
from resnetkit.checking.drift.reference import Reference
from resnetkit.checking.drift.still import Standing, Still

# A picture nearer to the last one that counted than this share of how far two of the reference are apart is a copy.
_COPY = 0.35
# Pictures that are like none in the reference lie near each other whatever they show, for each pulls no more than so
# much: they are copies where their pixels are the same too, within so many of 255 on a grid of that many fields a side.
_SAME_PIXELS, _GRID = 3.0, 16
# Nearer to one of the reference than this share it is that picture itself: by another engine, or stored in half
# precision, it is within 0.01, the nearest of 8,742 others was 0.2 away (benchmarks/watching.py).
_ITSELF = 0.02
# Below that a change of all pictures that is plain to the eye may be missed (benchmarks/watching.py).
ENOUGH = 50
# What is said of a single picture lies so many standard deviations off.
_UNUSUAL = 2.0
_KEPT, _SHOWN, _SIDE = 256, 12, 128


class Lookout:
    """Holds pictures against a reference: `see` each in turn.

    `every`: so many pictures like the reference pass between two false alarms, on average, or more. `still`: how long
    one and the same picture may stand. Pictures are `counted`, or `copies` of the last one that did, which say nothing
    new; `known`: how many of those that count are in the reference itself.
    """

    def __init__(self, reference: Reference, *, every: int, still: Still) -> None:
        self.reference, self.every = reference, every
        self._space = Space.of(reference.features, components_of(reference.features))
        self._own = self._space.scores(reference.features)
        halfway = np.roll(self._own, len(self._own) // 2, axis=0)
        self._apart = float(np.median(np.linalg.norm(self._own - halfway, axis=1)))
        self._loneliest = _loneliest(self._own, reference.groups)
        self.chart = Chart(
            limit(reference.features, reference.groups, every=every), width=self._own.shape[1],
            known_from=len(np.unique(reference.groups)),
        )  # fmt: skip
        self.counted = self.copies = self.known = 0
        self.standing = Standing(still)
        self.levels: deque[float] = deque(maxlen=2_000)
        self._last: np.ndarray | None = None
        self._sightings: deque[Sighting] = deque(maxlen=len(self.chart.memory))
        self._pixels: deque[np.ndarray] = deque(maxlen=_KEPT)
        self._looks: deque[np.ndarray] = deque(maxlen=_KEPT)

    def see(self, sighting: Sighting, pixels: np.ndarray, features: np.ndarray) -> Alarm | None:
        """Take a picture, `[H, W, C]` as the network gets it, and its features `[C]`; returns the alarm it raises."""
        [scores] = self._space.scores(features[None])
        nearest = float(np.linalg.norm(self._own - scores, axis=1).min())
        if self._is_copy(scores, pixels, like_some=nearest <= self._loneliest):
            self.copies += 1
            return self._still(sighting, pixels) if self.standing.stood(sighting) else None
        if self.chart.level > self.chart.limit:
            self._begin_anew()
        self._last = scores
        self.standing.moved(sighting)
        self.counted += 1
        self.known += nearest < _ITSELF * self._apart
        self._sightings.append(sighting)
        self._pixels.append(_small(pixels))
        self._looks.append(looks_of(pixels[None])[0])
        over = self.chart.add(scores)
        self.levels.append(self.chart.level)
        return self._drift() if over else None

    def _is_copy(self, scores: np.ndarray, pixels: np.ndarray, *, like_some: bool) -> bool:
        if self._last is None or np.linalg.norm(scores - self._last) > _COPY * self._apart:
            return False
        if like_some:
            return True
        step = _fields(_small(pixels)) - _fields(self._pixels[-1])
        return float(np.sqrt(np.square(step).mean())) <= _SAME_PIXELS

    def _begin_anew(self) -> None:
        self.chart.restart()
        for kept in (self._sightings, self._pixels, self._looks):
            kept.clear()

    def _drift(self) -> Alarm:
        differing = self.chart.changed()
        remembered = list(self._sightings)
        since = self.chart.recent()[-differing:]
        kept = min(differing, len(self._pixels))
        return Alarm(
            kind="drift", at=remembered[-1], since=remembered[-differing], pictures=differing,
            or_before=differing == len(self.chart.memory), level=self.chart.level, limit=self.chart.limit,
            looks=differences(np.stack(list(self._looks)[-kept:]), self.reference.looks),
            shown=self._most(since, kept),
        )  # fmt: skip

    def _still(self, sighting: Sighting, pixels: np.ndarray) -> Alarm:
        first, standing = self._sightings[-1], self.standing
        shown = ((first, self._pixels[-1]), (sighting, _small(pixels)))
        return Alarm(
            kind="still", at=sighting, since=first, pictures=standing.copies,
            seconds=standing.seconds if standing.timed else None, level=self.chart.level, limit=self.chart.limit,
            looks=differences(self._looks[-1][None], self.reference.looks, errors=_UNUSUAL),
            shown=tuple(Shown(sighting=one, share=0.5, pixels=small) for one, small in shown),
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


def _loneliest(scores: np.ndarray, groups: np.ndarray) -> float:
    """Return how far a picture of the reference, scores `[N, k + 1]`, is at most from its nearest of another group."""
    lengths = np.square(scores).sum(axis=1)
    squares = lengths[:, None] + lengths - 2 * scores @ scores.T
    squares[groups[:, None] == groups] = np.inf
    return float(np.sqrt(max(0.0, squares.min(axis=1).max())))


def _fields(pixels: np.ndarray) -> np.ndarray:
    """Return the grey of pixels `[h, w, C] uint8` in fields of a grid."""
    grey = Image.fromarray(pixels.mean(axis=2, dtype=np.float32))
    return np.asarray(grey.resize((_GRID, _GRID), Image.Resampling.BOX))


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
