"""What metrics.json and the headline say by the values of columns."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from resnetkit.data.columns import Column
from resnetkit.evaluation.by_column import by_column
from resnetkit.evaluation.by_column_words import by_lines
from resnetkit.report.pages import tables


def answered(count: int, random: np.random.Generator, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    targets = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)) + 2 * np.eye(classes)[targets]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), targets


def by(probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str], columns: list[Column]) -> dict[str, Any]:
    test = {"finding": classes[1], "threshold": 0.5} if len(classes) == 2 else None
    return by_column(probabilities, probabilities.argmax(axis=1), targets, classes, columns, None, test=test)


def sites(*counts: int) -> Column:
    names = [
        name for name, count in zip(("Änne's long scanner, 3 T", "B", "C"), counts, strict=False) for _ in range(count)
    ]
    return Column(name="site", values=tuple(names))


def test_a_site_that_is_served_worse_is_warned_of_in_a_table_that_fits() -> None:
    random = np.random.default_rng(0)
    probabilities, targets = answered(406, random)
    probabilities[210:400] = random.permutation(probabilities[210:400])
    found = by(probabilities, targets, ("dry", "wet"), [sites(210, 190, 6)])
    site = found["by"]["columns"]["site"]
    assert [one["count"] for one in site["values"]] == [210, 190, 6]
    assert "figures" not in site["values"][2]  # six pictures say nothing
    own, wet = np.arange(210), targets[:210] == 1
    told = (probabilities[own, 1] >= 0.5)[wet]
    assert site["values"][0]["figures"]["sensitivity"]["value"] == pytest.approx(told.mean())
    assert site["values"][0]["positives"] == wet.sum()
    assert {one["figure"] for one in found["by"]["contrasts"] if one["is_real"]} >= {"auc", "accuracy"}
    lines = list(by_lines(found))
    assert lines[0] == "By site as a test for wet, in % with 95 % intervals:"
    assert max(map(cell_len, lines[:4])) <= 80
    assert "fewer than 10 pictures, so no figures: other, 1 value (6)" in "\n".join(lines)
    assert lines[-1].startswith("Accuracy differs by site beyond chance")
    assert json.loads(json.dumps(found)) == found
    (table,) = tables.by_column("here", found["by"])
    assert [name for name, _ in table["rows"]] == [one["value"] for one in site["values"]]
    assert "ROC-AUC differs by site" in table["words"]
    assert all(len(cells) + 1 == len(table["header"]) for _, cells in table["rows"])


def test_of_many_classes_there_is_the_accuracy() -> None:
    probabilities, targets = answered(120, np.random.default_rng(1), classes=3)
    right = probabilities.argmax(axis=1) == targets
    values = tuple("x" if number % 2 else None for number in range(120))
    found = by(probabilities, targets, ("a", "b", "c"), [Column(name="half", values=values)])
    assert "finding" not in found["by"]
    (only,) = found["by"]["columns"]["half"]["values"]
    assert only["figures"]["accuracy"]["value"] == pytest.approx(right[1::2].mean())
    assert found["by"]["columns"]["half"]["without"] == 60
    lines = list(by_lines(found))
    assert "60 pictures without a value" in lines[-2]
    assert lines[-1].startswith("Nothing could be compared")
    assert "accuracy" in tables.by_column("here", found["by"])[0]["header"]


def test_where_nothing_differs_one_of_twenty_sets_is_warned_of() -> None:
    random, warned = np.random.default_rng(2), 0
    for number in range(30):
        probabilities, targets = answered(150, random, classes=2 + number % 2)
        columns = [
            Column(name="sex", values=tuple(random.choice(["F", "M"], 150).tolist())),
            Column(name="age", values=tuple(f"{age:.0f}" for age in random.normal(50, 20, 150))),
        ]
        names = [f"{index}" for index in range(2 + number % 2)]
        warned += bool(by(probabilities, targets, names, columns)["by"]["warnings"])
    assert warned <= 5  # at most 1.5 expected, standard deviation 1.2
