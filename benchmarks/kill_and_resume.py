"""Kill a training run with SIGKILL at random moments, resume it, and compare with the run nobody touched.

    python benchmarks/kill_and_resume.py --kills 20
    python benchmarks/kill_and_resume.py --kills 10 --objects ../shared/data/bccd

Half of the kills wait for a moment inside a save (a temporary file lies in state/). "The same bits" means the tensors
of best, last and state, and results.csv without its timing columns. Prints a line for each kill and leaves with 1 on a
difference.
"""

import argparse
import csv
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from resnetkit.cli.demo import write_digits
from resnetkit.training.run import TIMING_COLUMNS
from resnetkit.training.state import saved

EPOCHS = 6


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "resnetkit", *arguments, "--quiet"]


def train(data: Path, run: Path, threads: int) -> list[str]:
    return command(
        "train", str(data), "--model", "resnet8", "--epochs", str(EPOCHS), "--limit", "400", "--threads", str(threads),
        "--set", "precision=bf16", "--set", "ema=0.9", "--set", "augment.flip=none", "--set", "save_minutes=0",
        "--output", str(run),
    )  # fmt: skip


def train_detector(data: Path, run: Path, threads: int) -> list[str]:
    return command(
        "train", str(data), "--epochs", "3", "--limit", "12", "--image-size", "64", "--batch-size", "4", "--threads",
        str(threads), "--set", "save_minutes=0", "--output", str(run),
    )  # fmt: skip


def kill_at(process: subprocess.Popen[bytes], run: Path, *, seconds: float, inside_save: bool) -> str:
    """Wait for the run folder and `seconds` more, then for a save where asked; kill, and say where that was.

    Returns an empty string where the process had ended by then.
    """
    while process.poll() is None and not (run / "state").is_dir():
        time.sleep(0.002)
    time.sleep(seconds)
    where = "between saves"
    while inside_save and process.poll() is None:
        if any((run / "state").glob(".*.tmp")):
            where = "inside a save"
            break
    if process.poll() is not None:
        return ""
    process.send_signal(signal.SIGKILL)
    process.wait()
    return where


def same_bits(one: Path, other: Path) -> list[str]:
    """Return what differs between two finished runs."""
    pairs = [(one / name, other / name) for name in ("best.safetensors", "last.safetensors")]
    pairs.append((saved(one / "state")[-1], saved(other / "state")[-1]))
    different = []
    for ours, theirs in pairs:
        left, right = load_file(ours), load_file(theirs)
        different += [
            f"{ours.name}: {name}" for name in left if name not in right or not torch.equal(left[name], right[name])
        ]
    if results(one) != results(other):
        different.append("results.csv")
    return different


def results(run: Path) -> list[dict[str, str]]:
    with open(run / "results.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--objects", type=Path, help="an annotated set: a detector is trained on it")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    place = Path(tempfile.mkdtemp(prefix="kill-and-resume-"))
    data, begin = options.objects, train_detector
    if data is None:
        data, begin = place / "digits", train
        write_digits(data)
    started = time.monotonic()
    subprocess.run(begin(data, place / "whole", options.threads), check=True, stdout=subprocess.DEVNULL)
    print(f"uninterrupted: {time.monotonic() - started:.1f} s, {len(results(place / 'whole'))} epochs")
    probe = subprocess.Popen(begin(data, place / "probe", options.threads), stdout=subprocess.DEVNULL)
    while not (place / "probe" / "state").is_dir():
        time.sleep(0.01)
    first = time.monotonic()
    probe.wait()
    length = time.monotonic() - first
    failures = 0
    for number in range(options.kills):
        run = place / f"killed-{number}"
        where = ""
        while not where:  # one that had ended before the kill does not count
            shutil.rmtree(run, ignore_errors=True)
            process = subprocess.Popen(begin(data, run, options.threads), stdout=subprocess.DEVNULL)
            moment = chance.uniform(0, 0.8 * length)
            where = kill_at(process, run, seconds=moment, inside_save=number % 2 == 1)
        states = [path.name for path in saved(run / "state")]
        subprocess.run(command("resume", str(run)), check=True, stdout=subprocess.DEVNULL)
        different = same_bits(place / "whole", run)
        left_over = [path.name for path in (run / "state").glob(".*.tmp")]
        failures += bool(different)
        print(
            f"kill {number + 1:>2}  {moment:5.2f} s in, {where:<14} {states[-1]:<40} "
            f"{'SAME BITS' if not different else 'DIFFERENT: ' + ', '.join(different[:3])} {left_over or ''}",
            flush=True,
        )
        shutil.rmtree(run)
    print(f"{options.kills - failures} of {options.kills} end with the same bits as the uninterrupted run")
    shutil.rmtree(place)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
