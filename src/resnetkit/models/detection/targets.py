"""What a detector learns from on one picture: its objects as tensors, in pixels of the frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """The objects of one picture where they lie in the frame.

    `boxes` `[M, 4]` float32, `labels` `[M]` int64 from 0, `crowd` `[M]` bool (regions of many that nobody told apart),
    `masks` `[M, H, W]` bool or None: the pixels of each object; one without any pixel teaches no mask. `inside`: the
    picture itself within its bars, left, top, right, bottom, None for the whole frame. `seed`: of the samples that one
    step learns from.
    """

    boxes: Tensor = field(repr=False)
    labels: Tensor
    crowd: Tensor = field(repr=False)
    masks: Tensor | None = field(default=None, repr=False)
    inside: tuple[float, float, float, float] | None = None
    seed: int = 0

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Placed:
        """Return it on another device."""
        moved = {
            name: value.to(device, non_blocking=non_blocking)
            for name in ("boxes", "labels", "crowd", "masks")
            if (value := getattr(self, name)) is not None
        }
        return Placed(**moved, inside=self.inside, seed=self.seed)

    def objects(self) -> Placed:
        """Return it without the crowd regions."""
        if not self.crowd.any():
            return self
        kept = ~self.crowd
        masks = None if self.masks is None else self.masks[kept]
        return Placed(
            boxes=self.boxes[kept], labels=self.labels[kept], crowd=self.crowd[kept], masks=masks,
            inside=self.inside, seed=self.seed,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.labels)
