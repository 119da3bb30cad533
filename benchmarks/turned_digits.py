"""Digits turned by any angle: turning training pictures too is worth points, and what gtsrb says of the default.

    python benchmarks/turned_digits.py [--seeds 3]

The digits of scikit-learn at 24 pixels (6 and 9 are left out: turned, they are one); 1,000 of them train, the others
score. Those that score are turned, each by an angle of its own; those that train are upright, or turned too. ResNet-8
from scratch, 30 epochs, one thread, with and without `augment.turn=180`. Then the traffic signs of `six_sets.py`, at 40
pixels, where a turn changes the meaning: the accuracy with and without says what the default has to be. Prints each
run, and the paired difference.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from six_sets import prepare

SETTINGS = {"plain": (), "turned": ("--set", "augment.turn=180")}


def turned_digits(folder: Path, *, upright: bool) -> Path:
    """Write the digits, each turned by its own angle but for `upright` training ones, 1,000 to train."""
    digits, chance = load_digits(), np.random.default_rng(0)
    kept = [number for number, digit in enumerate(digits.target) if digit not in (6, 9)]
    for place, number in enumerate(chance.permutation(kept)):
        picture = Image.fromarray((digits.images[number] * (255 / 16)).round().astype(np.uint8)).resize((24, 24))
        part = "train" if place < 1000 else "test"
        path = folder / part / str(digits.target[number]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        angle = chance.uniform(0, 360)
        picture.rotate(0 if upright and part == "train" else angle, Image.Resampling.BILINEAR).save(path)
    return folder


def accuracy(data: Path, output: Path, seed: int, *settings: str) -> float:
    """Train once and return the accuracy on what scores."""
    how = ["--model", "resnet8", "--epochs", "30", "--threads", "1", "--seed", str(seed), "--output", str(output)]
    command = [sys.executable, "-m", "resnetkit", "train", str(data), *how, "--set", "augment.flip=none", *settings]
    subprocess.run(command, check=True, capture_output=True)
    return float(json.loads((output / "metrics.json").read_text())["top1"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["upright", "turned", "signs"])
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for name in asked.sets:
            folder = Path(place) / name
            data = prepare(name, folder) if name == "signs" else turned_digits(folder, upright=name == "upright")
            found: dict[str, list[float]] = {how: [] for how in SETTINGS}
            for seed in range(asked.seeds):
                for how, settings in SETTINGS.items():
                    found[how].append(accuracy(data, Path(place) / f"{name}-{how}-{seed}", seed, *settings))
                print(name, seed, {how: f"{100 * values[-1]:.1f} %" for how, values in found.items()}, flush=True)
            gains = 100 * (np.array(found["turned"]) - np.array(found["plain"]))
            print(f"{name}: turning is worth {gains.mean():+.1f} points ({gains.min():+.1f} to {gains.max():+.1f})")


if __name__ == "__main__":
    main()
