"""What the files of a run say of its network: which, from which weights, how trained, chosen and decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resnetkit.models.checkpoint import CLASSIFICATION
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.report.checklist.files import MOST_CLASSES, Files, Told, Topics
from resnetkit.training.choosing import choice_of_run
from resnetkit.words import counted


def _network(files: Files) -> Iterator[Told]:
    spec, classes = files.header.spec, files.header.classes
    yield Told("network", files.facts["training"]["network"], "best.safetensors")
    if not isinstance(spec, DetectorSpec):
        shape = f"{spec.block} blocks {', '.join(map(str, spec.blocks))}, width {spec.width}, {spec.num_layers} layers"
        yield Told("shape", f"{shape}, shortcut {spec.shortcut}, stride {spec.stride}", "best.safetensors")
    yield Told("multiply-adds", files.facts["size"]["multiply-adds"], "best.safetensors")
    yield Told("answers", f"{counted(len(classes), 'output')}: {', '.join(classes[:MOST_CLASSES])}"
               + ", ..." * (len(classes) > MOST_CLASSES), "best.safetensors")  # fmt: skip


def _software(files: Files) -> Iterator[Told]:
    yield Told("versions", ", ".join(f"{name} {of}" for name, of in files.facts["versions"].items()),
               "environment.json")  # fmt: skip


def _machine(files: Files) -> Iterator[Told]:
    machine = files.facts["machine"]
    yield Told("device", machine["device"], "recipe.toml")
    for name in ("processor", "memory free", "system"):
        yield Told(name, machine[name], "environment.json")


def _weights(files: Files) -> Iterator[Told]:
    yield Told("first weights", files.facts["training"]["weights"], "recipe.toml")
    yield Told("trained on", files.facts["training"]["trained on"], "best.safetensors")


def _recipe(files: Files) -> Iterator[Told]:
    training = files.facts["training"]
    for name in ("recipe", "optimizer", "augmentation", "seed"):
        yield Told(name, training[name], "recipe.toml")
    yield Told("all settings", ", ".join(_settings(files.recipe["recipe"])), "recipe.toml")


def _settings(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{before}{name}.")
        else:
            yield f"{before}{name}={str(value).lower() if isinstance(value, bool) else value}"


def _epochs(files: Files) -> Iterator[Told]:
    yield Told("training", files.facts["speed"]["training"], "results.csv")


def _choice(files: Files) -> Iterator[Told]:
    chosen = choice_of_run(files.folder)
    if chosen is not None:
        yield Told("the model is", chosen.words, "state/")
    if files.metrics is not None and "test_looks" in files.metrics:
        yield Told("times that figures of test pictures were computed", f"{files.metrics['test_looks']:,}",
                   "metrics.json")  # fmt: skip


def _one_network(files: Files) -> Iterator[Told]:
    yield Told("the model is", "one network, no ensemble", "best.safetensors")
    if files.request["folds"]:
        yield Told("figures by folds", "each picture by the network that did not train on it", "split.csv")
    yield Told("averaged over views at test", files.recipe["recipe"].get("tta", "none"), "recipe.toml")


def _cut_off(files: Files) -> Iterator[Told]:
    decision = files.header.decision
    if decision.fitted_on is not None:
        yield Told("fitted on held-out pictures", f"{decision.words}, on {decision.fitted_on:,}", "best.safetensors")
    found = (files.metrics or {}).get("screening")
    if found and found.get("threshold") is not None:
        goal = f", for {found['goal']}" if found["goal"] else ""
        yield Told(f"{found['finding']} from a probability of", f"{found['threshold']:.3g}{goal}", "metrics.json")
    elif files.header.task == CLASSIFICATION:
        yield Told("answer", "the class of the largest probability", "best.safetensors")


def _files(files: Files) -> Iterator[Told]:
    there = [name for name in ("command.txt", "recipe.toml", "environment.json", "split.csv", "results.csv")
             if (files.folder.path / name).is_file()]  # fmt: skip
    yield Told("what was run", ", ".join(there), "the run's folder")


def _version(files: Files) -> Iterator[Told]:
    yield Told("software", f"ResNetKit {files.facts['versions']['resnetkit']}", "environment.json")


def _licence(files: Files) -> Iterator[Told]:
    yield Told("licence of the weights", files.header.license_in_short, "best.safetensors")


TOPICS: Topics = {
    "network": _network,
    "software": _software,
    "machine": _machine,
    "weights": _weights,
    "recipe": _recipe,
    "epochs": _epochs,
    "choice": _choice,
    "one network": _one_network,
    "cut-off": _cut_off,
    "files": _files,
    "version": _version,
    "licence": _licence,
}
