"""What pure noise would reach: boxes as large as the true ones, laid anywhere, with scores of no meaning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from resnetkit.data.marks import Truth
from resnetkit.evaluation.detection.matching import matched
from resnetkit.evaluation.detection.resampling import average_precisions, means
from resnetkit.models.detection.found import Found

_SEED = 0
_TIMES = 5


def noise_of(truths: Sequence[Truth], sizes: Sequence[tuple[int, int]], *, num_classes: int) -> dict[str, float] | None:
    """Return `map` and `map50` that noise gets on pictures of `sizes` (width, height), None without objects.

    Each picture gets as many boxes as it has objects, whose classes and sizes are those of objects drawn from all
    pictures, and which lie anywhere on it; the mean of 5 times, the same every time.
    """
    random = np.random.default_rng(_SEED)
    boxes = np.concatenate([truth.boxes[~truth.crowd] for truth in truths] or [np.zeros((0, 4))])
    labels = np.concatenate([truth.labels[~truth.crowd] for truth in truths] or [np.zeros(0)]).astype(np.int64)
    if not len(labels):
        return None
    sides, reached = boxes[:, 2:] - boxes[:, :2], []
    for _ in range(_TIMES):
        founds = [
            _thrown(random, sides, labels, count=int((~truth.crowd).sum()), size=size)
            for truth, size in zip(truths, sizes, strict=True)
        ]
        matches = matched(truths, founds, num_classes=num_classes)
        found = average_precisions(matches, np.ones((1, len(truths)), np.int64))
        reached.append((float(means(found.mean(axis=1))[0]), float(means(found[:, 0])[0])))
    whole, at_half = np.mean(reached, axis=0).tolist()
    return {"map": whole, "map50": at_half}


def _thrown(
    random: np.random.Generator, sides: np.ndarray, labels: np.ndarray, *, count: int, size: tuple[int, int]
) -> Found:
    drawn = random.integers(0, len(labels), count)
    own = np.minimum(sides[drawn], size)
    corner = random.uniform(size=(count, 2)) * (np.array(size) - own)
    return Found(
        boxes=np.concatenate([corner, corner + own], axis=1).astype(np.float32),
        scores=np.sort(random.uniform(size=count))[::-1].astype(np.float32), labels=labels[drawn],
    )  # fmt: skip
