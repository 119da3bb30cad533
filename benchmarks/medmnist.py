"""Chest X-rays and breast ultrasound of MedMNIST, one protocol each: accuracy and ROC-AUC on the test part, by seed.

    python benchmarks/medmnist.py pneumonia|breast [--seeds 5] [--threads 2] [--scratch] [--kept FILE]
    python benchmarks/medmnist.py pneumonia --try NAME=VALUE ... [--epochs N] [--image-size N]

Each seed trains by PROTOCOLS on the train part, from the trunk that the package carries, on enlarged pictures. The
threshold is Youden's on the val part (`evaluate --split val --finding --goal youden --calibrated`), and the test part
is scored once with it; beside it what one half gives, and the figures without the test pictures that also lie, perhaps
saved again, in another part. --scratch trains a ResNet-18 of CIFAR's kind on the 28 pixels instead, as the authors of
MedMNIST did. --try looks at the val part alone, which is how PROTOCOLS were chosen. Finished seeds are kept.
"""

import argparse
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

import resnetkit as rk
from cold_runs import SHARED, machine
from finished import kept, print_spread, with_copies

# The class that is looked for, and how a run goes.
PROTOCOLS: dict[str, dict[str, Any]] = {
    "pneumonia": {
        "finding": "pneumonia",
        "image_size": 64,
        "epochs": 4,
        "settings": (
            "batch_size=64",
            "augment.colour=0.3",
            "augment.turn=10",
            "augment.flip=none",
            "class_weights=balanced",
        ),
    },
    "breast": {
        "finding": "malignant",
        "image_size": 64,
        "epochs": 12,
        "settings": ("batch_size=32", "augment.colour=0.3", "augment.turn=10"),
    },
}
SCRATCH: dict[str, Any] = {"model": "resnet18", "weights": "none", "settings": ("model.stem=cifar",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=sorted(PROTOCOLS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", action="store_true")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--try", dest="trial", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--kept", type=Path, default=Path("runs/medmnist.jsonl"))
    asked = parser.parse_args()
    protocol = PROTOCOLS[asked.set] | (SCRATCH if asked.scratch else {})
    if asked.scratch:
        protocol["image_size"] = 28
    protocol |= {"epochs": asked.epochs} if asked.epochs else {}
    protocol |= {"image_size": asked.image_size} if asked.image_size else {}
    if asked.trial is not None:
        protocol["settings"] = tuple(asked.trial)
    print(machine(None), asked.set, json.dumps(protocol))
    data = SHARED / "medmnist" / f"{asked.set}mnist.npz"
    copied = frozenset() if asked.trial is not None else with_copies(data)
    found = []
    for seed in range(asked.first, asked.first + asked.seeds):
        key = [asked.set, seed, asked.threads, asked.trial is not None, protocol]
        found.append(kept(asked.kept, key, partial(one_seed, data, protocol, seed, asked, copied)))
        print(seed, "  ".join(f"{name} {value:.4g}" for name, value in found[-1].items()), flush=True)
    print_spread(found)


def one_seed(
    data: Path, protocol: dict[str, Any], seed: int, asked: argparse.Namespace, copied: frozenset[str]
) -> dict[str, float]:
    """Train and score once."""
    with tempfile.TemporaryDirectory() as place:
        options = {name: value for name, value in protocol.items() if name not in ("finding", "settings")}
        begin = time.monotonic()
        run = rk.train(
            data, output=Path(place) / "run", seed=seed, threads=asked.threads,
            settings=protocol["settings"], **options,
        )  # fmt: skip
        seconds = time.monotonic() - begin
        if asked.trial is not None:
            scored = rk.evaluate(data, model=run.path, split="val", output=Path(place) / "val", threads=asked.threads)
            figures = scored.metrics
            return {
                "seconds": seconds, "val AUC": figures["roc_auc"]["macro"], "val accuracy": figures["top1"],
                "val balanced": figures["balanced_accuracy"], "val loss": figures["loss"],
            }  # fmt: skip
        screen = Path(place) / "screen.safetensors"
        rk.evaluate(
            data, model=run.path, split="val", finding=protocol["finding"], goal="youden", calibrated=screen,
            output=Path(place) / "val", threads=asked.threads,
        )  # fmt: skip
        plain, youden = (
            rk.evaluate(data, model=model, split="test", output=Path(place) / name, threads=asked.threads)
            for model, name in ((run.path, "plain"), (screen, "youden"))
        )
        alone = [row for row in youden.rows if row["source"] not in copied]
        figures = youden.metrics["screening"]["pictures"][protocol["finding"]]
        return {
            "seconds": seconds,
            "accuracy": 100 * youden.metrics["top1"],
            "AUC": youden.metrics["roc_auc"]["macro"],
            "sensitivity": 100 * figures["sensitivity"]["value"],
            "specificity": 100 * figures["specificity"]["value"],
            "threshold": youden.metrics["screening"]["threshold"],
            "accuracy at .5": 100 * plain.metrics["top1"],
            "test pictures": len(youden.rows),
            "without copies": len(alone),
            "accuracy without": 100 * statistics.mean(row["correct"] for row in alone),
            "AUC without": auc(alone, protocol["finding"]),
        }


def auc(rows: list[dict[str, Any]], finding: str) -> float:
    """Return the area under the ROC of rows of predictions.csv."""
    scores = [row["probability"] if row["predicted"] == finding else 1 - row["probability"] for row in rows]
    return float(roc_auc_score(np.array([row["label"] == finding for row in rows]), scores))


if __name__ == "__main__":
    main()
