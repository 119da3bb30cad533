"""What a run's page says in pairs of name and value: how it was trained, on what, how large and fast it is."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from resnetkit.models.checkpoint import Header
from resnetkit.models.macs import num_macs
from resnetkit.training.plan import Request
from resnetkit.training.run import RunFolder

Pairs = list[tuple[str, str]]


def facts(
    folder: RunFolder, said: Mapping[str, Any], header: Header, history: Sequence[Mapping[str, str]]
) -> dict[str, Pairs]:
    """Return the lists of facts of the page, name and value."""
    environment = json.loads((folder.path / "environment.json").read_text(encoding="utf-8"))
    page = tomllib.loads((folder.path / "recipe.toml").read_text(encoding="utf-8"))
    return {
        "training": _training(said, page, header),
        "machine": _machine(page, environment),
        "size": _size(folder, header),
        "speed": _speed(history),
        "versions": [*environment["packages"].items(), ("python", environment["python"])],
    }


def _training(said: Mapping[str, Any], page: Mapping[str, Any], header: Header) -> Pairs:
    # As it is written: an older run may have other settings than the classes of today.
    recipe, preprocess = page["recipe"], header.preprocess
    optim, augment = recipe["optim"], recipe["augment"]
    changes = [f"{name} {augment[name]}" for name in ("flip", "crop") if augment.get(name, "none") != "none"]
    changes += [f"{name} {augment[name]:g}" for name in ("cutout", "mixup", "cutmix") if augment.get(name)]
    return [
        ("data", " ".join(page["data"]["sources"])),
        ("network", f"{Request.from_json(said['request']).architecture}, {header.spec.stem} stem"),
        ("pictures", f"{preprocess.size} pixels, {'colour' if preprocess.channels == 3 else 'grey'}"),
        ("weights", "random" if page["weights"] == "none" else page["weights"]),
        ("trained on", header.trained_on.words()),
        ("recipe", f"{recipe['name']}: {recipe['epochs']} epochs, batches of {recipe['batch_size']}"),
        ("optimizer", f"{optim['name']} at {optim['lr']:g}, {recipe['schedule']['name']} schedule"),
        ("augmentation", ", ".join(changes) or "none"),
        ("seed", str(page["seed"])),
    ]


def _machine(page: Mapping[str, Any], environment: Mapping[str, Any]) -> Pairs:
    runtime = page["runtime"]
    processes = f", {runtime['world_size']} processes" if runtime.get("world_size", 1) > 1 else ""
    return [
        ("begun", environment["started"].replace("T", " ")),
        ("device", f"{runtime['device']} in {runtime['dtype']}, threads: {runtime['threads']}{processes}"),
        ("processor", environment["processor"]),
        ("memory free", f"{environment['memory_available'] / 2**30:.1f} GiB"),
        ("system", environment["system"]),
    ]


def _size(folder: RunFolder, header: Header) -> Pairs:
    size = header.preprocess.size
    return [
        ("multiply-adds", f"{num_macs(header.spec, size) / 1e6:,.1f} million for a picture of {size} pixels"),
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
