"""Frames and what a network puts out for each: decoding, resizing and the network overlap."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from resnetkit.data.opening.video import Frame
from resnetkit.data.threads import ahead
from resnetkit.errors import DataError
from resnetkit.inference.given import Picture
from resnetkit.inference.prediction import Moment, Prediction
from resnetkit.inference.predictor import Predictor, Read

_DECODED_AHEAD = 8  # frames; of 1920x1080 pixels 50 MB


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A frame and what the decision makes of the network's outputs: `row`, `[K]` or `[D, 6]` or more, None without.

    `size`: width and height of the frame; `image` where it was asked for.
    """

    number: int
    time: float
    row: np.ndarray | None
    size: tuple[int, int] | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    image: Image.Image | None = field(default=None, repr=False)

    def told(self, predictor: Predictor, source: str, *, top_k: int) -> Prediction:
        """Return the prediction of the frame, which knows where in the video it is."""
        moment = Moment(frame=self.number, time=self.time)
        if self.row is None:
            return Prediction(source=source, status="error", error=self.error, moment=moment)
        read = Read(source, size=self.size, warnings=self.warnings)
        return replace(predictor.told(read, self.row, top_k=top_k), moment=moment)


def seen(
    predictor: Predictor, frames: Iterable[Frame], *, source: str, images: bool = False, live: bool = False,
    batch_size: int | None = None, threads: int | None = None,
) -> Generator[Seen]:  # fmt: skip
    """Yield what is seen on each frame, in order; memory does not grow with their number.

    `images`: whether these come along, to be drawn on. Of a `live` stream each frame is answered as it comes, or as
    many as are asked for by `batch_size`, since the next may be long in coming.
    """
    waiting: deque[Frame] = deque()
    decoded = ahead(frames, limit=_DECODED_AHEAD)

    def pictures() -> Iterator[Picture]:
        for frame in decoded:
            waiting.append(frame if images else replace(frame, image=None))
            yield _picture(frame, source)

    if live:
        answered = predictor.answered_live(pictures(), batch_size=1 if batch_size is None else batch_size)
    else:
        answered = predictor.answered_of(pictures(), batch_size=batch_size, threads=threads)
    with contextlib.closing(decoded), contextlib.closing(answered):
        for batch, outputs in answered:
            rows = iter(() if outputs is None else predictor.decision.probabilities(outputs))
            for read in batch:
                frame = waiting.popleft()
                row, error = (None, read.error) if read.pixels is None else (next(rows).copy(), None)
                if row is not None and not np.isfinite(row).all():
                    row, error = None, predictor.not_finite(read.source)
                yield Seen(
                    number=frame.number, time=frame.time, row=row, size=read.size, warnings=read.warnings, error=error,
                    image=frame.image,
                )  # fmt: skip


def _picture(frame: Frame, source: str) -> Picture:
    name = f"{source}#{frame.number}"

    def opened(page: int) -> Image.Image:
        if frame.image is None:
            raise DataError(f"{name}: {frame.error}")
        return frame.image

    return Picture(name, opened)
