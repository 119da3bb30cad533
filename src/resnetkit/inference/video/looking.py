"""Looking at a video: what a model says of each frame, its state by then, its objects on their tracks."""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from resnetkit.data.opening.video import ALL, Frame, Moving, Say, Thinned
from resnetkit.data.opening.video_frames import nobody
from resnetkit.errors import UsageError
from resnetkit.inference.cases import checked
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.predictor import Predictor
from resnetkit.inference.video.clips import clip
from resnetkit.inference.video.kept import Kept
from resnetkit.inference.video.lag import Lag, measured
from resnetkit.inference.video.seen import Seen, seen
from resnetkit.inference.video.smoothing import Smoothing, check_rate
from resnetkit.inference.video.states import OneClass, Reading, SeveralLabels, State, States, Told, greatest_scores
from resnetkit.inference.video.tracks import OnFrame, Track, Tracker, with_unsure
from resnetkit.models.decision import GIVEN, Decision
from resnetkit.models.detection.sureness import Sureness
from resnetkit.words import seconds_of

_USUAL_RATE = 25.0  # frames a second, where a video does not say


@dataclass(frozen=True, kw_only=True, slots=True)
class Looking:
    """How videos are looked at.

    `thinned`: which frames; `smoothing`: how what is told of neighbouring ones is made steady, None for no states;
    `track`: whether objects are joined into tracks; `images`: whether frames come along. `kept`: where outputs are kept
    meanwhile, so that the same call goes on after an interruption, and `made_with`, what they depend on besides the
    video. `say` hears what a person should know.
    """

    thinned: Thinned = ALL
    smoothing: Smoothing | None = None
    track: bool = False
    images: bool = False
    batch_size: int | None = None
    threads: int | None = None
    kept: Path | None = None
    made_with: dict[str, Any] = field(default_factory=dict, repr=False)
    say: Say = field(default=nobody, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """A frame that was looked at: what is said of it, what is `told`, the tracks that `ended`, and its image.

    `tracked`: whether objects are joined into tracks.
    """

    said: Prediction
    told: Told | None = None
    tracked: bool = False
    ended: tuple[Track, ...] = ()
    image: Image.Image | None = field(default=None, repr=False)


def every(text: str | None) -> Thinned:
    """Return which frames `5`, every fifth, or `0.5s`, one in half a second, asks for; raises `UsageError`.

    >>> every("5"), every("0.5s")
    (Thinned(every=5, a_second=None), Thinned(every=1, a_second=2.0))
    """
    if text is None:
        return ALL
    if re.fullmatch(r"[1-9]\d{0,8}", text):
        return Thinned(every=int(text))
    seconds = seconds_of(text)
    if seconds is None:
        raise UsageError(f"--every {text}: write it as 5 (every fifth frame) or 0.5s (one in half a second)")
    return Thinned(a_second=1 / seconds)


class Look:
    """A look at an open video: `frames` yields it frame by frame in memory that does not grow with their number.

    `rate`: frames a second that are looked at. `lag` is how late states are, None where nothing is smoothed. Raises
    `UsageError` for a smoothing that has no meaning for the video, and where there are no objects to join into tracks.
    """

    def __init__(self, predictor: Predictor, video: Moving, looking: Looking) -> None:
        self._video, self._looking, self._source = video, looking, video.about.source
        self._predictor, self._tracker = predictor, None
        rate = self.rate = looking.thinned.a_second or (video.about.rate or _USUAL_RATE) / looking.thinned.every
        if looking.track:
            self._predictor, self._tracker = _tracking(predictor, rate)
        self.lag: Lag | None = None
        self._states: States | None = None
        if looking.smoothing is not None:
            check_rate(looking.smoothing, rate)
            reading = _reading(predictor)
            self._states = States(looking.smoothing, reading)
            self.lag = measured(looking.smoothing, reading, rate=rate)

    def frames(self, *, top_k: int = 5) -> Generator[Looked]:
        """Yield every frame that is looked at, in order; to be called once."""
        waiting: deque[Looked] = deque()
        with contextlib.closing(_seen(self._predictor, self._video, self._looking)) as frames:
            for one in frames:
                looked = self._looked(one, top_k)
                if self._tracker is None:
                    yield looked
                    continue
                waiting.append(looked)  # the tracker holds a frame back until it knows which tracks begin with it
                for found in self._tracker.add(one.number, one.time, looked.said.objects or ()):
                    yield _with_tracks(waiting.popleft(), found)
        for found in [] if self._tracker is None else self._tracker.end():
            yield _with_tracks(waiting.popleft(), found)

    def _looked(self, one: Seen, top_k: int) -> Looked:
        said = one.told(self._predictor, self._source, top_k=top_k)
        if self._states is None:
            return Looked(said=said, image=one.image)
        row = one.row
        if row is not None and said.objects is not None:
            row = greatest_scores([(found.label, found.score) for found in said.objects], self._predictor.classes)
        told = self._states.add(row, time=one.time)
        return Looked(said=_with_state(said, told.state), told=told, image=one.image)

    @property
    def lacks(self) -> str:
        """Which probabilities are not known, in words; empty where all are."""
        decision = self._predictor.decision
        if not isinstance(decision, Sureness):
            return ""
        if decision.platt is None:
            return "scores are not calibrated, probabilities stay empty"
        lacking = self._tracker is not None and decision.tracks is None
        return "tracks are not calibrated, their probabilities stay empty" if lacking else ""

    @property
    def words(self) -> str:
        """How often what is told changed, frame by frame and smoothed; empty where nothing is smoothed."""
        if self._states is None:
            return ""
        return f"{self._states.own_changes:,} changes frame by frame, {self._states.changes:,} smoothed"


def look_at_whole(predictor: Predictor, video: Moving, looking: Looking, *, how: str, top_k: int = 5) -> Prediction:
    """Return one answer for a whole video; raises `UsageError` for a model that does not give one class."""
    aggregation = checked(predictor, how)
    assert isinstance(predictor.decision, Decision), "which was checked"
    fitted = replace(predictor, decision=predictor.decision.as_fitted)
    return clip(predictor, _seen(fitted, video, looking), aggregation, source=video.about.source, top_k=top_k)


def _seen(predictor: Predictor, video: Moving, looking: Looking) -> Generator[Seen]:
    """Yield what is seen on each frame of an open video, first again what was kept of it.

    Raises `UsageError` where what was kept is of something else.
    """

    def anew(frames: Iterator[Frame]) -> Generator[Seen]:
        return seen(
            predictor, frames, source=video.about.source, images=looking.images, live=video.about.live,
            batch_size=looking.batch_size, threads=looking.threads,
        )  # fmt: skip

    if looking.kept is None:
        with contextlib.closing(anew(video.frames(looking.thinned))) as all_of_them:
            yield from all_of_them
        return
    with Kept.open(looking.kept, _made_with(predictor, video, looking)) as kept:
        if kept.frames:
            drawn = "; the annotated video is written from its beginning" if looking.images else ""
            looking.say(f"going on behind frame {kept.last:,}, as {looking.kept} keeps{drawn}")
        frames: Iterator[Frame] = video.frames(looking.thinned, after=-1 if looking.images else kept.last)
        for one in kept.again():
            yield replace(one, image=next(frames).image) if looking.images else one
        with contextlib.closing(anew(frames)) as rest:
            for one in rest:
                kept.add(one)
                yield one


def _made_with(predictor: Predictor, video: Moving, looking: Looking) -> dict[str, Any]:
    """Return what outputs depend on."""
    there = os.stat(video.about.source)
    return {
        **looking.made_with, "decision": predictor.decision.to_json(),
        "video": [os.path.abspath(video.about.source), there.st_size, there.st_mtime_ns],
        "every": looking.thinned.every, "a_second": looking.thinned.a_second,
    }  # fmt: skip


def _reading(predictor: Predictor) -> Reading:
    if isinstance(predictor.decision, Decision):
        return OneClass(predictor.decision, predictor.classes)
    return SeveralLabels(predictor.decision, predictor.classes)


def _with_state(said: Prediction, state: State) -> Prediction:
    assert said.moment is not None, "a frame has a moment"
    told = tuple(zip(state.labels, state.probabilities, strict=True))
    return replace(said, moment=replace(said.moment, state=told))


def _tracking(predictor: Predictor, rate: float) -> tuple[Predictor, Tracker]:
    """Return the predictor that tells unsure objects too, and what joins them; raises `UsageError` without objects."""
    decision, classes = predictor.decision, predictor.classes
    if not isinstance(decision, Sureness):
        raise UsageError(f"--track joins objects, and {predictor.name} gives {GIVEN[decision.gives]}: leave it out")
    sure = dict(zip(classes, decision.of(len(classes)).tolist(), strict=True))
    tracker = Tracker(rate=rate, sure=sure, calibrated=decision.tracks)
    return replace(predictor, decision=with_unsure(decision, len(classes))), tracker


def _with_tracks(looked: Looked, found: OnFrame) -> Looked:
    said = looked.said
    if said.objects is not None:  # else a frame without an answer
        said = replace(said, objects=found.objects)
    return replace(looked, said=said, tracked=True, ended=found.ended)
