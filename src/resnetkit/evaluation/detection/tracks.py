"""How probable it is that boxes of a track are right: fitted on held-out pictures that move, without a video.

Boxes of moved copies are joined where they lie on the picture, as a tracker would that always knows where to look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnetkit.data.marks import Truth
from resnetkit.evaluation.detection.calibration import fit
from resnetkit.evaluation.detection.matching import matched
from resnetkit.evaluation.detection.moved import Copy
from resnetkit.evaluation.detection.overlaps import box_overlaps
from resnetkit.inference.video.tracks import LEAST_OVERLAP, Joining, OnFrame, Track, Tracker, with_unsure
from resnetkit.models.detection.detected import Detected
from resnetkit.models.detection.found import Found
from resnetkit.models.detection.platt import Platt
from resnetkit.models.detection.sureness import Sureness

_RATE = 25.0  # copies a second: fewer than the tracker's buffer holds


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A track whose boxes were held against what is there: `right` is the share of them that is.

    `cut`: one of them lies on what counts neither way, so that nobody can say.
    """

    track: Track
    right: float
    cut: bool

    @property
    def counts(self) -> bool:
        """Whether probabilities of tracks can be fitted to it."""
        return not self.cut and self.track.mean is not None


def tracks_of(
    copies: Sequence[Copy], founds: Sequence[Found], truth: Truth, *, classes: Sequence[str], decision: Sureness
) -> list[Judged]:
    """Return the tracks in what was found on the copies of one picture, judged."""
    count = len(classes)
    unsure = with_unsure(decision, count).of(count)
    sure = dict(zip(classes, decision.of(count).tolist(), strict=True))
    tracker, told = Tracker(rate=_RATE, sure=sure, joining=_InPlace()), []
    for number, found in enumerate(founds):
        told += tracker.add(number, number / _RATE, _detected(found.from_score(unsure), classes, decision.platt))
    return judged(told + tracker.end(), [copy.shows(truth) for copy in copies], classes=classes)


def judged(told: Sequence[OnFrame], truths: Sequence[Truth], *, classes: Sequence[str]) -> list[Judged]:
    """Return the tracks of all frames, judged by what is there on each.

    A box is right that overlaps an object of the track's label by half (IoU) which no surer one has found.
    """
    label_of = {track.number: track.label for frame in told for track in frame.ended}
    boxes: dict[int, list[tuple[bool, bool]]] = {number: [] for number in label_of}
    founds = [_found(frame.objects, classes) for frame in told]
    matches = matched(truths, founds, num_classes=len(classes))
    places = zip(matches.pictures, matches.numbers, matches.right[0], matches.ignored[0], strict=True)
    for picture, place, right, ignored in places:
        one = told[picture].objects[place]
        if one.track is not None:
            boxes[one.track].append((right and one.label == label_of[one.track], ignored))
    return [
        Judged(
            track=track, right=float(np.mean([right for right, _ in boxes[track.number]])),
            cut=any(ignored for _, ignored in boxes[track.number]),
        )
        for frame in told for track in frame.ended if boxes[track.number]
    ]  # fmt: skip


def fit_tracks(tracks: Iterable[Judged]) -> Platt | None:
    """Return from what mean over its boxes a track is how right, None where tracks are too few (`ENOUGH`)."""
    counted = [(one.track.mean, one.right) for one in tracks if one.counts]
    means, right = np.array(counted, np.float64).reshape(-1, 2).T
    return fit(means, right)


def _detected(found: Found, classes: Sequence[str], platt: Platt | None) -> list[Detected]:
    sure = [None] * len(found) if platt is None else platt.of(found.scores).tolist()
    rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), sure, strict=True)
    return [
        Detected(classes[label], score, (box[0], box[1], box[2], box[3]), probability=probability)
        for label, score, box, probability in rows
    ]


def _found(objects: Sequence[Detected], classes: Sequence[str]) -> Found:
    return Found(
        boxes=np.array([one.box for one in objects], np.float32).reshape(-1, 4),
        scores=np.array([one.score for one in objects], np.float64),
        labels=np.array([classes.index(one.label) for one in objects], np.int64),
    )


@dataclass(slots=True, eq=False)
class _Place:
    """Where a track was last found; `tracker_id` is -1 until it has a second object."""

    box: Sequence[float]
    tracker_id: int = -1


class _InPlace(Joining):
    """Joins boxes of one place, those of sure ones first: ByteTrack for objects that do not move."""

    def __init__(self) -> None:
        self._places: list[_Place] = []
        self._begun: list[tuple[int, Any]] = []
        self._count = 0

    def update(self, boxes: Sequence[Sequence[float]], sure: Sequence[bool], time: float) -> list[int | None]:
        tracks: list[int | None] = [None] * len(boxes)
        own = [[n for n, one in enumerate(sure) if one is kind] for kind in (True, False)]
        waiting = self._places
        for kind in own:
            rest = list(waiting)
            for place, number in self._joined(waiting, boxes, kind):
                if place.tracker_id < 0:
                    place.tracker_id, self._count = self._count, self._count + 1
                place.box, tracks[number] = boxes[number], place.tracker_id + 1
                rest.remove(place)
            waiting = rest
        free = [n for n in own[0] if tracks[n] is None]
        begun = [(n, _Place(boxes[n])) for n in free]
        self._places = [place for place in self._places if place.tracker_id >= 0] + [place for _, place in begun]
        self._begun = list(begun)
        return tracks

    def begun(self, objects: Sequence[Detected]) -> list[tuple[int, Any]]:
        return self._begun

    def alive(self) -> frozenset[int]:
        return frozenset(place.tracker_id + 1 for place in self._places if place.tracker_id >= 0)

    def _joined(
        self, places: Sequence[_Place], boxes: Sequence[Sequence[float]], own: Sequence[int]
    ) -> list[tuple[_Place, int]]:
        from scipy.optimize import linear_sum_assignment

        if not places or not own:
            return []
        shared = box_overlaps(np.array([place.box for place in places]), np.array([boxes[n] for n in own]))
        rows, columns = linear_sum_assignment(np.where(shared < LEAST_OVERLAP, 0, shared), maximize=True)
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        return [(places[row], own[column]) for row, column in pairs if shared[row, column] >= LEAST_OVERLAP]
