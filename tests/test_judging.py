"""How two runs are compared from the rows of their predictions.csv: models of two classes, and detectors."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from resnetkit.api.comparing import _adjusted, _lead
from resnetkit.api.judging import Lead, judge_of
from resnetkit.data.dataset import Item
from resnetkit.errors import UsageError
from resnetkit.evaluation.areas import under_roc
from resnetkit.evaluation.detection.matching import matched
from resnetkit.evaluation.detection.metrics import map_of
from resnetkit.evaluation.detection.rows import rows_of
from resnetkit.evaluation.evaluate import scored
from resnetkit.evaluation.pairs import paired_areas
from resnetkit.models.decision import Decision
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


NAMES = judge_of("classification")
ILL = np.arange(200) % 3 == 0
PATIENTS = [f"patient {number // 6}" for number in range(200)]


def two_classes(odds: np.ndarray, classes: tuple[str, ...] = ("ill", "well"), **more: Any) -> Any:
    """What compare reads of a run whose network says `ill` with these log-odds: its rows as a file has them."""
    items = tuple(Item(f"{n}.png", ("ill" if ill else "well",), "test", None) for n, ill in enumerate(ILL))
    logits = np.stack([odds if name == "ill" else np.zeros(200) for name in classes], axis=1).astype(np.float32)
    if len(classes) > 2:
        logits[:, 2:] = -30
    part = SimpleNamespace(items=items, columns=())
    metrics, rows = scored(logits, logits, part, classes=classes, decision=Decision(), split="test", own=False)
    written = [{name: str(value).lower() if name == "correct" else str(value) for name, value in row.items()}
               for row in rows]  # fmt: skip
    return NAMES.read(written, metrics | more, numbers=range(200)), metrics


def odds_of(lift: float, seed: int, *, sure: float = 0.0) -> np.ndarray:
    """Log-odds of the class that is looked for, of a network as good as `lift` that is `sure` of it."""
    return np.random.default_rng(seed).normal(size=200) + lift * ILL + sure


def test_the_lead_in_area_of_two_classes_is_delongs_from_the_rows() -> None:
    first, second = odds_of(0.5, 0), odds_of(2, 1)
    (one, metrics), (other, _) = two_classes(first), two_classes(second, ("well", "ill"))
    figures = NAMES.figures(one, None)
    of_pictures = metrics["screening"]["pictures"]["ill"]["roc_auc"]
    assert figures["roc_auc"] == pytest.approx(of_pictures["value"], abs=1e-4)
    assert figures["roc_auc_interval"] == pytest.approx(of_pictures["interval"], abs=1e-4)
    for groups in (None, PATIENTS):
        leads = NAMES.leads(one, other, groups)
        assert list(leads) == ["top1", "roc_auc"]
        expected = paired_areas(first, second, ILL, groups)
        assert leads["roc_auc"].share == pytest.approx(expected.difference, abs=1e-4)
        assert leads["roc_auc"].interval == pytest.approx((expected.interval.low, expected.interval.high), abs=1e-4)
        assert leads["roc_auc"].p_value == pytest.approx(expected.p_value, rel=1e-2)


def test_answers_that_six_digits_would_make_equal_keep_their_order() -> None:
    for sure in (16.0, -16.0):
        odds = odds_of(2, 0, sure=sure)
        named, _ = two_classes(odds)
        exact = under_roc(ILL, odds)[0]
        assert NAMES.figures(named, None)["roc_auc"] == pytest.approx(exact, abs=0.002)
        rounded = [{**row, "probability": str(round(float(row["probability"]), 6))} for row in named.rows]
        tied = NAMES.read(rounded, {"classes": ["ill", "well"], "split": "test"}, numbers=range(200))
        assert NAMES.figures(tied, None)["roc_auc"] < exact - 0.02  # as old files have it: equals count half


def test_only_two_models_of_the_same_two_classes_have_a_lead_in_area() -> None:
    pair, more = two_classes(odds_of(1, 0))[0], two_classes(odds_of(1, 1), ("ill", "well", "other"))[0]
    assert list(NAMES.leads(pair, more, None)) == list(NAMES.leads(more, more, None)) == ["top1"]
    assert "roc_auc" not in NAMES.figures(more, None)
    by_folds = two_classes(odds_of(1, 0), split="folds")[0]
    assert NAMES.leads(pair, by_folds, None)["roc_auc"] is None
    assert "roc_auc" not in NAMES.figures(by_folds, None)
    one_patient = ["the one" if ill else f"{number}" for number, ill in enumerate(ILL)]
    assert NAMES.leads(pair, two_classes(odds_of(1, 2))[0], one_patient)["roc_auc"] is None


def test_p_values_are_adjusted_figure_by_figure_and_what_is_missing_is_said() -> None:
    lead = Lead(share=0.01, interval=(-0.01, 0.03), p_value=0.02)
    leads = _adjusted({1: {"top1": lead, "roc_auc": lead}, 2: {"top1": lead, "roc_auc": None}, 3: {"top1": lead}})
    p_values = {number: {name: one and one.p_value for name, one in each.items()} for number, each in leads.items()}
    assert p_values == {1: {"top1": 0.06, "roc_auc": 0.02}, 2: {"top1": 0.06, "roc_auc": None}, 3: {"top1": 0.06}}
    told = [_lead(each, "b", "a", NAMES)["verdict"] for each in leads.values()]
    assert told[0].endswith("Beside it ROC-AUC +0.010, -0.010 to +0.030 (p = 0.020).")
    assert "No ROC-AUC beside it: that takes one network for all pictures" in told[1]
    assert "ROC-AUC" not in told[2]
