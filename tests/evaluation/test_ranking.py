"""Curves and areas are those of scikit-learn's definitions, by hand where small."""

import numpy as np
import pytest

from resnetkit.evaluation.ranking import ranking_figures, selective


def test_areas_by_hand_and_none_where_there_is_nothing_to_rank() -> None:
    scores = np.array([[0.8, 0.2, 0.0], [0.4, 0.6, 0.0], [0.7, 0.3, 0.0], [0.1, 0.9, 0.0]])
    figures = ranking_figures(scores, np.array([0, 0, 1, 1]), classes=("a", "b", "c"))
    # Of the four pairs of an a and a b, three have the a higher.
    assert figures["roc_auc"]["per_class"] == {"a": 0.75, "b": 0.75, "c": None}
    assert figures["roc_auc"]["macro"] == 0.75
    assert figures["average_precision"]["per_class"]["a"] == pytest.approx((1 + 2 / 3) / 2)
    assert set(figures["curves"]) == {"a", "b"}
    assert figures["curves"]["a"]["roc"][0] == [0.0, 0.0]
    assert figures["curves"]["a"]["roc"][-1] == [1.0, 1.0]


def test_curves_are_thinned_and_left_out_for_many_classes() -> None:
    random = np.random.default_rng(0)
    figures = ranking_figures(random.random((3000, 2)), random.integers(0, 2, 3000), classes=("a", "b"))
    assert all(len(points) <= 101 for curve in figures["curves"].values() for points in curve.values())
    many = ranking_figures(random.random((90, 30)), np.arange(90) % 30, classes=[str(i) for i in range(30)])
    assert many["curves"] == {}
    assert len(many["roc_auc"]["per_class"]) == 30


def test_the_surest_answers_come_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    points = selective(probabilities, np.array([0, 1, 1, 0]))
    assert points == [
        {"coverage": 0.25, "accuracy": 1.0, "threshold": 0.9},
        {"coverage": 0.5, "accuracy": 1.0, "threshold": 0.8},
        {"coverage": 0.75, "accuracy": 2 / 3, "threshold": 0.6},
        {"coverage": 1.0, "accuracy": 0.5, "threshold": 0.55},
    ]
