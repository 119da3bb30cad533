import numpy as np
import pytest
from scipy import stats

from resnetkit.errors import DataError, UsageError
from resnetkit.evaluation.cases import by_case, case_figures
from resnetkit.evaluation.told_of_cases import case_lines
from resnetkit.evaluation.two_classes import screening
from resnetkit.inference.aggregation import asked

CLASSES = ("well", "sick")

SICK = np.array([0.9, 0.1, 0.2, 0.3, 0.6, 0.4])
PROBABILITIES = np.stack([1 - SICK, SICK], axis=1)
GROUPS = ["b", "a", "a", None, "b", "a"]
TARGETS = np.array([1, 0, 0, 1, 1, 0])


@pytest.mark.parametrize(
    ("how", "sick"), [("mean", [0.75, 0.7 / 3, 0.3]), ("max sick", [0.9, 0.4, 0.3]), ("top 2 sick", [0.75, 0.3, 0.3])]
)
def test_a_case_has_one_answer_in_the_order_of_its_first_picture(how: str, sick: list[float]) -> None:
    found = by_case(PROBABILITIES, TARGETS, GROUPS, how=asked(how, CLASSES))
    assert found.names == ["b", "a", None]
    assert [members.tolist() for members in found.members] == [[0, 4], [1, 2, 5], [3]]
    assert found.targets.tolist() == [1, 0, 1]
    assert found.probabilities[:, 1] == pytest.approx(sick)
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(3))


def test_without_a_class_in_question_each_has_its_surest_pictures() -> None:
    three = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]])
    assert asked("max", ("a", "b", "c"))(three) == pytest.approx(np.array([0.7, 0.5, 0.4]) / 1.6)
    assert asked("max c", ("a", "b", "c"))(three) == pytest.approx([0.1, 0.5, 0.4])
    assert asked("top 9", ("a", "b", "c"))(three) == pytest.approx(three.mean(axis=0))


def test_of_two_classes_the_one_in_question_must_be_named() -> None:
    """The most of one is the least of the other: of both at once even a plain case would have no answer."""
    with pytest.raises(UsageError, match="the surest of which class\\? write 'top 2 well' or 'top 2 sick'"):
        asked("top 2", CLASSES)
    assert asked("max", CLASSES, finding=1) == asked("max sick", CLASSES), "the class that is looked for"
    with pytest.raises(UsageError, match="no class 'sck'; there are well, sick; did you mean 'sick'"):
        asked("max sck", CLASSES)


def test_figures_of_cases_equal_a_hand_calculation() -> None:
    # a: (.9 + .2) / 2 = .55 and b: .8 of the sick are found, c: .4 is missed; d: .35 is right, e: .7 is not
    sick = np.array([0.9, 0.2, 0.8, 0.5, 0.3, 0.3, 0.4, 0.7])
    targets, groups = np.array([1, 1, 1, 1, 1, 0, 0, 0]), ["a", "a", "b", "c", "c", "d", "d", None]
    found = case_figures(np.stack([1 - sick, sick], axis=1), targets, CLASSES, groups)["cases"]
    assert found["count"] == 5
    assert found["top1"] == 3 / 5
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["majority"] == {"label": "sick", "top1": 3 / 5}
    assert found["pictures"] == {"fewest": 1, "most": 2}
    assert found["top1_interval"] == pytest.approx(stats.binomtest(3, 5).proportion_ci(method="exact"))
    # by the surest picture of the sick a: .9, b: .8, c: .5 (no less than .5 of the others), d: .4, e: .7
    assert case_figures(np.stack([1 - sick, sick], axis=1), targets, CLASSES, groups, how=asked("max sick", CLASSES))[
        "cases"
    ]["top1"] == pytest.approx(3 / 5)
    assert case_figures(PROBABILITIES, TARGETS, CLASSES, None) == {}


def test_groups_of_several_classes_have_no_figures_and_say_why() -> None:
    found = case_figures(PROBABILITIES, np.array([1, 0, 0, 1, 0, 0]), CLASSES, GROUPS)["cases"]
    assert found == {"how": "mean", "mixed": found["mixed"]}
    assert "'b'" in found["mixed"]
    assert case_lines({"cases": found, "split": "test"}) == [f"Groups have no figures of their own: {found['mixed']}."]


def test_noise_is_told_by_an_interval_that_holds_the_largest_class() -> None:
    random, told = np.random.default_rng(0), 0
    for _ in range(100):
        of_case = random.permutation(np.repeat([0, 1], 15))
        groups, targets = np.repeat(np.arange(30), 4), np.repeat(of_case, 4)
        sick = random.random(120)
        found = case_figures(np.stack([1 - sick, sick], axis=1), targets, CLASSES, [str(one) for one in groups])
        [line] = case_lines(found | {"split": "test"})
        told += "which lies inside the interval" in line
    assert told >= 93


def test_noise_that_the_number_of_pictures_tells_apart_is_told() -> None:
    """By its surest picture a case of many looks ill: noise reaches an area of 20 / 25 where the ill have 20, not 5."""
    random, sizes = np.random.default_rng(0), np.repeat([20, 5], 300)
    groups = [str(number) for number in np.repeat(np.arange(600), sizes)]
    targets, sick = np.repeat(np.repeat([1, 0], 300), sizes), random.random(sizes.sum())
    rows = np.stack([1 - sick, sick], axis=1)
    by_most = screening(rows, targets, CLASSES, groups, how=asked("max sick", CLASSES))["screening"]["cases"]["sick"]
    assert by_most["roc_auc"]["value"] == pytest.approx(0.8, abs=0.05)
    assert by_most["specificity"]["value"] < 0.1
    found = case_figures(rows, targets, CLASSES, groups, how=asked("max sick", CLASSES))
    assert found["cases"]["number_alone"]["value"] == 1.0
    assert case_lines(found | {"split": "test"})[1].startswith("The number of their pictures alone tells groups apart")
    mean = case_figures(rows, targets, CLASSES, groups)
    assert "number_alone" not in mean["cases"]
    assert len(case_lines(mean | {"split": "test"})) == 1


def test_cases_held_out_by_folds_have_the_wider_interval() -> None:
    alone, folds = (
        case_figures(PROBABILITIES, TARGETS, CLASSES, GROUPS, by_folds=by_folds)["cases"]["top1_interval"]
        for by_folds in (False, True)
    )
    assert folds[0] <= alone[0]
    assert alone[1] <= folds[1]


def test_a_picture_without_a_group_is_no_group_of_that_name() -> None:
    assert by_case(PROBABILITIES[:3], TARGETS[:3], [None, None, "1"]).names == [None, None, "1"]


def test_a_case_of_several_classes_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"'b'.*2 pictures are of 2 classes"):
        by_case(PROBABILITIES, np.array([1, 0, 0, 1, 0, 0]), GROUPS)


@pytest.mark.parametrize("how", ["median", "top", "top 0", "top x", "mean sick", ""])
def test_an_unknown_way_is_a_usage_error(how: str) -> None:
    with pytest.raises(UsageError, match="choose mean, max or 'top 3'"):
        asked(how, CLASSES)
