"""All that waits for a GPU, in pieces that go on where they stopped; most valuable first, a line of JSON each.

Here, beforehand:

    python benchmarks/gpu_campaign.py split cifar10.zip .campaign/data     # pieces, each named by its checksum
    python benchmarks/gpu_campaign.py wheels .campaign/wheels               # what a torch image lacks, and timm

On the GPU's machine, from the root of the repository, as often as there is time:

    python benchmarks/gpu_campaign.py run --state FOLDER --carried .campaign --seconds 540 --out OUT

`run` takes over what was carried, so that a next call need not carry it again, and does what is not done yet. At its
end, or when killed at any point, everything done is in `FOLDER/results.jsonl`, of which OUT gets a copy. A training
that is not done is resumed by the next call, a measurement begun anew. `--before FILE` takes over the results of a
machine that is gone. A piece that failed says so in its line, and is tried again with `--again`. `--only` names pieces
by their beginning, `--list` lists them. `--miniature` does everything small on a CPU.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 28 * 2**20
DATA = "cifar10.zip"
# What training, prediction and the tests import; OpenVINO, which a GPU does without, is 59 MB.
NEEDED = (
    "torch", "torchvision", "numpy", "PIL", "safetensors", "sklearn", "click", "rich", "matplotlib", "filelock",
    "tomli_w", "jinja2", "pytest",
)  # fmt: skip
WHEELS = ("tomli-w", "timm")  # an image with torch, scikit-learn, matplotlib and pytest has the others
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
GOODBYE = 25.0  # seconds in which a training that is asked to stop finishes its step and saves


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Something to be done: `command` for Python; `about` so many seconds, for which there must be time left.

    `run`: the folder of a training, in STATE/runs. `goal`: the accuracy to reach, in percent.
    """

    name: str
    command: tuple[str, ...]
    about: float = 60.0
    run: str | None = None
    needs_data: bool = False
    goal: float | None = None
    environment: dict[str, str] = field(default_factory=dict)


def pieces(state: Path, *, miniature: bool) -> list[Piece]:
    """Return all pieces, most valuable first."""
    data = str(state / DATA)
    tests = (
        "-m",
        "pytest",
        "-q",
        "-o",
        "addopts=--strict-markers -p no:cacheprovider",
        "-o",
        "filterwarnings=default",
        "tests/test_gpu.py",
    )
    first = Piece(name="tests", command=tests, about=120, environment={"GPU_TESTS_ON": "cpu"} if miniature else {})
    models = ("resnet8",) if miniature else ("resnet18", "resnet50")
    small = ("--device", "cpu", "--threads", "1", "--size", "32", "--batch-size", "8", "--seconds", "0.1")
    last = small if miniature else ()

    def measured(what: str, *arguments: str, about: float = 60) -> Piece:
        name = " ".join([what, *(word for word in arguments if not word.startswith("--"))])
        return Piece(name=name, command=("benchmarks/gpu_measure.py", what, *arguments, *last), about=about)

    def throughput(*ways: str, about: float) -> list[Piece]:
        order = [(m, what, how) for how in ways for m in models for what in ("step", "predict")]
        order = [("resnet18" if how == "timm" and miniature else m, what, how) for m, what, how in order]
        return [measured(what, "--model", m, "--how", how, about=about) for m, what, how in order]

    def trained(
        name: str, recipe: str, *settings: str, model: str | None = None, seed: int = 0, goal: float | None = None
    ) -> Piece:
        command = ["-m", "resnetkit", "train", data, "--recipe", recipe, "--seed", f"{seed}"]
        command += ["--model", model] if model else []
        changed = ["keep_together=files", "save_minutes=1", *settings]
        if miniature:
            changed, command = [*changed, "model.width=8"], [*command, "--epochs", "2", "--threads", "1"]
        command += [word for setting in changed for word in ("--set", setting)]
        return Piece(name=name, command=tuple(command), about=45, run=name, needs_data=True, goal=goal)

    large = ("batch_size=1000", "optim.lr=0.05", "optim.plain_lr=0.1")  # at 250 kernels wait to be launched
    # Minutes of training, and the accuracy to reach in percent: for the last five that of the paper (table 6).
    nets = (
        ("resnet18", 4, 96.0), ("resnet50", 6, 95.55), ("resnet110", 7, 93.7), ("resnet20", 3, 91.25),
        ("resnet32", 3, 92.49), ("resnet44", 3, 92.83), ("resnet56", 4, 93.03),
    )  # fmt: skip
    return [
        first,
        *throughput("eager", about=45),
        measured("ranks", about=30),
        measured("memory", about=90),
        *(trained(f"fast-{seed}", "cifar10-fast", seed=seed) for seed in range(2 if miniature else 10)),
        *throughput("compiled", "timm", about=120),
        *(measured("photos", "--model", model, about=90) for model in models),
        *(
            trained(
                name,
                "cifar10-resnet",
                f"budget.minutes={minutes}",
                *(large if name == "resnet18" else ()),
                model=name,
                goal=goal,
            )
            for name, minutes, goal in nets[: 1 if miniature else None]
        ),
    ]


# --- what travels ---


def split(source: Path, folder: Path, *, most: int = MOST_BYTES) -> list[Path]:
    """Cut a file into pieces of one size, at most `most` bytes, each named by its place and its SHA-256."""
    content = source.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    written, lengths = [], cuts(len(content), most=most)
    for number in range(len(lengths)):
        start = sum(lengths[:number])
        part = content[start : start + lengths[number]]
        path = folder / f"{DATA}.{number + 1}-of-{len(lengths)}.{hashlib.sha256(part).hexdigest()}"
        path.write_bytes(part)
        written.append(path)
    return written


def cuts(length: int, *, most: int) -> list[int]:
    """Return the lengths of as few pieces as there can be, as even as can be."""
    count = max(1, -(-length // most))
    return [length // count + (number < length % count) for number in range(count)]


def take_over(carried: Path | None, state: Path) -> str:
    """Keep the pieces that were carried, join them once all are there, and say what is still missing.

    A piece whose bytes are not those of its name is left where it is, and said.
    """
    kept, damaged = state / "pieces", []
    kept.mkdir(parents=True, exist_ok=True)
    if (state / DATA).is_file():
        return "the data are here"
    for path in sorted(carried.rglob(f"{DATA}.*-of-*.*")) if carried is not None else []:
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name.rpartition(".")[2]:
            damaged.append(path.name)
        elif not (kept / path.name).is_file():
            shutil.copy(path, kept / "half")
            os.replace(kept / "half", kept / path.name)
    found = {int(path.name.split(".")[2].split("-")[0]): path for path in kept.glob(f"{DATA}.*")}
    counts = {int(path.name.split(".")[2].split("-")[2]) for path in found.values()}
    missing = [number for number in range(1, max(counts, default=0) + 1) if number not in found]
    if missing or len(counts) != 1:
        said = f"pieces {missing} of {max(counts)} are missing" if counts else "no piece of the data is here"
        return said + (f"; damaged: {', '.join(damaged)}" if damaged else "")
    with open(state / "half", "wb") as file:
        for number in sorted(found):
            file.write(found[number].read_bytes())
    os.replace(state / "half", state / DATA)
    shutil.rmtree(kept)
    return "the data are here"


def wheels(folder: Path, names: Sequence[str]) -> None:
    """Download wheels for Python 3.12 on Linux, without what they need themselves."""
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    how = ["--no-deps", "--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp", *platforms]
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", *how, "-d", str(folder), *names], check=True)


def site(carried: Path | None, state: Path) -> Path:
    """Return a folder for PYTHONPATH with the carried wheels, and with the record of this package's version."""
    place = state / "site"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    record = place / f"resnetkit-{version}.dist-info"
    record.mkdir(parents=True, exist_ok=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: resnetkit\nVersion: {version}\n")
    found = [str(path) for path in sorted(carried.rglob("*.whl"))] if carried is not None else []
    if found:
        how = ["--no-index", "--no-deps", "--no-compile", "--upgrade", "--target", str(place)]
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", *how, *found], check=True)
    return place


# --- what was reached ---


def read_results(state: Path) -> list[dict[str, Any]]:
    """Return the lines written so far; one that a kill cut short is taken out of the file."""
    path = state / "results.jsonl"
    results = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            results.append(json.loads(line))
        except ValueError:
            continue
    _write(path, "".join(json.dumps(result) + "\n" for result in results))
    return results


def _write(path: Path, text: str) -> None:
    half = path.with_suffix(".half")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)


def append(state: Path, result: dict[str, Any]) -> None:
    """Print a result and add it to the file, on the disk before this returns."""
    line = json.dumps(result) + "\n"
    print(line, end="", flush=True)
    with open(state / "results.jsonl", "a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def of_training(run: Path, piece: Piece) -> dict[str, Any]:
    """Return what a finished run reached: percent of the test part, seconds of its epochs, and of the commands."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    with open(run / "results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    averaged = metrics.get("tta")
    return {
        "epochs": len(rows), "top1": round(100 * metrics["top1"], 2), "count": metrics["count"],
        "tta_top1": None if averaged is None else round(100 * averaged["top1"], 2), "goal": piece.goal,
        "seconds_of_epochs": round(sum(float(row["seconds"]) for row in rows), 2),
        "images_per_second": float(rows[-1]["images_per_second"]), "command_seconds": _seconds(run),
    }  # fmt: skip


def _seconds(run: Path) -> float:
    file = run.with_name(f"{run.name}.seconds")
    return round(sum(map(float, file.read_text().split())), 1) if file.is_file() else 0.0


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return what all seeds of `cifar10-fast` come to; None before there are two."""
    fast = [result for result in results if result["piece"].startswith("fast-") and "top1" in result]
    if len(fast) < 2:
        return None
    figures = {name: [result[name] for result in fast] for name in ("top1", "tta_top1", "seconds_of_epochs")}
    spread = {f"{name}_sd": round(statistics.stdev(values), 3) for name, values in figures.items()}
    means = {name: round(statistics.mean(values), 3) for name, values in figures.items()}
    return {"piece": "cifar10-fast, all seeds", "n": len(fast), **means, **spread}


# --- doing it ---


def attempt(piece: Piece, state: Path, *, env: dict[str, str], until: float, about: dict[str, Any], lock: int) -> bool:
    """Do a piece, or go on with it, until a time; whether it is done, well or badly, and has its line."""
    run = None if piece.run is None else state / "runs" / piece.run
    command = piece.command
    if run is not None:
        begun = (run / "state").is_dir()
        command = ("-m", "resnetkit", "resume", str(run)) if begun else (*command, "--output", str(run))
        run.parent.mkdir(exist_ok=True)
    begin = time.monotonic()
    log = state / "logs" / f"{piece.name.replace(' ', '-')}.txt"
    log.parent.mkdir(exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        child = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env={**env, **piece.environment}, stdout=file, stderr=file,
            preexec_fn=_leave_with_parent, pass_fds=(lock,),
        )  # fmt: skip
        stopped = _wait(child, until=until, goodbye=GOODBYE if run is not None else 0)
    seconds = time.monotonic() - begin
    if run is not None:
        with open(run.with_name(f"{run.name}.seconds"), "a", encoding="utf-8") as file:
            file.write(f"{seconds:.1f}\n")
    said = log.read_text(encoding="utf-8", errors="replace")
    line = {"piece": piece.name, **about, "seconds": round(seconds, 1)}
    if stopped:
        print(f"{piece.name}: not done in the time of this call, and goes on in the next", file=sys.stderr, flush=True)
        return False
    if child.returncode != 0 or (run is not None and not (run / "metrics.json").is_file()):
        append(state, {**line, "failed": child.returncode, "said": said[-1500:]})
    elif run is not None:
        append(state, {**line, **of_training(run, piece)})
    elif piece.name == "tests":
        append(state, {**line, "said": said.strip().splitlines()[-1]})
    else:
        append(state, {**line, **json.loads(said.strip().splitlines()[-1])})
    return True


def _leave_with_parent() -> None:
    """Have Linux end this process, which saves what it trains, when the campaign is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _wait(child: subprocess.Popen[bytes], *, until: float, goodbye: float) -> bool:
    """Wait for a process; tell whether it had to be stopped, after `goodbye` seconds in which it may save."""
    try:
        child.wait(max(0.1, until - goodbye - time.monotonic()))
        return False
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGTERM)
    try:
        child.wait(max(0.1, goodbye))
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    return True


def machine(*, miniature: bool) -> dict[str, Any]:
    """Return what a result must name: the device and the versions."""
    import torch

    found = "cpu" if miniature or not torch.cuda.is_available() else torch.cuda.get_device_name()
    return {"device": found, "torch": torch.__version__, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def campaign(options: argparse.Namespace) -> None:
    """Do what is not done yet, in order, until the time is over."""
    until, state = time.monotonic() + options.seconds, options.state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    lock = open(state / "lock", "w")  # noqa: SIM115 - for as long as this process lives, and any that it started
    fcntl.flock(lock, fcntl.LOCK_EX)
    if options.before is not None and not (state / "results.jsonl").is_file():
        shutil.copy(options.before, state / "results.jsonl")
    places = [str(ROOT / "src"), str(site(options.carried, state)), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), "RESNETKIT_OFFLINE": "1"}
    env |= {"RESNETKIT_CACHE": str(state / "cache"), "PYTHONUNBUFFERED": "1"}
    sys.path[:0] = places[:2]
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        sys.exit(f"this Python lacks {', '.join(missing)}: bring their wheels (`wheels FOLDER NAME...`)")
    data = take_over(options.carried, state)
    print(data, file=sys.stderr)
    about = machine(miniature=options.miniature)
    done = {result["piece"] for result in read_results(state) if "failed" not in result or not options.again}
    for piece in pieces(state, miniature=options.miniature):
        chosen = not options.only or any(piece.name.startswith(name) for name in options.only)
        waits = piece.needs_data and not (state / DATA).is_file()
        if piece.name in done or not chosen or waits:
            continue
        if until - time.monotonic() < min(piece.about, options.seconds / 2):
            continue  # a shorter one may fit
        attempt(piece, state, env=env, until=until, about=about, lock=lock.fileno())
    results = read_results(state)
    if total := summary(results):
        print(json.dumps(total))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        shutil.copy(state / "results.jsonl", options.out / "results.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    cut = verbs.add_parser("split", help="cut the data into pieces that travel")
    cut.add_argument("source", type=Path)
    cut.add_argument("folder", type=Path)
    fetch = verbs.add_parser("wheels", help="download what a machine lacks")
    fetch.add_argument("folder", type=Path)
    fetch.add_argument("names", nargs="*", default=list(WHEELS))
    run = verbs.add_parser("run", help="do what is not done yet")
    run.add_argument("--state", type=Path, default=Path("campaign"), help="folder that outlives a call")
    run.add_argument("--carried", type=Path, help="folder of pieces and wheels")
    run.add_argument("--before", type=Path, help="results.jsonl of a machine that is gone")
    run.add_argument("--out", type=Path, help="folder for a copy of the results")
    run.add_argument("--seconds", type=float, default=540.0)
    run.add_argument("--only", nargs="+", default=[])
    run.add_argument("--again", action="store_true", help="try again what failed")
    run.add_argument("--list", action="store_true", help="list the pieces and stop")
    run.add_argument("--miniature", action="store_true")
    options = parser.parse_args()
    if options.verb == "split":
        print(*split(options.source, options.folder), sep="\n")
    elif options.verb == "wheels":
        wheels(options.folder, options.names)
    elif options.list:
        print(*(piece.name for piece in pieces(options.state, miniature=options.miniature)), sep="\n")
    else:
        campaign(options)


if __name__ == "__main__":
    main()
