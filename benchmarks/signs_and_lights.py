"""Traffic lights by their given parts and traffic signs by folds, one protocol each, from the trunk of the package.

    python benchmarks/signs_and_lights.py lights [--scratch] [--seeds 3] [--threads 2] [--kept FILE]
    python benchmarks/signs_and_lights.py signs|curve|mirrored [--folds 1 2 3 4 5] [--threads 2] [--kept FILE]

`lights`: each seed trains on the training part, of which a tenth is held out and fits the temperature, and the test
part is scored once: errors, red taken for green, the same without test pictures that also lie, saved again or nearly
the same, in the training part; then decided by the cost of red told green, 100. --scratch trains a ResNet-20 of CIFAR's
kind on 64x32 pixels. `signs`: five folds of 888 pictures, one of each track, each an ordinary run on the other four.
`curve`: from a quarter and a half (not mirrored) and all of the pictures of each class; `mirrored`: from a half,
without and with mirrored training pictures, and how many errors are between classes that are each other's mirror
image. Finished runs are kept. What protocols were chosen on: held-out pictures of the training part alone (lights),
one fifth held out (signs; LOG.md).
"""

import argparse
import csv
import json
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sklearn.model_selection import StratifiedKFold

import resnetkit as rk
from cold_runs import SHARED, machine
from finished import Found, kept, print_spread, with_copies
from resnetkit.data.copies.near_copies import near_copies_among, thumbnail
from resnetkit.data.sources import open_data
from resnetkit.evaluation.metrics import clopper_pearson

LIGHTS: dict[str, Any] = {
    "weights": "resnet_2223.imagenet1k",  # not by itself for less than 64x64 pixels
    "image_size": "80x40",
    "epochs": 4,
    "settings": (
        "batch_size=64",
        "optim.lr=0.001",
        "ema=0.9",  # of 68 steps: at 0.98 what answers would hold weights of the first epoch
        "score_every=4",
        "preprocess.crop=squash",
        "augment.colour=0.3",
        "val_share=0.1",
    ),
}
SCRATCH: dict[str, Any] = {
    "image_size": "64x32",
    "epochs": 24,
    "model": "resnet20",
    "weights": "none",
    "settings": ("preprocess.crop=squash", "augment.colour=0.2", "val_share=0.1"),
}
SIGNS: dict[str, Any] = {
    "weights": "resnet_2223.imagenet1k",
    "image_size": 96,
    "epochs": 14,
    "settings": (
        "batch_size=64",
        "optim.lr=0.003",
        "augment.turn=10",
        "augment.policy=trivial",
        "label_smoothing=0.1",
        "sampling=balanced",
        "score_every=14",
        "val_share=0",
    ),
}
# Signs that a mirror turns into each other: curves, turns, straight or aside, the side to keep.
MIRRORED = ({"19", "20"}, {"33", "34"}, {"36", "37"}, {"38", "39"})
COST = "red:green=100"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("lights", "signs", "curve", "mirrored"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", action="store_true")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--kept", type=Path, default=Path("runs/signs_and_lights.jsonl"))
    asked = parser.parse_args()
    print(machine(None), f"{asked.threads} threads")
    if asked.what == "lights":
        lights(asked)
        return
    signs(asked)


def signs(asked: argparse.Namespace) -> None:
    """Train and score folds, each an ordinary run: with all pictures, with some, with mirrored ones."""
    held = folds_of(SHARED / "gtsrb")
    kinds = {
        "signs": [(1.0, "decided")],
        "curve": [(share, "none") for share in (0.25, 0.5)] + [(1.0, "decided")],
        "mirrored": [(0.5, "none"), (0.5, "random")],
    }
    for share, flip in kinds[asked.what]:
        rows, seconds = [], 0.0
        for fold in asked.folds:
            key = ["fold", fold, share, flip, SIGNS]
            found = kept(asked.kept, key, partial(one_fold, held, fold, share, flip, asked.threads))
            rows += found["rows"]
            seconds += found["seconds"]
            wrong = f"{wrong_of(found['rows'])} of {len(found['rows'])} wrong"
            print(f"fold {fold}: {wrong}, {found['seconds']:.0f} s, mirroring {found['flip']}", flush=True)
        print(f"{share:.0%} of the training pictures, mirroring {flip}, {seconds:.0f} s")
        tell(rows, Counter(path.parent.name for path in held))


def lights(asked: argparse.Namespace) -> None:
    """Train and score by the parts that the set comes with, a seed after the other."""
    data, protocol = SHARED / "traffic_lights", SCRATCH if asked.scratch else LIGHTS
    print(json.dumps(protocol))
    near = with_copies(data) | with_near_copies(data)
    found = []
    for seed in range(asked.seeds):
        key = ["lights", seed, protocol]
        found.append(kept(asked.kept, key, partial(one_seed, data, protocol, seed, asked.threads, near)))
        print(seed, "  ".join(f"{name} {value:.4g}" for name, value in found[-1].items() if name != "wrong"))
        print("  ", found[-1]["wrong"], flush=True)
    print_spread(found)


def one_seed(
    data: Path, protocol: dict[str, Any], seed: int, threads: int, near: frozenset[str]
) -> Found:  # fmt: skip
    """Train once, score the test part once, and decide the same answers by costs."""
    with tempfile.TemporaryDirectory() as place:
        begin = time.monotonic()
        run = rk.train(data, output=Path(place) / "run", seed=seed, threads=threads, **protocol)
        seconds = time.monotonic() - begin
        plain, careful = (
            rk.evaluate(data, model=run.path, split="test", output=Path(place) / name, threads=threads, cost=cost)
            for name, cost in (("plain", []), ("careful", [COST]))
        )
        cost = careful.metrics["cost"]
        found: Found = {"seconds": seconds, "pictures": len(plain.rows), "errors": wrong_of(plain.rows)}
        found["red told green"] = sum(row["label"] == "red" and row["predicted"] == "green" for row in plain.rows)
        alone = [row for row in plain.rows if row["source"] not in near]
        found |= {"without near-copies": len(alone), "errors without near-copies": wrong_of(alone)}
        found |= {
            "cost": cost["mean"], "cost at most": cost["interval"][1], "plain cost": cost["most_probable"]["mean"],
            "constant cost": cost["constant"]["mean"], "changed by cost": cost["changed"],
            "errors by cost": wrong_of(careful.rows), "red told green by cost": cost["errors"][0]["count"],
        }  # fmt: skip
        found["wrong"] = [
            [row["source"], row["predicted"], row["probability"]] for row in plain.rows if not row["correct"]
        ]
        return found


def wrong_of(rows: Iterable[dict[str, Any]]) -> int:
    return sum(not row["correct"] for row in rows)


def folds_of(data: Path) -> dict[Path, int]:
    """Return the fold, 1 to 5, that holds each picture out; each has its share of every class."""
    files = sorted(data.glob("*/*.png"))
    labels = [path.parent.name for path in files]
    divided = StratifiedKFold(5, shuffle=True, random_state=0).split(files, labels)
    return {files[number]: fold for fold, (_, held) in enumerate(divided, start=1) for number in held}


def one_fold(held: dict[Path, int], fold: int, share: float, flip: str, threads: int) -> Found:
    """Train without one fold, from a share of the pictures of each class (one at least), and score it."""
    taken = defaultdict[str, list[Path]](list)
    for path, of in held.items():
        if of != fold:
            taken[path.parent.name].append(path)
    lines = [(path, path.parent.name, "test") for path, of in held.items() if of == fold]
    lines += [(path, label, "train") for label, paths in taken.items() for path in paths[:: round(1 / share)]]
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "signs.csv"
        with open(table, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("image_path", "label", "split"), *lines])
        protocol = SIGNS | {"settings": (*SIGNS["settings"], *([] if flip == "decided" else [f"augment.flip={flip}"]))}
        begin = time.monotonic()
        run = rk.train(table, output=Path(place) / "run", seed=0, threads=threads, **protocol)
        seconds = time.monotonic() - begin
        with open(run.path / "predictions.csv", newline="", encoding="utf-8") as file:
            rows = [
                {name: row[name] for name in ("source", "label", "predicted")} | {"correct": row["correct"] == "true"}
                for row in csv.DictReader(file)
            ]
        recipe = tomllib.loads((run.path / "recipe.toml").read_text(encoding="utf-8"))["recipe"]
        return {"seconds": seconds, "rows": rows, "flip": recipe["augment"]["flip"]}


def tell(rows: Sequence[dict[str, Any]], sizes: Counter[str]) -> None:
    """Print how many were named right, those of rare classes, and which mirrored classes were taken for each other."""
    wrong = [row for row in rows if not row["correct"]]
    low, high = clopper_pearson(len(rows) - len(wrong), len(rows))
    print(
        f"  {len(rows) - len(wrong)} of {len(rows)} right, {1 - len(wrong) / len(rows):.2%} ({low:.1%} to {high:.1%} "
        "for as many single pictures)"
    )
    turned = [row for row in wrong if {row["label"], row["predicted"]} in MIRRORED]
    among = sum(any(row["label"] in pair for pair in MIRRORED) for row in rows)
    print(f"  {len(turned)} of {len(wrong)} errors are between mirrored classes, which have {among} pictures")
    few = [row for row in rows if sizes[row["label"]] < 10]
    print(f"  classes of fewer than ten: {sum(row in wrong for row in few)} of {len(few)} wrong")
    for row in wrong:
        print(f"    {row['source']}: {row['label']} taken for {row['predicted']}")


def with_near_copies(data: Path) -> frozenset[str]:
    """Return the test pictures that look so alike one of the training part that both may show one thing."""
    dataset = open_data(str(data))
    pictures = [thumbnail(dataset.open(item)) for item in dataset.items]
    labels, parts = ([getattr(item, name) for item in dataset.items] for name in ("label", "split"))
    pairs = near_copies_among(pictures, labels, parts=parts)
    both = {dataset.items[number] for pair in pairs for number in (pair.first, pair.second)}
    return frozenset(item.source for item in both if item.split == "test")


if __name__ == "__main__":
    main()
