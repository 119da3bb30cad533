import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from resnetkit.errors import DataError, UsageError
from resnetkit.evaluation.metrics import clopper_pearson
from resnetkit.evaluation.pairs import paired_areas
from resnetkit.evaluation.screening import as_test, called, likelihood_ratio, operating_point, roc_auc
from resnetkit.evaluation.uncertainty import Interval, variance_of

# Ten pictures, from the highest score on: + + - + + - - + - -
SCORES = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
TRUE = np.array([1, 1, 0, 1, 1, 0, 0, 1, 0, 0], bool)


def binormal(count: int, area: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    of_class = np.arange(count) % 2 == 0
    return random.normal(size=count) + stats.norm.ppf(area) * math.sqrt(2) * of_class, of_class


def components(scores: np.ndarray, of_class: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return DeLong's structural components by comparing every pair (1988, equations 4 and 5)."""
    own, others = scores[of_class], scores[~of_class]
    beats = (own[:, None] > others) + 0.5 * (own[:, None] == others)
    return beats.mean(axis=1), beats.mean(axis=0)


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    found = roc_auc(SCORES, TRUE)
    assert found.value == pytest.approx(20 / 25)  # each of the class beats 5, 5, 4, 4 and 2 of the five others
    assert found.value == pytest.approx(roc_auc_score(TRUE, SCORES))
    assert roc_auc(SCORES[TRUE], TRUE[TRUE]).value is None


def test_the_interval_is_delongs_variance_on_the_log_odds() -> None:
    random = np.random.default_rng(0)
    scores, of_class = random.integers(0, 12, 60).astype(float), random.random(60) < 0.4
    scores += 5 * of_class
    own, others = components(scores, of_class)
    parts = own.var(ddof=1) / len(own), others.var(ddof=1) / len(others)
    area, variance = own.mean(), sum(parts)
    freedom = variance**2 / (parts[0] ** 2 / (len(own) - 1) + parts[1] ** 2 / (len(others) - 1))
    away = stats.t.ppf(0.975, freedom) * math.sqrt(variance) / (area * (1 - area))
    odds = math.log(area / (1 - area))
    interval = roc_auc(scores, of_class).interval
    assert interval is not None
    assert [interval.low, interval.high] == pytest.approx([1 / (1 + math.exp(-odds - side * away)) for side in (-1, 1)])


def test_the_variance_of_patients_is_obuchowskis() -> None:
    random = np.random.default_rng(1)
    patient = random.integers(0, 12, 80)
    of_class = random.random(80) < 0.5
    scores = random.normal(size=80) + of_class + random.normal(size=12)[patient]
    own, others = components(scores, of_class)
    area = own.mean()
    sums = np.zeros((2, 12))
    np.add.at(sums[0], patient[of_class], own - area)
    np.add.at(sums[1], patient[~of_class], others - area)
    with_it, without = len(np.unique(patient[of_class])), len(np.unique(patient[~of_class]))
    expected = (
        (sums[0] ** 2).sum() * with_it / (with_it - 1) / len(own) ** 2
        + (sums[1] ** 2).sum() * without / (without - 1) / len(others) ** 2
        + 2 * (sums[0] * sums[1]).sum() * 12 / 11 / len(own) / len(others)
    )
    influence = np.empty(80)
    influence[of_class] = (own - area) * 80 / len(own)
    influence[~of_class] = (others - area) * 80 / len(others)
    variance, freedom = variance_of(influence, of_class.astype(int), [str(number) for number in patient])
    assert variance == pytest.approx(expected)
    equal = []
    for each, chosen, values in ((sums[0], of_class, own), (sums[1], ~of_class, others)):
        size = np.bincount(patient[chosen], minlength=12)
        times = (each**2).sum() / ((values - area) ** 2).sum() * (1 + math.sqrt(2 / (size > 0).sum()))
        alike = (times - 1) / ((size**2).sum() / size.sum() - 1)
        weight = size * (1 - min(1, max(0, alike))) + size**2 * min(1, max(0, alike))
        equal.append(weight.sum() ** 2 / (weight**2).sum())
    assert freedom == pytest.approx(min(equal) - 1)


def test_a_patient_of_very_many_unlike_pictures_does_not_take_all_certainty() -> None:
    random = np.random.default_rng(0)
    patient = np.repeat(np.arange(51), [200] + [5] * 50)
    of_class = random.random(450) < 0.5
    found = roc_auc(random.normal(size=450) + of_class, of_class, [str(number) for number in patient])
    assert found.interval is not None
    assert found.interval.high - found.interval.low < 0.25  # taken as wholly alike: t with one degree of freedom, 0.5


def test_patients_of_one_picture_each_are_pictures() -> None:
    scores, of_class = binormal(60, 0.8, np.random.default_rng(0))
    names = [str(number) for number in range(60)]
    assert roc_auc(scores, of_class, names) == roc_auc(scores, of_class)
    assert as_test(called(scores, 0.5), of_class, names) == as_test(called(scores, 0.5), of_class)


@pytest.mark.parametrize("side", [1, -1])
def test_an_area_without_a_fault_is_not_beyond_doubt(side: int) -> None:
    of_class = np.arange(40) < 10
    found = roc_auc(side * of_class.astype(float), of_class)
    assert found.value == (1 + side) / 2
    assert found.interval == Interval(*clopper_pearson(15 * found.value, 15))  # 2 * 10 * 30 / 40


@pytest.mark.parametrize(("count", "area"), [(100, 0.95), (200, 0.7)])
def test_the_area_is_held_by_95_of_100_intervals(count: int, area: float) -> None:
    random, held = np.random.default_rng(0), 0
    for _ in range(800):
        interval = roc_auc(*binormal(count, area, random)).interval
        assert interval is not None
        held += interval.low <= area <= interval.high
    assert 0.93 <= held / 800 <= 0.97


def test_random_scores_tell_nothing() -> None:
    random, outside = np.random.default_rng(0), 0
    for _ in range(400):
        interval = roc_auc(random.random(80), np.arange(80) < 20).interval
        assert interval is not None
        outside += not interval.low <= 0.5 <= interval.high
    assert 8 <= outside <= 33  # 20 expected, standard deviation 4.4


def test_two_models_are_compared_as_delong_does() -> None:
    random = np.random.default_rng(2)
    of_class = random.random(50) < 0.5
    first, second = (random.normal(size=50) + lift * of_class for lift in (1.5, 0.8))
    (own, others), (own_too, others_too) = components(first, of_class), components(second, of_class)
    one, other = own.mean(), own_too.mean()
    gains = own_too / (other * (1 - other)) - own / (one * (1 - one))
    losses = others_too / (other * (1 - other)) - others / (one * (1 - one))
    error = math.sqrt(gains.var(ddof=1) / len(gains) + losses.var(ddof=1) / len(losses))
    parted = math.log(other / (1 - other)) - math.log(one / (1 - one))
    found = paired_areas(first, second, of_class)
    assert (found.first, found.second) == pytest.approx((one, other))
    assert found.difference == pytest.approx(other - one)
    freedom = min(len(gains), len(losses)) - 1
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(parted) / error, freedom), rel=1e-6)
    swapped = paired_areas(second, first, of_class)
    assert swapped.p_value == pytest.approx(found.p_value)
    assert swapped.interval.low == pytest.approx(-found.interval.high)


def test_the_interval_of_a_difference_leaves_out_nothing_where_the_test_rejects() -> None:
    random, rejected = np.random.default_rng(3), 0
    for _ in range(300):
        first, of_class = binormal(100, 0.9, random)
        second = first + random.normal(size=100)
        found = paired_areas(first, second, of_class)
        assert (found.p_value < 0.05) == (not found.interval.low <= 0 <= found.interval.high)
        rejected += found.p_value < 0.05
    assert rejected > 150


@pytest.mark.parametrize("pictures", [1, 6])
def test_equal_models_are_called_different_5_times_of_100(pictures: int) -> None:
    random, rejected = np.random.default_rng(4), 0
    patient = np.arange(80).repeat(pictures)
    of_class, names = patient % 2 == 0, [str(number) for number in patient]
    for _ in range(400):
        common, of_one, of_other = (
            random.normal(size=80)[patient] + random.normal(size=len(patient)) for _ in range(3)
        )
        found = paired_areas(common + of_one + 2 * of_class, common + of_other + 2 * of_class, of_class, names)
        rejected += found.p_value < 0.05
    assert 8 <= rejected <= 33


def test_models_that_order_alike_do_not_differ_and_faultless_ones_perhaps() -> None:
    scores, of_class = binormal(40, 0.8, np.random.default_rng(0))
    same = paired_areas(scores, 3 * scores + 1, of_class)
    assert (same.difference, same.p_value, same.interval) == (0.0, 1.0, Interval(0.0, 0.0))
    perfect = paired_areas(of_class + scores / 100, of_class - scores / 100, of_class)
    assert perfect.p_value == 1.0
    assert perfect.interval.low < -0.1
    assert perfect.interval.high > 0.1
    useless = paired_areas(of_class.astype(float), np.zeros(40), of_class)
    assert useless.difference == -0.5
    assert useless.p_value < 0.05
    with pytest.raises(DataError, match="two pictures or groups"):
        paired_areas(scores, scores, np.arange(40) < 1)


def reached(scores: np.ndarray, of_class: np.ndarray, goal: str) -> tuple[float, float, float, bool]:
    """Return the threshold of an operating point, its sensitivity and specificity, and whether it is met."""
    threshold, met = operating_point(scores, of_class, goal)
    said = scores >= threshold
    return threshold, float(said[of_class].mean()), float((~said[~of_class]).mean()), met


def test_youdens_threshold_has_the_largest_sum_and_lies_halfway() -> None:
    assert reached(SCORES, TRUE, "youden") == (pytest.approx(0.55), 0.8, 0.8, True)
    random = np.random.default_rng(5)
    scores, of_class = random.integers(0, 9, 80).astype(float), random.random(80) < 0.5
    alarms, found, _ = roc_curve(of_class, scores)
    _, sensitivity, specificity, _ = reached(scores, of_class, "youden")
    assert sensitivity + specificity - 1 == pytest.approx((found - alarms).max())


def test_a_goal_is_reached_at_the_least_cost() -> None:
    assert reached(SCORES, TRUE, "sensitivity 0.9") == (pytest.approx(0.25), 1.0, pytest.approx(0.4), True)
    assert reached(SCORES, TRUE, "specificity 0.8") == (pytest.approx(0.55), 0.8, 0.8, True)
    for alarms in range(1, 10):  # 1 - 9 / 10 is a little less than 1 / 10
        scores = np.concatenate([np.full(5, 0.5), np.linspace(0.6, 0.9, alarms), np.linspace(0.1, 0.4, 10 - alarms)])
        _, found, quiet, met = reached(scores, np.arange(15) < 5, f"specificity {1 - alarms / 10:.1f}")
        assert (found, quiet, met) == (1.0, pytest.approx(1 - alarms / 10), True)
    nothing_is_given_away = reached(np.arange(100.0), np.arange(100) >= 60, "sensitivity 0.5")
    assert nothing_is_given_away == (59.5, 1.0, 1.0, True)


def test_a_goal_that_only_calling_all_or_none_reaches_is_unmet() -> None:
    _, sensitivity, _, met = reached(np.array([0.1, 0.2, 0.3, 0.9]), np.array([1, 0, 0, 1], bool), "sensitivity 0.9")
    assert (sensitivity, met) == (1.0, False)
    _, _, specificity, met = reached(np.array([0.9, 0.9, 0.1]), np.array([0, 1, 1], bool), "specificity 0.9")
    assert (specificity, met) == (1.0, False)
    assert not operating_point(np.ones(4), np.array([0, 1, 0, 1], bool), "youden")[1]


@pytest.mark.parametrize(
    ("goal", "told"),
    [
        *((goal, "choose youden") for goal in ("best", "youden 0.9", "specificity 1.5", "sensitivity x", "recall 0.9")),
        ("sensitivity", "say how much"),
    ],
)
def test_an_unknown_goal_is_a_usage_error(goal: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        operating_point(SCORES, TRUE, goal)


def test_an_operating_point_needs_both_classes() -> None:
    with pytest.raises(DataError, match="has both"):
        operating_point(SCORES, np.ones(10, bool), "youden")


def test_figures_at_a_threshold_are_those_of_the_table() -> None:
    found = as_test(called(SCORES, 0.55), TRUE)
    assert (found.tp, found.fp, found.tn, found.fn) == (4, 1, 4, 1)
    for figure in (found.sensitivity, found.specificity, found.ppv, found.npv):
        assert figure.value == 0.8
        assert figure.interval == Interval(*clopper_pearson(4, 5))
    assert found.accuracy.interval == Interval(*clopper_pearson(8, 10))
    assert found.lr_positive.value == pytest.approx(4)  # .8 / .2
    assert found.lr_negative.value == pytest.approx(0.25)
    assert found.lr_positive.interval is not None
    away = math.exp(1.959964 * math.sqrt(1 / 4 - 1 / 5 + 1 / 1 - 1 / 5))
    assert [found.lr_positive.interval.low, found.lr_positive.interval.high] == pytest.approx([4 / away, 4 * away])


def test_what_is_undefined_is_none_and_what_is_empty_is_doubted() -> None:
    none = as_test(called(SCORES, 0.55), np.zeros(10, bool))
    assert none.sensitivity.value is none.lr_positive.value is none.lr_negative.interval is None
    assert none.specificity.value == 0.5
    silent = as_test(called(SCORES, 2.0), TRUE)
    assert silent.ppv.value is silent.lr_positive.value is None
    assert silent.lr_negative.value == 1.0
    sure = as_test(called(SCORES, 0.85), TRUE)  # no false alarm
    assert sure.lr_positive.value is None
    value, low, high = likelihood_ratio(SCORES >= 0.85, TRUE)
    assert value == high == math.inf
    assert low == pytest.approx(5 / math.exp(1.959964 * math.sqrt(1 / 2.5 - 1 / 6 + 1 / 0.5 - 1 / 6)))  # halves added
    deaf, low, high = likelihood_ratio(SCORES < 0.15, TRUE)  # one, and not of the class
    assert deaf == low == 0
    assert high == pytest.approx(1 / 3 * math.exp(1.959964 * math.sqrt(1 / 0.5 - 1 / 6 + 1 / 1.5 - 1 / 6)))


def test_pictures_of_patients_shown_often_are_known_no_better() -> None:
    random = np.random.default_rng(6)
    scores, of_class = binormal(100, 0.8, random)
    alone = as_test(called(scores, 0.5), of_class)
    names = [str(number) for number in range(100)] * 5
    often = as_test(called(np.tile(scores, 5), 0.5), np.tile(of_class, 5), names)
    for name in ("sensitivity", "specificity", "ppv", "npv", "accuracy", "lr_positive", "lr_negative"):
        one, other = getattr(alone, name), getattr(often, name)
        assert other.value == pytest.approx(one.value)
        assert (other.interval.low, other.interval.high) == pytest.approx(
            (one.interval.low, one.interval.high), rel=0.05
        ), name


def test_likelihood_ratios_of_patients_are_held() -> None:
    random, held = np.random.default_rng(7), 0
    patient = np.arange(60).repeat(random.integers(1, 13, 60))
    of_class, names = patient % 2 == 0, [str(number) for number in patient]
    truth = stats.norm.sf(-0.5) / stats.norm.sf(1)
    for _ in range(300):
        scores = (random.normal(size=60)[patient] + random.normal(size=len(patient))) / math.sqrt(2) + 1.5 * of_class
        _, low, high = likelihood_ratio(scores >= 1, of_class, names)
        held += low <= truth <= high
    assert 0.92 <= held / 300 <= 0.98


def test_patients_who_all_answer_alike_or_are_but_one_count_as_patients() -> None:
    of_class, everyone = np.arange(100) < 50, np.ones(100, bool)
    names = [str(number // 10) for number in range(100)]
    alone, grouped = (math.log(likelihood_ratio(everyone, of_class, groups)[2]) for groups in (None, names))
    assert grouped / alone == pytest.approx(math.sqrt(10) * stats.t.ppf(0.975, 4) / 1.959964, rel=1e-6)
    one_ill = ["a" if ill else str(number) for number, ill in enumerate(of_class)]
    said = np.arange(100) % 3 > 0
    _, low, high = likelihood_ratio(said, of_class, one_ill)
    assert high / low > 100 * likelihood_ratio(said, of_class)[2]
