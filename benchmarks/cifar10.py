"""Accuracy on CIFAR-10 against time and arithmetic: train a recipe with several seeds, or read finished runs.

    python benchmarks/cifar10.py --data cifar10.zip --recipe cifar10-fast --seeds 3 --threads 2 --into runs/cifar10
    python benchmarks/cifar10.py --data cifar10.zip --set model.width=96 --epochs 16 --threads 2 --into runs/cifar10
    python benchmarks/cifar10.py --runs runs/cifar10/* --output curve.png

Prints for each recipe, with what `--set` changed in it, and number of epochs: minutes of training (epochs alone, from
results.csv), minutes of the whole command where this script ran it in one go (reading the pictures and scoring the test
part included), petaFLOP of all forward and backward passes, accuracy of the best weights (the last, where nothing was
held out) on the test part, plainly and with the recipe's test-time averaging: mean, spread, n, and the figures of each
seed. `--output` draws accuracy against hours.
"""

import argparse
import csv
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import resnetkit as rk
from resnetkit.errors import UsageError
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec
from resnetkit.report.drawing.canvas import RIGHT, WRONG, sheet
from resnetkit.training.recipes import recipe_named
from resnetkit.training.run import open_run

_COMMAND_MINUTES = "minutes.txt"  # beside a run's own files: what the whole command took


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One finished run; accuracies in percent of the test part."""

    recipe: str  # its name, and what was changed in it: "cifar10-fast model.width=96"
    epochs: int
    seed: int
    minutes: float
    command_minutes: float | None
    petaflop: float
    top1: float
    tta_top1: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, help="finished runs")
    parser.add_argument("--data", help="train on these instead, or go on with what is in --into")
    parser.add_argument("--recipe", default="cifar10-fast")
    parser.add_argument("--epochs", type=int, nargs="+", help="lengths, in place of the recipe's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--into", type=Path, default=Path("runs/cifar10"), help="folder of the runs it trains")
    parser.add_argument("--output", type=Path, help="the curve, a PNG")
    options = parser.parse_args()
    if (options.runs is None) == (options.data is None):
        parser.error("give either --runs or --data")
    finished = [read(run) for run in options.runs or trained(options)]
    print_table(finished)
    if options.output:
        draw(finished, options.output)


def trained(options: argparse.Namespace) -> list[Path]:
    """Train each length with each seed, where that is not done, and return the run folders."""
    paths = []
    for epochs in options.epochs or [None]:
        for seed in range(options.seeds):
            path = options.into / "-".join(map(str, filter(None, [options.recipe, *options.set, epochs, f"s{seed}"])))
            paths.append(path)
            if (path / "metrics.json").exists():
                continue
            begun = (path / "state").is_dir()
            command = ["resume", path] if begun else ["train", options.data, "--recipe", options.recipe]
            if not begun:
                command += ["--seed", seed, "--output", path, *(["--epochs", epochs] if epochs else [])]
                command += ["--threads", options.threads] if options.threads else []
                command += [word for setting in options.set for word in ("--set", setting)]
            begin = time.monotonic()
            subprocess.run([sys.executable, "-m", "resnetkit", *map(str, command)], check=True)
            if not begun:
                (path / _COMMAND_MINUTES).write_text(f"{(time.monotonic() - begin) / 60:.3f}\n")
    return paths


def read(path: Path) -> Finished:
    """Read a finished run; raises `UsageError` for a folder that is none."""
    run = rk.Run(open_run(str(path), root=Path("runs")))
    if run.metrics is None or run.metrics["split"] != "test":
        raise UsageError(f"{path}: is not finished, or has no test part")
    described = tomllib.loads((run.path / "recipe.toml").read_text(encoding="utf-8"))
    with open(run.path / "split.csv", newline="", encoding="utf-8") as file:
        images = sum(row["split"] == "train" for row in csv.DictReader(file))
    minutes = run.path / _COMMAND_MINUTES
    tta = run.metrics.get("tta")
    return Finished(
        recipe=" ".join([described["recipe"]["name"], *changes(described["recipe"])]),
        epochs=len(run.history),
        seed=described["seed"],
        minutes=sum(float(row["seconds"]) for row in run.history) / 60,
        command_minutes=float(minutes.read_text()) if minutes.exists() else None,
        petaflop=flop_per_image(ResNetSpec.from_json(described["spec"])) * images * len(run.history) / 1e15,
        top1=100 * run.metrics["top1"],
        tta_top1=None if tta is None else 100 * tta["top1"],
    )


def changes(recipe: dict[str, Any]) -> list[str]:
    """Return how a recorded recipe differs from the one of its name, its epochs apart, as `--set` would be told."""
    name = "cifar10-resnet" if recipe["name"].startswith("cifar10-resnet") else recipe["name"]
    named = _flat(recipe_named(name).to_json())
    return [f"{key}={value}" for key, value in _flat(recipe).items() if key != "epochs" and named.get(key) != value]


def _flat(values: dict[str, Any], within: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{key}.") if isinstance(value, dict) else {f"{within}{key}": value}
    return flat


@cache
def flop_per_image(spec: ResNetSpec) -> float:
    """Return the floating-point operations of one 32x32 picture, forward and backward: two for a multiply-add."""
    network = ResNet(spec)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, spec.in_channels, 32, 32)).sum().backward()
    return counter.get_total_flops() / 2


def print_table(finished: Sequence[Finished]) -> None:
    """Print a line for each recipe and number of epochs."""
    wide = max(len(one.recipe) for one in finished)
    print(
        f"{'recipe':<{wide}} {'epochs':>6} {'n':>2} {'minutes':>9} {'command':>9} {'petaFLOP':>8}  "
        f"{'top-1, %':<34} with TTA"
    )
    for (recipe, epochs), group in grouped(finished).items():
        commands = [one.command_minutes for one in group if one.command_minutes is not None]
        command = f"{statistics.mean(commands):.1f}" if len(commands) == len(group) else "-"
        print(
            f"{recipe:<{wide}} {epochs:>6} {len(group):>2} {statistics.mean(one.minutes for one in group):>9.1f} "
            f"{command:>9} {group[0].petaflop:>8.2f}  "
            f"{_figures([one.top1 for one in group]):<34} "
            f"{_figures([one.tta_top1 for one in group if one.tta_top1 is not None])}"
        )


def grouped(finished: Sequence[Finished]) -> dict[tuple[str, int], list[Finished]]:
    """Return the runs of each recipe and length, by seed."""
    groups: dict[tuple[str, int], list[Finished]] = {}
    for one in sorted(finished, key=lambda one: (one.recipe, one.epochs, one.seed)):
        groups.setdefault((one.recipe, one.epochs), []).append(one)
    return groups


def _figures(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.2f}" for value in values)
    each = " ".join(f"{value:.2f}" for value in values)
    return f"{statistics.mean(values):.2f} (sd {statistics.stdev(values):.2f}; {each})"


def draw(finished: Sequence[Finished], path: Path) -> None:
    """Draw accuracy against hours: a point for each run, a line through the means of one recipe."""
    with sheet(path, texts=()) as drawn:
        drawn.resize(760, 440)
        drawn.header("Accuracy against time", "CIFAR-10, test part, %, no test-time averaging; a point for each run")
        axes = drawn.axes(80, 100, 640, 270)
        recipes = sorted({one.recipe for one in finished})
        for recipe, color in zip(recipes, (RIGHT, WRONG, "black", "grey"), strict=False):
            means = []
            for (name, epochs), group in grouped(finished).items():
                if name == recipe:
                    hours = [one.minutes / 60 for one in group]
                    axes.plot(hours, [one.top1 for one in group], "o", color=color, alpha=0.5)
                    means.append((statistics.mean(hours), statistics.mean(one.top1 for one in group)))
                    words = {"xytext": (4, -14), "textcoords": "offset points", "fontsize": 9}
                    axes.annotate(f"{epochs} epochs", means[-1], **words)
            axes.plot(*zip(*sorted(means), strict=True), "-", color=color, label=recipe)
        axes.set(xlabel="hours of training")
        axes.margins(x=0.12, y=0.12)
        axes.grid(axis="y")
        axes.legend(loc="lower right")


if __name__ == "__main__":
    main()
