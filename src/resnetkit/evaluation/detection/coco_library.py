"""The one door to faster-coco-eval: COCO's own figures, and masks as run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnetkit.data.marks import Mask, Truth
from resnetkit.errors import missing_extra
from resnetkit.evaluation.detection.matching import Overlaps
from resnetkit.evaluation.detection.overlaps import corner_and_size
from resnetkit.models.detection.found import Found

SIZES = ("all", "small", "medium", "large")  # any, below 32 x 32 pixels, up to 96 x 96, from there on
_SHORTEST = 6  # numbers of an outline that holds an area

Runs = dict[str, Any]  # `size` (height, width) and `counts`, compressed: COCO's run lengths


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """What COCO's evaluation counts; -1 where there is no object of a class and size.

    `precision`: `[10, 101, K, 4, 3]` by least overlap, recall, class, size (`SIZES`) and most objects a picture (1, 10,
    100); `recall`: `[10, K, 4, 3]`.
    """

    precision: np.ndarray
    recall: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class Masks:
    """The masks of all pictures as run lengths, of what is there and of what was found, one list for each picture."""

    true: list[list[Runs]]
    found: list[list[Runs]]


def curves(
    truths: Sequence[Truth], founds: Sequence[Found], *, num_classes: int, masks: Masks | None = None,
    sizes: Sequence[tuple[int, int]] | None = None,
) -> Curves:  # fmt: skip
    """Return COCO's curves by boxes, or by `masks` of pictures of `sizes` (width, height)."""
    library = _library()
    whole = sizes or [(1, 1)] * len(truths)
    images = [{"id": number, "width": width, "height": height} for number, (width, height) in enumerate(whole, start=1)]
    plain = {"images": images, "categories": [{"id": k, "name": str(k)} for k in range(1, num_classes + 1)]}
    true, found = _true_entries(truths, masks), _found_entries(founds, masks)
    evaluation = library.COCOeval_faster(
        library.COCO({**plain, "annotations": true}), library.COCO({**plain, "annotations": found}),
        "bbox" if masks is None else "segm", rle_iou_max_workers=1,
    )  # fmt: skip
    evaluation.evaluate()
    evaluation.accumulate()
    return Curves(precision=evaluation.eval["precision"], recall=evaluation.eval["recall"])


def masks_of(truths: Sequence[Truth], founds: Sequence[Found], sizes: Sequence[tuple[int, int]]) -> Masks:
    """Return the masks of pictures of `sizes` (width, height), where a network finds masks.

    An object whose mask nobody drew has its box for one (`crowded_without_mask` says what it counts for).
    """
    each = list(zip(truths, founds, sizes, strict=True))
    return Masks(
        true=[[_true_runs(truth, number, size) for number in range(len(truth))] for truth, _, size in each],
        found=[[_found_runs(found, number, size) for number in range(len(found))] for _, found, size in each],
    )


def crowded_without_mask(truths: Sequence[Truth]) -> list[Truth]:
    """Return the truth for masks: objects that nobody drew one for count neither way, as those in a crowd."""
    return [
        Truth(
            boxes=truth.boxes, labels=truth.labels, masks=truth.masks,
            crowd=truth.crowd | np.array([mask_of(truth, number) is None for number in range(len(truth))], bool),
        )
        for truth in truths
    ]  # fmt: skip


def of_masks(truths: Sequence[Truth], masks: Masks) -> Overlaps:
    """Return the overlaps of masks."""
    iou = _library().mask.iou

    def overlaps(picture: int, found: np.ndarray, true: np.ndarray) -> np.ndarray:
        ours, theirs = masks.found[picture], masks.true[picture]
        crowd = truths[picture].crowd[true].astype(int).tolist()
        return np.asarray(iou([ours[i] for i in found.tolist()], [theirs[i] for i in true.tolist()], crowd))

    return overlaps


def mask_of(truth: Truth, number: int) -> Mask | None:
    """Return the mask of an object, None where nobody drew one."""
    return truth.masks[number] if number < len(truth.masks) else None


def area_of(mask: Mask) -> float:
    """Return the area of a mask in pixels: within its outlines, as COCO's annotations have it, or of its run lengths.

    >>> area_of(Mask(polygons=((0, 0, 4, 0, 4, 2, 0, 2),)))
    8.0
    """
    if not mask.polygons:
        return float(sum(mask.counts[1::2]))
    points = [np.reshape(polygon, (-1, 2)).T.astype(np.float64) for polygon in mask.polygons]
    return float(sum(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 for x, y in points))


def _true_entries(truths: Sequence[Truth], masks: Masks | None) -> list[dict[str, Any]]:
    entries = [
        {
            "image_id": picture, "category_id": int(truth.labels[number]) + 1, "iscrowd": int(truth.crowd[number]),
            "bbox": box, "area": area_of(mask) if (mask := mask_of(truth, number)) else box[2] * box[3],
            **({} if masks is None else {"segmentation": masks.true[picture - 1][number]}),
        }
        for picture, truth in enumerate(truths, start=1)
        for number, box in enumerate(corner_and_size(truth.boxes).tolist())
    ]  # fmt: skip
    return [{"id": number, **entry} for number, entry in enumerate(entries, start=1)]


def _found_entries(founds: Sequence[Found], masks: Masks | None) -> list[dict[str, Any]]:
    entries = []
    for picture, found in enumerate(founds, start=1):
        runs = None if masks is None else masks.found[picture - 1]
        areas = None if not runs else _library().mask.area(runs).tolist()
        for number, box in enumerate(corner_and_size(found.boxes).tolist()):
            entries.append({
                "image_id": picture, "category_id": int(found.labels[number]) + 1, "iscrowd": 0, "bbox": box,
                "score": float(found.scores[number]),
                "area": box[2] * box[3] if areas is None else float(areas[number]),
                **({} if runs is None else {"segmentation": runs[number]}),
            })  # fmt: skip
    return [{"id": number, **entry} for number, entry in enumerate(entries, start=1)]


def _true_runs(truth: Truth, number: int, size: tuple[int, int]) -> Runs:
    """Return the run lengths of a true object on a picture of `size` (width, height)."""
    coder, (width, height) = _library().mask, size
    mask = mask_of(truth, number)
    if mask is None:
        runs: Runs = coder.frPyObjects(corner_and_size(truth.boxes[number]), height, width)[0]
        return runs
    if mask.polygons:
        outlines = [list(polygon) for polygon in mask.polygons if len(polygon) >= _SHORTEST]
        merged: Runs = coder.merge(coder.frPyObjects(outlines, height, width))
        return merged
    of_counts: Runs = coder.frPyObjects({"counts": list(mask.counts), "size": [height, width]}, height, width)
    return of_counts


def _found_runs(found: Found, number: int, size: tuple[int, int]) -> Runs:
    bitmap = found.bitmap(number, width=size[0], height=size[1])
    runs: Runs = _library().mask.encode(np.asfortranarray(bitmap.astype(np.uint8)))
    return runs


def require() -> None:
    """Raise `UsageError`, naming what to install, where the library is missing."""
    _library()


def _library() -> Any:
    try:
        import faster_coco_eval
        import faster_coco_eval.core.mask
    except ImportError as problem:
        raise missing_extra("figures of object detection", "detect") from problem
    return faster_coco_eval
