"""The files of a run, read once for its checklists."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnetkit.models.checkpoint import Header
from resnetkit.report.pages.facts import facts
from resnetkit.training.choosing import choice_of_run, with_choice
from resnetkit.training.run import RunFolder, reading

PARTS = ("train", "val", "test")
MOST_CLASSES = 30


@dataclass(frozen=True, slots=True)
class Told:
    """A value that a run knows: what it is called, the value as text, and the file of the run that says it."""

    name: str
    value: str
    file: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """The files of a run, read: `facts` are the pairs of its page by name, `headline` its figures in plain words."""

    folder: RunFolder
    header: Header
    recipe: Mapping[str, Any]
    request: Mapping[str, Any]
    rows: Sequence[Mapping[str, str]]
    facts: Mapping[str, Mapping[str, str]]
    findings: Sequence[str] | None
    metrics: Mapping[str, Any] | None
    headline: Sequence[str]
    history: Sequence[Mapping[str, str]]
    answers: int


# Topic -> what the files say of it; nothing where they are silent.
Topics = Mapping[str, Callable[[Files], Iterator[Told]]]


def read(folder: RunFolder, header: Header, headline: Callable[[Mapping[str, Any]], str]) -> Files:
    """Read the files of a run with a model; `headline` says the figures of its task in plain words."""
    from resnetkit.training import state as states

    recipe = folder.path / "recipe.toml"
    with reading(recipe):
        page = tomllib.loads(recipe.read_text(encoding="utf-8"))
    metrics = with_choice(folder.metrics(), choice_of_run(folder))
    history = _table(folder, "results.csv")
    pairs = facts(folder, header, history)
    return Files(
        folder=folder, header=header, recipe=page, request=states.describe(folder.state)["request"]["request"],
        rows=_table(folder, "split.csv"), facts={name: dict(of) for name, of in pairs.items()},
        findings=_findings(folder), metrics=metrics, headline=headline(metrics).splitlines() if metrics else (),
        history=history,
        answers=len({row["source"] for row in _table(folder, "predictions.csv")}) if metrics else 0,
    )  # fmt: skip


def _table(folder: RunFolder, name: str) -> list[dict[str, str]]:
    path = folder.path / name
    with reading(path), open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def _findings(folder: RunFolder) -> list[str] | None:
    path = folder.path / "data.json"
    if not path.is_file():
        return None
    with reading(path):
        return [str(line) for line in json.loads(path.read_text(encoding="utf-8"))["findings"]]
