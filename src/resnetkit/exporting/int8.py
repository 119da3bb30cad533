"""A graph in 8-bit whole numbers, calibrated on the user's pictures, and what that costs in accuracy."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetkit.errors import DataError, missing_extra
from resnetkit.inference.openvino_library import begins_to_compute, library, without_telemetry
from resnetkit.inference.resizing import PREFIX
from resnetkit.words import percent

if TYPE_CHECKING:
    import openvino

# More change nothing in the ranges of a ResNet's activations; NNCF's own default.
MOST_CALIBRATING = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Accuracy of the model in fp32 and in int8 on the same `pictures`, fractions; `same_answer` counts pictures."""

    pictures: int
    calibrated_on: int
    top1_fp32: float
    top1_int8: float
    same_answer: int

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return asdict(self)

    def check(self, *, max_loss: float) -> None:
        """Raise `DataError` where int8 loses more accuracy than `max_loss`, a fraction."""
        loss = self.top1_fp32 - self.top1_int8
        if loss > max_loss:
            raise DataError(
                f"in int8 {percent(self.top1_int8)} of {self.pictures:,} pictures are right, in fp32 "
                f"{percent(self.top1_fp32)}: {100 * loss:.1f} points less, {100 * max_loss:g} are allowed "
                "(--max-loss); nothing was written. More or other pictures in --calibrate may help, or leave --int8 out"
            )


def quantised(model: openvino.Model, inputs: Iterable[np.ndarray]) -> openvino.Model:
    """Return the model with convolutions and classifier in int8; `inputs` are what it reads, one picture each.

    Post-training quantisation by NNCF: weights by channel, activations by the ranges that the pictures show. Resizing
    is left as it is. Raises `UsageError` where NNCF is not installed.
    """
    try:
        begins_to_compute()
        library()
        with _silenced(), without_telemetry():
            import nncf
    except ImportError as error:
        raise missing_extra("int8 exports", "int8") from error
    pictures = list(inputs)
    with _silenced():
        return nncf.quantize(
            model,
            nncf.Dataset(pictures),
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(patterns=[f"^{PREFIX}.*"], validate=False),
        )


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep NNCF's own progress bars and remarks from a command that has its own."""
    loggers = [logging.getLogger(name) for name in ("nncf", "torch.utils.cpp_extension")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
