"""Random changes of training pictures, on whole batches of uint8 tensors.

Every function takes and returns `[N, H, W, C]` uint8 on one device. What chance decides comes from `Chances`, so a
picture is changed alike in any batch and on every device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from resnetkit.data.chances import Chances
from resnetkit.data.preprocess import Preprocess

Pictures = torch.Tensor | Sequence[torch.Tensor]


def flip(pixels: torch.Tensor, chances: Chances) -> torch.Tensor:
    """Mirror each picture left to right with probability 1/2."""
    return _mirror(pixels, _coin(chances))


def alternating_flip(pixels: torch.Tensor, chances: Chances) -> torch.Tensor:
    """Mirror each picture in every other epoch, from the first or the second by a fair coin (Jordan 2024, airbench).

    So each pair of epochs shows every picture both ways, where coins would show half of them one way twice.
    """
    return _mirror(pixels, _coin(chances.in_epoch(0)) ^ bool(chances.epoch % 2))


def _coin(chances: Chances) -> np.ndarray:
    return chances.uniform("flip", 1)[0] < 0.5


def _mirror(pixels: torch.Tensor, chosen: np.ndarray) -> torch.Tensor:
    where = torch.from_numpy(chosen).to(pixels.device, non_blocking=True)
    return torch.where(where[:, None, None, None], pixels.flip(2), pixels)


def shift(pixels: torch.Tensor, chances: Chances, *, by: int, fill: torch.Tensor | None) -> torch.Tensor:
    """Move each picture by up to `by` pixels each way (paper, section 4.2).

    What enters is `fill`, `[C]` uint8, or without it the picture's own mirror image at the border (reflection).
    """
    num, height, width, _ = pixels.shape
    padded = _reflected(pixels, by) if fill is None else _framed(pixels, by, fill)
    top, left = torch.from_numpy(chances.integers("shift", 2 * by + 1, 2 * by + 1)).to(pixels.device)
    rows = (top[:, None] + torch.arange(height, device=pixels.device))[:, :, None]
    columns = (left[:, None] + torch.arange(width, device=pixels.device))[:, None, :]
    return padded[torch.arange(num, device=pixels.device)[:, None, None], rows, columns]


def _framed(pixels: torch.Tensor, by: int, fill: torch.Tensor) -> torch.Tensor:
    num, height, width, _ = pixels.shape
    padded = fill.to(pixels.device).expand(num, height + 2 * by, width + 2 * by, -1).contiguous()
    padded[:, by : by + height, by : by + width] = pixels
    return padded


def _reflected(pixels: torch.Tensor, by: int) -> torch.Tensor:
    rows, columns = (
        torch.from_numpy(np.pad(np.arange(side), by, mode="reflect")).to(pixels.device) for side in pixels.shape[1:3]
    )
    return pixels.index_select(1, rows).index_select(2, columns)


def cutout(pixels: torch.Tensor, chances: Chances, *, side: int, fill: torch.Tensor) -> torch.Tensor:
    """Blank a square of `side` pixels around a random centre of each picture (DeVries and Taylor 2017)."""
    height, width = pixels.shape[1:3]
    centres = torch.from_numpy(chances.integers("cutout", height, width))[..., None]
    rows = _within(torch.arange(height) - centres[0] + side // 2, side)
    columns = _within(torch.arange(width) - centres[1] + side // 2, side)
    hidden = (rows[:, :, None] & columns[:, None, :]).to(pixels.device)
    return torch.where(hidden[..., None], fill.to(pixels.device), pixels)


def _within(offsets: torch.Tensor, side: int) -> torch.Tensor:
    return (offsets >= 0) & (offsets < side)


def random_resized_crop(pictures: Pictures, chances: Chances, *, size: int, scale: float) -> torch.Tensor:
    """Cut a random part of each picture, of `scale` to 1 of its area and aspect 3/4 to 4/3, resized to `size`.

    Returns `[N, size, size, C]`. The rule is torchvision's `RandomResizedCrop` (Szegedy et al. 2014).
    """
    shapes = np.array([picture.shape[:2] for picture in pictures])
    boxes = _random_boxes(shapes, chances.uniform("crop", 40).reshape(10, 4, -1), scale)
    return torch.stack(
        [
            _resize(picture[top : top + height, left : left + width], size)
            for picture, (top, left, height, width) in zip(pictures, boxes.tolist(), strict=True)
        ]
    )


def _random_boxes(shapes: np.ndarray, draws: np.ndarray, scale: float) -> np.ndarray:
    """Return top, left, height, width of each part, `[N, 4]`: of the first of ten draws that fits, else the centre.

    `shapes` is `[N, 2]`, `draws` `[10, 4, N]`.
    """
    height, width = shapes.T
    area_draw, aspect_draw, y_draw, x_draw = draws.transpose(1, 0, 2)
    area, aspect = height * width * (scale + (1 - scale) * area_draw), (3 / 4) * (16 / 9) ** aspect_draw
    w, h = np.rint((area * aspect) ** 0.5), np.rint((area / aspect) ** 0.5)
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    drawn = np.stack([(y_draw * (height - h + 1)), (x_draw * (width - w + 1)), h, w], axis=-1).astype(np.int64)
    side = np.minimum(height, width)
    centred = np.stack([(height - side) // 2, (width - side) // 2, side, side], axis=-1)
    return np.where(fits.any(0)[:, None], drawn[fits.argmax(0), np.arange(len(shapes))], centred)


def centre(pictures: Pictures, *, preprocess: Preprocess) -> torch.Tensor:
    """Return whole training pictures as evaluation would crop them, nearly: `[N, size, size, C]` without chance."""
    squares = []
    for picture in pictures:
        side = max(1, round(min(picture.shape[:2]) * min(1.0, preprocess.size / preprocess.resize)))
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        squares.append(_resize(picture[top : top + side, left : left + side], preprocess.size))
    return torch.stack(squares)


def _resize(picture: torch.Tensor, size: int) -> torch.Tensor:
    """Resize `[h, w, C]` uint8 to `[size, size, C]`, bilinear with antialiasing."""
    if picture.shape[0] == picture.shape[1] == size:
        return picture
    planes = picture.permute(2, 0, 1)[None]
    resized = functional.interpolate(planes, (size, size), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0)
