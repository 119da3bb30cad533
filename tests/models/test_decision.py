import numpy as np
import pytest

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from resnetkit.models.decision import Decision, Question, softmax


def test_softmax_equals_the_textbook_formula_and_adds_up_to_one():
    logits = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32) * 4
    exact = np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum(axis=1, keepdims=True)
    assert softmax(logits).dtype == np.float32
    np.testing.assert_allclose(softmax(logits), exact, atol=1e-6)
    np.testing.assert_allclose(softmax(logits).sum(axis=1), 1, atol=1e-6)


def test_huge_logits_do_not_overflow():
    assert softmax(np.array([[1e30, -1e30, 0], [88.8, 1000, -1000]])).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_a_higher_temperature_tempers_confidence_and_keeps_the_order():
    logits = np.array([[3.0, 1.0, 0.0]])
    cold, warm = softmax(logits)[0], softmax(logits, temperature=4)[0]
    assert warm.max() < cold.max()
    assert warm.argsort().tolist() == cold.argsort().tolist()
    np.testing.assert_allclose(warm, softmax(logits / 4)[0], atol=1e-7)


def test_below_the_threshold_the_answer_is_not_sure():
    def status(decision, best):
        asked = Question(classes=("a", "b"), top_k=1, size=(8, 8), preprocess=Preprocess())
        return decision.answer(np.array([best, 1 - best]), asked).status

    assert status(Decision(), 0.51) == "ok"
    assert status(Decision(threshold=0.7), 0.69) == "not_sure"
    assert status(Decision(threshold=0.7), 0.7) == "ok"


@pytest.mark.parametrize("decision", [Decision(), Decision(temperature=1.7, threshold=0.4)])
def test_a_decision_survives_its_json(decision):
    assert Decision.from_json(decision.to_json()) == decision


def test_a_header_without_a_decision_means_the_defaults():
    assert Decision.from_json({}) == Decision(temperature=1.0, threshold=None)


def test_unknown_fields_and_impossible_values_are_refused():
    with pytest.raises(DataError, match="unknown fields \\['abstain'\\]"):
        Decision.from_json({"abstain": True})
    for wrong in ({"temperature": 0}, {"temperature": float("nan")}, {"threshold": 1.2}, {"threshold": float("nan")}):
        with pytest.raises(UsageError):
            Decision(**wrong)
