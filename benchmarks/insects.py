"""Ants and bees by four programs from the same trunk: held-out accuracy against seconds from the start of the process.

    python benchmarks/insects.py --figure docs/figures/insects.png
    python benchmarks/insects.py --isa AVX2

In turns, each in a new process with empty caches: `resnetkit train DATA`; the usual tutorial, fastai's `fine_tune(4)`
and a loop as timm fine-tunes (`rivals/`). Imports, reading, evaluations and what else a program does by itself are in
its seconds; how long the evaluations took is printed beside them. Data: ../shared/data/hymenoptera (244 train, 153
val); the accuracy is that of val, which chooses nothing. fastai runs in an environment of its own, which is made where
it is not there (`--fastai`, some 300 MB: torch is that of this one).

Results of finished runs are kept in --kept and not run again; remove the file to begin afresh. Prints the last epoch
(mean, sd), the seconds until the mean curve is within one picture of fastai's last-epoch mean and stays there, and
those of single runs, and draws the curves.
"""

import argparse
import shutil
import site
import statistics
import subprocess
import sys
import tempfile
import venv
from importlib import resources
from pathlib import Path
from typing import Any

from cold_runs import OLDER, SHARED, Kept, cold_run, machine, reached
from resnetkit.report.drawing.canvas import FAINT, sheet

HERE = Path(__file__).parent
TRUNK = Path(str(resources.files("resnetkit.models"))) / "bundled" / "resnet_2223.imagenet1k.safetensors"
ENVIRONMENT = Path("~/.cache/resnetkit-benchmarks/fastai").expanduser()
# Okabe and Ito's palette: told apart with every kind of colour vision.
PROGRAMS = {"resnetkit": "#0072b2", "tutorial": "#009e73", "fastai": "#d55e00", "timm-style": "#cc79a7"}
MARKS = [number * 10**power for power in range(1, 5) for number in (1, 2, 5)]  # seconds
Runs = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED / "hymenoptera")
    parser.add_argument("--trunk", type=Path, default=TRUNK, help="weights for the other programs")
    parser.add_argument("--weights", help="weights for ours; by default what it takes by itself")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="a setting of ours")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", choices=OLDER, help="hold every program to these instructions (ours to fp32 as well)")
    parser.add_argument("--fastai", type=Path, default=ENVIRONMENT, help="folder of fastai's environment")
    parser.add_argument("--kept", type=Path, default=Path("runs/insects.jsonl"))
    parser.add_argument("--figure", type=Path, help="the curves, a PNG")
    parser.add_argument("--miniature", action="store_true", help="one seed, eight pictures a class, 64 pixels")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if asked.miniature:
            asked.data, asked.seeds, asked.kept = few_pictures(asked.data, Path(place)), 1, Path(place) / "kept.jsonl"
        run_all(asked, Path(place))
        kept, num_pictures = Kept(asked.kept).results, count_pictures(asked.data / "val")
    wanted = {name: {"program": name, **circumstances(name, asked)}.items() for name in PROGRAMS}
    runs = {name: [run for run in kept if what <= run.items()] for name, what in wanted.items()}
    runs = {name: found for name, found in runs.items() if found}
    report(runs, num_pictures=num_pictures)
    if asked.figure:
        draw(runs, path=asked.figure)


def run_all(asked: argparse.Namespace, place: Path) -> None:
    """Run what is not kept yet, the programs in turns for each seed."""
    kept = Kept(asked.kept)
    for seed in range(asked.seeds):
        for name in asked.programs:
            what = {"program": name, "seed": seed, **circumstances(name, asked)}
            if kept.find(**what):
                continue
            output = place / f"{name}-{seed}"
            run = cold_run(command(name, seed, output, asked), output=output, threads=asked.threads, isa=asked.isa)
            kept.add(**what, **run)
            shutil.rmtree(output)
            print(
                f"seed {seed}  {name:<10}  {100 * run['rows'][-1]['val_top1']:5.1f} %  {run['whole']:5.0f} s",
                flush=True,
            )


def circumstances(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Return what a kept result must agree in, beside program and seed."""
    ours = {"settings": asked.settings, "weights": asked.weights} if name == "resnetkit" else {}
    return {"machine": machine(asked.isa), "threads": asked.threads, **ours}


def command(name: str, seed: int, output: Path, asked: argparse.Namespace) -> list[str]:
    """Return the command of one program."""
    ends = ["--seed", str(seed), "--threads", str(asked.threads), "--output", str(output)]
    small = "64" if asked.miniature else None
    if name == "resnetkit":
        # PyTorch may be held to older instructions, /proc/cpuinfo is not: bf16 would be emulated.
        settings = [*asked.settings, *(["precision=fp32"] if asked.isa else [])]
        given = [*(["--weights", asked.weights] if asked.weights else []), *(f"--set={each}" for each in settings)]
        given += ["--image-size", small, "--epochs", "2"] if small else []
        return [sys.executable, "-m", "resnetkit", "train", str(asked.data), *given, *ends]
    python = fastai_python(asked.fastai) if name == "fastai" else sys.executable
    script = {"tutorial": "tutorial.py", "fastai": "fastai_fine_tune.py", "timm-style": "timm_style.py"}[name]
    ends += ["--size", small] if small else []
    return [str(python), str(HERE / "rivals" / script), str(asked.data), "--trunk", str(asked.trunk), *ends]


def fastai_python(folder: Path) -> Path:
    """Return the Python of fastai's environment, which is made where it is not there; torch is ours."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"making fastai's environment in {folder} ...", flush=True)
        venv.create(folder, with_pip=True)
        asked = "import site; print(site.getsitepackages()[0])"
        its = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()
        (Path(its) / "torch_of_the_other.pth").write_text("\n".join(site.getsitepackages()))
        subprocess.run([python, "-m", "pip", "install", "--quiet", "fastai>=2.8"], check=True)
        subprocess.run([python, "-c", "import fastai.vision.all"], check=True)
        (folder / "ready").touch()
    return python


def few_pictures(data: Path, place: Path, *, most: int = 8) -> Path:
    """Copy the first pictures of each class and part."""
    for folder in sorted(path for path in data.glob("*/*") if path.is_dir()):
        copy = place / "few" / folder.relative_to(data)
        copy.mkdir(parents=True)
        for path in sorted(folder.iterdir())[:most]:
            shutil.copy(path, copy)
    return place / "few"


def count_pictures(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def mean_curve(runs: Runs) -> list[tuple[float, float]]:
    """Return mean seconds and mean accuracy after each epoch; runs of one program have the same epochs."""
    epochs = zip(*(run["rows"] for run in runs), strict=True)
    return [tuple(statistics.mean(row[key] for row in rows) for key in ("at", "val_top1")) for rows in epochs]  # type: ignore[misc]


def report(runs: dict[str, Runs], *, num_pictures: int) -> None:
    """Print the table."""
    last = {name: [run["rows"][-1]["val_top1"] for run in found] for name, found in runs.items()}
    goal = statistics.mean(last["fastai"]) - 1 / num_pictures - 1e-9 if "fastai" in last else None
    print(f"\n{next(iter(runs.values()))[0]['machine']}, {num_pictures} held-out pictures", end="")
    print(f"; the goal is {100 * goal:.2f} %: fastai's mean less one picture" if goal is not None else "")
    theirs = reached(mean_curve(runs["fastai"]), goal) if goal is not None else None
    for name, found in runs.items():
        spread = f" (sd {100 * statistics.stdev(last[name]):.1f})" if len(found) > 1 else ""
        whole = statistics.mean(run["whole"] for run in found)
        evaluating = statistics.mean(sum(row.get("evaluating", 0) for row in run["rows"]) for run in found)
        parts = [
            f"{name:<10}  n = {len(found)}  {len(found[0]['rows'])} rows",
            f"last {100 * statistics.mean(last[name]):.1f} %{spread}",
            f"whole {whole:.0f} s" + (f", {evaluating:.0f} of them evaluations" if evaluating else ""),
        ]
        if goal is not None:
            mine = reached(mean_curve(found), goal)
            each = [reached([(row["at"], row["val_top1"]) for row in run["rows"]], goal) for run in found]
            there = sorted(seconds for seconds in each if seconds is not None)
            parts.append("goal " + (f"after {mine:.0f} s" if mine is not None else "not reached"))
            if mine is not None and theirs is not None:
                parts.append(f"{mine / theirs:.2f} of fastai's")
            median = f", median {statistics.median(there):.0f} s" if there else ""
            parts.append(f"single runs {len(there)} of {len(each)}{median}")
        print("  ".join(parts))


def draw(runs: dict[str, Runs], *, path: Path) -> None:
    """Draw each run faintly and the means, held-out accuracy against seconds."""
    width, height = 900, 480
    title = "Ants and bees: accuracy on held-out photos against seconds from the start of the program"
    about = f"{next(iter(runs.values()))[0]['machine']}; thin: single runs, thick: their mean"
    with sheet(path, texts=[title, about]) as page:
        page.resize(width, height)
        page.text(24, 26, title, size=17)
        axes = page.axes(70, 60, width - 215, height - 120)
        ends = []
        for name, found in runs.items():
            for run in found:
                points = [(row["at"], 100 * row["val_top1"]) for row in run["rows"]]
                axes.plot(*zip(*points, strict=True), color=PROGRAMS[name], linewidth=0.7, alpha=0.35)
            curve = mean_curve(found)
            axes.plot(
                [seconds for seconds, _ in curve],
                [100 * accuracy for _, accuracy in curve],
                color=PROGRAMS[name],
                linewidth=2.2,
                marker="o",
                markersize=4,
            )
            ends.append((100 * curve[-1][1], curve[-1][0], name))
        axes.set_xscale("log")
        axes.grid(True)
        axes.set_xlabel("seconds")
        axes.set_ylabel("held-out accuracy, %")
        axes.set_ylim(max(40, axes.get_ylim()[0]), 100)
        low, high = axes.get_xlim()
        marks = [mark for mark in MARKS if low <= mark <= high]
        axes.set_xticks(marks, [f"{mark:,}" for mark in marks])
        axes.set_xticks([], minor=True)
        label_ends(axes, ends)
        page.text(24, height - 16, about, size=12, color=FAINT)


def label_ends(axes: Any, ends: list[tuple[float, float, str]], *, apart: float = 0.055) -> None:
    """Write the names at the right, each near the end of its curve and none over another."""
    low, high = axes.get_ylim()
    place = -1.0
    for accuracy, _, name in sorted(ends):
        place = max((accuracy - low) / (high - low), place + apart)
        axes.text(1.01, place, f"{name} {accuracy:.1f}", transform=axes.transAxes, color=PROGRAMS[name], va="center")


if __name__ == "__main__":
    main()
