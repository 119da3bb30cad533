"""Objects of frames that belong together: tracks, by ByteTrack (Zhang et al., arXiv:2110.06864) of `trackers`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from resnetkit.errors import UsageError, missing_extra
from resnetkit.models.detection.detected import Detected
from resnetkit.models.detection.platt import Platt
from resnetkit.models.detection.sureness import Sureness

# ByteTrack's lower threshold: an object so unsure may carry a track on, and begins none.
_LEAST_SCORE = 0.1
LEAST_OVERLAP = 0.1  # of an object with itself from frame to frame
_BUFFER = 1.0
_UNIT = 30.0  # frames a second in which the library counts its buffer, whatever the rate
_SURE, _UNSURE, _BETWEEN = 1.0, 0.0, 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """What became of one object: frames and seconds of its first and its last, on how many `frames` it was found.

    `label` has the largest sum of scores among the frames that it was found on, and `share` of them have it. `score` is
    the mean over these frames of the score for this label, 0 where another was found. `mean` is the same mean of
    probabilities, each that of a box judged alone, and `greatest` the greatest of them; None where boxes were not
    calibrated. `probability` is the share of its boxes that is right, as tracks of held-out pictures say that are moved
    (`evaluation.detection.tracks`): what is found again is more often right than a box so sure. None where these
    were too few. Frames that it was not found on do not count: of these nothing is said.
    """

    number: int
    label: str
    share: float
    score: float
    probability: float | None
    mean: float | None
    greatest: float | None
    first: int
    last: int
    begin: float
    end: float
    frames: int

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict: shares and scores to 6 decimals, seconds to 3."""
        return {
            "track": self.number, "label": self.label, "share": round(self.share, 6), "score": round(self.score, 6),
            "probability": _rounded(self.probability), "mean": _rounded(self.mean),
            "greatest": _rounded(self.greatest), "first": self.first, "last": self.last,
            "begin": round(self.begin, 3), "end": round(self.end, 3), "frames": self.frames,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class OnFrame:
    """The objects of a frame, the surest first, with the tracks they are on; and those that `ended`, seen no more."""

    number: int
    time: float
    objects: tuple[Detected, ...]
    ended: tuple[Track, ...] = ()


class Joining(Protocol):
    """What says which boxes of a frame are those of the frames before."""

    def update(self, boxes: Sequence[Sequence[float]], sure: Sequence[bool], time: float) -> list[int | None]:
        """Return the track of each box, None of those that are on none, or on one that begins here."""
        ...

    def begun(self, objects: Sequence[Detected]) -> list[tuple[int, Any]]:
        """Return the place of the object of each track that begins here, and what has its `tracker_id`.

        That is -1 until the track has a second object, then counts from 0.
        """
        ...

    def alive(self) -> frozenset[int]:
        """Return the numbers of the tracks that may go on."""
        ...


def with_unsure(decision: Sureness, num_classes: int) -> Sureness:
    """Return a detector's decision that tells unsure objects too, which a `Tracker` needs to carry tracks on.

    >>> with_unsure(Sureness(at=(0.6, 0.0625)), 2).at
    (0.1, 0.0625)
    """
    return replace(decision, at=tuple(min(float(at), _LEAST_SCORE) for at in decision.of(num_classes).tolist()))


class Tracker:
    """Joins objects into tracks, one frame after the other, in constant memory.

    `rate`: how many frames a second are looked at. `sure`: from which score on an object of a class is told and may
    begin a track, a half where it is not named; less sure ones carry tracks on (give the predictor
    `with_unsure(decision)`), and others of them are left out. `buffer`: the seconds for which a track without objects
    waits for the next, two and a half frames at least. `calibrated` makes probabilities of tracks; `joining` joins in
    ByteTrack's place. A track begins where an object is found on two frames on end. Classes may change within
    a track: what is seen decides where it goes on, not what it is called.

    Numbers count from 1 in the order in which tracks begin. The first object of a track can be told once there is a
    second: frames come out one later than they went in.

    Frames have to be so dense that an object overlaps itself from one to the next. The same input gives the same
    tracks; what came out, put in once more, too, also from rows of 2 decimals for boxes and 6 for scores: so an
    interrupted one goes on.

    Raises `UsageError` where the libraries are not there.

    ```python
    tracker = Tracker(rate=25, sure={"car": 0.6})
    for frame, prediction in answers:
        for told in tracker.add(frame.number, frame.time, prediction.objects or ()):
            ...
    for told in tracker.end():
        ...
    ```
    """

    def __init__(
        self, *, rate: float, sure: Mapping[str, float], buffer: float = _BUFFER, calibrated: Platt | None = None,
        joining: Joining | None = None,
    ) -> None:  # fmt: skip
        if not 0 < rate < float("inf"):
            raise UsageError(f"{rate} frames a second: must be a number above 0")
        self._sure, self._calibrated = sure, calibrated
        self._joining: Joining = joining or _Library(rate=rate, buffer=max(buffer, 2.5 / rate))
        self._time: float | None = None
        self._held: _Held | None = None
        self._tallies: dict[int, _Tally] = {}

    def add(self, number: int, time: float, objects: Sequence[Detected]) -> list[OnFrame]:
        """Take the next frame, without objects where nothing is known of it; return the frame before, if any.

        `time`: seconds, never less than those of the frame before.
        """
        objects = sorted(map(_as_written, objects), key=lambda one: -one.score)
        now = time if self._time is None else max(time, self._time + 1e-6)  # the library stumbles over equal ones
        sure = [one.score >= self._sure.get(one.label, 0.5) for one in objects]
        tracks = self._joining.update([one.box for one in objects], sure, now)
        before = self._now_known()
        self._time = now
        held = _Held(number, time, objects, sure, tracks, self._joining.begun(objects))
        for one, track in zip(objects, tracks, strict=True):
            if track is not None:
                self._count(track, one, held)
        held.ended = tuple(self._finished(self._joining.alive()))
        self._held = held
        return before

    def end(self) -> list[OnFrame]:
        """Return the last frame, with which all tracks end; none where no frame came."""
        last = self._now_known()
        self._held = None
        ended = tuple(self._finished(frozenset()))
        return [replace(one, ended=(*one.ended, *ended)) for one in last]

    def _now_known(self) -> list[OnFrame]:
        """Return the frame that is held, its first objects of tracks numbered now that these have a second."""
        held = self._held
        if held is None:
            return []
        for place, tracklet in held.begun:
            if (track := _number(tracklet)) is not None:
                held.tracks[place] = track
                self._count(track, held.objects[place], held)
        told = zip(held.objects, held.tracks, held.sure, strict=True)
        objects = tuple(replace(one, track=track) for one, track, sure in told if sure or track is not None)
        return [OnFrame(held.number, held.time, objects, held.ended)]

    def _count(self, track: int, one: Detected, frame: _Held) -> None:
        self._tallies.setdefault(track, _Tally(frame.number, frame.time)).add(one, frame.number, frame.time)

    def _finished(self, alive: frozenset[int]) -> Iterator[Track]:
        for number in sorted(self._tallies.keys() - alive):
            yield self._tallies.pop(number).track(number, self._calibrated)


@dataclass(slots=True)
class _Held:
    """A frame whose objects may turn out to be the first of tracks: `begun`, with the places of these objects."""

    number: int
    time: float
    objects: Sequence[Detected]
    sure: Sequence[bool]
    tracks: list[int | None]
    begun: Sequence[tuple[int, Any]]
    ended: tuple[Track, ...] = ()


@dataclass(slots=True)
class _Tally:
    """What is known of a track that goes on."""

    first: int
    begin: float
    last: int = 0
    end: float = 0.0
    frames: int = 0
    scores: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    probabilities: dict[str, list[float]] = field(default_factory=dict)  # of each label their sum and the greatest

    def add(self, one: Detected, number: int, time: float) -> None:
        self.last, self.end = number, time
        self.frames += 1
        self.scores[one.label] += one.score  # type: ignore[assignment]  # sums of scores, not counts
        self.counts[one.label] += 1
        if one.probability is not None:
            total, greatest = self.probabilities.get(one.label, (0.0, 0.0))
            self.probabilities[one.label] = [total + one.probability, max(one.probability, greatest)]

    def track(self, number: int, calibrated: Platt | None) -> Track:
        label = max(self.scores, key=lambda name: self.scores[name])
        total, greatest = self.probabilities.get(label, (None, None))
        mean = None if total is None else total / self.frames
        return Track(
            number=number, label=label, share=self.counts[label] / self.frames, score=self.scores[label] / self.frames,
            probability=None if mean is None or calibrated is None else float(calibrated.of(np.array(mean))),
            mean=mean, greatest=greatest, first=self.first, last=self.last, begin=self.begin, end=self.end,
            frames=self.frames,
        )  # fmt: skip


class _Library(Joining):
    """The one door to `trackers`: boxes of a frame in, numbers of tracks out."""

    def __init__(self, *, rate: float, buffer: float) -> None:
        tracker, self._detections, overlap = _imported()
        self._tracker = tracker(
            lost_track_buffer=round(buffer * _UNIT), frame_rate=rate, track_activation_threshold=_BETWEEN,
            high_conf_det_threshold=_BETWEEN, minimum_consecutive_frames=2, minimum_iou_threshold=LEAST_OVERLAP,
            iou=overlap,
        )  # fmt: skip

    def update(self, boxes: Sequence[Sequence[float]], sure: Sequence[bool], time: float) -> list[int | None]:
        told = self._detections(
            xyxy=np.array(boxes, np.float64).reshape(-1, 4),
            # Only which side of its thresholds a score lies on counts here, and classes have their own.
            confidence=np.where(np.array(sure, bool), _SURE, _UNSURE),
            data={"place": np.arange(len(boxes))},
        )
        found = self._tracker.update(told, timestamp=time)
        tracks: list[int | None] = [None] * len(boxes)
        if len(found):
            for place, number in zip(found.data["place"].tolist(), found.tracker_id.tolist(), strict=True):
                tracks[place] = None if number < 0 else number + 1
        return tracks

    def begun(self, objects: Sequence[Detected]) -> list[tuple[int, Any]]:
        boxes = np.array([one.box for one in objects]).reshape(-1, 4)
        begun: list[tuple[int, Any]] = []
        for tracklet in self._tracker.tracks:
            if _number(tracklet) is None:
                # A box that was not followed yet is that of its object; of two alike each has one.
                far = np.abs(boxes - tracklet.get_state_bbox()).sum(axis=1)
                far[[place for place, _ in begun]] = np.inf
                begun.append((int(far.argmin()), tracklet))
        return begun

    def alive(self) -> frozenset[int]:
        return frozenset(number for tracklet in self._tracker.tracks if (number := _number(tracklet)) is not None)


def _number(tracklet: Any) -> int | None:
    return None if tracklet.tracker_id < 0 else tracklet.tracker_id + 1


def _as_written(one: Detected) -> Detected:
    """Return an object with the figures that rows hold."""
    left, top, right, bottom = (round(float(edge), 2) for edge in one.box)
    probability = _rounded(one.probability)
    return replace(one, score=round(float(one.score), 6), probability=probability, box=(left, top, right, bottom))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _imported() -> tuple[Any, Any, Any]:
    """Return ByteTrack, what it takes its boxes in, and what says how far boxes are one."""
    try:
        from supervision import Detections, box_iou_batch
        from trackers import BaseIoU, ByteTrackTracker
    except ModuleNotFoundError as error:
        raise missing_extra("tracks", "video") from error
    except ImportError as error:  # OpenCV, which they bring, needs libraries that servers lack
        raise UsageError(
            f"tracks need OpenCV, which does not start here ({error}): apt-get install libgl1, "
            "or pip install opencv-python-headless"
        ) from error

    class Overlap(BaseIoU):
        """The overlap of boxes, none where it is too small for a track to go on.

        Without this the library's assignment, the largest sum, gives up pairs that overlap for ones that do not.
        """

        def _compute(self, boxes_1: np.ndarray, boxes_2: np.ndarray) -> np.ndarray:
            shared = box_iou_batch(boxes_1, boxes_2)
            return np.where(shared < LEAST_OVERLAP, 0, shared)

    return ByteTrackTracker, Detections, Overlap()
