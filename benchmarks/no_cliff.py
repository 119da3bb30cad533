"""The held-out curve of fine-tuning does not fall off behind the head that was fitted first, and ends no lower.

    python benchmarks/no_cliff.py [--seeds 5] [--isa AVX2]

In turns: `finetune` as it is, and as it was before the cure (`BEFORE`), on the digits of `resnetkit demo`
(from the bundled CIFAR network, as there), ants and bees, traffic lights and breast ultrasound (from the trunk of the
package). Epoch 0 of `results.csv` is the head on frozen features. Prints the head, the worst epoch behind it and the
end, each a mean over the seeds, in how many runs an epoch lay more than a tenth below the head, and the paired
difference of the ends, which are those of the test part where there is one. Finished runs are kept in --kept and not
run again; remove the file to begin afresh.
"""

import argparse
import json
import math
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t

from cold_runs import OLDER, SHARED, Kept, cold_run, machine
from resnetkit.cli.demo import write_digits
from six_sets import prepare

# `finetune` of the same length without the cure: the running statistics answer, of weights that are not averaged, and
# pictures near those of the weights get the full rate too.
BEFORE = ("batchnorm=batch", "ema=0", "schedule.warmup_epochs=1", "optim.lr=0.001")
DEMO = ("--model", "resnet20", "--epochs", "5", "--set=augment.flip=none")
DATA = {"demo": DEMO, "insects": (), "lights": (), "breast": ()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help=f"some of: {', '.join(DATA)}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", choices=OLDER, help="hold the runs to these instructions, and to fp32")
    parser.add_argument("--before", action="append", default=[], help="one more setting of before")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="a setting of both")
    parser.add_argument("--image-size", type=int, help="of all but the demo")
    parser.add_argument("--limit", type=int, help="pictures of each part, to try it out")
    parser.add_argument("--kept", type=Path, default=Path("runs/no_cliff.jsonl"))
    asked = parser.parse_args()
    if unknown := set(asked.data) - set(DATA):
        parser.error(f"no data {', '.join(unknown)}: there are {', '.join(DATA)}")
    with tempfile.TemporaryDirectory() as place:
        for name in asked.data or DATA:
            report(name, {when: runs(name, when, asked, Path(place)) for when in ("before", "after")})


def runs(name: str, when: str, asked: argparse.Namespace, place: Path) -> list[dict[str, Any]]:
    """Return the runs of one set, those that are not kept yet trained now."""
    kept, found = Kept(asked.kept), []
    for seed in range(asked.seeds):
        command = [*train_command(name, when, asked, place), "--seed", str(seed)]
        settings = [each for each in command if each.startswith("--set")] + ["--image-size", str(asked.image_size)]
        what = {"data": name, "when": when, "seed": seed, "machine": machine(asked.isa), "limit": asked.limit}
        what |= {"threads": asked.threads, "settings": settings}
        run = kept.find(**what)
        if run is None:
            output = place / f"{name}-{when}-{seed}"
            run = what | cold_run(
                [*command, "--output", str(output)], output=output, threads=asked.threads, isa=asked.isa
            )
            run["end"] = json.loads((output / "metrics.json").read_text())["top1"]
            kept.add(**run)
            shutil.rmtree(output)
            curve = " ".join(f"{100 * row['val_top1']:.1f}" for row in run["rows"])
            print(f"{name}  {when}  seed {seed}  {curve}  end {100 * run['end']:.1f} %", flush=True)
        found.append(run)
    return found


def train_command(name: str, when: str, asked: argparse.Namespace, place: Path) -> list[str]:
    if name == "demo":
        data = place / "digits"
        write_digits(data)
    else:
        data = SHARED / "hymenoptera" if name == "insects" else prepare(name, place / "data")
    settings = [*asked.settings, *(["precision=fp32"] if asked.isa else [])]
    settings += [*BEFORE, *asked.before] if when == "before" else []
    command = [sys.executable, "-m", "resnetkit", "train", str(data), "--threads", str(asked.threads)]
    command += ["--recipe", "finetune", *(f"--set={each}" for each in settings), *DATA[name]]
    command += ["--image-size", str(asked.image_size)] if asked.image_size and name != "demo" else []
    return command + (["--limit", str(asked.limit)] if asked.limit else [])


def report(name: str, found: dict[str, list[dict[str, Any]]]) -> None:
    """Print head, worst epoch and end, before and after."""
    for when, each in found.items():
        curves = [[row["val_top1"] for row in run["rows"]] for run in each]
        assert all(run["rows"][0]["epoch"] == 0 for run in each), "the head was not fitted first"
        heads, worst = [curve[0] for curve in curves], [min(curve[1:]) for curve in curves]
        fallen = sum(low < 0.9 * head for low, head in zip(worst, heads, strict=True))
        deepest = max(head - low for low, head in zip(worst, heads, strict=True))
        parts = [
            f"{name:<8}  {when:<6}  n = {len(each)}  head {mean_and_spread(heads)}",
            f"worst epoch {mean_and_spread(worst)}",
            f"{100 * deepest:.1f} points below the head at most, by more than a tenth in {fallen}",
            f"end {mean_and_spread([run['end'] for run in each])}",
        ]
        print("  ".join(parts))
    pairs = zip(found["after"], found["before"], strict=True)
    print(f"{name:<8}  after - before  {interval([100 * (mine['end'] - theirs['end']) for mine, theirs in pairs])}")


def mean_and_spread(shares: Sequence[float]) -> str:
    """Return mean and standard deviation in percent."""
    spread = f" (sd {100 * statistics.stdev(shares):.1f})" if len(shares) > 1 else ""
    return f"{100 * statistics.mean(shares):.1f} %{spread}"


def interval(points: Sequence[float]) -> str:
    """Return the mean with its 95 % t-interval."""
    mean, num = statistics.mean(points), len(points)
    if num < 2:
        return f"{mean:+.1f} points"
    half = float(t.ppf(0.975, num - 1)) * statistics.stdev(points) / math.sqrt(num)
    return f"{mean:+.1f} points (95 % interval {mean - half:+.1f} to {mean + half:+.1f})"


if __name__ == "__main__":
    main()
