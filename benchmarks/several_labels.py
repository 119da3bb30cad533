"""Several labels per picture: average precision beside a plain loop's, and whether a precision asked for is held.

    python benchmarks/several_labels.py coco [--seeds 3]
    python benchmarks/several_labels.py mosaics

`coco`: the seven labels of coco128 with at least five validation and seven training pictures, from the trunk of the
package, trained on its 100 training pictures and scored on its 100 validation ones, which nothing else looks at.
Beside it the loop that a tutorial shows: Adam at 1e-4, batches of 16, random crops and flips, as many epochs. The
difference of the mean average precision, scores averaged over the seeds, has a paired bootstrap interval.

`mosaics`: 2x2 mosaics of CIFAR-10's training pictures, each picture once: 4,000 train, 2,000 fit thresholds for a
precision of 90 %, 4,000 score. Prints the precision that each label reaches there with its interval.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms import v2

from cold_runs import SHARED
from resnetkit.data.sources import open_data
from resnetkit.evaluation.labels import map_of

LABELS = ("person", "car", "dining table", "cup", "clock", "knife", "chair")
COUNTS = {"train": 4_000, "val": 2_000, "test": 4_000}
DRAWS = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("coco", "mosaics"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recipe", help="of ours; default: what train chooses")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        (coco if asked.what == "coco" else mosaics)(Path(place), asked)


def resnetkit(*arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "resnetkit", *map(str, arguments)], check=True, capture_output=True, text=True
    )  # fmt: skip


def train(data: Path, run: Path, asked: argparse.Namespace, *more: object) -> float:
    """Train and return the seconds that took."""
    begin = time.monotonic()
    recipe = ("--recipe", asked.recipe) if asked.recipe else ()
    resnetkit("train", data, "--output", run, "--threads", asked.threads, *recipe, *more)
    return time.monotonic() - begin


def coco(place: Path, asked: argparse.Namespace) -> None:
    data, wanted = write_coco(place), []
    ours, plain, seconds = [], [], []
    for seed in range(asked.seeds):
        run = place / f"run-{seed}"
        took = train(data, run, asked, "--seed", seed, "--set", "val_share=0")
        with open(run / "predictions.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        ours.append([[json.loads(row["probabilities"])[name] for name in LABELS] for row in rows])
        wanted = [[float(name in row["labels"].split(";")) for name in LABELS] for row in rows]
        epochs = int(json.loads((run / "metrics.json").read_text())["chosen"]["epoch"] or 10)
        begin = time.monotonic()
        plain.append(plain_loop(data, [row["source"] for row in rows], epochs=epochs, seed=seed, threads=asked.threads))
        seconds.append((took, time.monotonic() - begin))
        each = (map_of(np.array(scores[-1]), np.array(wanted, np.float32)) for scores in (ours, plain))
        print(
            f"seed {seed}: ours, plain {[round(100 * (value or 0), 1) for value in each]}  {epochs} epochs", flush=True
        )
    targets = np.array(wanted, np.float32)
    mine, theirs = np.mean(ours, 0), np.mean(plain, 0)
    generator, differences = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = generator.integers(0, len(targets), len(targets))
        a, b = (map_of(scores[drawn], targets[drawn]) for scores in (mine, theirs))
        differences.append(100 * ((a or 0) - (b or 0)))
    low, high = np.quantile(differences, [0.025, 0.975])
    reached = [round(100 * (map_of(scores, targets) or 0), 1) for scores in (mine, theirs)]
    print(f"mean over {asked.seeds} seeds: ours {reached[0]}, plain {reached[1]}, noise {100 * targets.mean():.1f} %")
    print(f"ours - plain {reached[0] - reached[1]:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})")
    print(f"seconds, ours and plain: {np.median(seconds, 0).round(1).tolist()}")


def write_coco(place: Path) -> Path:
    """Write the list of coco128's pictures with the labels that are enough, `;` between them."""
    rows = []
    for part, split in (("train", "train"), ("val", "test")):
        said = json.loads((SHARED / "coco128" / "annotations" / f"instances_{part}2017.json").read_text())
        names = {kind["id"]: kind["name"] for kind in said["categories"]}
        of_picture: dict[int, set[str]] = {}
        for one in said["annotations"]:
            of_picture.setdefault(one["image_id"], set()).add(names[one["category_id"]])
        for picture in said["images"]:
            found = [name for name in LABELS if name in of_picture.get(picture["id"], ())]
            rows.append((SHARED / "coco128" / f"{part}2017" / picture["file_name"], ";".join(found), split))
    counts = Counter((split, name) for _, labels, split in rows for name in labels.split(";"))
    print("pictures with each label, train and test:", {n: (counts["train", n], counts["test", n]) for n in LABELS})
    path = place / "coco.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("image_path", "label", "split"), *rows])
    return path


def plain_loop(data: Path, scored: list[str], *, epochs: int, seed: int, threads: int) -> list[list[float]]:
    """Fine-tune the same trunk as tutorials do; return the probabilities of the pictures `scored`."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    network: Any = ResNet(BasicBlock, [2, 2, 2, 3])
    network.load_state_dict(load_file(next((SHARED / "weights").glob("*.safetensors"))), strict=False)
    network.fc = nn.Linear(512, len(LABELS))
    normal = [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    changed = v2.Compose([v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip(), *normal])
    plain = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224), *normal])
    items = [item for item in open_data(str(data)).items if item.split == "train"]
    pictures = [Image.open(item.source).convert("RGB") for item in items]
    targets = torch.tensor([[float(name in (item.labels or ())) for name in LABELS] for item in items])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    for _ in range(epochs):
        network.train()
        for where in torch.randperm(len(items)).split(16):
            images = torch.stack([changed(pictures[i]) for i in where])
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(network(images), targets[where]).backward()
            optimizer.step()
    network.eval()
    with torch.inference_mode():
        images = torch.stack([plain(Image.open(source).convert("RGB")) for source in scored])
        return torch.cat([network(some).sigmoid() for some in images.split(16)]).tolist()


def mosaics(place: Path, asked: argparse.Namespace) -> None:
    data, run, made = write_mosaics(place), place / "run", place / "precise.safetensors"
    took = train(data, run, asked)
    resnetkit("evaluate", data, "--model", run, "--split", "val", "--calibrated", made, "--goal", "precision 0.9")
    resnetkit("evaluate", data, "--model", made, "--split", "test", "--output", place / "scores")
    metrics = json.loads((place / "scores" / "metrics.json").read_text())
    print(f"trained in {took:.0f} s; mean average precision {100 * metrics['map']:.1f} % of {metrics['count']:,}")
    below = 0
    for one in metrics["per_class"]:
        low, high = one["precision_interval"] or (0.0, 1.0)
        below += high < 0.9
        print(
            f"{one['class']:<12} precision {100 * (one['precision'] or 0):5.1f} % ({100 * low:.1f} to {100 * high:.1f})"
            f"  recall {100 * one['recall']:5.1f} %  noise {100 * one['chance']:.1f} %"
        )
    print(f"labels whose interval lies below 90 %: {below} of {len(metrics['per_class'])}")


def write_mosaics(place: Path) -> Path:
    """Write mosaics of four training pictures of CIFAR-10 each, and the list of them."""
    source = open_data(str(SHARED / "cifar10.zip"))
    items = [item for item in source.items if item.split == "train"]
    order, rows = np.random.default_rng(0).permutation(len(items)), []
    for number in range(sum(COUNTS.values())):
        four = [items[index] for index in order[4 * number : 4 * number + 4]]
        pixels = [np.asarray(source.open(item).convert("RGB")) for item in four]
        mosaic = np.vstack([np.hstack(pixels[:2]), np.hstack(pixels[2:])])
        path = place / "pictures" / f"{number:05d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mosaic).save(path)
        part = next(name for name, end in zip(COUNTS, np.cumsum(list(COUNTS.values())), strict=True) if number < end)
        rows.append((path, ";".join(sorted({str(item.label) for item in four})), part))
    path = place / "mosaics.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("image_path", "label", "split"), *rows])
    return path


if __name__ == "__main__":
    main()
