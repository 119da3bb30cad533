"""What a run's page says in pairs of name and value: how it was trained, on what, how large and fast it is."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from resnetkit.models.catalog import called
from resnetkit.models.checkpoint import Header
from resnetkit.models.macs import num_macs
from resnetkit.training.run import RunFolder, reading

_COLOURS = {1: "grey", 3: "colour"}

Pairs = list[tuple[str, str]]


def facts(folder: RunFolder, header: Header, history: Sequence[Mapping[str, str]]) -> dict[str, Pairs]:
    """Return the lists of facts of the page, name and value; raises `DataError` for a damaged file of the run."""
    recipe, written = folder.path / "recipe.toml", folder.path / "environment.json"
    with reading(recipe):
        page = tomllib.loads(recipe.read_text(encoding="utf-8"))
        training, runtime = _training(page, header), dict(page["runtime"])
    with reading(written):
        environment = json.loads(written.read_text(encoding="utf-8"))
        machine = _machine(runtime, environment)
        versions = [*environment["packages"].items(), ("python", environment["python"])]
    with reading(folder.path / "results.csv"):
        speed = _speed(history)
    return {
        "training": training, "machine": machine, "size": _size(folder, header), "speed": speed, "versions": versions,
    }  # fmt: skip


def _training(page: Mapping[str, Any], header: Header) -> Pairs:
    # As it is written: an older run may have other settings than the classes of today.
    recipe, preprocess = page["recipe"], header.preprocess
    of_page = f", page {preprocess.page}" if preprocess.page > 1 else ""
    of_page += f", windows {', '.join(preprocess.windows)}" if preprocess.windows else ""
    optim, augment = recipe["optim"], recipe["augment"]
    changes = [
        f"{name} {augment[name]}"
        for name in ("flip", "crop", "vertical_flip", "policy")
        if augment.get(name, "none") != "none"
    ]
    changes += [
        f"{name} {augment[name]:g}" for name in ("turn", "colour", "cutout", "mixup", "cutmix") if augment.get(name)
    ]
    return [
        ("data", " ".join(page["data"]["sources"])),
        ("network", f"{called(header.spec)}, {header.spec.stem} stem"),
        (
            "pictures",
            f"{preprocess.sides} pixels, {_COLOURS.get(preprocess.channels, f'{preprocess.channels} bands')}{of_page}",
        ),
        ("weights", "random" if page["weights"] == "none" else page["weights"]),
        ("trained on", header.trained_on.words()),
        *([("licence", header.license_in_short)] if header.license else []),
        ("recipe", f"{recipe['name']}: {recipe['epochs']} epochs, batches of {recipe['batch_size']}"),
        ("optimizer", f"{optim['name']} at {optim['lr']:g}, {recipe['schedule']['name']} schedule"),
        ("augmentation", ", ".join(changes) or "none"),
        ("seed", str(page["seed"])),
    ]


def _machine(runtime: Mapping[str, Any], environment: Mapping[str, Any]) -> Pairs:
    free = environment["memory_available"]
    processes = f", {runtime['world_size']} processes" if runtime.get("world_size", 1) > 1 else ""
    return [
        ("begun", environment["started"].replace("T", " ")),
        ("device", f"{runtime['device']} in {runtime['dtype']}, threads: {runtime['threads']}{processes}"),
        ("processor", environment["processor"]),
        ("memory free", "unknown" if free is None else f"{free / 2**30:.1f} GiB"),
        ("system", environment["system"]),
    ]


def _size(folder: RunFolder, header: Header) -> Pairs:
    macs, sides = num_macs(header.spec, header.preprocess.frame), header.preprocess.sides
    return [
        ("multiply-adds", f"{macs / 1e6:,.1f} million for a picture of {sides} pixels"),
        ("file", f"{folder.best.stat().st_size / 1e6:.1f} MB"),
    ]


def _speed(history: Sequence[Mapping[str, str]]) -> Pairs:
    seconds = [float(row["seconds"]) for row in history if row.get("seconds")]
    rates = [float(row["images_per_second"]) for row in history if row.get("images_per_second")]
    if not seconds:
        return [("training", "no epochs")]
    rate = [("pictures in training", f"{median(rates):,.0f} a second")] if rates else []
    epochs = sum(row["epoch"] != "0" for row in history)
    parts = ["the fitted head"] * (epochs < len(history)) + [f"{epochs} epoch{'s' * (epochs > 1)}"] * (epochs > 0)
    return [("training", f"{sum(seconds):,.1f} s for {' and '.join(parts)}"), *rate]
