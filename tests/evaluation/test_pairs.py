"""Equal models are called different as seldom as promised, unequal ones are told apart."""

import numpy as np
import pytest

from resnetkit.evaluation.pairs import adjusted, is_real, paired_difference


def right(*, both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    ones = np.array([1] * both + [1] * first + [0] * second + [0] * neither, bool)
    twos = np.array([1] * both + [0] * first + [1] * second + [0] * neither, bool)
    return ones, twos


def test_mcnemars_exact_test_by_hand() -> None:
    difference = paired_difference(*right(both=80, first=1, second=9, neither=10))
    assert difference.p_value == pytest.approx(2 * (1 + 10) / 2**10)  # two tails of ten fair coins
    assert difference.share == pytest.approx(0.08)
    assert (difference.gained, difference.lost) == (9, 1)
    assert 0 < difference.interval.low < 0.08 < difference.interval.high < 0.16
    assert is_real(difference.p_value)


def test_the_same_answers_are_no_difference() -> None:
    difference = paired_difference(*right(both=50, first=0, second=0, neither=5))
    assert (difference.share, difference.p_value) == (0.0, 1.0)


def test_equal_models_are_called_different_in_fewer_than_5_of_100() -> None:
    random = np.random.default_rng(0)
    called = 0
    for _ in range(80):
        hard = random.random(150) < 0.3
        ones, twos = ((random.random(150) < np.where(hard, 0.6, 0.97)) for _ in range(2))
        called += is_real(paired_difference(ones, twos).p_value)
    assert called <= 6


def test_ten_pictures_of_one_patient_are_one_toss_of_the_coin() -> None:
    ones, twos = right(both=60, first=0, second=30, neither=10)
    groups = [f"{i // 10}" for i in range(100)]
    assert is_real(paired_difference(ones, twos).p_value)
    assert paired_difference(ones, twos, groups).p_value == pytest.approx(0.25, abs=0.03)


def test_several_comparisons_together_mislead_no_more_often() -> None:
    assert adjusted([0.04]) == [0.04]
    assert adjusted([0.02, 0.02, 0.5]) == [0.06, 0.06, 0.5]


def test_models_that_agree_may_differ_on_other_pictures() -> None:
    right = np.ones(10, bool)
    for groups in (None, ["a"] * 5 + ["b"] * 5):
        interval = paired_difference(right, right, groups).interval
        assert interval.low == -interval.high < -0.1
    few = paired_difference(np.zeros(200, bool), np.arange(200) < 3)
    assert few.p_value > 0.05
    assert few.interval.low < 0 < few.interval.high
