"""Images per second of training, data loading included: ours and the program people copy, in turns.

    python benchmarks/step_throughput.py ../shared/data/cifar10.zip --model resnet20 --compile
    python benchmarks/step_throughput.py ../shared/data/hymenoptera --model resnet18 --size 224 --batch-size 32

The baseline is faithful to tutorials: a `Dataset` that changes one picture at a time with torchvision's transforms
(at 32 pixels from an array in memory, as torchvision's CIFAR10 does; else each picture is opened every time), a
`DataLoader` (with two workers or none, whichever is faster here), fp32, NCHW, Adam and `loss.item()` in each step. Ours
is `resnetkit.train` itself, timed from step to step; pictures are decoded once, before its first step, and what that
took is printed beside. The median of the steps of all rounds counts, and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

import resnetkit as rk
from resnetkit import runtime
from resnetkit.data.dataset import Item
from resnetkit.data.sources import open_data
from resnetkit.models.catalog import build
from resnetkit.watcher import Step, Watcher

WARM_UP = 3


class OneByOne(Dataset):
    """Training pictures as tutorials read them: changed and turned into a tensor one at a time."""

    def __init__(self, source: str, *, size: int, limit: int) -> None:
        self.data = open_data(source)
        items = itertools.cycle(i for i in self.data.items if i.split == "train")
        self.items = list(itertools.islice(items, limit))
        self.targets = [self.data.classes.index(str(item.label)) for item in self.items]
        self.decoded = [np.asarray(self._opened(item)) for item in self.items] if size == 32 else None
        crop = v2.RandomCrop(32, padding=4) if size == 32 else v2.RandomResizedCrop(size)
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        change = [crop, v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        self.change = v2.Compose([*change, v2.Normalize(mean, std)])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = self._opened(self.items[index]) if self.decoded is None else Image.fromarray(self.decoded[index])
        return self.change(image), self.targets[index]

    def _opened(self, item: Item) -> Image.Image:
        return self.data.open(item).convert("RGB")


class Baseline:
    """The copied program; its step times go on from round to round."""

    def __init__(self, options: argparse.Namespace, *, workers: int) -> None:
        torch.manual_seed(0)
        dataset = OneByOne(options.data, size=options.size, limit=options.steps * options.batch_size)
        cifar = options.size == 32
        self.network = build(options.model, num_classes=10) if cifar else torchvision.models.get_model(options.model)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.loader = DataLoader(dataset, batch_size=options.batch_size, shuffle=True, num_workers=workers)
        self.workers = workers

    def steps(self) -> Iterator[float]:
        """Train for one round and yield the seconds of each step, loading included."""
        self.network.train()
        begin = time.perf_counter()
        for images, targets in self.loader:
            loss = torch.nn.functional.cross_entropy(self.network(images), targets)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()
            yield time.perf_counter() - begin
            begin = time.perf_counter()


class Clock(Watcher):
    """Notes when each step was done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def step(self, step: Step) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def ours(options: argparse.Namespace, *, compiled: bool) -> tuple[list[float], float]:
    """Train for one round; return the seconds of each step, and the seconds before the first."""
    clock, begin = Clock(), time.perf_counter()
    settings = (f"compile={'on' if compiled else 'off'}", "val_share=0.0", "augment.flip=random")
    with tempfile.TemporaryDirectory() as folder:
        rk.train(
            options.data, model=options.model, weights="none", recipe="scratch", image_size=options.size, epochs=1,
            batch_size=options.batch_size, limit=options.limit, output=Path(folder) / "run", threads=options.threads,
            settings=settings, watcher=clock,
        )  # fmt: skip
    return [b - a for a, b in itertools.pairwise(clock.times)], clock.times[0] - begin


def convolution_limit() -> float:
    """Return the best bf16 rate, in FLOP/s, of a few large convolutions: what this processor can do."""
    best = 0.0
    for channels, side, count in ((64, 56, 32), (128, 28, 32), (256, 14, 64), (512, 7, 128)):
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(torch.bfloat16)
        layer = layer.to(memory_format=torch.channels_last)
        images = torch.randn(count, channels, side, side, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            for _ in range(10):
                begin = time.perf_counter()
                layer(images)
                rate = 2 * count * side**2 * 9 * channels**2 / (time.perf_counter() - begin)
                best = max(best, rate)
    return best


def flops_per_image(options: argparse.Namespace) -> float:
    """Return the FLOPs of a training step for one image: three times the forward pass."""
    network = build(options.model, num_classes=10)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, options.size, options.size))
    return 3 * counter.get_total_flops()


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=12, help="steps of the baseline in each round")
    parser.add_argument("--limit", type=int, default=4000, help="pictures that ours opens")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=runtime.available_threads())
    parser.add_argument("--compile", action="store_true", help="measure the compiled step as well")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)

    kinds = [Baseline(options, workers=0), Baseline(options, workers=2)]
    names = {id(kind): f"copied program, {kind.workers} workers" for kind in kinds}
    seconds: dict[str, list[float]] = {}
    before = {}
    for _ in range(options.rounds):
        for kind in kinds:
            seconds.setdefault(names[id(kind)], []).extend(list(kind.steps())[WARM_UP:])
        for compiled in [False, True][: 1 + options.compile]:
            steps, before[compiled] = ours(options, compiled=compiled)
            seconds.setdefault(f"ours{', compiled' * compiled}", []).extend(steps[WARM_UP:])
    rates = {name: options.batch_size / statistics.median(times) for name, times in seconds.items()}
    baseline = max(rate for name, rate in rates.items() if not name.startswith("ours"))
    limit, each = convolution_limit(), flops_per_image(options)
    print(f"{options.model} at {options.size} pixels, batch {options.batch_size}, {options.threads} threads")
    print(f"{runtime.cpu_name()}, torch {torch.__version__}, bf16 convolutions reach {limit / 1e9:.0f} GFLOP/s\n")
    print(f"{'':32} {'images/s':>9} {'ratio':>6} {'GFLOP/s':>8} {'of limit':>9} {'steps':>6}")
    for name, rate in rates.items():
        share = f"{rate * each / 1e9:8.0f} {rate * each / limit:8.0%}"
        print(f"{name:32} {rate:9.0f} {rate / baseline:5.2f}x {share} {len(seconds[name]):6}")
    print(f"\nours, before its first step (pictures are read and decoded once): {before[False]:.1f} s")


if __name__ == "__main__":
    main()
