"""The temperature: found where it is known, and 1 where the pictures cannot fix it."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from resnetkit.errors import DataError
from resnetkit.evaluation.calibration import (
    binned,
    cross_fitted,
    expected_error,
    fit_temperature,
    helpful_temperature,
    reliability,
)
from resnetkit.models.decision import softmax


def answers(count: int, *, factor: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax at the temperature `factor` is the true distribution of the targets."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(count, 5))
    probabilities = softmax(logits).astype(np.float64)
    targets = (probabilities.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1).clip(max=4)
    return (factor * logits).astype(np.float32), targets


def likelihood_loss(logits: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    rows = softmax(logits, temperature=temperature)[np.arange(len(targets)), targets]
    return float(-np.log(rows.astype(np.float64)).mean())


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_that_made_the_answers_is_found(factor: float) -> None:
    assert fit_temperature(*answers(20_000, factor=factor)) == pytest.approx(factor, rel=0.03)


@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_it_is_the_minimum_that_scipy_finds(factor: float) -> None:
    logits, targets = answers(400, factor=factor)
    found = minimize_scalar(lambda log: likelihood_loss(logits, targets, np.exp(log)), bounds=(-3, 3), method="bounded")
    assert fit_temperature(logits, targets) == pytest.approx(np.exp(found.x), rel=1e-3)


def test_adding_a_number_to_a_row_changes_nothing() -> None:
    logits, targets = answers(300, factor=2.0)
    offsets = np.random.default_rng(3).normal(size=(300, 1)).astype(np.float32)
    assert fit_temperature(logits + 100 * offsets, targets) == pytest.approx(fit_temperature(logits, targets), rel=1e-3)


def test_logits_of_any_size_do_not_overflow() -> None:
    logits, targets = answers(300, factor=8.0)
    assert fit_temperature(logits, targets) == pytest.approx(8, rel=0.2)
    assert fit_temperature(1000 * logits, targets) == 1.0


def test_answers_that_fix_no_temperature_leave_it_at_1() -> None:
    right = np.array([0, 1, 2, 1])
    assert fit_temperature(9 * np.eye(3)[right], right) == 1.0
    assert fit_temperature(-9 * np.eye(3)[right], right) == 1.0
    assert fit_temperature(np.zeros((4, 3)), right) == 1.0
    assert fit_temperature(np.zeros((4, 1)), 0 * right) == 1.0


def test_what_is_no_answer_is_refused() -> None:
    logits, targets = answers(10, factor=1.0)
    with pytest.raises(DataError, match="not finite"):
        fit_temperature(logits * np.nan, targets)
    with pytest.raises(DataError, match="no held-out picture"):
        fit_temperature(logits[:0], targets[:0])
    with pytest.raises(DataError, match="from 0 to 4"):
        fit_temperature(logits, targets + 5)
    with pytest.raises(DataError, match="from 0 to 4"):
        fit_temperature(logits, targets.astype(np.float64))


def test_too_few_pictures_leave_the_temperature_at_1() -> None:
    helped = [helpful_temperature(*answers(12, factor=1.0, seed=seed)) for seed in range(40)]
    assert helped.count(1.0) > 20
    assert helpful_temperature(*answers(2000, factor=3.0)) == pytest.approx(3, rel=0.1)


def test_cross_fitted_probabilities_come_from_other_pictures_and_keep_groups_together() -> None:
    logits, targets = answers(400, factor=3.0)
    fitted = cross_fitted(logits, targets)
    np.testing.assert_allclose(fitted.sum(axis=1), 1, atol=1e-5)
    temperatures = {round(float(t), 4) for t in (logits[:, 0] - logits[:, 1]) / np.log(fitted[:, 0] / fitted[:, 1])}
    assert len(temperatures) >= 5  # one for each fifth, none fitted on all
    assert all(2 < temperature < 4 for temperature in temperatures)
    grouped = cross_fitted(logits, targets, [str(i // 100) for i in range(400)])
    of_first = (logits[:100, 0] - logits[:100, 1]) / np.log(grouped[:100, 0] / grouped[:100, 1])
    assert of_first.max() - of_first.min() < 0.02
    assert np.isfinite(cross_fitted(logits[:3], targets[:3], ["a", "a", "a"])).all()


def test_the_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.88, 0.12], [0.4, 0.6], [0.35, 0.65]])
    said = reliability(probabilities, np.array([0, 1, 1, 1]))
    assert [entry["count"] for entry in said["bins"]] == [1, 1, 2]  # 0.6 lies on an edge, and belongs below it
    assert said["ece"] == pytest.approx((0.4 + 0.35 + 2 * (0.89 - 0.5)) / 4)
    assert expected_error(binned(probabilities, np.array([0, 1, 1, 1])).sum(axis=0)) == said["ece"]
