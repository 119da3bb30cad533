"""Cutting boxes out of the levels of a pyramid; in training as sums over few cells, forward and backward alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

_SAMPLES = 2  # along each side of a part, as in torchvision


class RegionPool(nn.Module):
    """RoIAlign (https://arxiv.org/abs/1703.06870) from the level that fits the size of each box, `side` x `side`.

    In training each part of a box is written as what it is, a weighted sum of 16 cells. The gradient of torchvision's
    is computed by one core of a CPU; on a GPU it adds in no fixed order, so that the same command would not give the
    same bits.
    """

    def __init__(self, strides: tuple[int, ...], side: int) -> None:
        super().__init__()
        self.strides, self.side = strides, side
        # Strides are said: it would guess them from the first pictures, and small ones mislead it.
        self.pool = MultiScaleRoIAlign([str(number) for number in range(len(strides))], side, _SAMPLES)
        self.pool.scales = [1 / stride for stride in strides]
        self.pool.map_levels = initLevelMapper(*(stride.bit_length() - 1 for stride in (strides[0], strides[-1])))

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor]) -> Tensor:
        """Return `[R, C, side, side]` of all pictures' boxes, `[R_i, 4]` each."""
        if not self.training or not any(map(len, boxes)):
            pooled: Tensor = self.pool(features, boxes, [])
            return pooled
        levels = self.pool.map_levels(boxes)
        every = torch.cat(boxes)
        counts = torch.tensor([len(own) for own in boxes], device=every.device)
        pictures = torch.arange(len(boxes), device=every.device).repeat_interleave(counts)
        parts, places = [], []
        for number in levels.unique().tolist():
            where = torch.where(levels == number)[0]
            level, scale = features[str(number)], 1 / self.strides[number]
            parts.append(summed_roi_align(level, every[where], pictures[where], side=self.side, scale=scale))
            places.append(where)
        return torch.cat(parts)[torch.cat(places).argsort()]


def summed_roi_align(features: Tensor, boxes: Tensor, pictures: Tensor, *, side: int, scale: float) -> Tensor:
    """Return what torchvision's `roi_align` does, `[R, C, side, side]` of `[N, C, H, W]`.

    `boxes` `[R, 4]` lie on the `pictures` `[R]`; `scale` is cells per pixel.
    """
    num, channels, height, width = features.shape
    with torch.no_grad():
        scaled = boxes * scale
        sides = (scaled[:, 2:] - scaled[:, :2]).clamp(min=1)
        rows, by_row = _cells(scaled[:, 1], sides[:, 1], height, side)
        columns, by_column = _cells(scaled[:, 0], sides[:, 0], width, side)
        rows = rows + pictures[:, None, None] * height
        cells = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
        weights = by_row[:, :, None, :, None] * by_column[:, None, :, None, :]
    flat = features.permute(0, 2, 3, 1).reshape(num * height * width, channels)  # a view, where channels come last
    summed: Tensor = _WeightedSums.apply(flat.float(), cells.flatten(3).flatten(0, 2), weights.flatten(3).flatten(0, 2))
    return summed.view(len(boxes), side, side, channels).permute(0, 3, 1, 2).to(features.dtype)


def _cells(start: Tensor, length: Tensor, size: int, side: int) -> tuple[Tensor, Tensor]:
    """Return which of `size` cells each of `side` parts of a stretch takes, and their weights, `[R, side, 4]`."""
    samples = torch.arange(side * _SAMPLES, device=start.device)
    part = (length / side)[:, None]
    at = start[:, None] + (samples // _SAMPLES) * part + (samples % _SAMPLES + 0.5) * part / _SAMPLES
    there = ((at >= -1) & (at <= size)).to(at) / _SAMPLES  # what lies farther out is 0, as in torchvision
    at = at.clamp(0, size - 1)
    first = at.floor()
    beyond = at - first
    cells = torch.stack([first, (first + 1).clamp(max=size - 1)], dim=-1).long()
    weights = torch.stack([(1 - beyond) * there, beyond * there], dim=-1)
    return cells.view(-1, side, 2 * _SAMPLES), weights.view(-1, side, 2 * _SAMPLES)


class _WeightedSums(torch.autograd.Function):
    """Rows of a table `[T, C]`, `cells` `[S, K]` of them with `weights` `[S, K]` added up to each of `[S, C]`.

    The gradient is such a sum too, over the sums that took a row, in their order: the same bits each time.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(cells, weights)
        ctx.length = len(table)
        return embedding_bag(cells, table, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cells, weights = ctx.saved_tensors
        taken = cells.flatten()
        order = taken.argsort(stable=True)
        counts = torch.bincount(taken, minlength=ctx.length)
        starts = counts.cumsum(0) - counts
        own = embedding_bag(
            order // cells.shape[1], gradients[0].contiguous(), starts, mode="sum",
            per_sample_weights=weights.flatten()[order],
        )  # fmt: skip
        return own, None, None
