"""Blood cells found by a light detector: `bccd` of ../shared/data, its own split, from the bundled trunk.

    python benchmarks/cells.py --seeds 0 1 2 --minutes 50
    python benchmarks/cells.py --seeds 0 --weights none

Each seed is one command, `resnetkit train bccd`, that learns from `train`, chooses nothing (the last epoch ships,
`val` is scored now and then for the curve alone) and is scored on `test`. Prints for each seed mAP@.50 and
mAP@.50:.95 with their intervals, the classes, minutes, milliseconds a picture and the curve, then mean and spread.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev

from resnetkit.runtime import cpu_name

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "bccd"


def train(run: Path, *, seed: int, minutes: float, weights: str, threads: int, more: list[str]) -> float:
    """Train one detector and return its seconds."""
    begin = time.monotonic()
    command = [
        sys.executable, "-m", "resnetkit", "train", DATA, "--seed", seed, "--weights", weights, "--threads", threads,
        "--set", "augment.vertical_flip=random", "--set", f"budget.minutes={minutes}", "--epochs", "200",
        "--output", run, "--quiet", *more,
    ]  # fmt: skip
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def report(run: Path, seconds: float) -> dict[str, float]:
    """Print what a run reached, and return it."""
    metrics = json.loads((run / "metrics.json").read_text())
    with open(run / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    each = 1000 / mean(float(row["images_per_second"]) for row in rows)
    for name in ("map50", "map"):
        low, high = metrics[f"{name}_interval"]
        print(f"  {name:<6} {100 * metrics[name]:5.1f} % ({100 * low:.1f} to {100 * high:.1f})")
    print("  classes", {name: round(100 * one["ap50"], 1) for name, one in metrics["per_class"].items()})
    print(f"  {seconds / 60:.1f} minutes in all, {len(rows)} epochs, {each:.0f} ms a training picture")
    used = 0.0
    for row in rows:
        used += float(row["seconds"])
        if row["val_map50"]:
            reached = f"{100 * float(row['val_map50']):.1f} and {100 * float(row['val_map']):.1f} %"
            print(f"    {used / 60:5.1f} min  held-out {reached}")
    return {name: metrics[name] for name in ("map50", "map")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("more", nargs="*", help="further options of train, after --")
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"{DATA} is not here")
    print(cpu_name())
    found = []
    with tempfile.TemporaryDirectory(prefix="cells-") as place:
        for seed in options.seeds:
            run = Path(place) / f"seed-{seed}"
            seconds = train(
                run, seed=seed, minutes=options.minutes, weights=options.weights, threads=options.threads,
                more=options.more,
            )  # fmt: skip
            print(f"seed {seed}")
            found.append(report(run, seconds))
    for name in ("map50", "map"):
        values = [100 * one[name] for one in found]
        spread = f" (sd {stdev(values):.2f})" if len(values) > 1 else ""
        print(f"{name:<6} {mean(values):.1f} %{spread}, n = {len(values)}")


if __name__ == "__main__":
    main()
