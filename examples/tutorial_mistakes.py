"""What lines that circulate in tutorials do, measured: every figure of docs/tutorial-mistakes.md, offline.

    python examples/tutorial_mistakes.py

Trains one ResNet-20 on scikit-learn's digits and asks it in the wrong ways; the rest is arithmetic and single calls.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional
from why_residuals import SETTINGS, pictures_of

import resnetkit as rk
from resnetkit.data.batches import normalise
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import InterruptedRun
from resnetkit.models.catalog import spec_of
from resnetkit.models.layers import layer_table


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A trained network with its held-out pictures, [N, 8, 8, 3] uint8, and their classes."""

    model: rk.Model
    pixels: torch.Tensor
    targets: torch.Tensor

    def accuracy(self, order: torch.Tensor, *, batch: int, images: torch.Tensor) -> str:
        """Return the share of right answers for normalised `images` in batches, in the network's present mode."""
        with torch.no_grad():
            answers = torch.cat([self.model.network(images[where]).argmax(1) for where in order.split(batch)])
        return f"{100 * (answers == self.targets[order]).float().mean().item():.1f} %"

    def images(self, preprocess: Preprocess) -> torch.Tensor:
        """Return the pictures normalised by `preprocess`."""
        return normalise(self.pixels, preprocess, memory_format=torch.contiguous_format)


def main() -> None:
    """Print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8, help="of the network that is asked")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for what, figure in (*stems(), *lines()):
        print(f"{what:<66} {figure}")
    try:
        for what, figure in asked_wrongly(trained(options.epochs)):
            print(f"{what:<66} {figure}")
    except (InterruptedRun, KeyboardInterrupt):
        sys.exit("stopped")


def stems() -> Iterator[tuple[str, str]]:
    """What a stem leaves of 32 pixels."""
    for stem in ("imagenet", "cifar"):
        layers = {layer.name: layer for layer in layer_table(spec_of("resnet18").changed(stem=stem), (32, 32))}
        first, last = layers["layer1.0.conv1"].output[1], layers["layer4.1.conv2"].output[1]
        yield f"resnet18, {stem} stem, 32 pixels: sides in stage 1 and 4", f"{first} and {last}"


def lines() -> Iterator[tuple[str, str]]:
    """Single calls."""
    features = torch.zeros(20, 512, 1, 1)
    try:
        features.view(64, -1)
        yield "20 pictures, x.view(64, -1)", str(tuple(features.view(64, -1).shape))
    except RuntimeError as error:
        yield "20 pictures, x.view(64, -1)", str(error)
    yield "32 pictures, x.view(64, -1)", str(tuple(torch.zeros(32, 512, 1, 1).view(64, -1).shape))
    for channels in (256, 512):
        size = torch.zeros(1, channels).shape[1]
        yield f"{channels} channels: size is not {channels}", str(size is not int(str(channels)))
    x = torch.randn(2, 3, 4, 4)
    yield "AvgPool2d(1)(x) equals x", str(torch.equal(nn.AvgPool2d(1)(x), x))
    certain = torch.zeros(1, 10)
    certain[0, 0] = 1.0  # what a softmax that is quite sure, and right, hands on
    loss = functional.cross_entropy(certain, torch.tensor([0])).item()
    yield "cross-entropy after a softmax, certain and right", f"{loss:.3f} (chance: {math.log(10):.3f})"
    losses = np.full(10000, 0.1)
    losses[-16:] = 5.0
    means = [batch.mean() for batch in np.split(losses, range(64, 10000, 64))]
    yield "mean loss / mean of batch means, last 16 of 10,000 hard", f"{losses.mean():.4f} / {np.mean(means):.4f}"
    saved = [epoch for epoch in range(1, 26) if epoch % 10 == 0]
    yield "25 epochs, saved when epoch % 10 == 0", f"last saved: {saved[-1]}"
    weight: Any = torch.ones(1, requires_grad=True)
    for _ in range(3):
        (2 * weight).sum().backward()
    yield "gradient of 2w after three steps without zero_grad", f"{weight.grad.item():.0f} in place of 2"
    photo = torch.from_numpy(load_sample_image("china.jpg").copy())[None]
    shown = normalise(photo, Preprocess(), memory_format=torch.contiguous_format)
    outside = ((shown < 0) | (shown > 1)).float().mean().item()
    yield "values of a normalised photo that imshow clips", f"{100 * outside:.0f} %"


def trained(epochs: int) -> Asked:
    """Train a ResNet-20 on the digits and return it with its held-out pictures."""
    with tempfile.TemporaryDirectory() as place:
        run = rk.train(
            "digits", model="resnet20", weights="none", recipe="scratch", epochs=epochs, settings=SETTINGS, threads=1,
            output=Path(place) / "run",
        )  # fmt: skip
        model = rk.load(run.folder.last, device="cpu", threads=1, engine="torch")
        _ = model.network  # read while its file is there
        pixels, targets = pictures_of(run, model, "val")
    return Asked(model=model, pixels=torch.from_numpy(pixels), targets=torch.from_numpy(targets))


def asked_wrongly(asked: Asked) -> Iterator[tuple[str, str]]:
    """Accuracy of one network on the same pictures, rightly asked and wrongly."""
    preprocess, network = asked.model.header.preprocess, asked.model.network.eval()
    images, given = asked.images(preprocess), torch.arange(len(asked.targets))
    yield f"rightly asked ({len(given)} held-out digits)", asked.accuracy(given, batch=64, images=images)
    unnormalised = asked.pixels.permute(0, 3, 1, 2).float() / 255
    yield "not normalised: values in [0, 1]", asked.accuracy(given, batch=64, images=unnormalised)
    yield "not normalised: values in [0, 255]", asked.accuracy(given, batch=64, images=255 * unnormalised)
    by_class = asked.targets.argsort(stable=True)
    at_random = given[torch.randperm(len(given), generator=torch.Generator().manual_seed(0))]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for what, order, batch in (
        ("any order, batches of 64", at_random, 64),
        ("class after class, batches of 16", by_class, 16),
        ("one at a time", at_random, 1),
    ):
        network.train()
        yield f"eval() forgotten: {what}", asked.accuracy(order, batch=batch, images=images)
        network.eval()
        yield "  ... and the statistics it leaves, with eval()", asked.accuracy(given, batch=64, images=images)
        network.load_state_dict(before)
    of_class = by_class.split(64)
    numbers = [len(set(asked.targets[batch].tolist())) for batch in of_class]
    yield "classes in a batch of 64, shuffle=False on a folder per class", f"{min(numbers)} to {max(numbers)} of 10"


if __name__ == "__main__":
    main()
