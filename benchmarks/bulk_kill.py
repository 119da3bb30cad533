"""Name the pictures of an archive in bulk, kill the command at random moments, and count the rows at the end.

    python benchmarks/bulk_kill.py --model runs/first

The archive is the 60,000 pictures of CIFAR-10 beside the project unless --data says otherwise. Kills are SIGKILL, at
moments drawn from the time in which a command makes two parts, after its first; every other one waits for a moment in
which a part is being written. Each is followed by the same command. Then two shards do the same work side by side, and
their rows are compared. Memory is `RssAnon`, what a process has for itself, read ten times a second: its median in the
first and in the last quarter of the time in which an undisturbed command names pictures, and its largest value. Leaves
with 1 where rows are missing, doubled or different, or memory grew by more than a tenth.
"""

import argparse
import csv
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10.zip"
Row = dict[str, str]


def command(options: argparse.Namespace, rows: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "resnetkit", "predict", str(options.data), "--model", str(options.model),
        "--engine", options.engine, "--precision", options.precision, "--output", f"{rows}/", "--format", "json",
        "--quiet", *more,
    ]  # fmt: skip


def parts(rows: Path) -> int:
    return sum(1 for _ in rows.glob("part-*"))


def anonymous_memory(process: subprocess.Popen[str]) -> float | None:
    """Return the process's own memory in MiB, None where it has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")]
    return found[0] if found else None


def undisturbed(line: list[str], rows: Path) -> tuple[dict[str, object], list[float]]:
    """Run a command to its end; returns its summary, and its memory between the first part and the last."""
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    samples: list[float] = []
    while process.poll() is None:
        memory = anonymous_memory(process) if rows.is_dir() and parts(rows) else None
        samples += [] if memory is None else [memory]
        time.sleep(0.1)
    assert process.returncode == 0, f"{line} left with {process.returncode}"
    assert process.stdout is not None
    return json.loads(process.stdout.read()), samples


def killed(line: list[str], rows: Path, *, seconds: float, while_writing: bool) -> str:
    """Start a command and kill it `seconds` after its first new part; returns how far it came.

    Returns "" where it had ended by then.
    """
    before, half = parts(rows), set(rows.glob(".part-*.tmp"))
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    while process.poll() is None and parts(rows) == before:
        time.sleep(0.002)
    time.sleep(seconds)
    while while_writing and process.poll() is None and set(rows.glob(".part-*.tmp")) <= half:
        time.sleep(0.0002)
    if process.poll() is not None:
        return ""
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = "a half part beside them" if set(rows.glob(".part-*.tmp")) - half else "no half part"
    return f"{parts(rows) - before} parts further, {left}"


def read(rows: Path) -> list[Row]:
    found: list[Row] = []
    for part in sorted(rows.glob("part-*.csv")):
        with open(part, encoding="utf-8", newline="") as file:
            found += csv.DictReader(file)
    return found


def difference(ours: list[Row], theirs: list[Row]) -> tuple[int, float]:
    """Return how many labels differ, and the largest difference of a probability of the same class."""
    assert [row["source"] for row in ours] == [row["source"] for row in theirs], "other pictures, or another order"
    labels = sum(one["label"] != other["label"] for one, other in zip(ours, theirs, strict=True))
    return labels, max(
        abs(float(one["probability"]) - float(other["probability"])) for one, other in zip(ours, theirs, strict=True)
    )


def kill_often(options: argparse.Namespace, rows: Path, *, seconds_a_part: float) -> None:
    chance = random.Random(options.seed)
    for number in range(options.kills):
        seconds = chance.uniform(0, 2 * seconds_a_part)
        where = killed(command(options, rows), rows, seconds=seconds, while_writing=number % 2 == 1)
        assert where, "it ended before it could be killed: take more pictures"
        print(f"kill {number + 1:>2}: {where}", flush=True)


def shards(options: argparse.Namespace, rows: Path) -> None:
    both = [
        subprocess.Popen(command(options, rows, "--shard", f"{n}/2", "--threads", "1"), stdout=subprocess.DEVNULL)
        for n in (1, 2)
    ]
    assert [process.wait() for process in both] == [0, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, default=BESIDE)
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="bulk-kill-"))
    began = time.monotonic()
    summary, memory = undisturbed(command(options, place / "whole"), place / "whole")
    seconds = time.monotonic() - began
    pictures, num_parts = int(str(summary["pictures"])), int(str(summary["parts"]))
    quarter = len(memory) // 4
    first, last = statistics.median(memory[:quarter]), statistics.median(memory[-quarter:])
    print(f"undisturbed: {pictures:,} pictures in {num_parts} parts, {seconds:.0f} s")
    print(
        f"its memory: first quarter {first:.1f} MiB, last {last:.1f}, largest {max(memory):.1f} ({len(memory)} samples)"
    )
    kill_often(options, place / "killed", seconds_a_part=seconds / num_parts)
    final, _ = undisturbed(command(options, place / "killed"), place / "killed")
    rows, whole = read(place / "killed"), read(place / "whole")
    distinct, left = len({row["source"] for row in rows}), len(list((place / "killed").glob(".*.tmp")))
    print(f"after {options.kills} kills: {len(rows):,} rows of {distinct:,} pictures, {left} half parts left")
    labels, probability = difference(rows, whole)
    print(f"against the undisturbed command: {labels} labels differ, probabilities by {probability:.1e} at most")
    shards(options, place / "shards")
    other, apart = difference(read(place / "shards"), whole)
    print(f"2 shards: {other} labels differ, probabilities by {apart:.1e} at most")
    shutil.rmtree(place)
    right = len(rows) == distinct == pictures == final["pictures"] and labels == other == left == 0
    sys.exit(0 if right and max(probability, apart) <= 1e-4 and last <= 1.1 * first else 1)


if __name__ == "__main__":
    main()
