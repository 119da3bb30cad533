"""Make the weights that the package carries, and measure the very file that is shipped.

    python benchmarks/bundle_resnet20.py runs/cifar10-resnet20-all runs/cifar10-resnet20-twin
    python benchmarks/bundle_resnet20.py --again --data cifar10.zip

RUN was trained on all training pictures, TWIN by the same recipe with a share of them held out (`--set val_share=0.1`).
The temperature is fitted on what TWIN held out, since RUN has seen everything; RUN's last epoch, its numbers rounded to
half precision, becomes the file; and the accuracy in its header is that of the rounded file on the test part, with and
without test-time averaging. It lists digests of the decoded training pictures, which anybody has, and none of files.
`--again` writes the header of the file that is there again, with the tensors as they are. It is here, and not in the
package, because it needs the runs and is run once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import resnetkit as rk
from resnetkit.api.to_score import part_to_score
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.decoded.contents import digest_of_pixels
from resnetkit.data.decoded.survey import survey
from resnetkit.data.fingerprint import digests_of
from resnetkit.data.opening import images
from resnetkit.data.sources import open_data
from resnetkit.data.targets import class_targets
from resnetkit.errors import UsageError
from resnetkit.evaluation.calibration import fit_temperature
from resnetkit.evaluation.evaluate import part_logits
from resnetkit.evaluation.metrics import classification_metrics
from resnetkit.models import catalog, checkpoint
from resnetkit.models.checkpoint import Header
from resnetkit.models.decision import Decision
from resnetkit.models.seen import Seen, seen_in_training
from resnetkit.runtime import available_threads
from resnetkit.training.lineage import lineage_by_files
from resnetkit.training.recipe import Recipe
from resnetkit.training.run import RunFolder, open_run

TARGET = Path(__file__).parents[1] / "src/resnetkit/models/bundled/resnet20.cifar10.safetensors"
TTA = "flip_shift"
LICENSE = (
    "weights: Apache-2.0, as ResNetKit; data: CIFAR-10 (Krizhevsky 2009, Learning Multiple Layers of Features from "
    "Tiny Images), for which no licence is stated"
)
ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar.html"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", nargs="?")
    parser.add_argument("twin", metavar="TWIN", nargs="?")
    parser.add_argument("--again", action="store_true", help="only the header, of the file that is there")
    parser.add_argument("--data", help="the pictures, where they no longer lie where RUN found them")
    parser.add_argument("--data-name", default="CIFAR-10")
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()
    if options.again:
        again(options.output, data=[options.data])
        return
    run, twin = open_run(options.run), open_run(options.twin)
    data = [options.data] if options.data else rk.Run(run).description["data"]
    header = bundle(run, twin, data=data, data_name=options.data_name, output=options.output)
    print(json.dumps({"metrics": header.metrics, "data": header.data, "decision": header.decision.to_json()}, indent=1))
    print(f"{options.output}: {options.output.stat().st_size:,} bytes")


def bundle(run: RunFolder, twin: RunFolder, *, data: list[str], data_name: str, output: Path) -> Header:
    """Write the file and return its header."""
    check_pair(run, twin)
    figures = calibration(twin, data)
    tensors, header = halved(run), described(run, data_name=data_name, temperature=figures["temperature"])
    if catalog.spec_of(output.name.partition(".")[0]) != header.spec:
        raise UsageError(f"{output.name} names another network than {run.name} has")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / output.name
        checkpoint.save(file, tensors, header)
        reached = rk.evaluate(*data, model=file, split="test", tta=TTA, device="cpu").metrics
    kept = ("split", "count", "top1", "top1_interval", "top5", "balanced_accuracy", "loss", "tta")
    header = dataclasses.replace(
        header,
        trained_on=trained_by(run, data),
        metrics={name: reached[name] for name in kept} | {"calibration": figures},
        data=dict(header.data) | {"counts": dict(header.data["counts"]) | {"test": reached["count"]}},
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(output, tensors, header)
    return header


def again(file: Path, *, data: list[str]) -> None:
    """Write a file again whose weights were trained on the whole training part of `data`."""
    dataset = open_data(*data)
    seen = seen_by_pixels(dataset, [item for item in dataset.items if item.split == "train"])
    header = dataclasses.replace(checkpoint.read_header(file), trained_on=seen)
    checkpoint.save(file, checkpoint.load_tensors(file), header)
    print(f"{file}: {header.trained_on.words()}, {file.stat().st_size:,} bytes")


def seen_by_pixels(dataset: Dataset, trained: Sequence[Item]) -> Seen:
    """Return the memory of a published file: of pixels alone, since each copy of the data has other files."""
    pictures = (images.convert(dataset.open(item), mode="RGB", depth=None) for item in trained)
    return seen_in_training([(digest_of_pixels(np.asarray(picture)),) for picture in pictures])


def trained_by(run: RunFolder, data: list[str]) -> Seen:
    """Return what a run was trained on, wherever its pictures lie now."""
    dataset = open_data(*data)
    surveyed = survey(dataset, threads=available_threads())
    marks = lineage_by_files(run).seen.marks(digests_of(dataset.items, surveyed), [None] * len(dataset))
    trained = [item for item, mark in zip(dataset.items, marks, strict=True) if mark == "trained"]
    return seen_by_pixels(dataset, trained)


def check_pair(run: RunFolder, twin: RunFolder) -> None:
    """Refuse two runs that differ in more than the seed and what is held out."""
    pages = [tomllib.loads((folder.path / "recipe.toml").read_text(encoding="utf-8")) for folder in (run, twin)]
    for page in pages:  # read as a recipe: a setting that did not exist yet had the value that it has by itself now
        page["recipe"] = Recipe.from_json(page["recipe"]).changed(val_share=0.0)
    wrong = [key for key in ("recipe", "spec", "preprocess", "weights") if pages[0][key] != pages[1][key]]
    if wrong:
        raise UsageError(f"{twin.name} is no twin of {run.name}: they differ in {', '.join(wrong)}")
    for folder in (run, twin):
        said = rk.Run(folder).description
        if said["epochs_done"] != said["epochs"]:
            raise UsageError(f"{folder.name} is not finished: resnetkit resume {folder.path}")


def calibration(twin: RunFolder, data: list[str]) -> dict[str, Any]:
    """Return the temperature that what the twin held out asks for, and what it does to the loss there."""
    # The last epoch, as in the file: no validation part chose it, so nothing here was fitted to these pictures.
    model = rk.load(twin.last, device="cpu")
    part, split, *_ = part_to_score(*data, model=model, split="val")
    logits, _ = part_logits(model.engine, part, batch_size=250)
    targets = class_targets(part.items, model.classes, where=split)
    temperature = round(fit_temperature(logits, targets), 4)
    losses = [
        classification_metrics(decision.probabilities(logits), targets, classes=model.classes, split=split)["loss"]
        for decision in (Decision(), Decision(temperature=temperature))
    ]
    return {
        "temperature": temperature,
        "fitted_on": f"{len(targets):,} pictures held out by a twin trained on {count_of(twin, 'train'):,} others",
        "loss_before": round(losses[0], 6),
        "loss_after": round(losses[1], 6),
    }


def count_of(run: RunFolder, part: str) -> int:
    """Return how many pictures of a part the run had."""
    return checkpoint.read_header(run.last).data["counts"].get(part, 0)


def halved(run: RunFolder) -> dict[str, torch.Tensor]:
    """Return the tensors of the last epoch in half precision; counters stay whole numbers."""
    tensors = checkpoint.load_tensors(run.last)
    tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    beyond = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if beyond:
        raise UsageError(f"{run.name}: half precision does not hold {', '.join(beyond)}")
    return tensors


def described(run: RunFolder, *, data_name: str, temperature: float) -> Header:
    """Return the header without figures: what the weights are, and how anybody can make them again."""
    header = checkpoint.read_header(run.last)
    counts = {part: count for part, count in header.data["counts"].items() if part != "test"}
    return dataclasses.replace(
        header,
        metrics={},
        chosen={},
        trained_on=Seen(),
        decision=Decision(temperature=temperature),
        recipe=dict(header.recipe) | made(run),
        data={
            "name": data_name,
            "address": ADDRESS,
            "counts": counts,
            "fingerprint": header.data["fingerprint"],
            "picture_side": header.preprocess.size,
        },
        license=LICENSE,
    )


def made(run: RunFolder) -> dict[str, Any]:
    """Return how, on what and for how long the run was trained; no path of that machine."""
    machine = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    runtime = tomllib.loads((run.path / "recipe.toml").read_text(encoding="utf-8"))["runtime"]
    command = shlex.split((run.path / "command.txt").read_text(encoding="utf-8"))
    seconds = sum(float(row["seconds"]) for row in rk.Run(run).history)
    return {
        "command": shlex.join(Path(word).name if "/" in word else word for word in command),
        "hours": round(seconds / 3600, 2),
        "machine": f"{machine['processor']}, {runtime['device']}, {runtime['threads']} threads, {runtime['dtype']}, "
        f"torch {machine['packages']['torch']}",
    }


if __name__ == "__main__":
    main()
