"""Two pictures in one, and targets to match: mixup and cutmix on whole batches of uint8 tensors."""

from __future__ import annotations

from random import Random

import torch
from torch.nn import functional

_CACHED = 1 << 17  # values that stay in a core's cache while they are mixed


def mixup(pixels: torch.Tensor, others: torch.Tensor, *, weight: float) -> torch.Tensor:
    """Return `weight` of each picture and the rest of its partner, `[N, H, W, C]` uint8 (Zhang et al. 2018)."""
    mixed = torch.empty_like(pixels)
    at_once = max(1, _CACHED // pixels[0].numel() if pixels.device.type == "cpu" and len(pixels) else len(pixels))
    for into, some, partners in zip(mixed.split(at_once), pixels.split(at_once), others.split(at_once), strict=True):
        into.copy_(torch.lerp(partners.float(), some.float(), weight).round_())
    return mixed


def cutmix(pixels: torch.Tensor, others: torch.Tensor, *, weight: float, chance: Random) -> tuple[torch.Tensor, float]:
    """Put a part of its partner into each picture, the same part in all (Yun et al. 2019).

    The part has `1 - weight` of the area where it does not reach over the border. Returns the pictures `[N, H, W, C]`
    uint8 and the share of the area that they kept.
    """
    height, width = pixels.shape[1:3]
    top, bottom = _part(height, weight, chance)
    left, right = _part(width, weight, chance)
    mixed = pixels.clone()
    mixed[:, top:bottom, left:right] = others[:, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _part(side: int, weight: float, chance: Random) -> tuple[int, int]:
    """Return first and last + 1 of sqrt(1 - weight) of a side around a random centre, cut off at its ends."""
    length, centre = int(side * (1 - weight) ** 0.5), chance.randrange(side)
    return max(0, centre - length // 2), min(side, centre - length // 2 + length)


def soft_targets(targets: torch.Tensor, others: torch.Tensor, *, weight: float, num_classes: int) -> torch.Tensor:
    """Return `[N, K]` float32: `weight` for the class of each picture, the rest for that of its partner.

    Labels, `[N, K]` already, are mixed as they are; what is not known of one is not known of both.
    """
    if targets.ndim == 2:
        return torch.lerp(others, targets, weight)
    own, partner = (functional.one_hot(t, num_classes).float() for t in (targets, others))
    return torch.lerp(partner, own, weight)
