"""Random changes of training pictures, on whole batches of uint8 tensors.

Every function takes and returns `[N, H, W, C]` uint8 and draws its chances from `generator` (on the CPU, so that the
same seed gives the same pictures on every device).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from resnetkit.data.preprocess import Preprocess

Pictures = torch.Tensor | Sequence[torch.Tensor]


def flip(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each picture left to right with probability 1/2."""
    chosen = torch.rand(len(pixels), generator=generator) < 0.5
    return torch.where(chosen.to(pixels.device)[:, None, None, None], pixels.flip(2), pixels)


def shift(pixels: torch.Tensor, generator: torch.Generator, *, by: int, fill: torch.Tensor) -> torch.Tensor:
    """Move each picture by up to `by` pixels each way; what enters is `fill`, `[C]` uint8 (paper, section 4.2)."""
    num, height, width, _ = pixels.shape
    padded = fill.to(pixels.device).expand(num, height + 2 * by, width + 2 * by, -1).contiguous()
    padded[:, by : by + height, by : by + width] = pixels
    top, left = torch.randint(0, 2 * by + 1, (2, num, 1), generator=generator).to(pixels.device)
    rows = (top + torch.arange(height, device=pixels.device))[:, :, None]
    columns = (left + torch.arange(width, device=pixels.device))[:, None, :]
    return padded[torch.arange(num, device=pixels.device)[:, None, None], rows, columns]


def cutout(pixels: torch.Tensor, generator: torch.Generator, *, side: int, fill: torch.Tensor) -> torch.Tensor:
    """Blank a square of `side` pixels around a random centre of each picture (DeVries and Taylor 2017)."""
    num, height, width, _ = pixels.shape
    centre_y = torch.randint(0, height, (num, 1), generator=generator)
    centre_x = torch.randint(0, width, (num, 1), generator=generator)
    rows = _within(torch.arange(height) - centre_y + side // 2, side)
    columns = _within(torch.arange(width) - centre_x + side // 2, side)
    hidden = (rows[:, :, None] & columns[:, None, :]).to(pixels.device)
    return torch.where(hidden[..., None], fill.to(pixels.device), pixels)


def _within(offsets: torch.Tensor, side: int) -> torch.Tensor:
    return (offsets >= 0) & (offsets < side)


def random_resized_crop(pictures: Pictures, generator: torch.Generator, *, size: int, scale: float) -> torch.Tensor:
    """Cut a random part of each picture, of `scale` to 1 of its area and aspect 3/4 to 4/3, resized to `size`.

    Returns `[N, size, size, C]`. The rule is torchvision's `RandomResizedCrop` (Szegedy et al. 2014).
    """
    chances = torch.rand(len(pictures), 10, 4, generator=generator).tolist()
    parts = [
        picture[_random_box(picture.shape[0], picture.shape[1], scale, draws)]
        for picture, draws in zip(pictures, chances, strict=True)
    ]
    return torch.stack([_resize(part, size) for part in parts])


def _random_box(height: int, width: int, scale: float, draws: list[list[float]]) -> tuple[slice, slice]:
    for area_draw, aspect_draw, y_draw, x_draw in draws:
        area = height * width * (scale + (1 - scale) * area_draw)
        aspect = (3 / 4) * (16 / 9) ** aspect_draw
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            top, left = int(y_draw * (height - h + 1)), int(x_draw * (width - w + 1))
            return slice(top, top + h), slice(left, left + w)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return slice(top, top + side), slice(left, left + side)


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
