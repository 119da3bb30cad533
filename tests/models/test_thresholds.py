import numpy as np
import pytest

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from resnetkit.models.decision import Question
from resnetkit.models.goals import goal_of
from resnetkit.models.thresholds import Thresholds

CLASSES = ("car", "dog", "tree")


def asked(top_k: int) -> Question:
    return Question(classes=CLASSES, top_k=top_k, size=(8, 8), preprocess=Preprocess())


def test_each_label_is_present_from_its_own_threshold_on() -> None:
    decision = Thresholds(at=(0.2, 0.9, 0.5))
    found = decision.answers(np.array([[0.2, 0.89, 0.5], [0.1, 0.9, 0.4]], np.float32))
    assert found.tolist() == [[True, False, True], [False, True, False]]
    assert Thresholds().answers(np.array([[0.5, 0.49, 1.0]])).tolist() == [[True, False, True]]


def test_an_answer_holds_the_labels_and_the_most_probable_others() -> None:
    decision = Thresholds(at=(0.05, 0.9, 0.9))
    told = decision.answer(np.array([0.1, 0.8, 0.7]), asked(1))
    assert told.labels == ("car",)
    assert told.top == (("dog", pytest.approx(0.8)), ("car", pytest.approx(0.1)))
    assert decision.answer(np.array([0.0, 0.8, 0.7]), asked(2)).labels == ()


def test_probabilities_are_sigmoids_of_any_size() -> None:
    found = Thresholds().probabilities(np.array([[0.0, 1e6, -1e6], [np.nan, np.inf, 1.0]]))
    assert found[0].tolist() == [0.5, 1.0, pytest.approx(0.0, abs=1e-30)]
    assert np.isnan(found[1, :2]).all()
    assert found.dtype == np.float32


def test_thresholds_survive_their_json() -> None:
    decision = Thresholds(at=(0.1, 0.5), goal="precision 0.9", unmet=("dog",), fitted_on=10, fitted_to="x")
    assert Thresholds.from_json(decision.to_json()) == decision
    assert Thresholds().to_json() == {}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"at": [0.5, 1.5]}, UsageError),
        ({"at": [True]}, UsageError),
        ({"at": 0.5}, UsageError),
        ({"goal": "luck"}, UsageError),
        ({"temperature": 2}, DataError),
    ],
)
def test_impossible_values_are_refused(values: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"decision|goal"):
        Thresholds.from_json(values)


def test_other_numbers_of_classes_are_told() -> None:
    with pytest.raises(DataError, match="2 thresholds for 3 classes"):
        Thresholds(at=(0.1, 0.5)).of(3)


@pytest.mark.parametrize("text", ["", "f1 0.5", "precision", "recall", "precision 0", "recall 1.1", "precision x"])
def test_a_goal_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--goal"):
        goal_of(text)
    assert goal_of("precision 0.9") == ("precision", 0.9)
    assert goal_of("f1") == ("f1", 1.0)
