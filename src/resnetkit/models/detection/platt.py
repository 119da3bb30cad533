"""From the score of a box to the probability that it is right, and from those of its boxes to that of a track."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from resnetkit.errors import DataError, UsageError

_LEAST = 1e-6  # of a score and of what it lacks to 1: logits are finite
_MOST = 1e6  # of slope and offset: no fit comes near it


@dataclass(frozen=True, kw_only=True, slots=True)
class Platt:
    """The logit of the probability that a box is right is `slope` times the logit of its score, and `offset` (Platt).

    Right is a box that overlaps an object of its class by half (IoU) which no surer one has found. Fitted on `boxes` of
    held-out pictures, of which `right` are right (`evaluation.detection.calibration`). The slope is 0 at least, so that
    a surer box is never less probable; one map for all classes, so that the order of boxes stays.

    Of tracks it is the same of the mean of what their boxes say (`evaluation.detection.tracks`): `boxes` are then these
    tracks, and `right` the sum of what share of each one's boxes is right.
    """

    slope: float
    offset: float
    boxes: int
    right: int

    def __post_init__(self) -> None:
        for name in ("slope", "offset"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST:
                raise UsageError(f"decision: the {name} of probabilities must be a number, not {value!r:.40}")
        if self.slope < 0:
            raise UsageError(f"decision: the slope of probabilities must be 0 or more, not {self.slope:g}")

    def of(self, scores: np.ndarray) -> np.ndarray:
        """Return the probabilities of `scores`, of any shape, float64.

        >>> Platt(slope=1, offset=-1, boxes=100, right=50).of(np.array([0.5, 0.9])).round(3).tolist()
        [0.269, 0.768]
        """
        found: np.ndarray = 1 / (1 + np.exp(-(self.slope * logits(scores) + self.offset)))
        return found

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Read what `to_json` gives; raises `DataError` for anything else."""
        if not isinstance(values, Mapping) or set(values) != {field.name for field in fields(cls)}:
            raise DataError("the decision has probabilities of another kind: upgrade resnetkit")
        return cls(**values)


def logits(scores: np.ndarray) -> np.ndarray:
    """Return the logits of scores, finite ones of 0 and 1 too."""
    within = np.clip(np.asarray(scores, np.float64), _LEAST, 1 - _LEAST)
    found: np.ndarray = np.log(within / (1 - within))
    return found
