"""Intervals hold what they promise, and pictures of one group are not counted as news of each other."""

import numpy as np
import pytest
from scipy import stats

from resnetkit.evaluation.areas import areas, average_precision, under_roc
from resnetkit.evaluation.calibration import binned, errors_by_chance, expected_error
from resnetkit.evaluation.metrics import clopper_pearson
from resnetkit.evaluation.uncertainty import (
    Interval,
    accuracy_interval,
    area_interval,
    balanced_interval,
    bootstrap,
    distance_interval,
    folds_interval,
)


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


def test_figures_without_spread_have_no_width_and_one_picture_no_interval() -> None:
    assert bootstrap(counted(np.ones(40)), mean) == Interval(1.0, 1.0)
    assert bootstrap(counted(np.array([0.5])), mean) is None


def test_pictures_shown_twice_tell_no_more_than_once() -> None:
    values = np.random.default_rng(0).gamma(0.3, 1.0, 150)
    once = bootstrap(counted(values), mean)
    names = [str(i) for i in range(150)] * 2
    twice = bootstrap(counted(np.concatenate([values, values])), mean, groups=names)
    blind = bootstrap(counted(np.concatenate([values, values])), mean)
    assert twice.high - twice.low == pytest.approx(once.high - once.low, rel=0.08)
    assert blind.high - blind.low < 0.8 * (once.high - once.low)


def test_accuracy_is_clopper_and_pearsons_and_counts_groups_where_there_are_some() -> None:
    right = np.arange(150) % 10 != 0
    alone = accuracy_interval(right)
    assert (alone.low, alone.high) == clopper_pearson(135, 150)
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
    assert (interval.low, interval.high) == pytest.approx(clopper_pearson(135, 150), abs=0.001)
    assert balanced_interval(np.ones(150, bool), targets) == Interval(*clopper_pearson(150, 150))


def test_a_small_class_weighs_as_much_as_a_large_one_and_says_less() -> None:
    targets = np.repeat([0, 1], [140, 10])
    found = balanced_interval(np.ones(150, bool), targets)
    assert found.low < clopper_pearson(150, 150)[0] - 0.05


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
        roc, precision = (
            area_interval(areas(measure, scores, targets), targets) for measure in (under_roc, average_precision)
        )
        missed["roc"] += not roc.low <= truth <= roc.high
        missed["precision"] += not precision.low <= of_many <= precision.high
    assert all(8 <= count <= 36 for count in missed.values()), missed  # 20 expected, standard deviation 4.4


def test_areas_of_pictures_shown_twice_are_known_no_better() -> None:
    scores, targets = ranked(150, 0)
    names = [str(i) for i in range(150)] * 2
    alone = area_interval(areas(under_roc, scores, targets), targets)
    both = np.concatenate([targets, targets])
    found = areas(under_roc, np.concatenate([scores, scores]), both)
    twice, blind = area_interval(found, both, names), area_interval(found, both)
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high), abs=0.003)
    assert blind.high - blind.low < 0.8 * (alone.high - alone.low)


def test_a_perfect_order_is_not_beyond_doubt_least_where_a_class_is_rare() -> None:
    targets = np.arange(150) % 2
    perfect = area_interval(areas(under_roc, np.stack([1 - targets, targets], axis=1), targets), targets)
    assert perfect == Interval(*clopper_pearson(75, 75))
    rare = np.arange(500) % 100 == 0
    found = area_interval(areas(under_roc, np.stack([1 - rare, rare], axis=1), rare.astype(int)), rare.astype(int))
    assert found.low < 0.75  # five pictures


def test_an_area_of_a_rare_class_is_known_by_that_class() -> None:
    random, missed = np.random.default_rng(0), 0
    targets = np.repeat([1, 0], [8, 400])
    truth = stats.norm.cdf(1.5 / np.sqrt(2))
    for _ in range(300):
        score = random.normal(size=408) + 1.5 * targets
        interval = area_interval(areas(under_roc, np.stack([-score, score], axis=1), targets), targets)
        missed += not interval.low <= truth <= interval.high
    assert missed < 36  # 15 promised; with degrees of freedom of all pictures 51


def test_groups_that_span_classes_are_one_doubt_in_balanced_accuracy() -> None:
    random, missed = np.random.default_rng(0), 0
    groups, targets = [str(i // 10) for i in range(300)], np.arange(300) % 10
    for _ in range(300):
        right = random.random(300) < random.beta(3.6, 0.4, 30).repeat(10)
        interval = balanced_interval(right, targets, groups)
        missed += not interval.low <= 0.9 <= interval.high
    assert missed < 34  # 15 promised; by classes alone 90


def test_little_to_draw_from_makes_wide_intervals() -> None:
    values = np.array([0.1, 0.5, 0.2, 0.4, 0.3, 0.3])
    told = bootstrap(counted(values), mean, groups=["a", "a", "a", "b", "b", "b"], least=0.0)
    assert told is not None
    assert told.low == 0.0
    assert told.high > 0.6
    assert bootstrap(counted(values), mean, groups=["a"] * 6) is None
    scores, targets = ranked(150, 0)
    one_group = area_interval(areas(under_roc, scores, targets), targets, ["a"] * 150)
    assert one_group.high - one_group.low > 0.5


def grouped_answers(share: float, num_groups: int, members: int, alike: float, seed: int) -> np.ndarray:
    """Return 300 sets of answers `[300, N]` in groups that differ in how hard they are, `alike` within (ICC)."""
    random, both = np.random.default_rng(seed), 1 / alike - 1
    ease = random.beta(both * share, both * (1 - share), (300, num_groups)).repeat(members, axis=1)
    return random.random(ease.shape) < ease


@pytest.mark.parametrize(("num_groups", "members"), [(5, 3), (6, 10), (20, 5)])
@pytest.mark.parametrize("share", [1 / 3, 0.9, 0.99])
def test_accuracy_of_new_groups_is_held(num_groups: int, members: int, share: float) -> None:
    names = [str(i // members) for i in range(num_groups * members)]
    for alike in (0.1, 0.3):
        found = [accuracy_interval(right, names) for right in grouped_answers(share, num_groups, members, alike, 0)]
        assert np.mean([one.low <= share <= one.high for one in found]) >= 0.93, alike


def test_one_group_says_as_little_as_one_picture() -> None:
    told = accuracy_interval(np.arange(400) % 10 != 0, ["a"] * 400)
    assert told.high - told.low > 0.9


def test_equal_shares_in_all_groups_are_no_sign_of_alike_pictures() -> None:
    right = np.arange(200) % 10 != 0
    told = accuracy_interval(right, [str(i // 10) for i in range(200)])
    assert told.low > 0.84  # not as if there were 20 pictures


def test_a_distance_that_chance_alone_makes_may_be_nothing() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 400)
    two = np.stack([confidence, 1 - confidence], axis=1)
    calibrated = (random.random(400) > confidence).astype(int)
    sure = np.zeros(400, int)
    for targets, begins in ((calibrated, 0.0), (sure, 0.2)):
        interval = distance_interval(binned(two, targets), expected_error, errors_by_chance(two))
        assert interval is not None
        assert interval.low == pytest.approx(begins, abs=0.04)
        assert interval.low <= expected_error(binned(two, targets).sum(axis=0)) <= interval.high


def test_the_interval_of_folds_holds_chance_on_pure_noise() -> None:
    """A picture is named by the labels of those in other folds, as far as they resemble it: each teaches the other."""
    generator, trials, count = np.random.default_rng(0), 1000, 60
    pictures = generator.standard_normal((trials, count, 40))
    labels = np.sign(np.arange(count) % 2 - 0.5)
    apart = np.arange(count)[:, None] // 2 % 5 != np.arange(count) // 2 % 5
    correct = ((pictures @ pictures.swapaxes(1, 2) * apart) @ labels) * labels > 0
    held = {
        way: np.mean([found.low <= 0.5 <= found.high for found in map(way, correct)])
        for way in (folds_interval, accuracy_interval)
    }
    assert held[folds_interval] > 0.94
    assert held[accuracy_interval] < 0.93


def test_the_interval_of_folds_is_that_of_single_pictures_where_all_are_right() -> None:
    assert folds_interval(np.ones(20, bool)) == accuracy_interval(np.ones(20, bool))
