"""Probe, fine-tuning and training from scratch on six sets: accuracy on a part that nothing chose by, and seconds.

    python benchmarks/finetuning.py [--isa AVX2]
    python benchmarks/finetuning.py --prepare FOLDER
    python benchmarks/finetuning.py --trials [--isa AVX2]

Each fit is `resnetkit train DATA --recipe RECIPE` in a new process with empty caches; its seconds are those of the
whole command. Training from scratch takes the same network and the size of the pictures that fine-tuning chose, and
other seeds only where the first came within five points of fine-tuning. Fits
that are finished are kept in --kept and not run again; remove the file to begin afresh. Prints a table in markdown, and
paired tests by picture, pooled over the seeds (of blood cells by photo), adjusted over the sets after Holm.

--prepare writes the sets and counts them (`six_sets.py`): breast-clean is breast without copies across the parts.
--trials runs `train DATA` alone with what scores as the held-out part, and prints when it reaches the figures of a
plain loop, in half the seconds of which it should, with the mean area under the ROC curves at the end.
"""

import argparse
import csv
import hashlib
import json
import shutil
import statistics
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cold_runs import OLDER, Kept, cold_run, machine, reached
from resnetkit.data.sources import open_data
from resnetkit.evaluation.pairs import adjusted, paired_difference
from resnetkit.evaluation.uncertainty import accuracy_interval
from six_sets import SETS, prepare, with_test_held_out

RECIPES = ("finetune", "probe", "scratch")  # in this order: the last needs the size of the first
HEADLINE = ("signs", "blood", "breast")
# Accuracy in percent and seconds of a plain loop over the whole network: SGD, two cores, fp32.
TRIALS = {
    "signs": ((95.9, 151), (97.9, 413)),
    "lights": ((100.0, 33),),
    "pneumonia": ((91.0, 90), (91.5, 332)),
    "breast": ((83.3, 173),),
}
Fit = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help=f"some of: {', '.join(SETS)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="what is run; kept fits of all count"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", choices=OLDER, help="hold the fits to these instructions, and to fp32")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="a setting of every fit")
    parser.add_argument("--kept", type=Path, default=Path("runs/finetuning.jsonl"))
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help="write the sets there, and nothing else")
    parser.add_argument("--trials", action="store_true")
    parser.add_argument("--miniature", action="store_true", help="one seed, 90 pictures a part, 64 pixels, two epochs")
    asked = parser.parse_args()
    if unknown := set(asked.sets) - set(SETS):
        parser.error(f"no set {', '.join(unknown)}: there are {', '.join(SETS)}")
    with tempfile.TemporaryDirectory() as place:
        asked.place, asked.data = Path(place), asked.prepare or Path(place) / "data"
        if asked.miniature:
            asked.seeds, asked.kept = 1, Path(place) / "kept.jsonl"
        names = asked.sets or list(TRIALS if asked.trials else SETS)
        if asked.prepare:
            count_pictures(names, asked.prepare)
        elif asked.trials:
            run_trials(names, asked)
        else:
            report(names, run_all(names, asked))


def count_pictures(names: Sequence[str], folder: Path) -> None:
    """Write the sets and print how many pictures of each class lie in each part."""
    for name in names:
        path = prepare(name, folder)
        found = Counter((str(item.split), str(item.label)) for item in open_data(str(path)).items)
        for part in sorted({part for part, _ in found}):
            of_part = {kind: count for (where, kind), count in sorted(found.items()) if where == part}
            classes = ", ".join(f"{kind} {count}" for kind, count in of_part.items()) if len(of_part) <= 10 else ""
            print(f"{path}  {part:<5}  {sum(of_part.values()):>5} pictures, {len(of_part)} classes  {classes}")


def run_all(names: Sequence[str], asked: argparse.Namespace) -> list[Fit]:
    """Run the fits that are not kept yet, and return those of this machine and these sets."""
    kept = Kept(asked.kept)
    fits = []
    for seed in range(asked.seeds):
        for name in names:
            size = None
            for recipe in RECIPES:
                what = {"set": name, "recipe": recipe, "seed": seed, **circumstances(asked)}
                fit = kept.find(**what)
                if fit is None and recipe not in asked.recipes:
                    continue
                if fit is None and recipe == "scratch" and seed and far_below(fits, name):
                    continue
                if fit is None:
                    fit = what | fitted(name, recipe, seed, size, asked)
                    kept.add(**fit)
                    right, seconds = statistics.mean(map(int, fit["right"])), fit["whole"]
                    print(f"{name:<12}  seed {seed}  {recipe:<8}  {100 * right:5.1f} %  {seconds:4.0f} s", flush=True)
                size = fit["size"] if recipe == "finetune" else size
                fits.append(fit)
    return fits


def far_below(fits: Sequence[Fit], name: str) -> bool:
    """Return whether the first training from scratch on this set was below fine-tuning by more than five points."""
    share = {fit["recipe"]: statistics.mean(map(int, fit["right"])) for fit in fits if fit["set"] == name}
    first = next(fit for fit in fits if (fit["set"], fit["recipe"], fit["seed"]) == (name, "scratch", 0))
    return statistics.mean(map(int, first["right"])) < share["finetune"] - 0.05


def circumstances(asked: argparse.Namespace) -> dict[str, Any]:
    return {"machine": machine(asked.isa), "threads": asked.threads, "settings": asked.settings}


def train_command(data: Path, output: Path, seed: int, asked: argparse.Namespace) -> list[str]:
    # PyTorch may be held to older instructions, /proc/cpuinfo is not: bf16 would be emulated.
    settings = [*asked.settings, *(["precision=fp32"] if asked.isa else [])]
    command = [sys.executable, "-m", "resnetkit", "train", str(data), *(f"--set={each}" for each in settings)]
    small = ["--limit", "90", "--image-size", "64", "--epochs", "2"] if asked.miniature else []
    return [*command, *small, "--seed", str(seed), "--threads", str(asked.threads), "--output", str(output)]


def fitted(name: str, recipe: str, seed: int, size: int | None, asked: argparse.Namespace) -> Fit:
    """Train once and return the seconds, the side of the pictures and which test pictures were named right."""
    output = asked.place / f"{name}-{recipe}-{seed}"
    command = [*train_command(prepare(name, asked.data), output, seed, asked), "--recipe", recipe]
    if asked.miniature and recipe == "probe":
        del command[(place := command.index("--epochs")) : place + 2]
    if recipe == "scratch":
        command += ["--model", "resnet_2223", "--weights", "none"]
        command += [] if asked.miniature else ["--image-size", str(size)]
    run = cold_run(command, output=output, threads=asked.threads, isa=asked.isa)
    with open(output / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["source"])
    assert {row["split"] for row in rows} == {"test"}
    with open(output / "split.csv", newline="", encoding="utf-8") as file:
        parts = list(csv.DictReader(file))
    groups = {row["source"]: row.get("group") for row in parts}
    preprocess = tomllib.loads((output / "recipe.toml").read_text())["preprocess"]
    shutil.rmtree(output)
    return {
        "whole": run["whole"],
        "curve": [row.get("val_top1") for row in run["rows"]],  # held out from training, row 0 the head on its own
        "size": preprocess["size"],
        "num_train": sum(row["split"] != "test" for row in parts),
        "right": "".join(str(int(row["correct"] == "true")) for row in rows),
        "groups": [groups[row["source"]] or str(number) for number, row in enumerate(rows)],
        "pictures": hashlib.sha256("".join(Path(row["source"]).name for row in rows).encode()).hexdigest(),
    }


def answers(fits: Sequence[Fit]) -> tuple[np.ndarray, list[str]]:
    """Return the right answers ([seeds * pictures] bool) and the group of each: the same pictures in each seed."""
    assert len({fit["pictures"] for fit in fits}) == 1, "the fits were scored by different pictures"
    right = np.array([list(map(int, fit["right"])) for fit in fits], bool)
    return right.ravel(), [f"{fits[0]['set']}/{group}" for fit in fits for group in fit["groups"]]


def report(names: Sequence[str], fits: Sequence[Fit]) -> None:
    """Print the table and the tests."""
    found = {(name, recipe): [] for name in names for recipe in RECIPES}  # type: dict[tuple[str, str], list[Fit]]
    for fit in fits:
        found[fit["set"], fit["recipe"]].append(fit)
    print(f"\n{fits[0]['machine']}, {fits[0]['threads']} threads\n")
    print("| Set | Pictures (test) | Side | Probe | Fine-tuning | From scratch |\n|---|---|---|---|---|---|")
    for name in names:
        first = found[name, "finetune"][0]
        cells = [cell(found[name, recipe]) for recipe in ("probe", "finetune", "scratch")]
        print(f"| {name} | {first['num_train']:,} ({len(first['right']):,}) | {first['size']} | {' | '.join(cells)} |")
    print("\nHeld-out curves of fine-tuning, deepest fall behind the head alone, points:")
    for name in names:
        falls = [100 * (curve[0] - min(curve[1:])) for fit in found[name, "finetune"] if (curve := fit.get("curve"))]
        print(f"{name:<12}  {', '.join(f'{fall:.1f}' for fall in falls)}")
    print("\nFine-tuning less the better of the other two, points:")
    worse, tests = [], {}
    for name in names:
        others = [recipe for recipe in ("probe", "scratch") if found[name, recipe]]
        better = max(others, key=lambda recipe: answers(found[name, recipe])[0].mean())
        seeds = {fit["seed"] for fit in found[name, better]}
        mine, groups = answers([fit for fit in found[name, "finetune"] if fit["seed"] in seeds])
        tests[name] = better, paired_difference(answers(found[name, better])[0], mine, groups)
    p_values = adjusted([test.p_value for _, test in tests.values()])
    for (name, (better, test)), p_value in zip(tests.items(), p_values, strict=True):
        low, high = 100 * test.interval.low, 100 * test.interval.high
        print(
            f"{name:<12}  {better:<8}  {100 * test.share:+.2f} ({low:+.2f} to {high:+.2f}), p after Holm {p_value:.3g}"
        )
        lower = test.share < 0 and p_value < 0.05
        worse += [name] if 100 * test.share < -0.5 or lower else []
    print(f"lower by more than half a point, or significantly: {', '.join(worse) or 'none'}")
    for headline in (HEADLINE, (*HEADLINE[:2], "breast-clean")):
        if set(headline) <= set(names):
            pooled = [
                [answers(both) for name in headline if (both := in_both(found, name, recipe))]
                for recipe in ("probe", "finetune")
            ]
            probe, mine = (np.concatenate([right for right, _ in of]) for of in pooled)
            test = paired_difference(probe, mine, [group for _, groups in pooled[1] for group in groups])
            print(f"{', '.join(headline)} pooled: above the probe by {100 * test.share:+.2f}, p = {test.p_value:.2g}")


def in_both(found: Mapping[tuple[str, str], Sequence[Fit]], name: str, recipe: str) -> list[Fit]:
    """Return the fits of a set by a recipe, of those seeds that probe and fine-tuning have both."""
    seeds = [{fit["seed"] for fit in found[name, each]} for each in ("probe", "finetune")]
    return [fit for fit in found[name, recipe] if fit["seed"] in seeds[0] & seeds[1]]


def cell(fits: Sequence[Fit]) -> str:
    """Return accuracy with its 95 % interval, the mean seconds and the number of seeds."""
    if not fits:
        return "not run"
    right, groups = answers(fits)
    found = accuracy_interval(right, groups)
    seconds = statistics.mean(fit["whole"] for fit in fits)
    interval = f"{100 * found.low:.1f} to {100 * found.high:.1f}"
    return f"{100 * right.mean():.1f} % ({interval}), {seconds:.0f} s, n = {len(fits)}"


def run_trials(names: Sequence[str], asked: argparse.Namespace) -> None:
    """Print when `train` reaches the figures of the plain loop."""
    kept = Kept(asked.kept)
    for name in names:
        for seed in range(asked.seeds):
            what = {"trial": name, "seed": seed, **circumstances(asked)}
            run = kept.find(**what)
            if run is None:
                output = asked.place / f"{name}-trial-{seed}"
                command = train_command(with_test_held_out(prepare(name, asked.data)), output, seed, asked)
                run = what | cold_run(command, output=output, threads=asked.threads, isa=asked.isa)
                run["area"] = json.loads((output / "metrics.json").read_text())["roc_auc"]["macro"]
                kept.add(**run)
                shutil.rmtree(output)
            curve = [(row["at"], row["val_top1"]) for row in run["rows"]]
            seconds, last = curve[-1]
            area = "" if run["area"] is None else f", area {run['area']:.3f}"
            ends = f"ends at {100 * last:.2f} %{area} after {seconds:.0f} s, whole {run['whole']:.0f} s"
            print(f"{name:<10}  seed {seed}  {ends}")
            for goal, limit in TRIALS.get(name, ()):
                there = reached(curve, goal / 100 - 5e-4)
                words = f"after {there:.0f} s" if there is not None else "never"
                print(f"{'':<10}  {goal} % reached {words}, wanted within {limit / 2:.0f} s", flush=True)


if __name__ == "__main__":
    main()
