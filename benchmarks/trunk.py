"""What the bundled ImageNet trunk is: torchvision's features bit for bit, and a linear probe on CIFAR-10.

    python benchmarks/trunk.py [--data cifar10.zip] [--test 10000] [--threads 2]

First the file is loaded into ours and into torchvision's `ResNet(BasicBlock, [2, 2, 2, 3])`, and the features of random
pictures are compared. Then a logistic regression (its penalty by cross-validation on the training pictures) is fitted
to frozen features of 500 training pictures a class, drawn by `--seed`, and scored on the test part: of the trunk and of
the same network with random weights, on pictures enlarged to 224 pixels, and of the bundled CIFAR-10 ResNet-20 on
pictures as they are; that one was trained on these very pictures. All in fp32. Prints one JSON line a network.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import load_file
from torchvision.models.resnet import BasicBlock

from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data
from resnetkit.evaluation.uncertainty import accuracy_interval
from resnetkit.inference.engines import TorchEngine
from resnetkit.models import catalog, checkpoint
from resnetkit.models.resnet import ResNet
from resnetkit.models.surgery import Headless
from resnetkit.runtime import Runtime, available_threads
from resnetkit.training.steps.linear import choose_penalty, fit_linear

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TRUNK, CIFAR = "resnet_2223.imagenet1k", "resnet20.cifar10"
EACH = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=str(SHARED / "cifar10.zip"))
    parser.add_argument("--each", type=int, default=EACH, help="training pictures a class")
    parser.add_argument("--test", type=int, default=10_000, help="test pictures, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=available_threads())
    options = parser.parse_args()
    runtime = Runtime(threads=options.threads)
    runtime.apply()
    print(json.dumps(same_as_torchvision()), flush=True)
    dataset = open_data(options.data)
    train, test = drawn(dataset, each=options.each, test=options.test, seed=options.seed)
    torch.manual_seed(options.seed)
    random = ResNet(catalog.spec_of("resnet_2223", num_classes=0))
    enlarged = Preprocess(resize=224, size=224)
    for name, network, preprocess in (
        (CIFAR, opened(CIFAR), Preprocess.for_size(32)),
        (TRUNK, opened(TRUNK), enlarged),
        ("random weights", random.eval(), enlarged),
    ):
        engine = TorchEngine(Headless(network), preprocess, runtime)
        print(json.dumps({"weights": name} | probed(engine, dataset, train, test, preprocess)), flush=True)


def same_as_torchvision() -> dict[str, object]:
    """Compare the features of 8 random pictures of 224 pixels, bit for bit."""
    path = catalog.record(TRUNK).path
    assert path is not None
    theirs = torchvision.models.ResNet(BasicBlock, [2, 2, 2, 3])
    theirs.fc = torch.nn.Identity()  # type: ignore[assignment]
    keys = theirs.load_state_dict(load_file(path), strict=False)
    left_over = [key for key in (*keys.missing_keys, *keys.unexpected_keys) if not key.endswith("num_batches_tracked")]
    network, header = checkpoint.load(path)
    images = torch.randn(8, 3, 224, 224, generator=torch.manual_seed(0))
    with torch.inference_mode():
        equal = torch.equal(network(images), theirs.eval()(images))
    return {"blocks": header.spec.blocks, "keys left over": left_over, "features equal torchvision's": equal}


def opened(name: str) -> ResNet:
    path = catalog.record(name).path
    assert path is not None
    return checkpoint.load(path)[0]


def drawn(dataset: Dataset, *, each: int, test: int, seed: int) -> tuple[list[Item], list[Item]]:
    """Return as many training pictures of each class, and so many test pictures, at random."""
    order = np.random.default_rng(seed).permutation(len(dataset.items))
    items = [dataset.items[number] for number in order]
    train = [
        item
        for label in dataset.classes
        for item in [item for item in items if item.split == "train" and item.label == label][:each]
    ]
    return train, [item for item in items if item.split == "test"][:test]


def probed(
    engine: TorchEngine, dataset: Dataset, train: Sequence[Item], test: Sequence[Item], preprocess: Preprocess
) -> dict[str, object]:
    """Fit a linear head to features of the training pictures and score it on the test pictures."""
    begin = time.monotonic()
    fitted_on, scored_on = (features(engine, dataset, items, preprocess) for items in (train, test))
    seconds = time.monotonic() - begin
    targets, truth = (np.array([dataset.classes.index(str(item.label)) for item in items]) for items in (train, test))
    penalty = choose_penalty(fitted_on, targets, groups=[str(i) for i in range(len(targets))], balanced=False)
    scaling, model = fit_linear(fitted_on, targets, penalty, balanced=False)
    right = model.predict(scaling.transform(scored_on)) == truth
    interval = accuracy_interval(right)
    return {
        "pixels": preprocess.size, "train": len(train), "test": len(test), "features": fitted_on.shape[1],
        "right": round(float(right.mean()), 4), "interval": [round(interval.low, 4), round(interval.high, 4)],
        "penalty": penalty, "feature_seconds": round(seconds, 1),
        "head_seconds": round(time.monotonic() - begin - seconds, 1),
    }  # fmt: skip


def features(engine: TorchEngine, dataset: Dataset, items: Sequence[Item], preprocess: Preprocess) -> np.ndarray:
    rows = []
    for start in range(0, len(items), 50):
        batch = np.stack([preprocess.pixels(dataset.open(item)) for item in items[start : start + 50]])
        rows.append(engine.logits(batch))
    return np.concatenate(rows)


if __name__ == "__main__":
    main()
