from collections import Counter

import numpy as np
import pytest
from scipy import stats

from resnetkit.evaluation.screening import as_test, called, roc_auc
from resnetkit.evaluation.subgroups import Answers, subgroups


def scored(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    of_class = random.random(count) < 0.4
    return random.normal(size=count) + 1.5 * of_class, of_class


def test_each_value_has_the_figures_of_its_pictures() -> None:
    scores, of_class = scored(90, np.random.default_rng(0))
    sex = [("F", "F", "M")[number % 3] for number in range(90)]
    names = [str(number // 6) for number in range(90)]
    first, second = subgroups(
        Answers.of_test(called(scores, 0.7), scores, of_class), {"sex": sex}, groups=names
    ).columns["sex"]
    assert (first.value, first.count, second.value, second.count) == ("F", 60, "M", 30)
    own = np.array(sex) == "M"
    groups = [name for name, chosen in zip(names, own, strict=True) if chosen]
    alone = as_test(called(scores[own], 0.7), of_class[own], groups)
    assert second.figures["auc"] == roc_auc(scores[own], of_class[own], groups)
    assert second.positives == of_class[own].sum()
    for name in ("sensitivity", "specificity", "accuracy"):
        assert second.figures[name] == getattr(alone, name)


def test_what_is_not_known_is_left_out_and_a_single_value_is_not_compared() -> None:
    scores, of_class = scored(40, np.random.default_rng(0))
    table = subgroups(Answers.of_test(called(scores, 0.7), scores, of_class), {"site": [None] * 10 + ["A"] * 30})
    assert [(one.value, one.count) for one in table.columns["site"]] == [("A", 30)]
    assert table.contrasts == []


def test_a_model_that_fails_one_site_is_warned_of() -> None:
    random = np.random.default_rng(1)
    scores, of_class = scored(600, random)
    site = np.array(["A", "B", "C"])[np.arange(600) % 3]
    scores[site == "C"] = random.normal(size=200)
    table = subgroups(
        Answers.of_test(called(scores, 0.7), scores, of_class), {"site": site.tolist(), "none": ["x", "y"] * 300}
    )
    warned = {(one.column, one.figure) for one in table.contrasts if one.is_real}
    assert ("site", "auc") in warned
    assert ("site", "sensitivity") in warned
    assert not any(column == "none" for column, _ in warned)
    assert any(line.startswith("ROC-AUC differs by site beyond chance") for line in table.warnings)
    assert all(one.adjusted >= one.p_value for one in table.contrasts)


def test_two_areas_are_compared_as_by_welchs_t() -> None:
    scores, of_class = scored(80, np.random.default_rng(2))
    half = np.arange(80) < 40
    found = subgroups(
        Answers.of_test(called(scores, 0.7), scores, of_class), {"half": [str(one) for one in half]}
    ).contrasts[0]
    odds, variances, freedoms = [], [], []
    for own in (half, ~half):
        marks, others = scores[own & of_class], scores[own & ~of_class]
        beats = marks[:, None] > others
        area = beats.mean()
        parts = [beats.mean(axis=axis).var(ddof=1) / len(mean) for axis, mean in ((1, marks), (0, others))]
        odds.append(np.log(area / (1 - area)))
        variances.append(sum(parts) / (area * (1 - area)) ** 2)
        freedoms.append(sum(parts) ** 2 / sum(p**2 / (len(m) - 1) for p, m in zip(parts, (marks, others), strict=True)))
    statistic = abs(odds[0] - odds[1]) / np.sqrt(sum(variances))
    freedom = sum(variances) ** 2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    assert found.figure == "auc"
    assert found.p_value == pytest.approx(2 * stats.t.sf(statistic, freedom))


def test_shares_are_compared_as_by_fishers_exact_test() -> None:
    scores = np.concatenate([np.arange(12) < 10, np.arange(12) < 5, np.zeros(2)]).astype(float)
    of_class = np.arange(26) < 24
    half = ["A"] * 12 + ["B"] * 12 + ["A", "B"]
    found = {
        one.figure: one
        for one in subgroups(Answers.of_test(called(scores, 0.5), scores, of_class), {"half": half}).contrasts
    }
    exact = stats.fisher_exact([[10, 2], [5, 7]]).pvalue
    assert found["sensitivity"].p_value == pytest.approx(exact, abs=0.02)  # 2,000 draws: 0.006 standard deviation
    assert "specificity" not in found  # nobody is wrong


@pytest.mark.parametrize("grouped", [False, True])
def test_noise_is_warned_of_in_5_of_100_tables(grouped: bool) -> None:
    random, warned, below = np.random.default_rng(3), 0, Counter[str]()
    for _ in range(100):
        patient = np.arange(40).repeat(random.integers(1, 6, 40)) if grouped else np.arange(90)
        count, number = len(patient), int(patient[-1]) + 1
        of_class = random.random(number)[patient] < 0.5
        scores = random.random(count) + (random.random(number)[patient] if grouped else 0)
        column = np.array(["A", "B"])[random.integers(0, 2, number)][patient]
        groups = [str(one) for one in patient] if grouped else None
        table = subgroups(
            Answers.of_test(called(scores, 0.8), scores, of_class), {"site": column.tolist()}, groups=groups
        )
        warned += bool(table.warnings)
        below.update(one.figure for one in table.contrasts if one.p_value < 0.05)
    assert warned <= 12  # at most 5 expected, standard deviation 2.2
    assert all(1 <= below[one] <= 13 for one in ("auc", "sensitivity", "specificity", "accuracy")), below
