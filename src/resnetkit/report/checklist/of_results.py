"""What the files of a run say of its scores: on what, which, how sure, and what was taken for what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resnetkit.evaluation.metrics import photos
from resnetkit.report.checklist.files import PARTS, Files, Told, Topics
from resnetkit.training.choosing import choice_of_run
from resnetkit.words import percent

_MOST_CONFUSED = 10
# Figures of `metrics.json` of all tasks.
_NAMED = (
    "top1", "top5", "balanced_accuracy", "loss", "per_class", "confusion_matrix", "roc_auc", "average_precision",
    "screening", "calibration", "exact_match", "map", "map50", "map75", "f1", "tta", "folds",
)  # fmt: skip


def _scored(files: Files) -> Iterator[Told]:
    if files.metrics is not None:
        yield Told("scored", photos(files.metrics["split"], files.metrics["count"]), "metrics.json")


def _by_part(files: Files) -> Iterator[Told]:
    """Yield what `results.csv` says of training and validation pictures at the epoch that is the model."""
    chosen = choice_of_run(files.folder)
    for row in files.history:
        if chosen is not None and row["epoch"] == str(chosen.epoch):
            said = [f"{name} {float(row[name]):.3f}" for name in row if name.startswith(PARTS[:2]) and row[name]]
            yield Told(f"epoch {chosen.epoch}", ", ".join(said), "results.csv")


def _frequency(files: Files) -> Iterator[Told]:
    if files.metrics is not None and "majority" in files.metrics:
        largest = files.metrics["majority"]
        yield Told("largest class of the scored pictures", f"{largest['label']}, {percent(largest['top1'])}",
                   "metrics.json")  # fmt: skip


def _figures(files: Files) -> Iterator[Told]:
    for line in files.headline:
        yield Told("", line.strip(), "metrics.json")
    yield from _as_test(files)


def _names_of_figures(files: Files) -> Iterator[Told]:
    if files.metrics is not None:
        names = [name for name in _NAMED if files.metrics.get(name) is not None]
        yield Told("figures", ", ".join(names), "metrics.json")


def _intervals(files: Files) -> Iterator[Told]:
    if files.metrics is None:
        return
    names = [name.removesuffix("_interval") for name in files.metrics if name.endswith("_interval")]
    names += [*(files.metrics.get("intervals") or {}), *["screening"] * bool(files.metrics.get("screening"))]
    if names:
        by = "by group" if files.metrics.get("grouped") else "by picture"
        yield Told("95 % intervals", f"of {', '.join(names)}; {by}", "metrics.json")


def _as_test(files: Files) -> Iterator[Told]:
    """Yield each class of two as what is looked for, of groups where there are any."""
    found = (files.metrics or {}).get("screening")
    if not found:
        return
    unit = "cases" if "cases" in found else "pictures"
    for name, figures in found[unit].items():
        said = [f"{key} {_estimate(value)}" for key, value in figures.items() if isinstance(value, Mapping)]
        yield Told(f"as a test for {name}, of {'groups' if unit == 'cases' else unit}", "; ".join(said), "metrics.json")


def _estimate(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "unknown"
    between = "" if estimate["interval"] is None else " ({:.3f} to {:.3f})".format(*estimate["interval"])
    return f"{estimate['value']:.3f}{between}"


def _answers(files: Files) -> Iterator[Told]:
    if files.metrics is not None:
        yield Told("answered", f"{files.answers:,} of {files.metrics['count']:,} scored pictures; none was left out as "
                   "unclear", "predictions.csv")  # fmt: skip


def _confusion(files: Files) -> Iterator[Told]:
    metrics = files.metrics or {}
    matrix, classes = metrics.get("confusion_matrix"), metrics.get("classes", ())
    if not matrix:
        return
    cells = [(count, true, said) for true, row in enumerate(matrix) for said, count in enumerate(row) if count]
    few = len(classes) <= _MOST_CONFUSED
    shown = cells if few else sorted((c for c in cells if c[1] != c[2]), key=lambda cell: -cell[0])[:_MOST_CONFUSED]
    for count, true, said in shown:
        yield Told(f"is {classes[true]}, called {classes[said]}", f"{count:,}", "metrics.json")
    if not few:
        yield Told("the whole table", f"confusion_matrix, {len(classes):,} classes", "metrics.json")


def _stored_answers(files: Files) -> Iterator[Told]:
    if files.metrics is not None:
        yield Told("answers to scored pictures", f"{files.answers:,}, one by one", "predictions.csv")


TOPICS: Topics = {
    "scored": _scored,
    "by part": _by_part,
    "frequency": _frequency,
    "figures": _figures,
    "names of figures": _names_of_figures,
    "intervals": _intervals,
    "answers": _answers,
    "confusion": _confusion,
    "stored answers": _stored_answers,
}
