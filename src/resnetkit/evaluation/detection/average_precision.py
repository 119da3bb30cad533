"""COCO's figures of object detection: average precision and recall of boxes and of masks, as everybody reports them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.data.marks import Truth
from resnetkit.evaluation.detection.coco_library import (
    SIZES,
    Curves,
    Masks,
    crowded_without_mask,
    curves,
)
from resnetkit.evaluation.detection.matching import LEAST_OVERLAPS, check_finite
from resnetkit.models.detection.found import Found

_AT_75 = int(np.argmin(np.abs(LEAST_OVERLAPS - 0.75)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Averages:
    """Means over classes that have objects, None where there are none: shares, of pycocotools to 1e-9.

    `map`: over the least overlaps .50 to .95; `map50`, `map75`: at one; `map_by_size`: of `small` objects (below 32 x
    32 pixels), `medium` and `large` ones (from 96 x 96 on). `recall`: of the 100 surest objects of a class on a
    picture, over the least overlaps, `recall_by_most` of the 1, 10, 100 surest, `recall_by_size` of each size. `ap` and
    `ap50` are those of each class.
    """

    map: float | None
    map50: float | None
    map75: float | None
    map_by_size: dict[str, float | None]
    recall: float | None
    recall_by_most: dict[int, float | None]
    recall_by_size: dict[str, float | None]
    ap: tuple[float | None, ...]
    ap50: tuple[float | None, ...]


def average_precision(
    truths: Sequence[Truth], founds: Sequence[Found], *, num_classes: int, masks: Masks | None = None,
    sizes: Sequence[tuple[int, int]] | None = None,
) -> Averages:  # fmt: skip
    """Return COCO's figures of what was found on each picture, by boxes or by `masks` (`coco_library.masks_of`).

    `sizes` (width, height) are the pictures', which masks need. The size of an object is that of its mask where it has
    one, as in COCO, of boxes too. Raises `DataError` where a number is not finite and `UsageError` without
    faster-coco-eval.
    """
    check_finite(truths, founds)
    counted = truths if masks is None else crowded_without_mask(truths)
    return _averages(curves(counted, founds, num_classes=num_classes, masks=masks, sizes=sizes))


def _averages(found: Curves) -> Averages:
    precision, recall = found.precision[..., -1], found.recall
    by_class = precision[:, :, :, 0]
    return Averages(
        map=_mean(by_class), map50=_mean(by_class[0]), map75=_mean(by_class[_AT_75]),
        map_by_size={name: _mean(precision[..., place]) for place, name in enumerate(SIZES) if place},
        recall=_mean(recall[:, :, 0, -1]),
        recall_by_most={most: _mean(recall[:, :, 0, place]) for place, most in enumerate((1, 10, 100))},
        recall_by_size={name: _mean(recall[:, :, place, -1]) for place, name in enumerate(SIZES) if place},
        ap=tuple(_mean(by_class[:, :, k]) for k in range(by_class.shape[2])),
        ap50=tuple(_mean(by_class[0, :, k]) for k in range(by_class.shape[2])),
    )  # fmt: skip


def _mean(values: np.ndarray) -> float | None:
    """Return the mean of those that there are: -1 stands for none."""
    there = values[values > -1]
    return float(there.mean()) if there.size else None
