"""Train the same network by 1, 2 and 4 processes under torchrun, compare, kill one of them, and let torchrun restart.

    python benchmarks/ranks.py

Digits, ResNet-8, fp32, the same batch of 64 shared by the processes. Prints the largest difference of a loss from
that of one process: with frozen BatchNorm (fixed statistics) at a small rate, where rounding is not amplified; at the
rate of the recipe, beside one process that takes its batch in four micro-batches, which rounds as differently; and with
local BatchNorm, where each process normalises by its own share. Then the seconds until all have left after one was
killed, and whether the restarted job ended. Leaves with 1 where a claim does not hold: losses within 1e-4 at the small
rate, all gone within 60 s and the lost one named, the restart done.
"""

import csv
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (2, 4)
FIGURES = ("train_loss", "val_loss")
MOST_DIFFERENCE, MOST_SECONDS = 1e-4, 60.0


def torchrun(size: int, *arguments: str, restarts: int = 0) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(size)]
    return [*launcher, "--max-restarts", str(restarts), "-m", "resnetkit", "train", "digits", *arguments]


def recipe(run: Path, *settings: str, epochs: int) -> list[str]:
    given = ("augment.flip=none", "precision=fp32", "save_minutes=0.02", *settings)
    sets = [word for setting in given for word in ("--set", setting)]
    return ["--model", "resnet8", "--epochs", str(epochs), "--threads", "1", "--output", str(run), *sets]


def rows(run: Path) -> list[dict[str, str]]:
    path = run / "results.csv"
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def trained(place: Path, name: str, size: int, *settings: str) -> list[dict[str, str]]:
    run = place / f"{name}-{size}"
    subprocess.run(torchrun(size, *recipe(run, *settings, epochs=4)), check=True, capture_output=True)
    return rows(run)


def compare(place: Path, name: str, *settings: str, sizes: tuple[int, ...] = SIZES) -> float:
    """Print how far the losses of several processes are from those of one; return the largest difference."""
    one = trained(place, name, 1, *settings)
    largest = max(differs_from(one, place, name, size, *settings) for size in sizes)
    print()
    return largest


def differs_from(one: list[dict[str, str]], place: Path, name: str, size: int, *settings: str) -> float:
    """Train by `size` processes, for 0 by one in micro-batches; print and return how far its losses are from `one`."""
    words = f"{size} processes" if size else "1 process, micro-batches of 16"
    curve = trained(place, f"{name}-again", size or 1, *settings, *(() if size else ("micro_batch=16",)))
    by_epoch = [max(abs(float(a[key]) - float(b[key])) for key in FIGURES) for a, b in zip(curve, one, strict=True)]
    print(
        f"{name}, {words}: last losses {float(curve[-1]['train_loss']):.6f} (training), "
        f"{float(curve[-1]['val_loss']):.6f} (held out), top-1 {100 * float(curve[-1]['val_top1']):.1f} %; "
        f"largest difference from one process by epoch: {', '.join(f'{value:.1e}' for value in by_epoch)}",
        flush=True,
    )
    return max(by_epoch)


def workers(run: Path) -> list[int]:
    """Return the processes that train into `run`, without the launcher."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
        except OSError:  # it has ended
            continue
        if str(run).encode() in words and b"torch.distributed.run" not in words:
            found.append(int(folder.name))
    return found


def wait_for_epoch(run: Path, process: subprocess.Popen[str], *, number: int) -> None:
    while len(rows(run)) < number and process.poll() is None:
        time.sleep(0.02)


def kill_one(place: Path, *, size: int) -> bool:
    """Kill the last of `size` processes; print when all had left, what was said, and how the restart ended."""
    run = place / f"killed-{size}"
    command = torchrun(size, *recipe(run, epochs=40), restarts=1)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_epoch(run, process, number=2)
        before = workers(run)
        os.kill(max(before), signal.SIGKILL)
        begin = time.monotonic()
        while set(before) & set(workers(run)):
            time.sleep(0.02)
        seconds = time.monotonic() - begin
        _, said = process.communicate()
    named = re.findall(r"resnetkit: (rank \d of \d) \(process (\d+)", said)
    epochs = [int(row["epoch"]) for row in rows(run)]
    done = process.returncode == 0 and epochs == list(range(1, 41))
    print(
        f"{size} processes, one killed: all had left after {seconds:.1f} s, told as {named}; "
        f"the restarted job {'went on and ended with 40 epochs' if done else 'FAILED'}",
        flush=True,
    )
    return seconds < MOST_SECONDS and [int(number) for _, number in named] == [max(before)] and done


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
        place = Path(folder)
        frozen = ("batchnorm=frozen",)
        small = ("optim.lr=0.0002", "schedule.name=constant", "schedule.warmup_epochs=0")
        holds = compare(place, "frozen, rate 0.0002", *frozen, *small) <= MOST_DIFFERENCE
        compare(place, "frozen, rate 0.05", *frozen, sizes=(4, 0))
        compare(place, "local BatchNorm, rate 0.05", "batchnorm=batch")
        for size in SIZES:
            holds = kill_one(place, size=size) and holds
    print("all claims hold" if holds else "A CLAIM DOES NOT HOLD")
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
