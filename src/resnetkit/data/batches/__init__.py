"""Pixels on their way to the network: the one normalisation that training, evaluation and prediction share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import torch

from resnetkit.data.batches.augment import Pictures
from resnetkit.data.chances import Chances, key
from resnetkit.data.drawing import Sampling, drawn_evenly
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.runtime import Runtime

Augmenter = Callable[[Pictures, Chances], torch.Tensor]
# Mixes each picture but the first with the one before it; N + 1 pictures and targets come in, N go out.
# What is to be learnt of pictures whose positions and shapes (height, width) are given, once chance has changed them.
Placer = Callable[[np.ndarray, Sequence[tuple[int, int]], Chances], Sequence[Any]]
Mixer = Callable[[torch.Tensor, torch.Tensor, Random], tuple[torch.Tensor, torch.Tensor]]

_CACHED = 1 << 19  # bytes of float32 that stay in a core's cache through the steps of the normalisation


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
    rows, width = pixels.flatten(2).flatten(0, 1), pixels.shape[2]
    mean, std = mean.repeat(width), std.repeat(width)
    scaled = torch.empty(rows.shape, dtype=torch.float32, device=pixels.device)
    at_once = max(1, _CACHED // (4 * rows.shape[1])) if pixels.device.type == "cpu" else max(1, len(rows))
    for some, into in zip(rows.split(at_once), scaled.split(at_once), strict=True):
        into.copy_(some).div_(255).sub_(mean).div_(std)
    return scaled.view(pixels.shape).permute(0, 3, 1, 2)


def seeded(seed: int, *position: int) -> torch.Generator:
    """Return a generator whose stream is a pure function of the seed and a position such as (epoch, step)."""
    return torch.Generator().manual_seed(key(seed, *position))


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures, `[N, ...]` on a device, and what is to be learnt of each: a tensor `[N, ...]`, or N things of any kind.

    >>> [len(part) for part in Batch(torch.zeros(5, 3, 8, 8), torch.arange(5)).split(3)]
    [2, 2, 1]
    """

    images: torch.Tensor
    targets: torch.Tensor | Sequence[Any]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, where: slice) -> Batch:
        return Batch(self.images[where], self.targets[where])

    def split(self, parts: int) -> list[Batch]:
        """Return so many batches of lengths that differ by at most one, the longer ones first; some may be empty."""
        each, longer = divmod(len(self), parts)
        bounds = [number * each + min(number, longer) for number in range(parts + 1)]
        return [self[start:stop] for start, stop in pairwise(bounds)]


class Batches:
    """The training batches of every epoch; what a batch holds depends on (seed, epoch, step) alone.

    How a picture is changed depends on (seed, epoch, picture) alone: not on the batch it is in, nor on the batch size.

    `place`: where targets lie somewhere on a picture, it tells where they lie on what the network gets.
    With `views`, epoch e changes pictures as epoch e mod `views` did; their order is new all the same.
    Each epoch shows each image exactly once, in a new order, or under `balanced` sampling as many as there are, of each
    class equally many (`drawn_evenly`); one that comes again in an epoch is changed otherwise, but for stored views.
    Batches are as even as can be and at most `batch_size` long, so that no batch is left with an image or two, on which
    BatchNorm would fail.
    """

    def __init__(
        self, part: Part, *, preprocess: Preprocess, augment: Augmenter, mix: Mixer | None = None,
        place: Placer | None = None, batch_size: int, seed: int, runtime: Runtime, views: int = 0,
        sampling: Sampling = "once",
    ) -> None:  # fmt: skip
        self.part, self.preprocess, self.augment, self.runtime, self.seed = part, preprocess, augment, runtime, seed
        self.mix, self.place, self.views, self.sampling = mix, place, views, sampling
        self.num_images = len(part.items)
        self.steps_per_epoch = -(-self.num_images // batch_size)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def prepare(self, epoch: int, check: Callable[[], None]) -> None:
        """Get ready for the batches of an epoch, which takes no time: each is made when it is wanted."""

    def view(self, epoch: int) -> int:
        """Return which view of each picture an epoch shows."""
        return epoch % self.views if self.views else epoch

    def num_before(self, step: int) -> int:
        """Return the number of images in the first `step` batches of an epoch."""
        longer = self.num_images % self.steps_per_epoch
        return step * (self.num_images // self.steps_per_epoch) + min(step, longer)

    def indices(self, epoch: int, step: int) -> np.ndarray:
        """Return the numbers of the images of one batch: positions in the training part, turned to by `positions`."""
        if self._order[0] != epoch:
            self._order = (epoch, self._drawn(epoch))
        return self._order[1][self.num_before(step) : self.num_before(step + 1)]

    def _drawn(self, epoch: int) -> np.ndarray:
        if self.sampling == "balanced":
            return drawn_evenly(self.part.targets, seed=self.seed, epoch=epoch)
        return torch.randperm(self.num_images, generator=seeded(self.seed, epoch)).numpy()

    def positions(self, indices: np.ndarray) -> np.ndarray:
        """Return the positions in the training part of numbers, which count how often one came before in an epoch."""
        return indices % self.num_images

    def get(self, indices: np.ndarray, epoch: int, step: int, *, share: slice = slice(None)) -> Batch:
        """Return the augmented, normalised `[N, C, S, S] float32` images and their targets on the device.

        Targets are `[N] int64`, or `[N, K] float32` where pictures are mixed, or what `place` makes of them. `share`:
        which of them are wanted; they look as they do among all, however many processes share the batch.
        """
        changed = self.changed(indices, epoch, step, share=share)
        images = normalise(changed.images, self.preprocess, memory_format=self.runtime.memory_format())
        return Batch(images, changed.targets)

    def changed(self, indices: np.ndarray, epoch: int, step: int, *, share: slice = slice(None)) -> Batch:
        """Return what `get` does as `[N, S, S, C] uint8`, before it is normalised."""
        start, stop, _ = share.indices(len(indices))
        # The one before it is the partner of the first; an empty share takes it too, as pictures have shapes.
        before = 1 if self.mix or start == stop else 0
        numbers = indices[np.arange(start - before, stop) % len(indices)]
        images = self.positions(numbers)
        taken = self.part.pixels.take(images)
        pictures = torch.from_numpy(taken) if isinstance(taken, np.ndarray) else [torch.from_numpy(t) for t in taken]
        chances = Chances(seed=self.seed, epoch=self.view(epoch), images=numbers)
        pixels = self.augment(pictures, chances)
        if self.place:
            shapes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
            return Batch(pixels[before:], self.place(images, shapes, chances)[before:])
        targets = torch.from_numpy(self.part.targets[images]).to(self.runtime.device, non_blocking=True)
        if self.mix:
            return Batch(*self.mix(pixels, targets, Random(key(self.seed, epoch, step, "mix"))))
        return Batch(pixels[before:], targets[before:])

    def seen(self, image: int, epoch: int) -> Batch:
        """Return a picture of the training part as the network gets it in an epoch, `[1, S, S, C] uint8`.

        One that is not drawn in it looks as it would alone.
        """
        for step in range(self.steps_per_epoch):
            indices = self.indices(epoch, step)
            for place in np.flatnonzero(indices == image):
                return self.changed(indices, epoch, step, share=slice(place, place + 1))
        return self.changed(np.array([image]), epoch, 0)

    def sources(self, indices: np.ndarray) -> list[str]:
        """Return where the images of a batch come from."""
        return [self.part.items[i].source for i in self.positions(indices)]
