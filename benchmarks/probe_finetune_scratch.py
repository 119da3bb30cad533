"""A probe, a fine-tuning and a training from scratch of the same network on two small data sets, over several seeds.

    python benchmarks/probe_finetune_scratch.py --weights runs/cifar10-resnet20

Data: ../shared/data/hymenoptera (its val part is scored) and ../shared/data/traffic_lights (its test part is). The part
that is scored selects nothing: each run holds out a share of its training part, another one for each seed, which also
changes the order of the pictures, their augmentation and the first weights; the epoch that is best by those pictures is
scored. All three see pictures of the same size, the one that fine-tuning chooses. Prints seconds and accuracy of each
run, means and standard deviations, and the paired differences with 95 % t-intervals over the seeds.
"""

import argparse
import csv
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scipy.stats import t

import resnetkit as rk
from resnetkit.data.sources import open_data

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
RECIPES = ("probe", "finetune", "scratch")
Figures = dict[str, list[dict[str, float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=[SHARED / "hymenoptera", SHARED / "traffic_lights"])
    parser.add_argument("--weights", default="resnet20.cifar10")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    model = rk.load(options.weights).header
    print(f"weights {options.weights}: {model.spec.num_layers} layers, metrics {model.metrics}", flush=True)
    for data in map(Path, options.data):
        with tempfile.TemporaryDirectory() as place:
            table = write_table(data, Path(place) / f"{data.name}.csv")
            reached = {name: [] for name in RECIPES}
            for seed in range(options.seeds):
                run_all(table, reached, seed=seed, place=Path(place), options=options)
        report(data.name, reached)


def write_table(data: Path, path: Path) -> Path:
    """List the pictures of a folder in a CSV in which those of its val or test part are the test part."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "label", "split"])
        for item in open_data(str(data)).items:
            writer.writerow([Path(item.source).resolve(), item.label, "train" if item.split == "train" else "test"])
    return path


def run_all(table: Path, reached: Figures, *, seed: int, place: Path, options: argparse.Namespace) -> None:
    """Train by each recipe with one seed and add seconds and accuracy to `reached`."""
    size = options.image_size
    for name in RECIPES:
        begin = time.monotonic()
        run = rk.train(
            table,
            recipe=name,
            model=None if name != "scratch" else "resnet20",
            weights="none" if name == "scratch" else options.weights,
            image_size=size,
            seed=seed,
            threads=options.threads,
            settings=("select=top1",),
            output=place / f"{table.stem}-{name}-{seed}",
        )
        seconds, metrics = time.monotonic() - begin, run.metrics
        assert metrics is not None
        assert metrics["split"] == "test"
        size = run.model.header.preprocess.size
        best = max(run.history, key=lambda row: float(row["val_top1"]))
        reached[name].append({"seconds": seconds, "top1": metrics["top1"], "balanced": metrics["balanced_accuracy"]})
        words = (
            f"{table.stem}  seed {seed}  {name:<8}  {size} pixels",
            f"{run.history[-1]['epoch']:>2} epochs  {seconds:4.0f} s",
            f"{100 * metrics['top1']:5.1f} % of {metrics['count']}",
            f"balanced {100 * metrics['balanced_accuracy']:.1f} %",
            f"held out {100 * float(best['val_top1']):.1f} % after epoch {best['epoch']}",
        )
        print("  ".join(words), flush=True)


def report(data: str, reached: Figures) -> None:
    """Print means, spreads and paired differences."""
    for name, runs in reached.items():
        figures = {key: [run[key] for run in runs] for key in runs[0]}
        print(
            f"{data}  {name:<8}  {statistics.median(figures['seconds']):.0f} s (median)  "
            f"top-1 {mean_and_spread(figures['top1'])}, balanced {mean_and_spread(figures['balanced'])}"
        )
    for other in ("probe", "scratch"):
        for figure in ("top1", "balanced"):
            pairs = zip(reached["finetune"], reached[other], strict=True)
            differences = [100 * (mine[figure] - theirs[figure]) for mine, theirs in pairs]
            print(f"{data}  finetune - {other}, {figure}, points: {interval(differences)}", flush=True)


def mean_and_spread(shares: Sequence[float]) -> str:
    """Return mean and standard deviation in percent."""
    return f"{100 * statistics.mean(shares):.1f} % (sd {100 * statistics.stdev(shares):.1f})"


def interval(differences: Sequence[float]) -> str:
    """Return the mean of paired differences with its 95 % t-interval, and each of them."""
    mean, num = statistics.mean(differences), len(differences)
    half = float(t.ppf(0.975, num - 1)) * statistics.stdev(differences) / math.sqrt(num)
    each = ", ".join(f"{difference:+.1f}" for difference in differences)
    return f"{mean:+.1f} (95 % interval {mean - half:+.1f} to {mean + half:+.1f}; {each})"


if __name__ == "__main__":
    main()
