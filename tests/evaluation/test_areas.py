"""Areas are scikit-learn's, and what a picture does to one is what repeating it would do."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from resnetkit.evaluation.areas import Measure, areas, average_precision, under_roc

MEASURES = pytest.mark.parametrize(
    ("measure", "reference"), [(under_roc, roc_auc_score), (average_precision, average_precision_score)]
)


def scored(count: int = 200, *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    of_class = random.random(count) < 0.3
    scores = random.normal(size=count) + of_class
    return of_class, scores.round(1) if ties else scores


@MEASURES
@pytest.mark.parametrize("ties", [False, True])
def test_areas_are_scikit_learns(measure: Measure, reference: object, ties: bool) -> None:
    of_class, scores = scored(ties=ties)
    assert callable(reference)
    assert measure(of_class, scores)[0] == pytest.approx(reference(of_class, scores), abs=1e-12)


@MEASURES
@pytest.mark.parametrize("ties", [False, True])
def test_an_influence_is_how_the_area_moves_when_a_picture_counts_a_little_more(
    measure: Measure, reference: object, ties: bool
) -> None:
    of_class, scores = scored(ties=ties)
    assert callable(reference)
    area, influence = measure(of_class, scores)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    for picture in range(0, 200, 7):
        weights = np.ones(200)
        weights[picture] += 1e-4
        moved = (reference(of_class, scores, sample_weight=weights) - area) / 1e-4
        assert influence[picture] / 200 == pytest.approx(moved, rel=1e-3, abs=1e-7)


def test_areas_by_hand_and_none_where_there_is_nothing_to_rank() -> None:
    scores = np.array([[0.8, 0.2, 0.0], [0.4, 0.6, 0.0], [0.7, 0.3, 0.0], [0.1, 0.9, 0.0]])
    # Of the four pairs of an a and a b, three have the a higher.
    found = areas(under_roc, scores, np.array([0, 0, 1, 1]))
    assert found.per_class == [0.75, 0.75, None]
    assert found.macro == 0.75
    assert areas(average_precision, scores, np.array([0, 0, 1, 1])).per_class[0] == pytest.approx((1 + 2 / 3) / 2)


def test_of_one_class_there_is_no_area() -> None:
    found = areas(under_roc, np.ones((3, 1)), np.zeros(3, int))
    assert found.per_class == [None]
    assert found.macro is None
