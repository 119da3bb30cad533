"""What errors cost: the mean, its interval, what other answers would cost, and how often the costly errors came."""

import numpy as np
import pytest

from resnetkit.evaluation.cost_words import cost_lines
from resnetkit.evaluation.costs import cost_figures, cost_interval
from resnetkit.models.costs import costs_of
from resnetkit.models.decision import Decision

LIGHTS = ("green", "red", "yellow")
DECISION = Decision(costs=costs_of(["red:green=100"], LIGHTS), fitted_on=50)


def some(count: int, sure: float) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of which 6 of 10 are red, and what one can know of them by noisy numbers: calibrated probabilities."""
    random, prior = np.random.default_rng(0), np.array([0.35, 0.6, 0.05])
    targets = random.choice(3, count, p=prior)
    seen = random.normal(0, 1, (count, 3)) + sure * np.eye(3)[targets]
    odds = prior * np.exp(sure * seen)
    return odds / odds.sum(axis=1, keepdims=True), targets


def figures(probabilities: np.ndarray, targets: np.ndarray, decision: Decision = DECISION, groups=None) -> dict:  # type: ignore[no-untyped-def,type-arg]
    told = decision.told(probabilities)
    found: dict[str, dict] = cost_figures(probabilities, targets, told, LIGHTS, groups, decision=decision)  # type: ignore[type-arg]
    return found["cost"]


def test_the_figures_are_those_of_a_count_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1, 0], [0.999, 0.001, 0], [0.2, 0.8, 0], [0.1, 0.1, 0.8]])
    cost = figures(probabilities, np.array([1, 1, 1, 0]))
    assert (cost["mean"], cost["most_probable"]["mean"]) == ((0 + 100 + 0 + 1) / 4, (100 + 100 + 0 + 1) / 4)
    assert (cost["constant"], cost["changed"]) == ({"label": "red", "mean": 0.25}, 1)
    [error] = cost["errors"]
    assert (error["true"], error["told"], error["cost"], error["count"], error["of"]) == ("red", "green", 100.0, 1, 3)
    words = " ".join(cost_lines({"cost": cost}))
    assert 'always telling "red" 0.25: the model is no better than that' in words
    assert "red told green, at 100: 1 of 3, 90.6 % at most." in words
    assert "never fitted" not in words
    assert cost_figures(probabilities, np.zeros(4, int), np.zeros(4, int), LIGHTS, None, decision=Decision()) == {}
    assert "never fitted" in " ".join(cost_lines({"cost": cost | {"tempered": False}}))


def test_telling_by_costs_costs_less_than_the_most_probable_and_noise_no_less_than_one_answer() -> None:
    for sure, better in ((3.0, True), (0.0, False)):
        cost = figures(*some(4000, sure))
        assert cost["mean"] <= cost["most_probable"]["mean"]
        assert (cost["interval"][1] < cost["constant"]["mean"]) is better
        assert (cost["mean"] < cost["constant"]["mean"]) is better


def test_errors_that_were_not_seen_are_not_beyond_doubt() -> None:
    """None of 181 that cost 100 each: the interval says how many there may be, where drawing anew would end at 0."""
    interval = cost_interval(np.zeros(297), np.array([1.0, 100.0]))
    assert interval.low == 0
    assert interval.high == pytest.approx(100 * (1 - 0.025 ** (1 / 297)))
    groups = [str(number // 10) for number in range(297)]
    assert cost_interval(np.zeros(297), np.array([1.0, 100.0]), groups).high > 5 * interval.high


def test_the_interval_holds_what_many_more_pictures_cost() -> None:
    random, levels, shares = np.random.default_rng(1), np.array([1.0, 100.0]), [0.95, 0.045, 0.005]
    true, held = 0.045 + 0.5, 0
    for _ in range(300):
        interval = cost_interval(random.choice([0, 1, 100], 250, p=shares), levels)
        held += interval.low <= true <= interval.high
    assert held >= 0.94 * 300
