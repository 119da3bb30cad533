"""How two detectors are compared from the rows of their predictions.csv."""

from typing import Any

import numpy as np
import pytest

from resnetkit.api.judging import judge_of
from resnetkit.errors import UsageError
from resnetkit.evaluation.detection.matching import matched
from resnetkit.evaluation.detection.metrics import map_of
from resnetkit.evaluation.detection.rows import rows_of
from resnetkit.models.detection.found import Found
from tests.evaluation.detection.scenes import perfect, scenes

CLASSES = ("b", "a", "c")
JUDGE = judge_of("detection")


def told(founds: list[Found], classes: tuple[str, ...] = CLASSES) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Rows as a file has them, and figures, of what was found on 30 pictures."""
    truths, at = scenes(1, 30)[0], np.full(3, 0.5)
    matches = matched(truths, founds, num_classes=3)
    rows = rows_of(
        matches, truths, founds, at, classes=classes, split="test", sources=[f"{n}.png" for n in range(30)],
        groups=[None] * 30,
    )  # fmt: skip
    written = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    return written, {"classes": list(classes), "per_class": {name: {"threshold": 0.5} for name in classes}}


def test_a_detector_that_finds_all_leads_in_every_figure() -> None:
    truths, founds = scenes(1, 30)
    first, better = (JUDGE.read(*told(each), numbers=range(30)) for each in (founds, perfect(truths)))
    leads = JUDGE.leads(first, better, None)
    assert list(leads) == ["map50", "map", "f1"]
    figures = [JUDGE.figures(each, None) for each in (first, better)]
    for name, lead in leads.items():
        assert lead is not None
        assert lead.share == pytest.approx(figures[1][name] - figures[0][name])
        assert lead.interval[0] <= lead.share <= lead.interval[1]
        assert lead.p_value < 0.001
    assert figures[1]["map50"] == pytest.approx(1)
    there, back = leads["map50"], JUDGE.leads(better, first, None)["map50"]
    assert there is not None
    assert back is not None
    assert back.share == pytest.approx(-there.share)


def test_figures_are_those_of_the_pictures_compared() -> None:
    truths, founds = scenes(1, 30)
    numbers = [4, 2, 17, 9, 20, 21, 22, 23]
    figures = JUDGE.figures(JUDGE.read(*told(founds), numbers=numbers), None)
    whole, half = map_of([truths[n] for n in numbers], [founds[n] for n in numbers], num_classes=3)
    assert (figures["map"], figures["map50"]) == (pytest.approx(whole, abs=2e-3), pytest.approx(half, abs=2e-3))
    assert figures["map50_interval"][0] <= figures["map50"] <= figures["map50_interval"][1]
    assert figures["worst"][1] <= figures["map50"]


def test_the_order_of_classes_does_not_matter_and_other_classes_are_refused() -> None:
    founds = scenes(1, 30)[1]
    first = JUDGE.read(*told(founds), numbers=range(30))
    rows, metrics = told(founds)
    same = JUDGE.read(rows, metrics | {"classes": ["c", "b", "a"]}, numbers=range(30))
    lead = JUDGE.leads(first, same, None)["map50"]
    assert lead is not None
    assert (lead.share, lead.p_value) == (0, 1)
    with pytest.raises(UsageError, match="only one of these runs finds c, d"):
        JUDGE.leads(first, JUDGE.read(*told(founds, ("b", "a", "d")), numbers=range(30)), None)


def test_objects_marked_otherwise_are_another_truth() -> None:
    row = {"truth": '[{"label":"a","box":[1.0,2.0,3.0,4.0]},{"label":"b","box":[1.0,2.0,3.0,4.0]}]'}
    turned = {"truth": '[{"label":"b","box":[1.0,2.0,3.0,4.0]},{"label":"a","box":[1.0,2.0,3.0,4.0]}]'}
    moved = {"truth": row["truth"].replace("4.0", "5.0")}
    assert JUDGE.truth(row) == JUDGE.truth(turned)
    assert JUDGE.truth(row) != JUDGE.truth(moved)
