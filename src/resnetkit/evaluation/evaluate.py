"""Scoring a model on pictures whose class is known, and the two files that this leaves."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from resnetkit.data.dataset import Item
from resnetkit.data.targets import class_targets
from resnetkit.errors import DataError, UsageError
from resnetkit.evaluation.averaging import Views, averaged_logits
from resnetkit.evaluation.by_column import by_column
from resnetkit.evaluation.doubt import Answers, doubts
from resnetkit.evaluation.metrics import classification_metrics
from resnetkit.files import csv_writer, write_text
from resnetkit.inference import aggregation
from resnetkit.inference.engines import Engine
from resnetkit.models.decision import Decision

if TYPE_CHECKING:
    from resnetkit.data.prepared import Part

Requested = Literal["auto", "train", "val", "test"]
Chosen = Literal["train", "val", "test", "all"]
Scored = Chosen | Literal["folds"]  # `folds`: each picture by a network that did not train on it


def choose_split(requested: Requested, available: Collection[str]) -> Chosen:
    """Return the part to score: what was asked for, else test, else validation, else `all` (a plain class folder).

    `available` are the parts that the data has: some of train, val, test. Training images are never chosen unasked
    where there is another part; a set of nothing but training images counts as unsplit. Raises `UsageError` for a
    part that is not there.
    """
    if requested == "auto":
        if "test" in available:
            return "test"
        return "val" if "val" in available else "all"
    if requested not in ("train", "val", "test"):
        raise UsageError(f"unknown split {requested!r}: choose auto, train, val, test")
    if requested not in available:
        has = [part for part in ("train", "val", "test") if part in available]
        what = f"it has {', '.join(has)}" if has else "it has no parts"
        raise UsageError(f"--split {requested}: the data has no such part ({what}); leave --split out to choose")
    return requested


def evaluate_part(
    engine: Engine,
    part: Part,
    *,
    classes: Sequence[str],
    decision: Decision,
    split: Scored,
    tta: Views = "none",
    batch_size: int | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Score `part` and return the content of `metrics.json` and the rows of `predictions.csv`, in the part's order.

    `classes` are the model's, in the order of its outputs; pictures find theirs by name, so the data may have fewer
    classes, in another order. Every picture counts once. With `tta`, what the mean over views of each picture reaches
    stands under `tta` (`views`, `top1`, `loss`); all other figures and the rows are without it. Raises `DataError` for
    a class that the model does not know, and when the model's outputs are not finite.
    """
    logits, averaged = part_logits(engine, part, tta=tta, batch_size=batch_size)
    return scored(logits, averaged, part, classes=classes, decision=decision, split=split, tta=tta)


def scored(
    logits: np.ndarray,
    averaged: np.ndarray,
    part: Part,
    *,
    classes: Sequence[str],
    decision: Decision,
    split: Scored,
    tta: Views = "none",
    own: bool | None = None,
    finding: str | None = None,
    prevalence: float | None = None,
    how: str = "mean",
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what `evaluate_part` does, for logits that are there: `[N, K]`, in the order of the part.

    `own`: the decision was fitted on these pictures, so that each must be judged by what others fit; None: it says so.
    `finding`: the class that is looked for; `prevalence`: how frequent it is stated to be. A row says what is told.
    `how`: how pictures of one group become one answer, as `aggregation.asked` reads it.
    """
    targets = class_targets(part.items, classes, where=split)
    if not (np.isfinite(logits).all() and np.isfinite(averaged).all()):
        raise DataError("the model answers with numbers that are not finite: train it again or use another")
    if own is None:
        own = split == "val" if decision.fitted_to is None else part.content == decision.fitted_to
    answers = Answers(logits, targets, [item.group for item in part.items], decision, own=own)
    metrics = classification_metrics(answers.probabilities, targets, classes=classes, split=split, told=answers.told)
    if tta != "none":
        of_views = answers.of(averaged)
        told = answers.told_of(of_views, np.arange(len(targets)))
        reached = classification_metrics(of_views, targets, classes=classes, split=split, told=told)
        metrics["tta"] = {"views": tta, "top1": reached["top1"], "loss": reached["loss"]}
    looked_for = None if finding is None else list(classes).index(finding)
    in_question = decision.point.finding if looked_for is None and decision.point is not None else looked_for
    asked = aggregation.asked(how, classes, finding=in_question)
    metrics |= doubts(answers, metrics, finding=looked_for, prevalence=prevalence, how=asked)
    if part.columns:
        metrics |= by_column(
            answers.ranked, answers.told, targets, classes, part.columns, answers.groups,
            test=metrics.get("screening"),
        )  # fmt: skip
    return metrics, _rows(part.items, answers.ranked, answers.told, classes=classes, split=split)


def part_logits(
    engine: Engine, part: Part, *, tta: Views = "none", batch_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 `[N, K]` logits of a part's pictures in its order: as they are, and averaged over `tta`.

    Raises `DataError` where there is no picture.
    """
    if not part.items:
        raise DataError("there is no picture to score; choose another part with --split")
    # An engine that works on several batches at once gets enough of them that its waiting at the end costs little.
    size = batch_size or engine.batch_size * max(1, 16 * engine.ahead)
    plain, averaged = [], []
    for start in range(0, len(part.items), size):
        pixels = part.pixels.take(np.arange(start, min(start + size, len(part.items))))
        assert isinstance(pixels, np.ndarray), "pictures to score are made uniform by Preprocess.pixels"
        plain.append(engine.logits(pixels))
        averaged.append(averaged_logits(engine, pixels, plain[-1], views=tta))
    return np.concatenate(plain), np.concatenate(averaged)


def write_evaluation(
    folder: Path, metrics: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str]
) -> None:
    """Write `metrics.json` and `predictions.csv` into `folder`, each atomically.

    The columns `group` and `fold` are there when some picture has one. `correct` is `true` or `false`.
    """
    more = [name for name in ("group", "fold") if any(row.get(name) is not None for row in rows)]
    columns = [*columns, *more]
    text = io.StringIO()
    writer = csv_writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    write_text(folder / "predictions.csv", text.getvalue())
    write_text(folder / "metrics.json", _one_line_per_figure(metrics))


def _one_line_per_figure(metrics: Mapping[str, Any]) -> str:
    """Return JSON that a person can scroll through: a confusion matrix of 1,000 classes stays one line."""
    lines = [
        f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for name, value in metrics.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rows(
    items: Sequence[Item], probabilities: np.ndarray, told: np.ndarray, *, classes: Sequence[str], split: Scored
) -> list[dict[str, Any]]:
    return [
        {
            "source": item.source,
            "label": item.label,
            "predicted": classes[index],
            "probability": _written(row, index),
            "correct": classes[index] == item.label,
            "split": split,
            "group": item.group,
        }
        for item, row, index in zip(items, probabilities, told, strict=True)
    ]


def _written(probabilities: np.ndarray, index: int) -> float:
    """Return the probability of a class of `[K]` to 6 digits, and to 3 of what is left of 1 where that is little.

    So the rows keep the order in which the network puts pictures that it is sure of.
    """
    left = float(np.delete(probabilities, index).sum(dtype=np.float64))
    digits = 6 if left <= 0 else max(6, 2 - math.floor(math.log10(left)))
    return round(1 - left if digits > 6 else float(probabilities[index]), digits)


def _cell(value: object) -> str:
    """Return a CSV cell; what no UTF-8 can hold (bytes of a foreign file name) is escaped."""
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()
