"""Two classes as a test for one of them: figures by hand, by picture and by case."""

import json

import numpy as np
import pytest

from resnetkit.evaluation.metrics import classification_metrics, headline
from resnetkit.evaluation.two_classes import screening
from resnetkit.models.decision import Decision
from resnetkit.models.point import Point

CLASSES = ("healthy", "ill")
# five pictures of the ill, of whom four are found; five of others, of whom two are called ill
ILL = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.9, 0.6, 0.4, 0.3, 0.1])
TARGETS = np.array([1] * 5 + [0] * 5)
PATIENTS = ["a", "a", "a", "b", "b", "c", "c", "d", "e", "f"]


def rows(ill: np.ndarray) -> np.ndarray:
    return np.stack([1 - ill, ill], axis=1)


def test_figures_are_those_of_a_count_by_hand() -> None:
    found = screening(rows(ILL), TARGETS, CLASSES, None)["screening"]
    ill, healthy = found["pictures"]["ill"], found["pictures"]["healthy"]
    assert (ill["tp"], ill["fp"], ill["tn"], ill["fn"]) == (4, 2, 3, 1)
    wanted = {"sensitivity": 4 / 5, "specificity": 3 / 5, "ppv": 4 / 6, "npv": 3 / 4, "lr_positive": 2.0}
    assert {name: ill[name]["value"] for name in wanted} == pytest.approx(wanted)
    # of how many of the five others each of the ill is surer, a tie half
    assert ill["roc_auc"]["value"] == pytest.approx((4.5 + 4 + 4 + 3.5 + 1) / 25)
    assert healthy["sensitivity"]["value"] == pytest.approx(3 / 5)
    assert healthy["roc_auc"]["value"] == pytest.approx(ill["roc_auc"]["value"])
    for name in wanted:
        low, high = ill[name]["interval"]
        assert low < ill[name]["value"] < high
    assert set(found) == {"finding", "threshold", "goal", "pictures", "net_benefit"}
    assert (found["finding"], found["threshold"], found["goal"]) == ("ill", 0.5, None)
    assert json.loads(json.dumps(found)) == found


def test_a_patient_is_one_case_whose_pictures_are_averaged() -> None:
    found = screening(rows(ILL), TARGETS, CLASSES, PATIENTS)["screening"]
    assert found["count"] == 6
    # a: 0.8, b: 0.4 of the ill; c: 0.75, d: 0.4, e: 0.3, f: 0.1 of others
    ill = found["cases"]["ill"]
    assert (ill["tp"], ill["fp"], ill["tn"], ill["fn"]) == (1, 1, 3, 1)
    assert ill["roc_auc"]["value"] == pytest.approx((4 + 2.5) / 8)
    by_picture = screening(rows(ILL), TARGETS, CLASSES, None)["screening"]["pictures"]["ill"]["sensitivity"]
    grouped = found["pictures"]["ill"]["sensitivity"]
    assert grouped["value"] == by_picture["value"]
    assert np.diff(grouped["interval"]) > np.diff(by_picture["interval"]), "fewer patients than pictures"


def test_groups_of_both_classes_have_no_figures_and_more_classes_none_at_all() -> None:
    mixed = screening(rows(ILL), TARGETS, CLASSES, ["a"] * 10)["screening"]
    assert "its 10 pictures are of 2 classes" in mixed["mixed"]
    assert "cases" not in mixed
    assert screening(np.full((3, 3), 1 / 3), np.arange(3), ("a", "b", "c"), None) == {}
    without = screening(rows(ILL[:5]), TARGETS[:5], CLASSES, None)["screening"]["pictures"]["ill"]
    assert without["specificity"] == without["roc_auc"] == {"value": None, "interval": None}


def test_noise_is_told_by_an_area_whose_interval_holds_one_half() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        found = screening(rows(random.random(60)), random.permutation(np.repeat([0, 1], 30)), CLASSES, None)
        low, high = found["screening"]["pictures"]["ill"]["roc_auc"]["interval"]
        held += low <= 0.5 <= high
    assert 180 <= held <= 199


def test_the_headline_says_both_by_case_first() -> None:
    metrics = classification_metrics(rows(ILL), TARGETS, classes=CLASSES, split="test")
    alone = headline(metrics | screening(rows(ILL), TARGETS, CLASSES, None)).splitlines()
    line = next(one for one in alone if one.startswith("As a test for ill: sensitivity 80.0 (28.4 to 99.5) %"))
    assert "specificity 60.0 (14.7 to 94.7) %, ROC-AUC 0.680 (" in line
    grouped = headline(metrics | screening(rows(ILL), TARGETS, CLASSES, PATIENTS))
    assert "As a test for ill, of 6 groups: sensitivity 50.0 (1.3 to 98.7) %, specificity 75.0 (" in grouped
    assert "; of pictures: sensitivity 80.0 (" in grouped
    mixed = headline(metrics | screening(rows(ILL), TARGETS, CLASSES, ["a"] * 10))
    assert "Groups have no such figures: group 'a': its 10 pictures are of 2 classes" in mixed
    found = screening(rows(ILL[:5]), TARGETS[:5], CLASSES, None)
    assert "specificity unknown, ROC-AUC unknown." in headline(metrics | found)


def test_the_class_looked_for_is_told_by_its_threshold_of_pictures_and_cases() -> None:
    decision = Decision(point=Point(finding=1, at=0.65, goal="specificity 0.6", share=0.5))
    found = screening(rows(ILL), TARGETS, CLASSES, PATIENTS, decision=decision, prevalence=0.1)["screening"]
    ill = found["pictures"]["ill"]
    assert (ill["tp"], ill["fp"], ill["tn"], ill["fn"]) == (3, 1, 4, 2)
    # of cases a (0.8) and c (0.75) are called ill, b (0.4) is missed, d, e and f are not
    of_cases = found["cases"]["ill"]
    assert (of_cases["tp"], of_cases["fp"], of_cases["tn"], of_cases["fn"]) == (1, 1, 3, 1)
    there = found["at_prevalence"]
    assert there["ppv"]["value"] == pytest.approx(0.5 * 0.1 / (0.5 * 0.1 + 0.25 * 0.9)), "of cases"
    said = headline(classification_metrics(rows(ILL), TARGETS, classes=CLASSES, split="test") | {"screening": found})
    assert "As a test for ill, told from 0.65 on (specificity 0.6), of 6 groups: sensitivity 50.0 (" in said
    assert "Where 10 % are ill: PPV 18.2 (" in said


def test_of_more_classes_the_one_looked_for_is_a_test_against_the_rest() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4], [0.6, 0.2, 0.2]])
    found = screening(probabilities, np.array([0, 1, 1, 2]), ("a", "b", "c"), None, finding=1)["screening"]
    assert list(found["pictures"]) == ["b"]
    assert (found["pictures"]["b"]["tp"], found["pictures"]["b"]["fn"], found["threshold"]) == (1, 1, None)


def test_net_benefit_is_what_is_found_less_false_alarms_at_their_price() -> None:
    curve = screening(rows(ILL), TARGETS, CLASSES, None)["screening"]["net_benefit"]
    at = curve["thresholds"].index(0.5)
    assert curve["model"][at] == pytest.approx(4 / 10 - 2 / 10)
    assert curve["everyone"][at] == pytest.approx(0.5 - 0.5)
    rare = screening(rows(ILL), TARGETS, CLASSES, None, prevalence=0.1)["screening"]["net_benefit"]
    at = rare["thresholds"].index(0.1)  # where a probability of one half comes to lie: the same pictures are acted on
    assert rare["model"][at] == pytest.approx(0.1 * 4 / 5 - 0.9 * 2 / 5 * 0.1 / 0.9, abs=1e-5)


def test_the_other_class_of_two_is_told_of_the_rest() -> None:
    decision = Decision(point=Point(finding=1, at=0.3, goal="sensitivity 0.8", share=0.4))
    found = screening(rows(ILL), TARGETS, CLASSES, None, decision=decision, finding=0, prevalence=0.5)["screening"]
    assert found["threshold"] == pytest.approx(0.7)
    assert found["at_prevalence"]["seen"] == pytest.approx(0.6)
