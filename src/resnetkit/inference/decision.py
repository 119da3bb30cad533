"""From logits to an answer: softmax with a temperature, and "not sure" below a threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from resnetkit.errors import DataError, UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """How logits become an answer: divided by `temperature`, and "not sure" when the best is below `threshold`.

    `temperature` 1 leaves the network's own confidence; above 1 tempers it (Guo et al. 2017, arXiv:1706.04599).
    `threshold` is a probability in [0, 1]; None answers always.
    """

    temperature: float = 1.0
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(f"temperature must be a number above 0, not {self.temperature}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UsageError(f"threshold must be a probability between 0 and 1, not {self.threshold}")

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return float32 `[N, K]` probabilities of `[N, K]` logits; every row adds up to 1."""
        return softmax(logits, temperature=self.temperature)

    def status(self, probability: float) -> Literal["ok", "not_sure"]:
        """Return the status of an answer whose best class has this probability."""
        return "not_sure" if self.threshold is not None and probability < self.threshold else "ok"

    def to_json(self) -> dict[str, Any]:
        """Return the `decision` dict of a checkpoint's header."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Decision:
        """Read a header's `decision` dict (an empty one means the defaults); raises `DataError` for unknown fields."""
        unknown = sorted(set(values) - {"temperature", "threshold"})
        if unknown:
            raise DataError(f"the decision has unknown fields {unknown}: a newer version wrote it; upgrade resnetkit")
        return cls(**values)


def softmax(logits: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """Return the float32 softmax over the last axis of `logits / temperature`; logits of any size do not overflow.

    Logits that are not finite give NaN, without a warning: callers refuse those with a message that helps.
    """
    scaled = np.asarray(logits, dtype=np.float32) / np.float32(temperature)
    with np.errstate(invalid="ignore"):
        exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
