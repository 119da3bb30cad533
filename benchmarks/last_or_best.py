"""What is lost by taking the last epoch, over choosing the one that is best by held-out pictures.

    python benchmarks/last_or_best.py --seeds 5

Each run chooses by its held-out pictures (`select=top1`) and keeps its last epoch too; both are scored on a named test
part of at least 600 pictures that neither saw. Data: ../shared/data/medmnist/pneumoniamnist.npz (624 test pictures),
CIFAR-10 (10,000) and scikit-learn's digits (900 of its 1,797); each seed trains on other pictures of the training part.
Prints each difference, best minus last in points, and the means with 95 % t-intervals over the seeds.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import t

import resnetkit as rk
from resnetkit.data.sources import open_data

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
Arrays = dict[str, np.ndarray]
# data, training pictures, options of `train`
RUNS = {
    "digits, scratch resnet8": ("digits", 600, {"model": "resnet8", "weights": "none"}),
    "digits, finetune resnet20": ("digits", 300, {"recipe": "finetune", "weights": "resnet20.cifar10"}),
    "pneumonia, scratch resnet8": ("pneumonia", 800, {"model": "resnet8", "weights": "none"}),
    "pneumonia, finetune resnet20": ("pneumonia", 500, {"recipe": "finetune", "weights": "resnet20.cifar10"}),
    "CIFAR-10, scratch resnet8": ("cifar10", 1500, {"model": "resnet8", "weights": "none"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=[], help=f"some of: {'; '.join(RUNS)}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        for name in options.runs or RUNS:
            data, count, given = RUNS[name]
            arrays = {"digits": digits, "pneumonia": pneumonia, "cifar10": cifar10}[data]()
            for seed in range(options.seeds):
                file = write_part(arrays, count, seed=seed, path=Path(place) / f"{data}-{seed}.npz")
                output = Path(place) / f"{name}-{seed}"
                found.setdefault(name, []).append(
                    gained(name, file, seed=seed, output=output, threads=options.threads, **given)
                )
            print(f"{name}: best minus last {interval(found[name])}", flush=True)
    print(f"all: best minus last {interval([each for runs in found.values() for each in runs])}")


def gained(name: str, file: Path, *, seed: int, output: Path, threads: int, **given: str) -> float:
    """Train once, score the chosen and the last epoch on the test part, and return the difference in points."""
    begin = time.monotonic()
    run = rk.train(file, seed=seed, output=output, threads=threads, settings=("select=top1",), **given)
    assert run.metrics is not None
    assert run.metrics["split"] == "test"
    last = rk.evaluate(file, model=output / "last.safetensors", split="test", threads=threads, engine="torch").metrics
    best, ends = 100 * run.metrics["top1"], 100 * last["top1"]
    epochs = run.history[-1]["epoch"]
    print(
        f"{name}  seed {seed}  epoch {run.metrics['chosen']['epoch']:>2} {best:.2f} %, last ({epochs}) {ends:.2f} % of "
        f"{last['count']:,}  {best - ends:+.2f}  {time.monotonic() - begin:.0f} s",
        flush=True,
    )
    return best - ends


def write_part(arrays: Arrays, count: int, *, seed: int, path: Path) -> Path:
    """Write `count` of the training pictures, drawn by `seed`, and all test pictures as an .npz."""
    drawn = np.random.default_rng(seed).choice(len(arrays["train_images"]), count, replace=False)
    np.savez(path, **{name: array[drawn] if name.startswith("train") else array for name, array in arrays.items()})
    return path


def digits() -> Arrays:
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = (found.images * 255 / 16).astype(np.uint8)
    parts = {"test": order[:900], "train": order[900:]}
    return parted({part: (images[numbers], found.target[numbers]) for part, numbers in parts.items()})


def pneumonia() -> Arrays:
    found = np.load(SHARED / "medmnist" / "pneumoniamnist.npz")
    return {name: found[name] for name in ("train_images", "train_labels", "test_images", "test_labels")}


def cifar10() -> Arrays:
    dataset = open_data(str(SHARED / "cifar10.zip"))
    index = {name: number for number, name in enumerate(dataset.classes)}
    parts = {}
    for part, most in (("train", 10_000), ("test", 10_000)):
        items = [item for item in dataset.items if item.split == part]
        items = [items[i] for i in np.random.default_rng(0).permutation(len(items))[:most]]
        images = np.stack([np.asarray(dataset.open(item).convert("RGB")) for item in items])
        parts[part] = (images, np.array([index[str(item.label)] for item in items]))
    return parted(parts)


def parted(parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> Arrays:
    return {
        f"{part}_{what}": array
        for part, pair in parts.items()
        for what, array in zip(("images", "labels"), pair, strict=True)
    }


def interval(differences: Sequence[float]) -> str:
    """Return the mean of differences with its 95 % t-interval."""
    mean, num = statistics.mean(differences), len(differences)
    if num < 2:
        return f"{mean:+.2f} points (n = 1)"
    half = float(t.ppf(0.975, num - 1)) * statistics.stdev(differences) / math.sqrt(num)
    return f"{mean:+.2f} points (95 % interval {mean - half:+.2f} to {mean + half:+.2f}, n = {num})"


if __name__ == "__main__":
    main()
