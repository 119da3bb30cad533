"""How far two boxes are one: the area of what they share over that of what either covers, as COCO computes it."""

from __future__ import annotations

import numpy as np


def corner_and_size(boxes: np.ndarray) -> np.ndarray:
    """Return boxes of left, top, right, bottom as COCO's left, top, width, height, `[N, 4]` float64."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def box_overlaps(found: np.ndarray, true: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Return `[D, G]` overlaps of found boxes with true ones, both left, top, right, bottom, bit for bit COCO's.

    With a `crowd`, `[G]` bool, it is the share of the found box that lies in it.

    >>> box_overlaps([[0, 0, 4, 2]], [[0, 0, 4, 4], [4, 0, 8, 2]]).tolist()
    [[0.5, 0.0]]
    """
    found, true = corner_and_size(found)[:, None], corner_and_size(true)[None]
    far = np.minimum(found[..., :2] + found[..., 2:], true[..., :2] + true[..., 2:])
    shared = (far - np.maximum(found[..., :2], true[..., :2])).clip(0).prod(axis=-1)
    own, other = found[..., 2:].prod(axis=-1), true[..., 2:].prod(axis=-1)
    whole = own + other - shared
    if crowd is not None:
        whole = np.where(crowd[None], own, whole)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0)
