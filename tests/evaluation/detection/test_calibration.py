"""Probabilities of boxes: fitted from scores, and how far they are from what is right."""

from dataclasses import replace

import numpy as np
import pytest

from resnetkit.evaluation.detection.calibration import (
    calibration_of,
    cross_fitted_probabilities,
    fit_platt,
    line_of,
)
from resnetkit.evaluation.detection.matching import Matches
from resnetkit.models.detection.platt import Platt


def too_sure(count: int, *, seed: int = 0, pictures: int = 40) -> Matches:
    """Return boxes that are right as often as `Platt(slope=0.5, offset=-1)` of their scores says."""
    random = np.random.default_rng(seed)
    scores = np.sort(random.uniform(0.05, 1, count))[::-1]
    right = random.random(count) < Platt(slope=0.5, offset=-1.0, boxes=0, right=0).of(scores)
    return Matches(
        scores=scores, pictures=random.integers(0, pictures, count), labels=np.zeros(count, int),
        numbers=np.arange(count), right=np.tile(right, (10, 1)), ignored=np.zeros((10, count), bool),
        truths=np.where(right, 0, -1), objects=np.ones((pictures, 1), int), crowds=np.zeros((pictures, 1), bool),
    )  # fmt: skip


def test_the_fit_finds_what_made_the_answers_right() -> None:
    matches = too_sure(20_000)
    platt = fit_platt(matches)
    assert platt is not None
    assert (platt.slope, platt.offset) == pytest.approx((0.5, -1), abs=0.05)
    assert (platt.boxes, platt.right) == (20_000, int(matches.right[0].sum()))
    assert fit_platt(matches) == platt


def test_few_boxes_are_refused_and_what_lies_in_a_crowd_does_not_count() -> None:
    matches = too_sure(100)
    assert fit_platt(matches) is not None
    crowd = matches.ignored.copy()
    crowd[:, 0] = True
    assert fit_platt(replace(matches, ignored=crowd)) is None  # 99 are left
    for right in (np.arange(200) < 19, np.arange(200) >= 19):  # 19 of one kind
        assert fit_platt(replace(too_sure(200), right=np.tile(right, (10, 1)))) is None


def test_boxes_that_are_right_where_scores_are_low_get_one_probability_and_no_order_turned() -> None:
    matches = too_sure(400)
    platt = fit_platt(replace(matches, right=np.tile(matches.scores < 0.5, (10, 1))))
    assert platt is not None
    assert platt.slope == 0
    assert platt.of(np.array([0.1, 0.9])) == pytest.approx([0.5, 0.5], abs=0.1)


def test_what_others_fit_is_nearer_the_truth_than_scores_and_as_near_as_chance() -> None:
    platt, matches = fit_platt(too_sure(3000, seed=1)), too_sure(3000, seed=2)
    found = calibration_of(matches, np.ones(3000, bool), platt, groups=None, by="others")
    assert found is not None
    before, after = found["before"], found["after"]
    assert after["brier"] < before["brier"]
    assert after["brier"] < found["constant_brier"]
    assert before["ece"] > 0.15
    assert after["ece"] < 2 * found["ece_by_chance"] < 0.06
    assert sum(one["count"] for one in after["bins"]) == found["boxes"] == 3000
    assert after["mean"] == pytest.approx(found["right"] / 3000, abs=0.03)
    assert "from the share that is right" in line_of(found)[0]


def test_of_pictures_that_fitted_each_is_judged_by_the_others() -> None:
    matches = too_sure(1000)
    own = cross_fitted_probabilities(matches, None)
    assert own is not None
    changed = replace(matches, right=matches.right ^ (matches.pictures == 0))  # what one picture says
    moved = cross_fitted_probabilities(changed, None) != own
    assert not moved[matches.pictures == 0].any()
    assert moved.any()
    together = [f"{number % 3}" for number in range(40)]
    others = cross_fitted_probabilities(changed, together) != cross_fitted_probabilities(matches, together)
    assert not others[matches.pictures % 3 == 0].any()


def test_where_the_others_are_too_few_these_pictures_are_said_to_have_fitted() -> None:
    matches = too_sure(110)
    platt = fit_platt(matches)
    assert platt is not None
    assert cross_fitted_probabilities(matches, None) is None, "four fifths have fewer than 100 boxes"
    found = calibration_of(matches, np.ones(110, bool), platt, groups=None, by="crossfit")
    assert found is not None
    assert found["by"] == "these"
    assert "that is too good" in line_of(found)[0]


def test_without_a_fit_scores_are_told_to_be_no_probabilities() -> None:
    found = calibration_of(too_sure(50), np.ones(50, bool), None, groups=None, by="others")
    assert found is not None
    assert found["after"] is None
    assert found["by"] is None
    assert line_of(found)[0].startswith("Scores are no probabilities")
    assert calibration_of(too_sure(50), np.zeros(50, bool), None, groups=None, by="others") is None
    assert line_of(None) == []
