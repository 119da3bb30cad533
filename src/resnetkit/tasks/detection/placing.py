"""Where the objects of a training picture lie on what the network gets of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from resnetkit.data.batches import Placer
from resnetkit.data.chances import Chances
from resnetkit.data.marks import Truth
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.view import View
from resnetkit.models.detection.targets import Placed
from resnetkit.training.recipe import Augment
from resnetkit.training.steps.augmenter import build_viewer

# Of an object that a crop cuts, so much must be left to be learnt; of less nobody can tell what it is, and neither an
# object nor background is learnt there.
_LEAST_LEFT = 0.3


def placer(part: Part, *, augment: Augment, preprocess: Preprocess, masks: bool) -> Placer:
    """Return the function that tells where the objects of training pictures lie once chance has changed these."""
    assert part.sizes is not None, "these pictures have no marks"
    sizes, views_of = part.sizes, build_viewer(augment, preprocess)

    def place(images: np.ndarray, shapes: Sequence[tuple[int, int]], chances: Chances) -> list[Placed]:
        originals = [View.whole(*sizes[image].tolist()) for image in images]
        decoded = [
            # Random crops are cut out of whole pictures; else pictures lie there as they are scored.
            whole.resized(height=height, width=width) if augment.crop == "random_resized" else part.views[image]
            for image, whole, (height, width) in zip(images, originals, shapes, strict=True)
        ]
        seeds = (2.0**53 * chances.uniform("samples", 1)[0]).astype(np.int64).tolist()
        views = views_of(decoded, chances)
        return [
            placed(part.targets[image], view, size=(whole.width, whole.height), seed=seed, masks=masks)
            for image, whole, view, seed in zip(images, originals, views, seeds, strict=True)
        ]  # fmt: skip

    return place


def placed(truth: Truth, view: View, *, size: tuple[int, int], seed: int, masks: bool) -> Placed:
    """Return the objects of a picture of `size` (width, height) as a view shows them."""
    inside = _around(np.array([[0, 0, *size]], np.float32), view).clip(0, [view.width, view.height] * 2)[0]
    whole = _around(truth.boxes, view)
    boxes = whole.clip(np.tile(inside[:2], 2), np.tile(inside[2:], 2))
    left, before = _area(boxes), _area(whole)
    seen = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    crowd = truth.crowd | (left < _LEAST_LEFT * before)
    drawn = [mask for mask, there in zip(truth.masks, seen, strict=True) if there] if masks else []
    return Placed(
        boxes=torch.from_numpy(boxes[seen].astype(np.float32)), labels=torch.from_numpy(truth.labels[seen]),
        crowd=torch.from_numpy(crowd[seen]), inside=tuple(inside.tolist()), seed=seed,
        masks=torch.from_numpy(np.stack([_drawn(mask, view) for mask in drawn])) if drawn else None,
    )  # fmt: skip


def _around(boxes: np.ndarray, view: View) -> np.ndarray:
    """Return the boxes, `[M, 4]`, that hold those of the original where the view shows them."""
    corners = view.into(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)).reshape(-1, 4, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1)


def _drawn(mask: object, view: View) -> np.ndarray:
    from resnetkit.data.marks import Mask

    return mask.into(view) if isinstance(mask, Mask) else np.zeros((view.height, view.width), bool)
