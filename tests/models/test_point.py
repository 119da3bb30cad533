"""The class that is looked for: what is told, what a prevalence does, what a header may say."""

import numpy as np
import pytest

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from resnetkit.models.decision import Decision, Question
from resnetkit.models.point import Point

POINT = Point(finding=1, at=0.2, goal="sensitivity 0.95", share=0.5)
ASKED = Question(classes=("healthy", "ill", "unclear"), top_k=2, size=(32, 32), preprocess=Preprocess())
ROWS = np.array([[0.7, 0.2, 0.1], [0.6, 0.19, 0.21], [0.1, 0.19, 0.71], [0.0, 1.0, 0.0]], np.float32)


def test_the_class_looked_for_is_told_from_its_threshold_on_and_comes_first() -> None:
    decision = Decision(point=Point(finding=1, at=float(np.float32(0.2)), goal="youden", share=0.5))
    assert decision.told(ROWS).tolist() == [1, 0, 2, 1]
    assert Decision().told(ROWS).tolist() == [0, 0, 2, 1]
    answers = [decision.answer(row, ASKED) for row in ROWS]
    assert [[name for name, _ in one.top] for one in answers] == [
        ["ill", "healthy"], ["healthy", "unclear"], ["unclear", "ill"], ["ill", "healthy"],
    ]  # fmt: skip
    assert answers[0].top[0][1] == pytest.approx(0.2), "its own probability, though another is likelier"


def test_a_prevalence_changes_probabilities_by_bayes_and_nobodys_answer() -> None:
    logits = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32) * 3
    plain = Decision(temperature=1.7, point=POINT)
    rare = plain.asked(prevalence=0.02)
    before, after = plain.probabilities(logits), rare.probabilities(logits)
    np.testing.assert_allclose(after.sum(axis=1), 1, rtol=1e-5)
    odds = before[:, 1].astype(float) / (1 - before[:, 1].astype(float))
    wanted = odds * 0.02 / 0.98
    np.testing.assert_allclose(after[:, 1], wanted / (1 + wanted), rtol=2e-3)
    np.testing.assert_allclose(after[:, 0] / after[:, 2], before[:, 0] / before[:, 2], rtol=1e-3)
    assert (plain.told(before) == rare.told(after)).all()
    assert 0 < (plain.told(before) == 1).sum() < 500
    for prevalence in (1e-6, 0.5, 1 - 1e-7):
        stated = plain.asked(prevalence=prevalence)
        assert (stated.told(stated.probabilities(logits)) == plain.told(before)).all(), prevalence
    assert rare.asked(prevalence=0.5).probabilities(logits) == pytest.approx(before, rel=1e-3)


def test_a_header_holds_it_and_refuses_what_is_none() -> None:
    decision = Decision(temperature=1.2, fitted_on=9, point=Point(finding=1, at=1.0, goal="youden", share=0.3))
    assert decision.to_json()["point"] == {"finding": 1, "at": 1.0, "goal": "youden", "share": 0.3}
    for one in (decision, Decision(point=POINT.stated(0.01)), Decision(point=Point(
        finding=0, at=0.0, goal="specificity 0.9", share=0.9, met=False))):  # fmt: skip
        assert Decision.from_json(one.to_json()) == one
    good = POINT.to_json()
    for wrong in ({}, [], good | {"more": 1}, "x"):
        with pytest.raises(DataError, match="operating point of another kind"):
            Decision.from_json({"point": wrong})
    for name, value in (("finding", -1), ("finding", True), ("at", 2), ("at", "x"), ("share", 0.0), ("goal", "f1"),
                        ("goal", 3), ("prevalence", 1.0)):  # fmt: skip
        with pytest.raises(UsageError):
            Decision.from_json({"point": good | {name: value}})
    assert "for specificity 0.9 (which only telling it of all or of none reaches)" in Decision(point=Point(
        finding=0, at=0.0, goal="specificity 0.9", share=0.9, met=False)).words  # fmt: skip
    with pytest.raises(DataError, match="looks for class 2 of 1"):
        POINT.told(np.ones((1, 1), np.float32))


def test_what_has_no_meaning_with_it_is_refused() -> None:
    with pytest.raises(UsageError, match="--reject: m looks for one class"):
        Decision(point=POINT).asked(reject=0.05, name="m")
    with pytest.raises(UsageError, match="--coverage: m looks for one class"):
        Decision(point=POINT).asked(coverage=0.9, name="m")
    with pytest.raises(UsageError, match="--prevalence: m looks for no class"):
        Decision().asked(prevalence=0.1, name="m")


def test_a_prevalence_stated_twice_is_the_last_one() -> None:
    twice, once = POINT.stated(0.3).stated(0.02), POINT.stated(0.02)
    assert twice.at == pytest.approx(once.at)
    assert twice.prevalence == once.prevalence == 0.02
    sure = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], np.float32)
    assert once.restated(sure) == pytest.approx(sure)
