import math

import numpy as np
import pytest

from resnetkit.errors import UsageError
from resnetkit.evaluation.prevalence import at_prevalence
from resnetkit.evaluation.screening import as_test, likelihood_ratio
from resnetkit.models.point import recalibrated

# 80 of 100 pictures of the class are found, 30 of 100 others are false alarms.
TRUE = np.arange(200) < 100
SCORES = np.concatenate([np.arange(100) < 80, np.arange(100) < 30]).astype(float)


def test_predictive_values_follow_from_bayes() -> None:
    found = at_prevalence(SCORES >= 0.5, TRUE, prevalence=0.02)
    assert found.ppv.value == pytest.approx(0.8 * 0.02 / (0.8 * 0.02 + 0.3 * 0.98))
    assert found.npv.value == pytest.approx(0.7 * 0.98 / (0.7 * 0.98 + 0.2 * 0.02))


def test_their_intervals_are_even_on_the_log_odds() -> None:
    found = at_prevalence(SCORES >= 0.5, TRUE, prevalence=0.02)
    for figure, variance in ((found.ppv, 0.2 / 80 + 0.7 / 30), (found.npv, 0.8 / 20 + 0.3 / 70)):
        assert figure.value is not None
        assert figure.interval is not None
        odds = math.log(figure.value / (1 - figure.value))
        bounds = [1 / (1 + math.exp(-odds + side * 1.959964 * math.sqrt(variance))) for side in (1, -1)]
        assert [figure.interval.low, figure.interval.high] == pytest.approx(bounds)


def test_at_their_own_prevalence_they_are_what_is_counted() -> None:
    counted = as_test(SCORES >= 0.5, TRUE)
    found = at_prevalence(SCORES >= 0.5, TRUE, prevalence=0.5)
    assert (found.ppv.value, found.npv.value) == pytest.approx((counted.ppv.value, counted.npv.value))


def test_without_false_alarms_the_bound_is_not_without_doubt() -> None:
    scores = SCORES * TRUE
    found = at_prevalence(scores >= 0.5, TRUE, prevalence=0.02)
    assert found.ppv.value == 1.0
    assert found.ppv.interval is not None
    low = 0.02 / 0.98 * likelihood_ratio(scores >= 0.5, TRUE)[1]
    assert found.ppv.interval.low == pytest.approx(low / (1 + low))
    assert found.ppv.interval.low < 0.7
    assert at_prevalence(scores >= 2.0, TRUE, prevalence=0.02).ppv.value is None


def test_patients_make_them_less_certain() -> None:
    names = [str(number // 20) for number in range(200)]
    alone = at_prevalence(SCORES >= 0.5, TRUE, prevalence=0.1).ppv.interval
    grouped = at_prevalence(SCORES >= 0.5, TRUE, prevalence=0.1, groups=names).ppv.interval
    assert alone is not None
    assert grouped is not None
    assert grouped.low < alone.low < alone.high < grouped.high


def test_recalibrated_probabilities_fit_the_prevalence() -> None:
    random = np.random.default_rng(0)
    rare = random.random(400_000) < 0.1
    feature = random.normal(size=400_000) + rare
    at_half = 1 / (1 + np.exp(-(feature - 0.5)))  # what fits where half are of the class
    found = recalibrated(at_half, seen=0.5, prevalence=0.1)
    assert found.mean() == pytest.approx(0.1, abs=0.002)
    near = (found > 0.3) & (found < 0.4)
    assert rare[near].mean() == pytest.approx(found[near].mean(), abs=0.01)
    np.testing.assert_allclose(recalibrated(found, seen=0.1, prevalence=0.5), at_half)


@pytest.mark.parametrize("prevalence", [0.0, 1.0, 2.0, math.nan])
def test_a_prevalence_is_a_share(prevalence: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        at_prevalence(SCORES >= 0.5, TRUE, prevalence=prevalence)
