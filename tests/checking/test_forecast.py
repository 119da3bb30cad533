"""What twice as many pictures would bring is foretold with an interval, and where the curve cannot tell it says so."""

import json
from functools import cache

import numpy as np
import pytest

from resnetkit.checking.features import Described
from resnetkit.checking.forecast import Forecast, forecast, learning_curve
from resnetkit.checking.result import Check
from resnetkit.data.findings import Report
from resnetkit.report.pages.check import render
from resnetkit.training.steps.linear import fit_linear, out_of_fold

PENALTY = 0.1
WIDTH = 40  # features


def drawn(count: int, *, apart: float, seed: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return features and targets of normal classes whose means differ by `apart` along an axis each."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % classes
    return (rng.normal(size=(count, WIDTH)) + apart * np.eye(classes, WIDTH)[targets]).astype(np.float32), targets


def described(
    features: np.ndarray, targets: np.ndarray, *, groups: tuple[str, ...] | None = None, learnt: int = 0
) -> Described:
    groups = groups or tuple(map(str, range(len(targets))))
    return Described(
        network="a network",
        items=(),
        names=tuple("abcdef"[: targets.max() + 1]),
        groups=groups,
        features=features,
        targets=targets,
        learnt=np.arange(len(targets)) < learnt,
        penalty=PENALTY,
        probabilities=out_of_fold(features, targets, groups=groups, penalty=PENALTY),
    )


def told(features: np.ndarray, targets: np.ndarray, **given: tuple[str, ...]) -> Forecast:
    found, notes = forecast(described(features, targets, **given))
    assert found is not None, notes
    return found


@cache
def truth(count: int, *, apart: float) -> float:
    """Return what a head fitted to `count` of these pictures has right of many more, the mean of a few heads."""
    tested, answers = drawn(4000, apart=apart, seed=99)
    shares = []
    for seed in range(5):
        scaling, model = fit_linear(*drawn(count, apart=apart, seed=1000 + seed), PENALTY, balanced=False)
        shares.append((model.predict(scaling.transform(tested)) == answers).mean())
    return float(np.mean(shares))


@pytest.fixture(scope="module")
def rising() -> Forecast:
    return told(*drawn(400, apart=1.5, seed=0))


def test_the_intervals_hold_what_heads_reach(rising: Forecast) -> None:
    assert rising.now.low < truth(400, apart=1.5) < rising.now.high
    assert rising.twice.low < truth(800, apart=1.5) < rising.twice.high
    assert rising.twice.high - rising.twice.low < 0.2


def test_a_curve_that_rises_is_said_to(rising: Forecast) -> None:
    assert rising.verdict == "rises"
    assert rising.gain.low > 0
    assert abs(rising.gain.value - (truth(800, apart=1.5) - truth(400, apart=1.5))) < 0.03
    assert "twice as many pictures bring" in rising.sentences[1]


def test_the_curve_is_measured_on_halves_of_halves(rising: Forecast) -> None:
    assert [pictures for pictures, _ in rising.curve] == [40, 80, 160, 320]
    assert rising.curve[0][1] < rising.curve[-1][1]


def test_noise_stays_at_chance_and_promises_nothing() -> None:
    found = [told(*drawn(100, apart=0, seed=seed)) for seed in range(5)]
    assert sum(one.twice.low < 0.5 < one.twice.high for one in found) >= 4
    assert sum(one.verdict == "rises" for one in found) <= 1
    assert np.mean([one.twice.high - one.twice.low for one in found]) < 0.35  # 0.29


def test_where_nothing_is_wrong_nothing_is_gained_but_it_is_not_taken_for_certain() -> None:
    found = told(*drawn(400, apart=20, seed=0))
    assert found.verdict == "flat"
    assert 0.98 < found.twice.low < 0.9999
    assert "at most" in found.sentences[1]
    few = told(*drawn(50, apart=20, seed=0))
    assert set(dict(few.curve).values()) == {1.0}
    assert few.now.low < 0.96 < few.now.value, "50 right ones do not show that nothing is ever wrong"


def test_few_pictures_cannot_tell_and_it_is_said() -> None:
    found, notes = forecast(described(*drawn(30, apart=1.5, seed=0)))
    assert found is None
    assert notes == ("how many more pictures: cannot tell from 30 groups or single images; 40 are the least",)


def test_groups_are_counted_not_their_pictures() -> None:
    features, targets = drawn(100, apart=1.5, seed=0)
    five = [np.repeat(part, 5, axis=0) for part in (features, targets)]
    alone = told(features, targets)
    together = told(*five, groups=tuple(str(number // 5) for number in range(500)))
    assert together.now.high - together.now.low > 0.8 * (alone.now.high - alone.now.low)
    few = tuple(str(number // 5) for number in range(150))
    assert forecast(described(*(part[:150] for part in five), groups=few))[0] is None


def test_copies_of_what_is_held_out_are_not_learnt_from() -> None:
    features, targets = drawn(100, apart=0, seed=0)
    twins = described(
        np.repeat(features, 2, axis=0), np.repeat(targets, 2), groups=tuple(str(number // 2) for number in range(200))
    )
    sizes, right = learning_curve(twins)
    assert list(sizes) == [160, 80, 40, 20]
    assert (right.mean(axis=0) < 0.7).all()


def test_rare_classes_are_in_every_part_of_the_curve() -> None:
    features, targets = drawn(200, apart=20, seed=0)
    features[:5] += 100
    targets[:5] = 2
    _, right = learning_curve(described(features, targets))
    assert right[:5, -1].any()  # one picture of the class was among the few


def test_pictures_that_the_network_knows_tell_nothing() -> None:
    found, notes = forecast(described(*drawn(100, apart=1.5, seed=0), learnt=7))
    assert found is None
    assert notes == ("how many more pictures: cannot tell, as a network was trained on 7 of these images",)


def test_the_classes_that_gain_are_named() -> None:
    features, targets = drawn(800, apart=1.8, seed=0, classes=4)
    features[targets >= 2] += 30 * np.eye(4, WIDTH)[targets[targets >= 2]].astype(np.float32)
    found = told(features, targets)
    assert {name for name, _ in found.most} <= {"a", "b"}
    assert [name for name, _ in found.classes[:2]] in (["a", "b"], ["b", "a"])


def test_the_same_pictures_get_the_same_forecast() -> None:
    one, other = (told(*drawn(60, apart=1.5, seed=0)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("apart", [0, 1.5, 20])
def test_the_forecast_is_plain_json(apart: float) -> None:
    values = told(*drawn(60, apart=apart, seed=0, classes=3)).to_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["curve"][0].keys() == {"pictures", "accuracy"}
    assert [one["label"] for one in values["classes"]]
    for figure in (values["now"], values["twice"]):
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1


def test_the_page_shows_the_curve(rising: Forecast) -> None:
    def opener(source: str) -> None:
        raise AssertionError(source)

    report = Report(name="a set", counts={})
    page = render(Check(name="a set", items=(), report=report, findings=(), forecast=rising), opener)
    assert "How many more pictures?" in page
    assert page.count("<circle") == len(rising.curve) + 2
    without = render(Check(name="a set", items=(), report=report, findings=()), opener)
    assert "How many more pictures?" not in without
