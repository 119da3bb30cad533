"""What errors cost: the class that costs least is told, costs are read as people write them, a header may hold them."""

from dataclasses import replace

import numpy as np
import pytest

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from resnetkit.inference.bulk import Record
from resnetkit.models.costs import Costs, costs_of
from resnetkit.models.decision import Decision, Question
from resnetkit.models.point import Point

LIGHTS = ("green", "red", "yellow")
DANGEROUS = costs_of(["red:green=100"], LIGHTS)
ROWS = np.array([[0.98, 0.02, 0.0], [0.995, 0.004, 0.001], [0.5, 0.1, 0.4], [0.2, 0.3, 0.5]], np.float32)


def test_the_class_told_costs_least_and_comes_first() -> None:
    decision = Decision(costs=DANGEROUS)
    assert decision.told(ROWS).tolist() == [1, 0, 2, 2]
    assert Decision().told(ROWS).tolist() == [0, 0, 0, 2]
    asked = Question(classes=LIGHTS, top_k=2, size=(32, 32), preprocess=Preprocess())
    answer = decision.answer(ROWS[0], asked)
    assert [name for name, _ in answer.top] == ["red", "green"]
    assert answer.top[0][1] == pytest.approx(0.02), "its own probability, though another is likelier"


def test_no_other_answer_costs_less_on_average() -> None:
    random = np.random.default_rng(0)
    rows = random.dirichlet(np.ones(3) / 3, 500)
    costs = costs_of(["red:green=100", "yellow:*=5", "*:yellow=0.5"], LIGHTS)
    assert costs.matrix(3).tolist() == [[0, 1, 0.5], [100, 0, 0.5], [5, 5, 0]]
    by_hand = [[sum(p * costs.matrix(3)[i, j] for i, p in enumerate(row)) for j in range(3)] for row in rows]
    assert (np.array(by_hand).min(axis=1) == pytest.approx(np.take_along_axis(
        np.array(by_hand), costs.told(rows)[:, None], axis=1)[:, 0]))  # fmt: skip
    alike = Costs(((0, 1, 1.0),))
    assert (alike.told(rows) == rows.argmax(axis=1)).all(), (
        "where all errors cost 1 the most probable class costs least"
    )
    assert Costs(((0, 1, 3.0), (1, 0, 1.0))).at(0) == pytest.approx(0.25)


def test_costs_are_read_as_people_write_them() -> None:
    odd = ("a:b", "a", "b:c", "c", "x=y")
    assert costs_of(["x=y:a=7"], odd).words(odd) == "x=y:a=7"
    assert costs_of(["a:b:c=2"], ("a:b", "c", "b")).words(("a:b", "c", "b")) == "a:b:c=2"
    assert costs_of(["*:green=10", "yellow:green=3"], LIGHTS).words(LIGHTS) == "red:green=10, yellow:green=3"
    assert costs_of(["yellow:green=3", "*:green=10"], LIGHTS) == costs_of(["*:green=10", "yellow:green=3"], LIGHTS)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["red:green"], "write it as TRUE:TOLD=NUMBER"),
        (["red=3"], "write it as TRUE:TOLD=NUMBER"),
        (["red:green=much"], "a number of at least 0"),
        (["red:green=-1"], "a number of at least 0"),
        (["red:green=inf"], "a number of at least 0"),
        (["red:grene=3"], "there is no class 'grene'; did you mean 'green'"),
        (["red:red=3"], "that is no error; right answers cost 0"),
        (["*:*=3"], "every error costs 1 already"),
        (["red:green=3", "red:green=4"], "another gives the same error 3"),
        (["red:*=3", "*:green=4"], "another gives the same error 3"),
    ],
)
def test_what_names_no_error_is_one_line(given: list[str], told: str) -> None:
    with pytest.raises(UsageError, match="--cost") as caught:
        costs_of(given, LIGHTS)
    assert told in str(caught.value)


def test_names_that_can_be_cut_in_two_ways_are_refused() -> None:
    with pytest.raises(UsageError, match="could be"):
        costs_of(["a:b:c=2"], ("a", "b:c", "a:b", "c"))


def test_a_header_holds_them_and_refuses_what_are_none() -> None:
    decision = Decision(temperature=1.2, fitted_on=9, costs=DANGEROUS)
    assert decision.to_json()["costs"] == [[1, 0, 100.0]]
    assert Decision.from_json(decision.to_json()) == decision
    for wrong in ([], {}, [[1, 0]], "x"):
        with pytest.raises(DataError, match="costs of another kind"):
            Decision.from_json({"costs": wrong})
    for wrong in ([[1, 1, 2]], [[0, 1, -2]], [[0, -1, 2]], [[0, True, 2]], [[0, 1, "2"]]):
        with pytest.raises(UsageError, match=r"decision\.costs"):
            Decision.from_json({"costs": wrong})
    with pytest.raises(DataError, match="class 2 of 1"):
        DANGEROUS.told(np.ones((1, 1)))


def test_costs_and_thresholds_contradict_each_other() -> None:
    fitted = Decision(rejects={"0.05": 0.6}, sets={"0.9": 0.2}, threshold=0.6)
    by_costs = fitted.costing(["red:green=100"], LIGHTS)
    assert (by_costs.rejects, by_costs.sets, by_costs.threshold) == ({}, {}, None)
    for option in ("reject", "coverage"):
        with pytest.raises(UsageError, match=f"--{option}: the model decides by costs of errors"):
            by_costs.asked(**{option: 0.9})
    with pytest.raises(UsageError, match="looks for one class"):
        Decision(point=Point(finding=1, at=0.2, goal="youden", share=0.5)).costing(["red:green=100"], LIGHTS)


def test_rows_of_other_costs_are_refused() -> None:
    made = Record(model="m", weights="", precision="fp32", top_k=5, format="csv", pictures=9, sources="")
    now = replace(made, costs=DANGEROUS.words(LIGHTS))
    assert made.differences(now) == ["with --cost None, not red:green=100"]
    assert now.differences(now) == []
