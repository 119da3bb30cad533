"""What is promised of new pictures holds on average over many draws of held-out ones."""

import numpy as np
import pytest

from resnetkit.evaluation.cases import by_case, case_figures
from resnetkit.evaluation.guarantees import (
    cross_decisions,
    cross_kept,
    fit_decision,
    kept,
    reject_threshold,
    set_threshold,
)
from resnetkit.models.decision import COVERAGES, REJECTS, Decision


def answers(count: int, seed: int, *, classes: int = 6, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of a model that is right more often than not; a large scale makes it too sure of itself."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)) * 2
    logits[np.arange(count), targets] += 3
    return (scale * logits).astype(np.float32), targets


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_at_most_so_many_new_right_answers_are_turned_away(rate: float) -> None:
    lost = []
    for seed in range(300):
        logits, targets = answers(400, seed)
        probabilities = Decision().probabilities(logits)
        threshold = reject_threshold(probabilities[:200], targets[:200], rate)
        new, right = probabilities[200:].max(axis=1), probabilities[200:].argmax(axis=1) == targets[200:]
        lost.append((new[right] < threshold).mean())
    assert np.mean(lost) == pytest.approx(rate, abs=0.008)


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_hold_the_true_class_as_often_as_promised(coverage: float) -> None:
    held = []
    for seed in range(300):
        logits, targets = answers(400, seed)
        probabilities = Decision().probabilities(logits)
        least = set_threshold(probabilities[:200], targets[:200], coverage)
        held.append((probabilities[200:][np.arange(200), targets[200:]] >= least).mean())
    assert np.mean(held) == pytest.approx(coverage, abs=0.008)


def test_too_few_pictures_promise_nothing_by_keeping_everything() -> None:
    logits, targets = answers(8, 0)
    probabilities = Decision().probabilities(logits)
    assert reject_threshold(probabilities, targets, 0.01) == 0.0
    assert set_threshold(probabilities, targets, 0.99) == 0.0
    assert set_threshold(probabilities, targets, 0.8) > 0


def test_a_fitted_decision_has_every_threshold_and_survives_its_json() -> None:
    logits, targets = answers(500, 1, scale=3)
    decision = fit_decision(logits, targets)
    assert decision.temperature > 1.5  # the model is too sure
    assert tuple(decision.rejects) == REJECTS
    assert tuple(decision.sets) == COVERAGES
    assert decision.fitted_on == 500
    assert Decision.from_json(decision.to_json()) == decision
    rates = [decision.rejects[rate] for rate in REJECTS]
    assert rates == sorted(rates)
    assert [decision.sets[share] for share in COVERAGES] == sorted(decision.sets.values(), reverse=True)


def test_what_thresholds_do_to_scored_pictures_is_counted() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.45, 0.55]])
    decision = Decision(rejects={"0.1": 0.6}, sets={"0.9": 0.4})
    said = kept(probabilities, np.array([0, 1, 1, 1]), decision)
    assert said["rejects"]["0.1"] == {"threshold": 0.6, "false_reject": 1 / 3, "answered": 0.75, "accuracy": 2 / 3}
    assert said["sets"]["0.9"] == {"threshold": 0.4, "coverage": 1.0, "mean_size": 1.5}


def test_pictures_that_fix_the_thresholds_are_held_against_those_of_the_others() -> None:
    """On average over draws; their own thresholds would turn away 5 % of right answers to the picture."""
    lost, held = [], []
    for seed in range(30):
        logits, targets = answers(60, seed)
        said = cross_kept(logits, targets, fit_decision(logits, targets), cross_decisions(logits, targets))
        lost.append(said["rejects"]["0.1"]["false_reject"])
        held.append(said["sets"]["0.95"]["coverage"])
    assert len(set(lost)) > 5
    assert np.mean(lost) < 0.11
    assert np.mean(held) > 0.94
    logits, targets = answers(60, 0)
    assert cross_kept(logits, targets, Decision(), []) == {"rejects": {}, "sets": {}}
    one_patient = cross_kept(
        logits, targets, fit_decision(logits, targets), cross_decisions(logits, targets, ["a"] * 60)
    )
    assert one_patient["rejects"]["0.2"]["answered"] == 1.0


def test_groups_promise_for_pictures_of_new_groups() -> None:
    values = np.linspace(0.01, 1, 200)
    probabilities, targets = np.stack([values, 1 - values], axis=1), np.zeros(200, int)
    alone = set_threshold(probabilities, targets, 0.9)
    assert alone == pytest.approx(0.1, abs=0.01)
    assert set_threshold(probabilities, targets, 0.9, [str(i) for i in range(200)]) == alone
    assert set_threshold(probabilities, targets, 0.9, [str(i // 40) for i in range(200)]) == 0.0  # five promise nothing
    twenty = set_threshold(probabilities, targets, 0.9, [str(i // 10) for i in range(200)])
    assert 0 < twenty < alone
    assert reject_threshold(probabilities, targets, 0.05, ["a"] * 200) == 0.0


def clips(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return logits of clips of twelve near copies: most of what is wrong with one is wrong with all."""
    random = np.random.default_rng(seed)
    targets = np.repeat(random.integers(0, 4, count), 12)
    logits = np.repeat(random.normal(size=(count, 4)) * 1.5, 12, axis=0) + random.normal(size=(count * 12, 4)) * 1.5
    logits[np.arange(len(targets)), targets] += 2.5
    return logits.astype(np.float32), targets, [f"clip {number // 12}" for number in range(count * 12)]


def test_the_mean_of_a_clip_is_as_sure_as_it_is_right() -> None:
    logits, targets, groups = clips(400, 0)
    decision = fit_decision(logits, targets, groups)
    assert decision.case_temperature < 0.95, "a mean of unlike answers is too unsure"
    assert Decision.from_json(decision.to_json()) == decision
    assert f"for groups {decision.case_temperature:.2f}" in decision.words
    logits, targets, groups = clips(4000, 1)
    cases = by_case(decision.probabilities(logits), targets, groups)
    found = case_figures(
        decision.probabilities(logits), targets, tuple("abcd"), groups, sures=lambda means, _: decision.of_cases(means)
    )["cases"]
    told = decision.of_cases(cases.probabilities)
    assert found["confidence"]["after"] == pytest.approx(told.max(axis=1).mean())
    assert abs(found["confidence"]["before"] - found["top1"]) > 0.04
    assert abs(found["confidence"]["after"] - found["top1"]) < 0.025
    assert found["ece"]["after"] < found["ece"]["before"] / 2
    assert (told.argmax(axis=1) == cases.probabilities.argmax(axis=1)).all(), "no answer changes"


def test_where_groups_say_nothing_their_means_stay_as_they_are() -> None:
    logits, targets, groups = clips(40, 0)
    assert fit_decision(logits, targets).case_temperature == 1
    assert fit_decision(logits[::12], targets[::12], groups[::12]).case_temperature == 1, "each is alone"
    mixed = [f"ward {number % 5}" for number in range(len(targets))]
    assert fit_decision(logits, targets, mixed).case_temperature == 1, "groups of several classes"
    assert fit_decision(logits, targets, groups, finding=0).case_temperature == 1, "its threshold is of plain means"
