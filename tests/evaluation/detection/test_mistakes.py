"""Each kind of mistake, on pictures made for it."""

import numpy as np
import pytest

from resnetkit.evaluation.detection.matching import matched
from resnetkit.evaluation.detection.mistakes import KINDS, Mistake, mistakes_of, numbers_of
from resnetkit.evaluation.detection.operating import at_work
from tests.evaluation.detection.scenes import found, perfect, scenes, truth

BOX = (0, 0, 100, 100)
NEAR = (0, 0, 100, 60)  # .6 of it
PART = (0, 0, 100, 30)  # .3
AWAY = (200, 200, 250, 250)
HALF = np.array([0.5, 0.5])


def of_one(true: tuple, *said: tuple) -> list[Mistake]:
    """Return the mistakes on one picture."""
    truths, founds = [truth(*true)], [found(*said)]
    return mistakes_of(matched(truths, founds, num_classes=2), truths, founds, HALF)


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        ([(0, 0.9, BOX)], []),
        ([(0, 0.9, NEAR)], []),
        ([], ["missed"]),
        ([(0, 0.4, BOX)], ["missed"]),
        ([(0, 0.9, BOX), (0, 0.8, NEAR)], ["doubled"]),
        ([(0, 0.9, PART)], ["misplaced"]),
        ([(1, 0.9, BOX)], ["misnamed"]),
        ([(1, 0.9, PART)], ["missed", "both"]),
        ([(0, 0.9, AWAY)], ["missed", "imagined"]),
        ([(0, 0.9, BOX), (1, 0.8, NEAR)], ["misnamed"]),
        ([(0, 0.9, BOX), (0, 0.8, PART)], ["misplaced"]),
        ([(0, 0.9, PART), (1, 0.8, BOX)], ["misnamed", "misplaced"]),
    ],
)
def test_each_mistake_has_its_kind(said: list, kinds: list[str]) -> None:
    assert [one.kind for one in of_one(((0, BOX),), *said)] == kinds


def test_a_mistake_says_what_was_said_and_what_is_there() -> None:
    (one,) = of_one(((0, BOX),), (1, 0.75, NEAR))
    assert one == Mistake(
        kind="misnamed", picture=0, label=1, score=0.75, box=NEAR, true_label=0, true_box=BOX,
        overlap=pytest.approx(0.6),
    )  # fmt: skip
    (unseen,) = of_one(((1, BOX),))
    assert unseen == Mistake(kind="missed", picture=0, true_label=1, true_box=BOX)
    (unsure,) = of_one(((1, BOX),), (1, 0.25, BOX))
    assert (unsure.kind, unsure.score, unsure.box) == ("missed", 0.25, None)


def test_a_box_beside_two_objects_is_held_against_the_one_that_was_not_found() -> None:
    true = ((0, BOX), (0, (0, 100, 100, 200)))
    (one,) = of_one(true, (0, 0.9, BOX), (0, 0.8, (0, 60, 100, 130)))
    assert (one.kind, one.true_box) == ("misplaced", (0, 100, 100, 200))


def test_what_lies_in_a_crowd_is_no_mistake_and_a_crowd_is_not_missed() -> None:
    truths, founds = [truth((0, BOX), crowd=(0,))], [found((0, 0.9, (10, 10, 20, 20)))]
    assert mistakes_of(matched(truths, founds, num_classes=2), truths, founds, HALF) == []


def test_what_overlaps_nothing_but_a_crowd_of_another_class_is_imagined() -> None:
    truths, founds = [truth((0, BOX), crowd=(0,))], [found((1, 0.9, NEAR))]
    mistakes = mistakes_of(matched(truths, founds, num_classes=2), truths, founds, HALF)
    assert [(one.kind, one.true_box) for one in mistakes] == [("imagined", None)]


def test_the_worst_come_first() -> None:
    truths = [truth((0, BOX)), truth((0, (0, 0, 50, 50))), truth((0, BOX)), truth()]
    founds = [found(), found(), found((0, 0.3, BOX)), found((1, 0.6, AWAY), (0, 0.8, BOX))]
    mistakes = mistakes_of(matched(truths, founds, num_classes=2), truths, founds, HALF)
    assert [(one.kind, one.picture) for one in mistakes[:3]] == [("missed", 0), ("missed", 1), ("missed", 2)]
    assert [(one.kind, one.score) for one in mistakes[3:]] == [
        ("imagined", pytest.approx(0.8)), ("imagined", pytest.approx(0.6)),
    ]  # fmt: skip


def test_every_false_alarm_is_one_mistake_and_every_object_is_found_or_met() -> None:
    truths, founds = scenes(1, 80, crowd=0.1)
    matches, at = matched(truths, founds, num_classes=3), np.array([0.3, 0.4, 0.5])
    mistakes, work = mistakes_of(matches, truths, founds, at), at_work(matches, at)
    numbers = numbers_of(mistakes)
    assert set(numbers) == set(KINDS)
    assert all(numbers.values())
    assert sum(numbers.values()) - numbers["missed"] == work["said"] - work["right"]
    met = {(one.picture, one.true_box) for one in mistakes if one.kind in ("misnamed", "misplaced", "missed")}
    assert work["right"] + numbers["missed"] <= work["objects"] <= work["right"] + len(met)


def test_perfect_answers_make_no_mistakes() -> None:
    truths, _ = scenes(2, 30)
    founds = perfect(truths)
    matches = matched(truths, founds, num_classes=3)
    assert mistakes_of(matches, truths, founds, np.full(3, 0.5)) == []


def test_pictures_may_have_scores_of_their_own() -> None:
    truths, founds = [truth((0, BOX))] * 2, [found((0, 0.4, BOX))] * 2
    at = np.array([[0.3, 0.5], [0.5, 0.5]])
    mistakes = mistakes_of(matched(truths, founds, num_classes=2), truths, founds, at)
    assert [(one.kind, one.picture) for one in mistakes] == [("missed", 1)]
