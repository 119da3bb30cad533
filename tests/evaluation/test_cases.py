import numpy as np
import pytest

from resnetkit.errors import DataError, UsageError
from resnetkit.evaluation.cases import by_case

SICK = np.array([0.9, 0.1, 0.2, 0.3, 0.6, 0.4])
PROBABILITIES = np.stack([1 - SICK, SICK], axis=1)
GROUPS = ["b", "a", "a", None, "b", "a"]
TARGETS = np.array([1, 0, 0, 1, 1, 0])


@pytest.mark.parametrize(
    ("how", "sick"), [("mean", [0.75, 0.7 / 3, 0.3]), ("max", [0.9, 0.4, 0.3]), ("top 2", [0.75, 0.3, 0.3])]
)
def test_a_case_has_one_answer_in_the_order_of_its_first_picture(how: str, sick: list[float]) -> None:
    found = by_case(PROBABILITIES, TARGETS, GROUPS, how=how, of_class=1)
    assert found.names == ["b", "a", None]
    assert [members.tolist() for members in found.members] == [[0, 4], [1, 2, 5], [3]]
    assert found.targets.tolist() == [1, 0, 1]
    assert found.probabilities[:, 1] == pytest.approx(sick)
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(3))


def test_without_a_class_in_question_each_has_its_surest_pictures() -> None:
    found = by_case(PROBABILITIES, TARGETS, GROUPS, how="max")
    assert found.probabilities[1] == pytest.approx([0.9 / 1.3, 0.4 / 1.3])


def test_a_picture_without_a_group_is_no_group_of_that_name() -> None:
    assert by_case(PROBABILITIES[:3], TARGETS[:3], [None, None, "1"]).names == [None, None, "1"]


def test_a_case_of_several_classes_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"'b'.*2 pictures are of 2 classes"):
        by_case(PROBABILITIES, np.array([1, 0, 0, 1, 0, 0]), GROUPS)


@pytest.mark.parametrize("how", ["median", "top", "top 0", "top x"])
def test_an_unknown_way_is_a_usage_error(how: str) -> None:
    with pytest.raises(UsageError, match="choose mean, max or 'top 3'"):
        by_case(PROBABILITIES, TARGETS, GROUPS, how=how)
