"""What a model says of videos: frame by frame, smoothed, joined into tracks, drawn."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit.data.opening.video import ALL, Frame, Thinned, Video
from resnetkit.errors import UsageError
from resnetkit.inference.cases import checked
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.video.clips import clip
from resnetkit.inference.video.kept import Kept
from resnetkit.inference.video.seen import Seen, seen
from resnetkit.models.decision import Decision

if TYPE_CHECKING:
    from resnetkit.api.model import Model
    from resnetkit.inference.predictor import Predictor

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Looking:
    """How videos are looked at and what is made of them.

    `thinned`: which frames; `rate`: frames a second of a folder of them; `kept`: where outputs are kept meanwhile, so
    that the same call goes on after an interruption.
    """

    thinned: Thinned = ALL
    rate: float | None = None
    batch_size: int | None = None
    kept: Path | None = None


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
    """Yield what a model says of each frame of a video, in order; memory does not grow with their number."""
    with Video(source) as video:
        frames = _seen(model, model.predictor, video, looking, images=False)
        with contextlib.closing(frames):
            for one in frames:
                yield one.told(model.predictor, source, top_k=top_k)


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
