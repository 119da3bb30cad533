"""A graph in 8-bit whole numbers, calibrated on the user's pictures, and what that costs in accuracy."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from resnetkit.errors import DataError, missing_extra
from resnetkit.inference.detector_graph import LAST
from resnetkit.inference.detector_graph import PREFIX as BOXES
from resnetkit.inference.openvino_library import begins_to_compute, library, without_telemetry
from resnetkit.inference.resizing import PREFIX as RESIZING
from resnetkit.words import percent

if TYPE_CHECKING:
    import openvino

_IN_FLOAT = (RESIZING, BOXES, LAST)
# More change nothing in the ranges of a ResNet's activations; NNCF's own default.
MOST_CALIBRATING = 300


# What says how good a model is: the share of right pictures, or of a detector the precision at half overlap.
Figure = Literal["top1", "map50"]
_LOSS: dict[Figure, float] = {"top1": 0.01, "map50": 0.005}  # what int8 may cost


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """How good the model is in fp32 and in int8 on the same `pictures`: fractions of what `figure` says.

    `same_answer` counts pictures with the same class, or with as many objects of each class.
    """

    pictures: int
    calibrated_on: int
    fp32: float
    int8: float
    same_answer: int
    figure: Figure = "top1"

    @property
    def words(self) -> str:
        """What it costs, in words."""
        before, after = f"{100 * self.fp32:.2f} %", f"{100 * self.int8:.2f} %"
        if self.figure == "map50":
            return (
                f"mAP@.50 {after} on {self.pictures:,} other pictures, in fp32 {before}; as many objects of each class "
                f"on {self.same_answer:,}"
            )
        right = f"{after} of {self.pictures:,} other pictures right"
        return f"{right}, in fp32 {before}; the same answer for {self.same_answer:,}"

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return {
            "pictures": self.pictures, "calibrated_on": self.calibrated_on, f"{self.figure}_fp32": self.fp32,
            f"{self.figure}_int8": self.int8, "same_answer": self.same_answer,
        }  # fmt: skip

    def check(self, *, max_loss: float | None) -> None:
        """Raise `DataError` where int8 loses more accuracy than `max_loss`, a fraction; None: the usual one."""
        allowed = _LOSS[self.figure] if max_loss is None else max_loss
        loss = self.fp32 - self.int8
        if loss > allowed:
            what = f"of {self.pictures:,} pictures are right" if self.figure == "top1" else "is the mAP@.50"
            raise DataError(
                f"in int8 {percent(self.int8)} {what}, in fp32 {percent(self.fp32)}: {100 * loss:.1f} points less, "
                f"{100 * allowed:g} are allowed (--max-loss); nothing was written. More or other pictures in "
                "--calibrate may help, or leave --int8 out"
            )


def quantised(model: openvino.Model, inputs: Iterable[np.ndarray]) -> openvino.Model:
    """Return the model with convolutions and classifier in int8; `inputs` are what it reads, one picture each.

    Post-training quantisation by NNCF: weights by channel, activations by the ranges that the pictures show. Resizing,
    what computes with boxes and a detector's last layers are left as they are. Raises `UsageError` where NNCF is not
    installed.
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
            ignored_scope=nncf.IgnoredScope(patterns=[f"^{prefix}.*" for prefix in _IN_FLOAT], validate=False),
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
