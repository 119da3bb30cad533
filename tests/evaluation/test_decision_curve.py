import numpy as np
import pytest

from resnetkit.errors import DataError, UsageError
from resnetkit.evaluation.decision_curve import decision_curve

PROBABILITIES = np.array([0.9, 0.8, 0.6, 0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.0])
TRUE = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0, 0], bool)


def test_net_benefit_is_that_of_a_hand_calculation() -> None:
    curve = decision_curve(PROBABILITIES, TRUE, thresholds=[0.2, 0.5])
    assert curve.model == pytest.approx([3 / 10 - 2 / 10 / 4, 2 / 10 - 1 / 10])  # at 0.2 five are called, two wrongly
    assert curve.everyone == pytest.approx([3 / 10 - 7 / 10 / 4, 3 / 10 - 7 / 10])


def test_a_perfect_model_gains_the_prevalence_and_a_blind_one_no_more_than_everyone() -> None:
    assert decision_curve(TRUE.astype(float), TRUE).model == pytest.approx(np.full(99, 0.3))
    blind = decision_curve(np.full(10, 0.3), TRUE)
    assert blind.model == pytest.approx(np.where(blind.thresholds <= 0.3, blind.everyone, 0))


def test_a_stated_prevalence_weighs_as_pictures_would() -> None:
    others = np.repeat(np.arange(10), np.where(TRUE, 1, 3))
    more = decision_curve(PROBABILITIES[others], TRUE[others], thresholds=[0.15, 0.3])
    stated = decision_curve(PROBABILITIES, TRUE, thresholds=[0.15, 0.3], prevalence=3 / 24)
    assert stated.model == pytest.approx(more.model)
    assert stated.everyone == pytest.approx(more.everyone)


def test_what_has_no_curve_is_said() -> None:
    with pytest.raises(DataError, match="both"):
        decision_curve(PROBABILITIES, np.zeros(10, bool))
    with pytest.raises(UsageError, match="probabilities between 0 and 1"):
        decision_curve(PROBABILITIES, TRUE, thresholds=[1.0])
