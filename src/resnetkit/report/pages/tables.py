"""The tables of a run's page: class by class, what was taken for what, and the pictures behind each cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import PurePath
from typing import Any

from resnetkit.evaluation.by_column_words import WORDS, notes, said_of_none
from resnetkit.evaluation.by_column_words import figure as interval_of
from resnetkit.evaluation.cost_words import costly, untempered
from resnetkit.evaluation.metrics import confused
from resnetkit.evaluation.screening_words import bounded
from resnetkit.report.pages.content import Answer
from resnetkit.report.pages.figures import DASH, least_first
from resnetkit.report.pages.thumbnails import Album, confident_errors
from resnetkit.words import percent

LARGEST_MATRIX = 30
MOST_PAIRS = 40
MOST_ERRORS = 12
_REJECTED = ("false_reject", "threshold", "answered", "accuracy")
# The figure that folds are known by, and what it is called.
_OF_FOLDS = (("map50", "mAP@.50"), ("map", "mean average precision"), ("top1", "named right"))
Cells = dict[tuple[str, str], list[int]]


def classes(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each class that was there or was said, those found least often first."""
    names, matrix = metrics["classes"], metrics["confusion_matrix"]
    areas = (metrics.get("roc_auc") or {}).get("per_class") or {}
    met = [
        (name, figures, matrix[i])
        for i, (name, figures) in enumerate(metrics["per_class"].items())
        if figures["support"] or figures["predicted"]
    ]
    met.sort(key=lambda entry: least_first(entry[1]["recall"]))
    return [
        {
            "name": name, "support": f"{figures['support']:,}", "recall": percent(figures["recall"]),
            "share": None if figures["recall"] is None else round(100 * figures["recall"], 1),
            "precision": percent(figures["precision"]), "f1": percent(figures["f1"]),
            "auc": (f"{areas[name]:.3f}" if areas.get(name) is not None else DASH) if areas else None,
            "taken_for": _taken_for(name, names, row),
        }
        for name, figures, row in met
    ]  # fmt: skip


def _taken_for(name: str, names: Sequence[str], row: Sequence[int]) -> tuple[str, str] | None:
    wrong = [(count, other) for other, count in zip(names, row, strict=True) if other != name and count]
    if not wrong:
        return None
    count, other = max(wrong, key=lambda pair: pair[0])
    return other, f"{count:,}"


def cells(rows: Sequence[Answer]) -> Cells:
    """Return the numbers of the rows in each (label, predicted): confident errors and unsure hits first."""
    found: Cells = defaultdict(list)
    for number in confident_errors(rows):
        found[rows[number]["label"], rows[number]["predicted"]].append(number)
    right = (number for number, row in enumerate(rows) if row["correct"])
    for number in sorted(right, key=lambda number: (rows[number]["probability"], number)):
        found[rows[number]["label"], rows[number]["predicted"]].append(number)
    return dict(found)


class Matrix:
    """The confusion matrix: a table while it can be read, the pairs confused most often beyond that."""

    def __init__(self, metrics: Mapping[str, Any], found: Cells, album: Album | None) -> None:
        self.names: list[str] = metrics["classes"]
        self.counts: list[list[int]] = metrics["confusion_matrix"]
        self.found, self.album = found, album

    @property
    def table(self) -> dict[str, Any] | None:
        """Names, and rows of cells; None above `LARGEST_MATRIX` classes."""
        if len(self.names) > LARGEST_MATRIX:
            return None
        rows = [{"name": name, "cells": self._row(i)} for i, name in enumerate(self.names)]
        return {"names": self.names, "rows": rows}

    def _row(self, i: int) -> list[dict[str, Any]]:
        total = sum(self.counts[i])
        return [
            {
                "count": count, "share": round((count / total) ** 0.5, 3) if total else 0,
                "look": "hit" if i == j else "miss", "gallery": self._anchor(i, j),
                "words": _cell_words(self.names[i], self.names[j], count),
            }
            for j, count in enumerate(self.counts[i])
        ]  # fmt: skip

    def _anchor(self, i: int, j: int) -> str | None:
        """Return where the pictures of a cell stand, or None where the page has none of them."""
        numbers = self.found.get((self.names[i], self.names[j]), ())
        here = self.album is not None and any(number in self.album.pictures for number in numbers)
        shown = here and (len(self.names) <= LARGEST_MATRIX or (i, j) in self._listed)
        return f"cell-{i}-{j}" if shown else None

    @cached_property
    def _listed(self) -> list[tuple[int, int]]:
        """Return the cells of errors, the fullest first; above `LARGEST_MATRIX` classes at most `MOST_PAIRS`."""
        wrong = [(i, j) for i, j, _ in confused(self.counts)]
        return wrong if len(self.names) <= LARGEST_MATRIX else wrong[:MOST_PAIRS]

    def pairs(self, most: int = MOST_PAIRS) -> list[dict[str, Any]]:
        """Return the classes that are confused most often."""
        return [
            {
                "label": self.names[i], "predicted": self.names[j], "count": f"{self.counts[i][j]:,}",
                "of": f"{sum(self.counts[i]):,}", "gallery": self._anchor(i, j),
                "words": _cell_words(self.names[i], self.names[j], self.counts[i][j]),
            }
            for i, j in self._listed[:most]
        ]  # fmt: skip

    def galleries(self, rows: Sequence[Answer]) -> list[dict[str, Any]]:
        """Return the pictures of every cell that has some: errors first, the fullest before all."""
        if self.album is None:
            return []
        every = [(i, i) for i in range(len(self.names))] if len(self.names) <= LARGEST_MATRIX else []
        places = [*self._listed, *every]
        found = []
        for i, j in places:
            anchor = self._anchor(i, j)
            if anchor is None:
                continue
            numbers = self.found[self.names[i], self.names[j]]
            here = [number for number in numbers if number in self.album.pictures]
            missing = len(numbers) - len(here)
            found.append({
                "anchor": anchor, "words": _cell_words(self.names[i], self.names[j], len(numbers)),
                "shown": [picture(rows[number], self.album.pictures[number]) for number in here],
                "without": f"{missing:,} of them have no picture on this page." if missing else None,
                "look": "small-ones" if i == j else "wrong-ones",
            })  # fmt: skip
        return found


def with_a_place(metrics: Mapping[str, Any], rows: Sequence[Answer]) -> set[int]:
    """Return the numbers of the rows whose pictures the page shows where it can: of many classes only some errors."""
    if len(metrics["classes"]) <= LARGEST_MATRIX:
        return set(range(len(rows)))
    found = cells(rows)
    listed = {(pair["label"], pair["predicted"]) for pair in Matrix(metrics, found, None).pairs()}
    return {number for place in listed for number in found.get(place, ())} | set(confident_errors(rows)[:MOST_ERRORS])


def _cell_words(label: str, predicted: str, count: int) -> str:
    said = "named right" if label == predicted else f"called {predicted}"
    return f"{label}, {said}: {count:,} picture{'' if count == 1 else 's'}"


def folds(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table of what each fold reached, where there are some."""
    found = metrics.get("folds")
    if not found:
        return []
    figure, words = next(pair for pair in _OF_FOLDS if pair[0] in found)
    rows = [(f"{one['fold']}", [f"{one['count']:,}", percent(one[figure])]) for one in found["each"]]
    rows.append(("mean (sd)", ["", f"{percent(found['mean'])} ({100 * (found['sd'] or 0):.1f})"]))
    return [{
        "title": "Fold by fold", "header": ["fold", "pictures", words], "rows": rows,
        "words": "Folds share most of what they train on, so their spread is no interval of the whole.",
    }]  # fmt: skip


def as_test(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table of what the model is worth as a test for the class that is looked for."""
    found = metrics.get("screening") or {}
    if "finding" not in found:
        return []
    kinds = [kind for kind in ("cases", "pictures") if kind in found]
    name = found["finding"]
    rows = [
        (words, [bounded(found[kind][name][figure], written) for kind in kinds]) for figure, words, written in _OF_TEST
    ]
    if there := found.get("at_prevalence"):
        for figure, words, written in _OF_TEST[2:4]:
            at = f"{words} where {100 * there['prevalence']:.3g} % are"
            rows.append((at, [bounded(there[figure], written), *[""] * (len(kinds) - 1)]))
    told = f"It is told from a probability of {found['threshold']:.3g} on" if found["threshold"] is not None else ""
    goal = f", chosen for {found['goal']} on other pictures" if found["goal"] else ""
    return [{
        "title": f"As a test for {name}", "header": ["figure (95 % interval)", *(f"of {kind}" for kind in kinds)],
        "rows": rows, "words": f"{told}{goal}." if told else "It is told where it is the most probable.",
    }]  # fmt: skip


_OF_TEST: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("sensitivity", "sensitivity", percent), ("specificity", "specificity", percent),
    ("ppv", "positive predictive value", percent), ("npv", "negative predictive value", percent),
    ("lr_positive", "positive likelihood ratio", "{:.2f}".format),
    ("lr_negative", "negative likelihood ratio", "{:.3f}".format),
    ("roc_auc", "area under the ROC", "{:.3f}".format),
)  # fmt: skip


def by_costs(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table of what errors cost, where some cost more than others."""
    found = metrics.get("cost")
    if not found:
        return []
    low, high = found["interval"]
    rows = [
        ("a picture, on average", [f"{found['mean']:.3g} ({low:.2g} to {high:.2g})"]),
        ("the same by the most probable classes", [f"{found['most_probable']['mean']:.3g}"]),
        (f"always telling {found['constant']['label']}", [f"{found['constant']['mean']:.3g}"]),
        *((f"{one['true']} told {one['told']}, at {one['cost']:g}", [costly(one)]) for one in found["errors"]),
    ]
    return [{
        "title": "What errors cost", "header": ["error", "cost, or how often (95 % interval)"], "rows": rows,
        "words": "The class told is the one that costs least on average; errors that are not listed cost 1. "
        + ("" if found["tempered"] else untempered()),
    }]  # fmt: skip


def unsure(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tables of what thresholds and sets of names reach, as far as `metrics` has them."""
    rejects, sets = metrics.get("rejects") or {}, metrics.get("sets") or {}
    tables = []
    if rejects:
        columns = ["right answers to turn away", "turned away", "answers from", "answered", "right of these"]
        found = [
            (percent(float(rate)), [percent(reached[key]) for key in _REJECTED]) for rate, reached in rejects.items()
        ]
        tables.append({
            "title": "When it may say “not sure”", "header": columns, "rows": found,
            "words": "Thresholds fitted on held-out answers, and what they do to these pictures.",
        })  # fmt: skip
    if sets:
        found = [
            (percent(float(level)), [percent(reached["coverage"]), f"{reached['mean_size']:.2f}"])
            for level, reached in sets.items()
        ]
        tables.append({
            "title": "Sets of names", "header": ["should hold the right one for", "hold it for", "names on average"],
            "words": "As many names as are needed to hold the right one so often.", "rows": found,
        })  # fmt: skip
    return tables


def by_column(evaluation: str, by: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a table for each column by whose values an evaluation gave figures; values with few pictures stand last.

    `by`: of its metrics.json.
    """
    test = "finding" in by
    names = ("sensitivity", "specificity", "auc", "accuracy") if test else ("accuracy",)
    header = ["pictures", *([f"of {by['finding']}"] if test else []), *(WORDS[name] for name in names)]
    found = []
    for column, told in by["columns"].items():
        rows = []
        for one in told["values"]:
            figures = [DASH] * len(names)
            if "figures" in one:
                figures = [interval_of(name, one["figures"][name]) for name in names]
            positives = [f"{one['positives']:,}" if "positives" in one else DASH] if test else []
            rows.append((one["value"], [f"{one['count']:,}", *positives, *figures]))
        warned = [line for line, real in _of_contrasts(by) if real == column] or [said_of_none(by, [column])]
        words = " ".join(
            [f"In the evaluation {evaluation}.", *warned, *(f"{note[:1].upper()}{note[1:]}." for note in notes(told))]
        )
        found.append({"title": f"By {column}", "header": [column, *header], "rows": rows, "words": words})
    return found


def _of_contrasts(by: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each warning with the column that it is about."""
    real = [contrast["column"] for contrast in by["contrasts"] if contrast["is_real"]]
    return list(zip(by["warnings"], real, strict=True))


def picture(row: Answer, uri: str) -> dict[str, Any]:
    """Return what the page says about one picture."""
    name = PurePath(row["source"].rpartition("::")[2]).name or row["source"]
    sure = percent(row["probability"])
    return {
        "uri": uri, "name": name, "label": row["label"], "predicted": row["predicted"], "probability": sure,
        "wrong": not row["correct"],
        "alt": f"{name}: {row['label']}" + ("" if row["correct"] else f", called {row['predicted']}"),
    }  # fmt: skip
