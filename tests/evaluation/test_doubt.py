"""Probabilities that the scored pictures did not fit themselves."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from resnetkit.evaluation.doubt import Answers, doubts
from resnetkit.evaluation.guarantees import fit_decision
from resnetkit.evaluation.metrics import classification_metrics
from resnetkit.models.decision import Decision, softmax
from tests.evaluation.test_calibration import answers


def figures(logits: np.ndarray, targets: np.ndarray, decision: Decision, *, own: bool) -> dict[str, float]:
    said = Answers(logits, targets, [None] * len(targets), decision, own=own)
    metrics = classification_metrics(said.probabilities, targets, classes=list("abcde"), split="val")
    return metrics | doubts(said, metrics)


def loss(logits: np.ndarray, targets: np.ndarray, decision: Decision, *, own: bool) -> float:
    said = Answers(logits, targets, [None] * len(targets), decision, own=own).probabilities
    return float(-np.log(said[np.arange(len(targets)), targets]).mean())


def test_a_temperature_is_not_scored_by_the_pictures_that_fitted_it() -> None:
    """On new pictures none beats the true one; fitted to pictures it does on these, cross-fitted it does not."""
    own, crossed = [], []
    for seed in range(40):
        logits, targets = answers(30, factor=3.0, seed=seed)
        decision, true = fit_decision(logits, targets), Decision(temperature=3.0, fitted_on=1)
        best = loss(logits, targets, true, own=False)
        own.append(loss(logits, targets, decision, own=False) - best)
        crossed.append(loss(logits, targets, decision, own=True) - best)
    assert np.mean(own) < -0.01
    assert np.mean(crossed) > 0.01


def test_each_fifth_is_answered_at_the_temperature_of_the_others_and_averages_likewise() -> None:
    logits, targets = answers(200, factor=3.0)
    said = Answers(logits, targets, [None] * 200, fit_decision(logits, targets), own=True)
    assert said.others is not None
    assert len({decision.temperature for _, decision in said.others}) == 5
    for inside, decision in said.others:
        np.testing.assert_array_equal(said.probabilities[inside], decision.probabilities(logits[inside]))
        np.testing.assert_array_equal(said.of(2 * logits)[inside], decision.probabilities(2 * logits[inside]))
    assert figures(logits, targets, said.decision, own=True)["calibration"]["fitted_on"] == "crossfit"  # type: ignore[index]


def test_a_temperature_that_was_not_kept_or_comes_from_others_changes_no_probability() -> None:
    logits, targets = answers(100, factor=3.0)
    bare = Answers(logits, targets, [None] * 100, Decision(), own=True)
    np.testing.assert_array_equal(bare.probabilities, softmax(logits))
    assert np.abs(bare.after - bare.probabilities).max() > 0.01  # what a temperature from such pictures would do
    elsewhere = Answers(logits, targets, [None] * 100, Decision(temperature=2.0, fitted_on=50), own=False)
    np.testing.assert_array_equal(elsewhere.probabilities, softmax(logits, temperature=2.0))
    assert elsewhere.others is None
    assert doubts(elsewhere, {"classes": list("abcde")})["calibration"]["fitted_on"] == "val"
    kept = Answers(logits, targets, [None] * 100, Decision(fitted_on=100, rejects={"0.1": 0.5}), own=True)
    np.testing.assert_array_equal(kept.probabilities, softmax(logits))
    assert kept.kept()["rejects"]["0.1"]["threshold"] == pytest.approx(0.5)


def test_areas_on_the_pictures_that_fitted_a_temperature_are_of_one_scale() -> None:
    random = np.random.default_rng(0)
    targets = np.repeat([0, 1], 60)
    logits = np.stack([np.zeros(120), 4 * random.normal(2 * targets - 1, 1)], axis=1).astype(np.float32)
    decision = Decision(temperature=2.0, fitted_on=120)
    said = Answers(logits, targets, [None] * 120, decision, own=True)
    assert len({float(d.temperature) for _, d in said.others or []}) > 1, "five scales"
    metrics = classification_metrics(said.probabilities, targets, classes=["a", "b"], split="val")
    figures = doubts(said, metrics)
    wanted = roc_auc_score(targets, logits[:, 1])
    assert figures["roc_auc"]["per_class"]["b"] == pytest.approx(wanted)
    assert figures["screening"]["pictures"]["b"]["roc_auc"]["value"] == pytest.approx(wanted)
