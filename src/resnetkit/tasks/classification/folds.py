"""What the folds of a cross-validation reached, each picture by a network that did not train on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnetkit.data.prepared import Part
from resnetkit.evaluation.uncertainty import folds_interval


def folded(logits: np.ndarray, part: Part, numbers: np.ndarray) -> dict[str, Any]:
    """Return what `metrics.json` says of folds: `logits` `[N, K]` of a part, and the fold that held out each picture.

    The other intervals take pictures as independent, and would be too narrow: there are none.
    """
    right = logits.argmax(axis=1) == part.targets
    groups = [item.group for item in part.items]
    interval = folds_interval(right, groups if any(groups) else None)
    each = [
        {"fold": fold, "count": int((numbers == fold).sum()), "top1": float(right[numbers == fold].mean())}
        for fold in np.unique(numbers).tolist()
    ]
    reached = np.array([one["top1"] for one in each])
    found = {
        "says": f"by {len(each)} folds; the model that ships saw all pictures", "count": len(each),
        "pictures": len(part), "top1": float(right.mean()), "top1_interval": [interval.low, interval.high],
        "mean": float(reached.mean()), "sd": float(reached.std(ddof=1)), "each": each,
    }  # fmt: skip
    return {"folds": found, "top1_interval": found["top1_interval"], "intervals": {}}
