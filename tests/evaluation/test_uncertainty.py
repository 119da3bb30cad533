"""Intervals hold what they promise, and pictures of one group are not counted as news of each other."""

import numpy as np
import pytest
from scipy import stats

from resnetkit.evaluation.areas import areas, average_precision, under_roc
from resnetkit.evaluation.metrics import wilson
from resnetkit.evaluation.uncertainty import Interval, accuracy_interval, area_interval, balanced_interval, bootstrap


def mean(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def counted(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], axis=1)


def test_the_bootstrap_of_a_skewed_mean_is_scipys() -> None:
    values = np.random.default_rng(3).gamma(0.3, 1.0, 200)
    ours = bootstrap(counted(values), mean)
    theirs = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=4000, rng=1).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.03)
    assert bootstrap(counted(values), mean) == ours


def test_figures_without_spread_have_no_width() -> None:
    assert bootstrap(counted(np.ones(20)), mean) == Interval(1.0, 1.0)
    assert bootstrap(counted(np.array([0.5])), mean) == Interval(0.5, 0.5)


def test_pictures_shown_twice_tell_no_more_than_once() -> None:
    values = np.random.default_rng(0).gamma(0.3, 1.0, 150)
    once = bootstrap(counted(values), mean)
    names = [str(i) for i in range(150)] * 2
    twice = bootstrap(counted(np.concatenate([values, values])), mean, groups=names)
    blind = bootstrap(counted(np.concatenate([values, values])), mean)
    assert twice.high - twice.low == pytest.approx(once.high - once.low, rel=0.08)
    assert blind.high - blind.low < 0.8 * (once.high - once.low)


def test_accuracy_is_wilsons_and_counts_groups_where_there_are_some() -> None:
    right = np.arange(150) % 10 != 0
    alone = accuracy_interval(right)
    assert (alone.low, alone.high) == wilson(135, 150)
    one_each = accuracy_interval(right, [str(i) for i in range(150)])
    assert one_each == alone
    doubled = accuracy_interval(np.repeat(right, 2), [str(i // 2) for i in range(300)])
    assert (doubled.low, doubled.high) == pytest.approx((alone.low, alone.high), abs=0.003)


def test_answers_all_alike_are_worth_their_groups() -> None:
    sure = accuracy_interval(np.ones(100, bool), [str(i % 4) for i in range(100)])
    assert sure.high == 1.0
    assert sure.low < 0.4  # four groups, not a hundred pictures
    assert accuracy_interval(np.ones(100, bool)).low > 0.95


def test_balanced_accuracy_of_classes_of_one_size_is_a_share_of_all_pictures() -> None:
    targets = np.arange(150) % 3
    right = np.arange(150) % 10 != 0
    interval = balanced_interval(right, targets)
    assert (interval.low, interval.high) == pytest.approx(wilson(135, 150), abs=0.001)
    assert balanced_interval(np.ones(150, bool), targets) == Interval(*wilson(150, 150))


def test_a_small_class_weighs_as_much_as_a_large_one_and_says_less() -> None:
    targets = np.repeat([0, 1], [140, 10])
    found = balanced_interval(np.ones(150, bool), targets)
    assert found.low < wilson(150, 150)[0] - 0.05


def test_balanced_accuracy_of_groups_is_worth_the_groups() -> None:
    right, targets = np.arange(150) % 10 != 0, np.arange(150) % 3
    alone = balanced_interval(right, targets)
    doubled = balanced_interval(np.repeat(right, 2), np.repeat(targets, 2), [str(i // 2) for i in range(300)])
    assert (doubled.low, doubled.high) == pytest.approx((alone.low, alone.high), abs=0.004)


def test_intervals_of_balanced_accuracy_hold_it_where_most_classes_are_found_whole() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        targets = random.integers(0, 10, 150)
        interval = balanced_interval(random.random(150) < 0.95, targets)
        held += interval.low <= 0.95 <= interval.high
    assert held / 400 > 0.925  # MOVER: 0.89


def ranked(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of pictures of two classes whose area under the ROC is 0.9214 (unit normals, distance 2)."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 2, count)
    score = random.normal(size=count) + 2 * targets
    return np.stack([-score, score], axis=1), targets


def test_intervals_of_areas_hold_them() -> None:
    truth = stats.norm.cdf(2 / np.sqrt(2))
    of_many = areas(average_precision, *ranked(400_000, 1)).macro
    missed = {"roc": 0, "precision": 0}
    for seed in range(400):
        scores, targets = ranked(150, 100 + seed)
        roc, precision = (area_interval(areas(measure, scores, targets)) for measure in (under_roc, average_precision))
        missed["roc"] += not roc.low <= truth <= roc.high
        missed["precision"] += not precision.low <= of_many <= precision.high
    assert all(8 <= count <= 36 for count in missed.values()), missed  # 20 expected, standard deviation 4.4


def test_areas_of_pictures_shown_twice_are_known_no_better() -> None:
    scores, targets = ranked(150, 0)
    names = [str(i) for i in range(150)] * 2
    alone = area_interval(areas(under_roc, scores, targets))
    found = areas(under_roc, np.concatenate([scores, scores]), np.concatenate([targets, targets]))
    twice, blind = area_interval(found, names), area_interval(found)
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high), abs=1e-9)
    assert blind.high - blind.low < 0.8 * (alone.high - alone.low)


def test_a_perfect_order_is_not_beyond_doubt() -> None:
    targets = np.arange(150) % 2
    perfect = area_interval(areas(under_roc, np.stack([1 - targets, targets], axis=1), targets))
    assert perfect == Interval(*wilson(150, 150))
