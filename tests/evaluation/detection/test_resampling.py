"""Average precision of draws, and its intervals."""

import time

import numpy as np
import pytest

from resnetkit.evaluation.detection.matching import Matches, matched
from resnetkit.evaluation.detection.pairing import paired_gaps
from resnetkit.evaluation.detection.resampling import average_precisions, draws, interval_of, means, of_the_rare
from tests.evaluation.detection.scenes import found, perfect, scenes, truth


def of(matches: Matches, times: np.ndarray | None = None) -> np.ndarray:
    return average_precisions(matches, np.ones((1, len(matches.objects)), int) if times is None else times)


def test_a_picture_that_is_drawn_twice_is_as_good_as_two() -> None:
    truths, founds = scenes(1, 12, classes=4, crowd=0.2)
    times = draws(12, None, number=20)
    ours = of(matched(truths, founds, num_classes=4), times)
    for row, drawn in zip(ours, times, strict=True):
        repeated = np.repeat(np.arange(12), drawn)
        again = matched([truths[n] for n in repeated], [founds[n] for n in repeated], num_classes=4)
        np.testing.assert_allclose(row, of(again)[0], atol=1e-12)


def test_the_order_of_pictures_does_not_matter() -> None:
    truths, founds = scenes(2, 30, crowd=0.1)
    order = np.random.default_rng(0).permutation(30)
    mixed = matched([truths[n] for n in order], [founds[n] for n in order], num_classes=3)
    np.testing.assert_allclose(of(mixed), of(matched(truths, founds, num_classes=3)), atol=1e-12)


def test_perfect_answers_are_perfect_at_every_overlap() -> None:
    truths, _ = scenes(3, 20)
    assert (of(matched(truths, perfect(truths), num_classes=3)) == 1).all()


def test_only_the_100_surest_of_a_class_count() -> None:
    boxes = [(float(3 * k), 0.0, float(3 * k + 2), 2.0) for k in range(120)]
    truths = [truth(*[(0, box) for box in boxes])]
    founds = [found(*[(0, 1 - k / 200, box) for k, box in enumerate(boxes)])]
    matches = matched(truths, founds, num_classes=1)
    assert len(matches.scores) == 100
    assert matches.right[0].sum() == 100


def test_pictures_of_a_group_are_drawn_together() -> None:
    groups = ["a", "a", "b", "b", None, None]
    drawn = draws(6, groups, number=50)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 2] == drawn[:, 3]).all()
    assert (drawn[:, 4] != drawn[:, 5]).any()
    assert (draws(6, groups, number=50) == drawn).all()


def test_a_thousand_draws_take_seconds() -> None:
    matches = matched(*scenes(4, 150, classes=40, mean=8), num_classes=40)
    start = time.process_time()
    of(matches, draws(150, None))
    assert time.process_time() - start < 5  # 0.6 s on two cores of a Xeon at 2.1 GHz


def test_rare_classes_say_how_much_an_interval_can_tell() -> None:
    truths = [truth((0, (0, 0, 9, 9)))] * 12 + [truth((1, (0, 0, 9, 9)))] * 4
    matches = matched(truths, [found()] * 16, num_classes=3)
    assert of_the_rare(matches, None) == pytest.approx(2 / (1 / 12 + 1 / 4))
    assert of_the_rare(matches, ["a"] * 12 + [None] * 4) == pytest.approx(2 / (1 + 1 / 4))
    assert interval_of(np.full(10, 0.5), 0.5, matches, ["a"] * 12 + ["b"] * 4) is None


def test_an_interval_holds_its_figure_and_is_of_one_side_where_all_is_right() -> None:
    matches = matched(*scenes(5, 60), num_classes=3)
    drawn, value = means(of(matches, draws(60, None))[:, 0]), float(means(of(matches)[:, 0])[0])
    interval = interval_of(drawn, value, matches, None)
    assert interval is not None
    assert 0 < interval.low < value < interval.high < 1
    whole = interval_of(np.ones(10), 1.0, matches, None)
    assert whole is not None
    assert 0.8 < whole.low < whole.high == 1


def test_what_draws_are_above_is_taken_off_twice() -> None:
    matches = matched(*scenes(5, 300), num_classes=3)
    drawn = 0.5 + np.random.default_rng(0).normal(0, 0.01, 2000)
    even, above = (interval_of(drawn + much, 0.5, matches, None) for much in (0.0, 0.005))
    assert even is not None
    assert above is not None
    assert even.low + even.high == pytest.approx(1.0, abs=2e-3)
    assert above.low + above.high == pytest.approx(1.0 - 2 * 2 * 0.005, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "count"), [(1, 72), (3, 30)])
def test_intervals_hold_what_many_more_pictures_have(classes: int, count: int) -> None:
    world = of(matched(*scenes(999, 3000, classes=classes), num_classes=classes))[0].mean(axis=1)
    held = np.zeros(2)
    for seed in range(100):
        matches = matched(*scenes(seed, count, classes=classes), num_classes=classes)
        ours, drawn = of(matches), of(matches, draws(count, None, number=200))
        for place, at in enumerate((slice(0, 10), slice(0, 1))):
            value = float(means(ours[:, at].mean(axis=1))[0])
            interval = interval_of(means(drawn[:, at].mean(axis=1)), value, matches, None)
            held[place] += interval is not None and interval.low <= world[at].mean() <= interval.high
    assert (held >= 87).all()


def test_a_detector_is_no_better_than_itself() -> None:
    matches = matched(*scenes(6, 40), num_classes=3)
    for gap in paired_gaps(matches, matches, at=(np.full(3, 0.5), np.full(3, 0.5))).values():
        assert gap is not None
        assert (gap.difference, gap.interval.low, gap.interval.high, gap.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_a_detector_that_sees_more_is_better_and_that_is_no_chance() -> None:
    truths, founds = scenes(7, 60)
    blind = [one.from_score(0.6) for one in founds]
    at = (np.full(3, 0.3), np.full(3, 0.3))
    worse, better = (matched(truths, said, num_classes=3) for said in (blind, founds))
    for name, gap in paired_gaps(worse, better, at=at).items():
        assert gap is not None, name
        assert gap.difference > 0
        assert gap.p_value < 0.05
        assert 0 < gap.interval.low < gap.difference < gap.interval.high
    swapped = paired_gaps(better, worse, at=at)["map50"]
    assert swapped is not None
    assert swapped.difference < 0


def test_too_few_pictures_of_a_class_give_no_verdict() -> None:
    truths = [truth((0, (0, 0, 9, 9)))] * 2
    matches = matched(truths, [found((0, 0.9, (0, 0, 9, 9)))] * 2, num_classes=1)
    assert set(paired_gaps(matches, matches, at=(np.zeros(1), np.zeros(1))).values()) == {None}
