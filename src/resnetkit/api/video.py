"""What a model says of videos: frame by frame, smoothed, joined into tracks, drawn."""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit.data.opening.video import ALL, Frame, Thinned, Video
from resnetkit.errors import UsageError
from resnetkit.inference.cases import checked
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.video.clips import clip
from resnetkit.inference.video.kept import Kept
from resnetkit.inference.video.lag import measured
from resnetkit.inference.video.seen import Seen, seen
from resnetkit.inference.video.smoothing import Smoothing, check_rate
from resnetkit.inference.video.states import OneClass, Reading, SeveralLabels, State, States, greatest_scores
from resnetkit.inference.video.tracks import OnFrame, Tracker, with_unsure
from resnetkit.models.decision import GIVEN, Decision
from resnetkit.models.detection.sureness import Sureness

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from resnetkit.api.model import Model
    from resnetkit.inference.predictor import Predictor

Say = Callable[[str], None]
_USUAL_RATE = 25.0  # frames a second, where a video does not say


@dataclass(frozen=True, kw_only=True, slots=True)
class Looking:
    """How videos are looked at and what is made of them.

    `thinned`: which frames; `smoothing`: how what is told of neighbouring ones is made steady; `track`: whether objects
    are joined into tracks. `kept`: where outputs are kept meanwhile, so that the same call goes on after an
    interruption. `say` hears what a person should know.
    """

    thinned: Thinned = ALL
    smoothing: Smoothing | None = None
    track: bool = False
    images: bool = False
    batch_size: int | None = None
    kept: Path | None = None
    say: Say = field(default=lambda text: None, repr=False)


def every(text: str | None) -> Thinned:
    """Return which frames `5`, every fifth, or `0.5s`, one in half a second, asks for; raises `UsageError`.

    >>> every("5"), every("0.5s")
    (Thinned(every=5, a_second=None), Thinned(every=1, a_second=2.0))
    """
    if text is None:
        return ALL
    if re.fullmatch(r"[1-9]\d{0,8}", text):
        return Thinned(every=int(text))
    seconds = re.fullmatch(r"(\d+\.?\d*|\.\d+)s", text)
    if seconds is None or not 1e-3 <= float(seconds[1]) <= 1e6:
        raise UsageError(f"--every {text}: write it as 5 (every fifth frame) or 0.5s (one in half a second)")
    return Thinned(a_second=1 / float(seconds[1]))


def predict_video(model: Model, source: str, looking: Looking, *, top_k: int = 5) -> Generator[Prediction]:
    """Yield what a model says of each frame of a video, in order; memory does not grow with their number.

    Raises `DataError` for what is no video, `UsageError` for a smoothing that has no meaning for it, and where objects
    cannot be joined into tracks.
    """
    with Video(source) as video:
        told = _told(model, video, looking, top_k=top_k)
        with contextlib.closing(told):
            for one, _ in told:
                yield one


def _told(
    model: Model, video: Video, looking: Looking, *, top_k: int
) -> Generator[tuple[Prediction, Image.Image | None]]:
    """Yield what is said of each frame, with its image where it was asked for."""
    predictor, rate = model.predictor, _rate(video, looking.thinned)
    tracker = None
    if looking.track:
        predictor, tracker = _tracking(predictor, rate)
    states = None if looking.smoothing is None else States(looking.smoothing, _reading(model))
    if looking.smoothing is not None:
        check_rate(looking.smoothing, rate)
        looking.say(measured(looking.smoothing, _reading(model), rate=rate).words)
    waiting: deque[tuple[Prediction, Image.Image | None]] = deque()
    frames = _seen(model, predictor, video, looking, images=looking.images)
    with contextlib.closing(frames):
        for one in frames:
            said = one.told(predictor, video.about.source, top_k=top_k)
            if states is not None:
                said = _with_state(said, states.add(_probabilities(said, one.row, model), time=one.time).state)
            if tracker is None:
                yield said, one.image
                continue
            waiting.append((said, one.image))
            for found in tracker.add(one.number, one.time, said.objects or ()):
                yield _with_tracks(*waiting.popleft(), found)
        for found in [] if tracker is None else tracker.end():
            yield _with_tracks(*waiting.popleft(), found)


def _rate(video: Video, thinned: Thinned) -> float:
    """Return how many frames a second are looked at."""
    return thinned.a_second or (video.about.rate or _USUAL_RATE) / thinned.every


def _reading(model: Model) -> Reading:
    if isinstance(model.decision, Decision):
        return OneClass(model.decision, model.classes)
    return SeveralLabels(model.decision, model.classes)


def _probabilities(said: Prediction, row: np.ndarray | None, model: Model) -> np.ndarray | None:
    """Return the probability of each class on a frame, `[K]`; of objects, the greatest score among those of a class."""
    if row is None or said.objects is None:
        return row
    return greatest_scores([(one.label, one.score) for one in said.objects], model.classes)


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
    return replace(predictor, decision=with_unsure(decision, len(classes))), Tracker(rate=rate, sure=sure)


def _with_tracks(said: Prediction, image: Image.Image | None, found: OnFrame) -> tuple[Prediction, Image.Image | None]:
    objects = tuple(replace(one.found, track=one.track) for one in found.objects)
    return (said if said.objects is None else replace(said, objects=objects)), image


def predict_clip(model: Model, source: str, looking: Looking, *, how: str = "mean", top_k: int = 5) -> Prediction:
    """Return one answer for a whole video; raises `UsageError` for a model that does not give one class."""
    aggregation = checked(model.predictor, how)
    assert isinstance(model.decision, Decision), "which was checked"
    fitted = replace(model.predictor, decision=model.decision.as_fitted)
    with Video(source) as video:
        frames = _seen(model, fitted, video, looking, images=False)
        return clip(model.predictor, frames, aggregation, source=source, top_k=top_k)


def _seen(model: Model, predictor: Predictor, video: Video, looking: Looking, *, images: bool) -> Generator[Seen]:
    """Yield what is seen on each frame of an open video, first again what was kept of it.

    Raises `UsageError` where what was kept is of something else.
    """

    def anew(frames: Iterator[Frame]) -> Generator[Seen]:
        return seen(
            predictor, frames, source=video.about.source, images=images, batch_size=looking.batch_size,
            threads=model.runtime.threads,
        )  # fmt: skip

    if looking.kept is None:
        with contextlib.closing(anew(video.frames(looking.thinned))) as all_of_them:
            yield from all_of_them
        return
    with Kept.open(looking.kept, _made_with(model, predictor, video, looking.thinned)) as kept:
        frames: Iterator[Frame] = video.frames(looking.thinned, after=-1 if images else kept.last)
        for one in kept.again():
            yield replace(one, image=next(frames).image) if images else one
        with contextlib.closing(anew(frames)) as rest:
            for one in rest:
                kept.add(one)
                yield one


def _made_with(model: Model, predictor: Predictor, video: Video, thinned: Thinned) -> dict[str, Any]:
    """Return what outputs depend on."""

    def there(path: str | Path) -> list[Any]:
        about = os.stat(path)
        return [os.path.abspath(path), about.st_size, about.st_mtime_ns]

    return {
        "model": [there(path) for path in model.files], "precision": model.runtime.dtype,
        "decision": predictor.decision.to_json(), "video": there(video.about.source),
        "every": thinned.every, "a_second": thinned.a_second,
    }  # fmt: skip
