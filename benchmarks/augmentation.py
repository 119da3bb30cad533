"""Augmentation on one core: whole batches of tensors against torchvision's transforms on one picture at a time.

    python benchmarks/augmentation.py

Both start from decoded pictures in memory and end with a normalised float32 batch; decoding is no part of it. Ours
and the plain way take turns in one process, `ROUNDS` times. Figures are medians in images per second of CPU time, so
that other programs on the computer count little, and the ratio of the medians. Pictures are random numbers of the
sizes of CIFAR-10 (32x32) and of photos kept for training at 224 pixels (short side 258).
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch.utils.data import default_collate
from torchvision import transforms

from resnetkit.data.batches import Batches
from resnetkit.data.dataset import Item
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.runtime import Runtime
from resnetkit.training.recipe import Augment
from resnetkit.training.steps.augmenter import build_augmenter, build_mixer

ROUNDS = 11
MIRROR_AND_SHIFT = Augment(flip="random", crop="shift", border="mean")


def part_of(pictures: np.ndarray | list[np.ndarray]) -> Part:
    """Return a training part of pictures of ten classes."""
    items = tuple(Item(f"{i}.png", ("a",), "train") for i in range(len(pictures)))
    return Part(items=items, targets=np.arange(len(pictures)) % 10, pixels=Pixels(pictures))


def ours(part: Part, config: Augment, *, size: int, batch: int) -> Callable[[int], int]:
    """Return a function that makes one batch of an epoch and tells its number of images."""
    preprocess, runtime = Preprocess.for_size(size), Runtime(threads=1)
    runtime.apply()
    batches = Batches(
        part, preprocess=preprocess, augment=build_augmenter(config, preprocess, device="cpu"),
        mix=build_mixer(config, num_classes=10), batch_size=batch, seed=0, runtime=runtime,
    )  # fmt: skip

    def make(epoch: int) -> int:
        return len(batches.get(batches.indices(epoch, 0), epoch, 0))

    return make


def plain(part: Part, *, size: int, batch: int) -> Callable[[int], int]:
    """Return the same by torchvision's transforms and the collation of a DataLoader without workers."""
    crop = transforms.RandomCrop(32, padding=4) if size == 32 else transforms.RandomResizedCrop(size, scale=(0.35, 1))
    mean, std = Preprocess.for_size(size).mean, Preprocess.for_size(size).std
    change = transforms.Compose(
        [crop, transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(mean, std)]
    )
    pictures = [Image.fromarray(part.pixels.take(np.array([i]))[0]) for i in range(len(part))]

    def make(epoch: int) -> int:
        order = torch.randperm(len(pictures))[:batch].tolist()
        return len(default_collate([(change(pictures[i]), int(part.targets[i])) for i in order])[0])

    return make


def compare(name: str, ways: dict[str, Callable[[int], int]]) -> None:
    """Print images per second of each way, measured in turns, and how much faster it is than the last."""
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(ROUNDS + 1):
        for way, make in ways.items():
            started = time.process_time()
            count = make(round_)
            if round_:  # the first warms up
                speeds[way].append(count / (time.process_time() - started))
    medians = {way: statistics.median(values) for way, values in speeds.items()}
    baseline = list(medians.values())[-1]
    for way, median in medians.items():
        low, high = min(speeds[way]), max(speeds[way])
        print(f"{name}  {way:<46} {median:>9,.0f} images/s ({low:,.0f} to {high:,.0f})  x {median / baseline:.1f}")


def main() -> int:
    """Print both tables."""
    random = np.random.default_rng(0)
    small = part_of(random.integers(0, 256, (10_000, 32, 32, 3), dtype=np.uint8))
    compare(
        " 32",
        {
            "flip, shift": ours(small, MIRROR_AND_SHIFT, size=32, batch=512),
            "alternating flip, reflecting shift, cutout": ours(
                small, Augment(flip="alternating", crop="shift", border="reflect", cutout=8), size=32, batch=512
            ),
            "flip, shift, mixup": ours(small, Augment(crop="shift", mixup=0.2), size=32, batch=512),
            "flip, shift, cutmix": ours(small, Augment(crop="shift", cutmix=1.0), size=32, batch=512),
            "flip, shift, turn": ours(small, Augment(crop="shift", turn=180), size=32, batch=512),
            "flip, shift, colour": ours(small, Augment(crop="shift", colour=0.4), size=32, batch=512),
            "flip, shift, trivial": ours(small, Augment(crop="shift", policy="trivial"), size=32, batch=512),
            "flip, shift, rand": ours(small, Augment(crop="shift", policy="rand"), size=32, batch=512),
            "torchvision, one at a time: flip, shift": plain(small, size=32, batch=512),
        },
    )
    sides = random.integers(258, 388, 128).tolist()
    large = part_of([random.integers(0, 256, (258, side, 3), dtype=np.uint8) for side in sides])
    compare(
        "224",
        {
            "random part, flip": ours(large, Augment(crop="random_resized"), size=224, batch=64),
            "random part, flip, turn": ours(large, Augment(crop="random_resized", turn=180), size=224, batch=64),
            "random part, flip, colour": ours(large, Augment(crop="random_resized", colour=0.4), size=224, batch=64),
            "random part, flip, trivial": ours(
                large, Augment(crop="random_resized", policy="trivial"), size=224, batch=64
            ),
            "random part, flip, mixup": ours(large, Augment(crop="random_resized", mixup=0.2), size=224, batch=64),
            "torchvision, one at a time: random part, flip": plain(large, size=224, batch=64),
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
