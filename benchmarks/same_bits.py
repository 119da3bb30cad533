"""An earlier commit and this checkout train to the same bits, at the same speed, and read each other's past.

    python benchmarks/same_bits.py COMMIT [--recipes scratch finetune] [--rounds 3]

Every recipe that both have trains two epochs of 200 pictures, with one thread, in the two checkouts by turns: ants and
bees from the trunk of the package, CIFAR-10 by its own recipes. Compared: each tensor of best, last and the newest
state, and `results.csv` without its timing columns. Then a run that the commit made predicts, goes on to a third epoch
and is exported by this checkout. Seconds are those of training steps, of the rounds the median; a ratio above 1 is
slower than the commit. Leaves with 1 where bits differ, a run of before fails, or a ratio is above 1.02.
"""

import argparse
import csv
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from safetensors.numpy import load_file

from cold_runs import SHARED
from resnetkit.runtime import cpu_name
from resnetkit.training.run import TIMING_COLUMNS

HERE = Path(__file__).resolve().parents[1]
PHOTOS, CIFAR = SHARED / "hymenoptera", SHARED / "cifar10.zip"
SMALL = ["--limit", "200", "--seed", "0", "--threads", "1"]
MOST_SLOWER = 1.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--recipes", nargs="+", help="by default all that both have")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(cpu_name())
    with tempfile.TemporaryDirectory() as place:
        before = unpacked(asked.commit, Path(place) / "before")
        held = [compare(recipe, before, Path(place), rounds=asked.rounds) for recipe in asked.recipes or shared(before)]
        held.append(goes_on(before, Path(place)))
    sys.exit(not all(held))


def unpacked(commit: str, folder: Path) -> Path:
    """Write the files of a commit."""
    archive = subprocess.run(["git", "archive", commit], cwd=HERE, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(folder, filter="data")
    return folder


def shared(before: Path) -> list[str]:
    """Return the names of the recipes that both checkouts have."""
    both = [json.loads(run(checkout, "recipes", "--format", "json")) for checkout in (before, HERE)]
    names = [{recipe["name"] for recipe in recipes} for recipes in both]
    return sorted(names[0] & names[1])


def run(checkout: Path, *arguments: str) -> str:
    """Run the command of a checkout and return what it prints; no cache, so that nothing passes between the two."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {"PYTHONPATH": f"{checkout}/src", "OMP_NUM_THREADS": "1", "RESNETKIT_CACHE": cache}
        done = subprocess.run(
            [sys.executable, "-m", "resnetkit", *arguments],
            env=os.environ | environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(
            f"{checkout}: resnetkit {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    return done.stdout


def train(checkout: Path, recipe: str, output: Path) -> float:
    """Train by a recipe and return the seconds of an epoch: the last one, without what only the first does."""
    data = CIFAR if recipe.startswith("cifar10") else PHOTOS
    epochs = [] if recipe == "probe" else ["--epochs", "2"]
    sizes = ["--image-size", "64"] if data == PHOTOS else []
    run(checkout, "train", str(data), "--recipe", recipe, *epochs, *sizes, *SMALL, "--output", str(output))
    return float(rows_of(output)[-1]["seconds"])


def rows_of(output: Path) -> list[dict[str, str]]:
    with open(output / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


def compare(recipe: str, before: Path, place: Path, *, rounds: int) -> bool:
    """Train by turns, print what differs and the ratio of the seconds; tell whether all is well."""
    seconds: dict[Path, list[float]] = {before: [], HERE: []}
    for number in range(rounds):
        for name, checkout in (("before", before), ("now", HERE)):
            seconds[checkout].append(train(checkout, recipe, place / f"{recipe}-{name}-{number}"))
    found = differences(place / f"{recipe}-before-0", place / f"{recipe}-now-0")
    ratio = statistics.median(seconds[HERE]) / statistics.median(seconds[before])
    print(
        f"{recipe:<18} {'the same bits' if not found else 'DIFFERENT: ' + ', '.join(found[:5])}  {ratio:.3f}",
        flush=True,
    )
    return not found and ratio <= MOST_SLOWER


def differences(one: Path, other: Path) -> list[str]:
    """Return the names of what two runs do not have alike."""
    found = []
    for name in ("best.safetensors", "last.safetensors", "state"):
        files = [
            sorted(path.glob("*.safetensors"))[-1] if path.is_dir() else path for path in (one / name, other / name)
        ]
        ours, theirs = map(load_bytes, files)
        found += [f"{name}: {key}" for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key)]
    plain = [
        [{k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in rows_of(run)] for run in (one, other)
    ]
    return found + (["results.csv"] if plain[0] != plain[1] else [])


def load_bytes(path: Path) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in load_file(path).items()}


def goes_on(before: Path, place: Path) -> bool:
    """Let this checkout predict with, resume and export a run of the commit."""
    made, same = place / "old", place / "same"
    for checkout, output in ((before, made), (before, same)):
        train(checkout, "scratch", output)
    run(HERE, "predict", str(PHOTOS / "val"), "--model", str(made), "--output", str(place / "answers.csv"))
    run(HERE, "resume", str(made), "--epochs", "3")
    run(before, "resume", str(same), "--epochs", "3")
    run(HERE, "export", str(made), "--images", str(PHOTOS / "val"), "--output", str(place / "export"))
    found = differences(same, made)
    print(f"a run of before    {'predicts, resumes to the same bits, is exported' if not found else found[:5]}")
    return not found


if __name__ == "__main__":
    main()
