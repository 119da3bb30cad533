"""Curves and areas are those of scikit-learn's definitions, by hand where small."""

import numpy as np

from resnetkit.evaluation.ranking import curves, selective


def test_curves_go_from_nothing_to_all_and_are_left_out_where_there_is_nothing_to_rank() -> None:
    scores = np.array([[0.8, 0.2, 0.0], [0.4, 0.6, 0.0], [0.7, 0.3, 0.0], [0.1, 0.9, 0.0]])
    drawn = curves(scores, np.array([0, 0, 1, 1]), ("a", "b", "c"))
    assert set(drawn) == {"a", "b"}
    assert drawn["a"]["roc"][0] == [0.0, 0.0]
    assert drawn["a"]["roc"][-1] == [1.0, 1.0]


def test_curves_are_thinned_and_left_out_for_many_classes() -> None:
    random = np.random.default_rng(0)
    drawn = curves(random.random((3000, 2)), random.integers(0, 2, 3000), ("a", "b"))
    assert all(len(points) <= 101 for curve in drawn.values() for points in curve.values())
    assert curves(random.random((90, 30)), np.arange(90) % 30, [str(i) for i in range(30)]) == {}


def test_the_surest_answers_come_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    points = selective(probabilities, np.array([0, 1, 1, 0]))
    assert points == [
        {"coverage": 0.25, "accuracy": 1.0, "threshold": 0.9},
        {"coverage": 0.5, "accuracy": 1.0, "threshold": 0.8},
        {"coverage": 0.75, "accuracy": 2 / 3, "threshold": 0.6},
        {"coverage": 1.0, "accuracy": 0.5, "threshold": 0.55},
    ]


def test_answers_that_are_equally_sure_have_no_order() -> None:
    probabilities = np.array([[1.0, 0.0]] * 4 + [[0.6, 0.4]])
    for targets in ([0, 0, 1, 1, 0], [1, 1, 0, 0, 0]):
        points = selective(probabilities, np.array(targets))
        assert [point["accuracy"] for point in points] == [0.5, 0.5, 0.5, 0.5, 0.6]


def test_the_curve_of_a_rare_class_keeps_its_steps() -> None:
    of_class = np.zeros(10_000, bool)
    of_class[[0, 3, 9, 20, 40, 90, 200, 400, 800, 1600]] = True
    scores = -np.arange(10_000) / 10_000
    drawn = curves(np.stack([scores, 1 - scores], axis=1), np.where(of_class, 0, 1), ("rare", "other"))
    recalls = {recall for recall, _ in drawn["rare"]["precision_recall"]}
    assert {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0} <= recalls
