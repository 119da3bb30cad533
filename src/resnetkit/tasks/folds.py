"""What the folds of a cross-validation reached, each picture by a network that did not train on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def by_folds(
    numbers: np.ndarray, reached: Callable[[np.ndarray], Mapping[str, float | None]], *, figure: str
) -> dict[str, Any]:
    """Return what `metrics.json` says under `folds`; `numbers` are the fold that held out each picture, `[N]`.

    `reached(positions)` are the figures of some of the pictures, `figure` the one that folds are known by.
    """
    each: list[dict[str, Any]] = []
    for fold in np.unique(numbers).tolist():
        own = np.flatnonzero(numbers == fold)
        each.append({"fold": fold, "count": len(own), **reached(own)})
    values = np.array([one[figure] for one in each if one[figure] is not None])
    return {
        "says": f"by {len(each)} folds; the model that ships saw all pictures", "count": len(each),
        "pictures": len(numbers), figure: reached(np.arange(len(numbers)))[figure],
        "mean": float(values.mean()) if len(values) else None,
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None, "each": each,
    }  # fmt: skip
