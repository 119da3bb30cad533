import itertools
import pickle

import numpy as np
import pytest

from resnetkit.errors import UsageError
from resnetkit.inference.video.lag import measured
from resnetkit.inference.video.smoothing import HiddenMarkov, Median, asked, check_rate
from resnetkit.inference.video.states import OneClass, Reading, SeveralLabels, State, States
from resnetkit.models.decision import Decision
from resnetkit.models.detection.platt import Platt
from resnetkit.models.detection.sureness import Sureness
from resnetkit.models.point import Point
from resnetkit.models.thresholds import Thresholds

CLASSES = ("red", "yellow", "green")
EACH = ("none", "exponential 0.5s", "median 1s", "median 9", "3 of 5", "hmm 10s")
RATE = 25.0


def sure_of(seen: np.ndarray, sure: float = 0.9) -> np.ndarray:
    return np.full((len(seen), 3), (1 - sure) / 2) + (sure - (1 - sure) / 2) * np.eye(3)[seen]


def classes_told(words: str, rows, *, times=None, reading: Reading | None = None) -> list[str | None]:
    states = States(asked(words), reading or OneClass(Decision(), CLASSES))
    times = np.arange(len(rows)) / RATE if times is None else times
    told = [states.add(row, time=time).state.labels for row, time in zip(rows, times, strict=True)]
    return [labels[0] if labels else None for labels in told]


def num_changes(told) -> int:
    return sum(before != now for before, now in itertools.pairwise(told))


@pytest.fixture(scope="module")
def flickering() -> tuple[np.ndarray, np.ndarray]:
    """A minute of states of 6 seconds; 15 % of the frames are taken for another class. The truth and the rows."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(10) % 3, 150)
    seen = np.where(rng.random(len(truth)) < 0.15, (truth + rng.integers(1, 3, len(truth))) % 3, truth)
    logits = 3.5 * np.eye(3)[seen] + rng.normal(size=(len(seen), 3))
    return truth, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("words", EACH)
def test_a_smoothing_is_asked_for_by_its_own_words(words):
    assert asked(words).words == words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("mediann 9", "did you mean 'median'?"), ("", "choose none"), ("n-of-m 3/5", "'3 of 5'"),
        ("exponential", "say how many seconds, as in 'exponential 2s'"), ("exponential 0.5", "seconds"),
        ("median 1d", "or frames, as in 'median 9'"), ("hmm -1s", "seconds"), ("hmm 0s", "seconds"),
        ("hmm nans", "seconds"), ("median 0", "between 1 and 2,000"), ("median 5000", "between 1 and 2,000"),
        ("6 of 5", "no more than the second"), ("0 of 5", "at least 1"), ("2 of 4", "ask for 3 of 4"),
    ],
)  # fmt: skip
def test_anything_else_is_one_line_that_says_what_to_write(words, told):
    with pytest.raises(UsageError) as refused:
        asked(words)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_median_of_more_frames_than_are_kept_is_refused_with_one_that_goes():
    check_rate(Median(seconds=60), 30.0)
    with pytest.raises(UsageError, match=r"ask for 66.7s or less.*'exponential 60s'"):
        check_rate(Median(seconds=120), 30.0)
    check_rate(HiddenMarkov(3600), 1000.0)


@pytest.mark.parametrize("words", EACH[1:])
def test_flicker_is_less_than_half_and_more_frames_are_right(words, flickering):
    truth, rows = flickering
    told = classes_told(words, rows)
    true_changes = num_changes(truth)
    flicker = num_changes(rows.argmax(axis=1)) - true_changes
    assert flicker > 250, "the made video flickers"
    left = num_changes([one for one in told if one is not None]) - true_changes
    assert left < flicker / 10
    right = np.mean([one == CLASSES[true] for one, true in zip(told, truth, strict=True)])
    assert right > (rows.argmax(axis=1) == truth).mean() + 0.05


@pytest.mark.parametrize("words", EACH)
@pytest.mark.parametrize("rate", [25.0, 5.0])
def test_the_lag_that_is_stated_is_that_of_clean_switches(words, rate):
    truth = np.repeat([0, 1, 2, 0], 200)
    told = classes_told(words, sure_of(truth), times=np.arange(len(truth)) / rate)
    stated = measured(asked(words), OneClass(Decision(), CLASSES), rate=rate).slowest
    for switch in (200, 400, 600):
        late = told[switch : switch + 200].index(CLASSES[truth[switch]])
        assert late == pytest.approx(stated, abs=1)


def test_lags_are_what_their_definitions_give():
    def lag(words: str, reading: Reading) -> tuple[int | None, int | None]:
        found = measured(asked(words), reading, rate=RATE)
        return found.quickest, found.slowest

    one = OneClass(Decision(), CLASSES)
    assert lag("none", one) == (0, 0)
    assert lag("3 of 5", one) == (2, 2)
    assert lag("median 9", one) == (4, 4)
    assert lag("exponential 0.5s", one) == (12, 12)  # the 13th frame is the first after half a second
    # A low threshold is reached early and left late.
    early, late = lag("exponential 0.5s", SeveralLabels(Thresholds(at=(0.2,)), ("car",)))
    assert early is not None
    assert late is not None
    assert early < 12 < late


def test_a_picture_that_the_model_hardly_knows_is_told_later():
    reading = OneClass(Decision(), ("red", "green"))
    sure, unsure = np.array([0.9, 0.1]), np.array([0.4, 0.6])
    for words in ("exponential 0.5s", "hmm 10s"):
        found = measured(asked(words), reading, rate=RATE)
        states = States(asked(words), OneClass(Decision(), ("red", "green")))
        told = [states.add(sure if number < 500 else unsure, time=number / RATE).state.labels for number in range(1000)]
        assert found.unsure is not None
        assert found.unsure == pytest.approx(told.index(("green",)) - 500, abs=1)
        assert found.slowest is not None
        assert found.unsure > 2 * found.slowest
        assert f"{found.unsure / RATE:.2f} s where the model is only 60 % sure" in found.words
    assert measured(asked("3 of 5"), reading, rate=RATE).unsure == 2


def test_a_class_that_is_looked_for_appears_sooner_than_it_goes():
    point = Point(finding=0, at=0.2, goal="youden", share=0.5)
    found = measured(asked("exponential 1s"), OneClass(Decision(point=point), CLASSES), rate=RATE)
    assert found.quickest is not None
    assert found.slowest is not None
    assert found.quickest < 12
    assert found.slowest > 40


def test_a_state_that_never_comes_is_said():
    found = measured(asked("exponential 1s"), OneClass(Decision(threshold=0.95), CLASSES), rate=RATE)
    assert found.seconds is None
    assert "not sure enough" in found.words


def test_what_is_not_sure_is_no_state():
    reading = OneClass(Decision(threshold=0.8), CLASSES)
    told = classes_told("median 3", sure_of(np.array([0, 0, 0]), 0.9), reading=reading)
    assert told == ["red"] * 3
    unsure = np.concatenate([sure_of(np.zeros(4, int), 0.9), sure_of(np.zeros(8, int), 0.6)])
    for words in EACH[:-1]:
        assert classes_told(words, np.repeat(unsure, 10, axis=0), reading=reading)[-1] is None, words
    # A hidden Markov model becomes sure of what is likely again and again.
    assert classes_told("hmm 10s", np.repeat(unsure, 10, axis=0), reading=reading)[-1] == "red"


def test_sets_of_classes_have_no_state():
    with pytest.raises(UsageError, match="--reject"):
        OneClass(Decision(least=0.1), CLASSES)


@pytest.mark.parametrize("words", EACH)
def test_frames_without_an_answer_keep_the_state(words):
    rows = list(sure_of(np.zeros(100, int)))
    told = classes_told(words, [None, *rows, *[None] * 30])
    assert told[0] is None
    assert told[101:] == ["red"] * 30


def test_frames_without_an_answer_are_counted_and_are_time():
    states = States(asked("median 1s"), OneClass(Decision(), CLASSES))
    for number in range(50):
        states.add(sure_of(np.zeros(1, int))[0], time=number / RATE)
    for number in range(50, 150):
        states.add(None, time=number / RATE)
    # All that was seen is more than a second ago: one frame is all there is.
    assert states.add(sure_of(np.ones(1, int))[0], time=6.0).state.labels == ("yellow",)
    assert (states.frames, states.unanswered, states.own_changes, states.changes) == (151, 100, 1, 1)


@pytest.mark.parametrize("words", ["exponential 0.5s", "median 1s", "hmm 10s"])
def test_seconds_are_those_of_the_frames_whatever_their_rate(words):
    """At a quarter of the rate a switch is told at the same time, within a frame."""
    begins = []
    for rate in (24.0, 6.0):
        times = np.arange(0, 20, 1 / rate)
        told = classes_told(words, sure_of((times >= 10).astype(int), 0.9), times=times)
        begins.append(times[told.index("yellow")])
    assert begins[0] == pytest.approx(begins[1], abs=1 / 6 + 0.05)


def test_one_sure_and_wrong_frame_of_a_camera_does_not_turn_a_hidden_markov_model():
    seen = np.zeros(100, int)
    seen[[30, 50, 51]] = 1
    assert set(classes_told("hmm 10s", sure_of(seen, 0.9999))) == {"red"}


def test_time_that_runs_back_breaks_nothing():
    rows = sure_of(np.repeat([0, 1], 100))
    for words in EACH:
        told = classes_told(words, rows, times=np.concatenate([np.arange(100), np.arange(100)]) / RATE + 5)
        assert set(told) <= {"red", "yellow", None}


def test_labels_are_smoothed_each_by_itself():
    states = States(asked("3 of 5"), SeveralLabels(Thresholds(at=(0.5, 0.3)), ("car", "person")))
    told = []
    for number in range(10):
        car, person = 0.9 if number >= 4 else 0.1, 0.4 if number % 5 == 0 else 0.1
        told.append(states.add(np.array([car, person], np.float32), time=number / RATE))
    assert [one.state.labels for one in told] == [()] * 6 + [("car",)] * 4
    assert told[5].own == State(("car", "person"), (0.9, 0.4))
    assert states.changes == 0
    assert states.own_changes > 0


def test_unsmoothed_states_are_the_pictures_own_answers():
    rng = np.random.default_rng(0)
    rows = rng.random((50, 3), np.float32)
    rows /= rows.sum(axis=1, keepdims=True)
    decision = Decision(threshold=0.45)
    states = States(asked("none"), OneClass(decision, CLASSES))
    for number, row in enumerate(rows):
        told = states.add(row, time=number / RATE)
        label = CLASSES[decision.told(row[None])[0]] if row.max() >= 0.45 else None
        assert told.state == told.own
        assert told.state.labels == (() if label is None else (label,))


def test_what_is_remembered_does_not_grow():
    row = sure_of(np.array([0]))[0]
    for words in EACH:
        states, sizes = States(asked(words), OneClass(Decision(), CLASSES)), []
        for number in range(200):
            states.add(None if number % 7 == 0 else row, time=number / RATE)
            sizes.append(len(pickle.dumps(states._smoother._frames if words[0] in "m3" else states._smoother._last)))
        assert sizes[-1] < 1.3 * sizes[60], words


def test_states_of_a_calibrated_detector_tell_probabilities_and_not_scores():
    platt = Platt(slope=1, offset=-1, boxes=100, right=50)
    for known, sure in ((None, 0.9), (platt, 0.768031)):
        states = States(asked("none"), SeveralLabels(Sureness(at=(0.6, 0.6), platt=known), ("car", "bus")))
        told = states.add(np.array([0.9, 0.5]), time=0.0)
        assert told.state == State(("car",), (sure,)), "cut-offs lie on scores"
