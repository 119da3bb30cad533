"""Pixels on their way to the network: the one normalisation that training, evaluation and prediction share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from resnetkit.data.augment import Pictures
from resnetkit.data.chances import Chances, key
from resnetkit.data.preflight import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.runtime import Runtime

Augmenter = Callable[[Pictures, Chances], torch.Tensor]


def normalise(pixels: torch.Tensor, preprocess: Preprocess, *, memory_format: torch.memory_format) -> torch.Tensor:
    """Turn `[N, H, W, C] uint8` pixels into the `[N, C, H, W] float32` a network reads: (x / 255 - mean) / std.

    Runs on the device of `pixels`, so that only bytes travel to it. The order of operations is torchvision's, so the
    result equals its `ImageClassification` preset bit for bit. H and W are free: training crops need not be square.
    """
    assert pixels.dtype == torch.uint8, f"pixels are {pixels.dtype}, not uint8"
    assert pixels.ndim == 4, f"pixels have shape {tuple(pixels.shape)}, not [N, H, W, C]"
    assert pixels.shape[-1] == preprocess.channels, f"{pixels.shape[-1]} channels, expected {preprocess.channels}"
    mean = torch.tensor(preprocess.mean, dtype=torch.float32, device=pixels.device)
    std = torch.tensor(preprocess.std, dtype=torch.float32, device=pixels.device)
    if memory_format != torch.channels_last:
        scaled = pixels.permute(0, 3, 1, 2).to(dtype=torch.float32, memory_format=memory_format)
        return scaled.div_(255).sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))
    # Whole rows at a time: three numbers, one for each channel, are too few for vector instructions (half the time).
    rows = pixels.flatten(2).to(dtype=torch.float32)
    scaled = rows.div_(255).sub_(mean.repeat(pixels.shape[2])).div_(std.repeat(pixels.shape[2]))
    return scaled.view(pixels.shape).permute(0, 3, 1, 2)


def seeded(seed: int, *position: int) -> torch.Generator:
    """Return a generator whose stream is a pure function of the seed and a position such as (epoch, step)."""
    return torch.Generator().manual_seed(key(seed, *position))


class Batches:
    """The training batches of every epoch; what a batch holds depends on (seed, epoch, step) alone.

    How a picture is changed depends on (seed, epoch, picture) alone: not on the batch it is in, nor on the batch size.

    Each epoch shows each image exactly once, in a new order. Batches are as even as can be and at most `batch_size`
    long, so that no batch is left with an image or two, on which BatchNorm would fail.
    """

    def __init__(
        self, part: Part, *, preprocess: Preprocess, augment: Augmenter, batch_size: int, seed: int, runtime: Runtime
    ) -> None:
        self.part, self.preprocess, self.augment, self.runtime, self.seed = part, preprocess, augment, runtime, seed
        self.num_images = len(part.items)
        self.steps_per_epoch = -(-self.num_images // batch_size)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def num_before(self, step: int) -> int:
        """Return the number of images in the first `step` batches of an epoch."""
        longer = self.num_images % self.steps_per_epoch
        return step * (self.num_images // self.steps_per_epoch) + min(step, longer)

    def indices(self, epoch: int, step: int) -> np.ndarray:
        """Return the positions in the training part of the images of one batch."""
        if self._order[0] != epoch:
            order = torch.randperm(self.num_images, generator=seeded(self.seed, epoch))
            self._order = (epoch, order.numpy())
        return self._order[1][self.num_before(step) : self.num_before(step + 1)]

    def get(
        self, indices: np.ndarray, epoch: int, step: int, *, share: slice = slice(None)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the augmented, normalised `[N, C, S, S] float32` images and `[N] int64` targets on the device.

        `share`: which of them are wanted; they look as they do among all, however many processes share the batch.
        """
        images = indices[share]
        taken = self.part.pixels.take(images)
        pictures = torch.from_numpy(taken) if isinstance(taken, np.ndarray) else [torch.from_numpy(t) for t in taken]
        pixels = self.augment(pictures, Chances(seed=self.seed, epoch=epoch, images=images))
        pixels = pixels.to(self.runtime.device, non_blocking=True)
        targets = torch.from_numpy(self.part.targets[images]).to(self.runtime.device, non_blocking=True)
        return normalise(pixels, self.preprocess, memory_format=self.runtime.memory_format()), targets

    def sources(self, indices: np.ndarray) -> list[str]:
        """Return where the images of a batch come from."""
        return [self.part.items[i].source for i in indices]
