"""Why shortcuts matter, on scikit-learn's digits: about a minute on one core, offline.

    python examples/why_residuals.py --output why

Trains plain and residual networks of 20 and 56 layers with the same calls and settings, with BatchNorm and without,
then measures signal and gradient by depth and what happens when single blocks are deleted. Writes three figures and
`measured.json` to the folder of --output. docs/why-residuals.md explains what comes out.
"""

import argparse
import copy
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import why_figures
from torch import nn
from torch.nn import functional

import resnetkit as rk
from resnetkit.data.batches import normalise
from resnetkit.data.sources import open_data
from resnetkit.data.splits import read_split
from resnetkit.errors import DivergedError, InterruptedRun
from resnetkit.models.resnet import ResNet

# The pictures stay as they are, so that training accuracy is that of the very pictures. Plain networks of 56 layers
# amplify rounding: even in fp32 their accuracy is that of a machine.
SETTINGS = ("augment.flip=none", "augment.crop=none", "precision=fp32")
# BatchNorm frozen as it begins subtracts 0 and divides by 1: what is left is a scale and a shift per channel.
WITHOUT_NORM = ("batchnorm=frozen", "clip_norm=1")
PROBED = 256  # training pictures in the batch that signal and gradient are measured on


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is trained: depths, epochs with and without BatchNorm, and how many of the digits (None: all)."""

    depths: tuple[int, int] = (20, 56)
    epochs: int = 8
    epochs_without_norm: int = 3
    limit: int | None = None


QUICK = Experiment(depths=(8, 14), epochs=1, epochs_without_norm=1, limit=300)


def main() -> None:
    """Run the experiment for each seed, print what came out, and draw the first seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", type=Path, default=Path("why-residuals"), help="folder for figures and measured.json"
    )
    parser.add_argument("--seeds", type=int, default=1, help="repeat with this many seeds (a minute each)")
    parser.add_argument("--threads", type=int, default=1, help="so small a network is fastest on one")
    parser.add_argument("--quick", action="store_true", help="shallow networks, one epoch: seconds, and no insight")
    options = parser.parse_args()
    experiment = QUICK if options.quick else Experiment()
    torch.set_num_threads(options.threads)
    try:
        measured = []
        for seed in range(options.seeds):
            measured += list(measure(experiment, seed=seed, threads=options.threads))
    except (InterruptedRun, KeyboardInterrupt):
        sys.exit("stopped; nothing was written")  # the unfinished runs lay in a temporary folder, gone by now
    print_summary(measured)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "measured.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
    for name in why_figures.draw([one for one in measured if one["seed"] == 0], options.output):
        print(f"  {name}")


def measure(experiment: Experiment, *, seed: int, threads: int) -> Iterator[dict[str, Any]]:
    """Train the networks one after the other and yield what was measured on each, as plain JSON."""
    for norm in (True, False):
        for kind in ("plain", "resnet"):
            for depth in experiment.depths:
                with tempfile.TemporaryDirectory() as place:
                    epochs = experiment.epochs if norm else experiment.epochs_without_norm
                    one: dict[str, Any] = {"kind": kind, "depth": depth, "norm": norm, "seed": seed}
                    try:
                        run = rk.train(
                            "digits", model=f"{kind}{depth}", weights="none", recipe="scratch",
                            epochs=epochs, seed=seed, limit=experiment.limit,
                            settings=(*SETTINGS, *(() if norm else WITHOUT_NORM)),
                            threads=threads, output=Path(place) / "run",
                        )  # fmt: skip
                    except DivergedError as error:
                        print(f"{name_of(one)}: {error}")
                        continue
                    one |= figures_of(run, norm=norm, seed=seed, threads=threads)
                print(line_of(one), flush=True)
                yield one


def figures_of(run: rk.Run, *, norm: bool, seed: int, threads: int) -> dict[str, Any]:
    """Return curves, signal and gradient before and after training, and accuracies with single blocks deleted."""
    model = rk.load(run.folder.last, device="cpu", threads=threads, engine="torch")  # answers as its `network` now is
    network = model.network
    torch.manual_seed(seed)
    untrained = ResNet(network.spec)
    pixels, targets = pictures_of(run, model, "train")
    batch = torch.from_numpy(pixels[:PROBED])
    images = normalise(batch, model.header.preprocess, memory_format=torch.contiguous_format)
    answers = torch.from_numpy(targets[:PROBED])
    return {
        "train_top1": [float(row["train_top1"]) for row in run.history],
        "train_loss": [float(row["train_loss"]) for row in run.history],
        "held_out_top1": [float(row["val_top1"]) for row in run.history],
        "seconds": sum(float(row["seconds"]) for row in run.history),
        "untrained": by_depth(untrained, images, answers, norm=norm),
        "trained": by_depth(network, images, answers, norm=norm),
        "deleted": without_each_block(model, *pictures_of(run, model, "val")) if norm else {},
    }


def pictures_of(run: rk.Run, model: rk.Model, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures of a part of the run, [N, 8, 8, 3] uint8, and their classes [N]."""
    rows = read_split(run.folder.split)
    digits = open_data("digits")
    items = [item for item in digits.items if rows.get(item.source) == split]
    pixels = np.stack([model.header.preprocess.pixels(digits.open(item)) for item in items])
    return pixels, np.array([model.classes.index(str(item.label)) for item in items])


def blocks_of(network: ResNet) -> list[tuple[nn.Sequential, int]]:
    """Return each block as its stage and its place in it."""
    stages = [network.get_submodule(stage.name) for stage in network.feature_info[1:]]
    return [(stage, i) for stage in stages if isinstance(stage, nn.Sequential) for i in range(len(stage))]


def by_depth(network: ResNet, images: torch.Tensor, targets: torch.Tensor, *, norm: bool) -> dict[str, list[float]]:
    """Return for each block the size of its output and of the gradient at its first filters.

    `signal` is the root mean square of the output, `gradient` the norm of d loss / d conv1.weight; one batch, forward
    and backward, in training mode (without `norm` BatchNorm stays frozen). The network is left as it was.
    """
    network = copy.deepcopy(network).train()
    if not norm:
        network.eval()
    signal: list[float] = []
    blocks: list[Any] = [stage[i] for stage, i in blocks_of(network)]
    for block in blocks:
        block.register_forward_hook(lambda _m, _x, out: signal.append(out.detach().square().mean().sqrt().item()))
    functional.cross_entropy(network(images), targets).backward()
    return {"signal": signal, "gradient": [block.conv1.weight.grad.norm().item() for block in blocks]}


def without_each_block(model: rk.Model, pixels: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """Return accuracy of the whole network, and with one block at a time replaced by nothing.

    Only blocks that keep the shape can go (after https://arxiv.org/abs/1605.06431): None stands for the others.
    """

    def accuracy() -> float:
        return float((model.engine.logits(pixels).argmax(1) == targets).mean())

    result: dict[str, Any] = {"whole": accuracy(), "without": []}
    for stage, i in blocks_of(model.network):
        block: Any = stage[i]
        if block.conv1.in_channels != block.conv1.out_channels:
            result["without"].append(None)
            continue
        stage[i] = nn.Identity()
        result["without"].append(accuracy())
        stage[i] = block
    return result


def name_of(one: dict[str, Any]) -> str:
    """Return a network's name for people: plain-20, ResNet-56 without BatchNorm."""
    kind = "plain" if one["kind"] == "plain" else "ResNet"
    return f"{kind}-{one['depth']}{'' if one['norm'] else ' without BatchNorm'}"


def line_of(one: dict[str, Any]) -> str:
    """Return what a person reads while waiting."""
    accuracy = f"training {100 * one['train_top1'][-1]:5.1f} %, held out {100 * one['held_out_top1'][-1]:5.1f} %"
    return f"seed {one['seed']}  {name_of(one):<28} {accuracy}  {len(one['train_top1'])} epochs, {one['seconds']:.0f} s"


def print_summary(measured: Sequence[dict[str, Any]]) -> None:
    """Print mean and range over the seeds of everything that docs/why-residuals.md states."""
    names = list(dict.fromkeys(map(name_of, measured)))
    print("\nmean (lowest to highest); gradient: first block over last block; deleted: a block at a time, held out")
    for name in names:
        group = [one for one in measured if name_of(one) == name]
        cells = {
            "training %": [100 * one["train_top1"][-1] for one in group],
            "held out %": [100 * one["held_out_top1"][-1] for one in group],
            "signal last/first, untrained": [_ratio(one["untrained"]["signal"][::-1]) for one in group],
            "gradient first/last, untrained": [_ratio(one["untrained"]["gradient"]) for one in group],
            "gradient first block, untrained": [one["untrained"]["gradient"][0] for one in group],
            "gradient first/last, trained": [_ratio(one["trained"]["gradient"]) for one in group],
            "gradient first block, trained": [one["trained"]["gradient"][0] for one in group],
        }
        known = [[100 * a for a in one["deleted"].get("without", []) if a is not None] for one in group]
        if all(known):
            cells |= {"one deleted %, median": [statistics.median(each) for each in known]}
            cells |= {"one deleted %, worst": [min(each) for each in known]}
        print(f"{name} (n = {len(group)})")
        for what, values in cells.items():
            print(f"  {what:<32} {statistics.mean(values):9.4g} ({min(values):.4g} to {max(values):.4g})")


def _ratio(values: Sequence[float]) -> float:
    return values[0] / values[-1]


if __name__ == "__main__":
    main()
