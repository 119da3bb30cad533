"""One answer for a whole video, from those for its frames."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from resnetkit.inference.aggregation import Aggregation, Running
from resnetkit.inference.cases import Case
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.predictor import Predictor, Read
from resnetkit.inference.video.seen import Seen


def clip(predictor: Predictor, frames: Generator[Seen], how: Aggregation, *, source: str, top_k: int) -> Prediction:
    """Return the answer for all frames, whose probabilities are as fitted, without a stated prevalence.

    `pictures` counts the frames. Memory does not grow with them, but for the lines of those without an answer. Raises
    nothing where there are none: such a video has no answer either.
    """
    case = Case(source, Running(how))
    with contextlib.closing(frames):
        for one in frames:
            case.add(Read(source, warnings=one.warnings), one.row, error=one.error)
    return case.told(predictor, top_k=top_k)
