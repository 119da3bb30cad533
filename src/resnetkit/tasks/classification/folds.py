"""How often the networks of a cross-validation named the pictures right that they did not train on."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnetkit.data.prepared import Part
from resnetkit.evaluation.uncertainty import folds_interval
from resnetkit.tasks.folds import by_folds


def folded(logits: np.ndarray, part: Part, numbers: np.ndarray) -> dict[str, Any]:
    """Return what `metrics.json` says of folds: `logits` `[N, K]` of a part, and the fold that held out each picture.

    The other intervals take pictures as independent, and would be too narrow: there are none, nor what has some.
    """
    right = logits.argmax(axis=1) == part.targets
    interval = folds_interval(right, part.groups)
    found = by_folds(numbers, lambda own: {"top1": float(right[own].mean())}, figure="top1")
    found["top1_interval"] = [interval.low, interval.high]
    return {"folds": found, "top1_interval": found["top1_interval"], "intervals": {}, "screening": None}
