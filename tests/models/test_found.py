"""Masks of 28 x 28 cells, put back where objects are."""

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import roi_align

from resnetkit.models.detection.found import MASK_SIDE, Found

WIDTH, HEIGHT = 90, 60


def disc(x: float, y: float, across: float, down: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an ellipse, `[60, 90]` bool, and the box around it."""
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    inside = ((columns - x) / across * 2) ** 2 + ((rows - y) / down * 2) ** 2 <= 1
    return inside, np.array([x - across / 2, y - down / 2, x + across / 2, y + down / 2], np.float32)


def found(mask: np.ndarray, box: np.ndarray) -> Found:
    """Return what a network would say that was trained to perfection."""
    wanted = roi_align(torch.from_numpy(mask)[None, None].float(), [torch.from_numpy(box)[None]], (MASK_SIDE,) * 2, 1.0)
    return Found(boxes=box[None], scores=np.ones(1, np.float32), labels=np.zeros(1, np.int64), masks=wanted[0].numpy())


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("size", [(6, 4), (3, 20), (9.5, 9.5), (40, 21.3)])
def test_true_masks_lie_where_the_object_is_to_a_fraction_of_a_pixel(size: tuple[float, float]) -> None:
    ours, theirs = [], []
    for x, y in ((30.0, 30.0), (41.25, 22.5), (50.6, 33.1), (25.9, 28.7)):
        mask, box = disc(x, y, *size)
        said = found(mask, box)
        ours.append(overlap(said.bitmap(0, width=WIDTH, height=HEIGHT), mask))
        assert said.masks is not None
        pasted = paste_masks_in_image(torch.from_numpy(said.masks)[None], torch.from_numpy(box)[None], (HEIGHT, WIDTH))
        theirs.append(overlap(pasted[0, 0].numpy() > 0.5, mask))
    assert np.mean(ours) > 0.8
    assert np.mean(ours) > np.mean(theirs)


def test_what_reaches_beyond_the_picture_is_cut_off_and_specks_cost_no_memory() -> None:
    boxes = np.array([[-8, -5, 12, 9], [80, 50, 100, 70], [10.001, 3, 10.002, 40], [7, 7, 7.5, 7.5]], np.float32)
    masks = np.ones((4, MASK_SIDE, MASK_SIDE), np.float32)
    said = Found(boxes=boxes, scores=np.ones(4, np.float32), labels=np.zeros(4, np.int64), masks=masks)
    shown = [said.bitmap(number, width=WIDTH, height=HEIGHT) for number in range(4)]
    assert shown[0][:9, :12].all()
    assert shown[0].sum() <= 10 * 13
    assert shown[1][51:, 81:].all()
    assert all(picture.sum() <= 60 for picture in shown[2:])
    for number, picture in enumerate(shown):
        np.testing.assert_array_equal(said.mask(number, width=WIDTH, height=HEIGHT).bitmap(), picture)
