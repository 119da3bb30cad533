import csv
import io
import itertools
import json
import math

import numpy as np
import pytest

from resnetkit.errors import UsageError
from resnetkit.inference.video import event_rows
from resnetkit.inference.video.events import Event, Events, Wanted
from resnetkit.inference.video.states import State

RATE = 10.0


def told_of(events: Events, labels, *, first: int = 0, unanswered=(), every: int = 1) -> list[Event]:
    """Return the events of frames that have these labels, `""` for none, `a+b` for both."""
    found = []
    for number, label in enumerate(labels):
        names = tuple(filter(None, label.split("+")))
        frame = first + number * every
        state = State(names, tuple(0.5 + number % 2 / 4 for _ in names))
        found += events.add(frame, frame / RATE, state, answered=number not in unanswered)
    return [*found, *events.end()]


def spans(events) -> list[tuple[str, float, float]]:
    return [(event.label, round(event.start, 6), round(event.end, 6)) for event in events]


def test_events_of_one_class_follow_each_other_without_a_hole():
    events = told_of(Events("a.mp4", lag=0.2), ["red"] * 5 + ["green"] * 3 + ["red"] * 2)
    assert spans(events) == [("red", 0.0, 0.5), ("green", 0.5, 0.8), ("red", 0.8, 1.0)]
    assert [(event.first_frame, event.last_frame, event.frames) for event in events] == [
        (0, 4, 5),
        (5, 7, 3),
        (8, 9, 2),
    ]
    assert events[0].probability == pytest.approx((3 * 0.5 + 2 * 0.75) / 5)
    assert events[0].greatest == 0.75
    assert {event.lag for event in events} == {0.2}


def test_labels_have_their_own_events_which_overlap():
    events = told_of(Events("a.mp4"), ["car", "car+person", "person", "", "car"])
    assert spans(events) == [("car", 0.0, 0.2), ("person", 0.1, 0.3), ("car", 0.4, 0.5)]


def test_what_is_not_sure_is_no_event():
    assert spans(told_of(Events("a.mp4"), ["", "sign", "", "sign"])) == [("sign", 0.1, 0.2), ("sign", 0.3, 0.4)]


def test_short_events_are_left_out_and_counted():
    events = Events("a.mp4", Wanted(least=0.3))
    labels = ["a"] * 3 + ["b"] * 2 + ["c"] * 4 + ["b"]
    assert spans(told_of(events, labels)) == [("a", 0.0, 0.3), ("c", 0.5, 0.9)]
    assert (events.short, dict(events.counts)) == (2, {"a": 1, "c": 1})
    assert events.seconds["c"] == pytest.approx(0.4)
    assert events.words == "2 events (a 1, c 1); 2 shorter than 0.3 s left out"


def test_an_event_goes_on_after_a_hole_that_would_be_no_event():
    events = Events("a.mp4", Wanted(least=0.3))
    labels = ["a"] * 5 + ["b"] * 2 + ["a"] * 1 + ["b"] * 2 + ["a"] * 5 + ["b"] * 3 + ["a"] * 4
    told = told_of(events, labels)
    assert spans(told) == [("a", 0.0, 1.5), ("b", 1.5, 1.8), ("a", 1.8, 2.2)]
    assert [event.frames for event in told] == [11, 3, 4], "frames at which it held"
    assert (events.short, events.closed) == (2, 2)
    assert events.words.endswith("2 shorter than 0.3 s left out; 2 holes shorter than that closed")


@pytest.mark.parametrize("least", [0.0, 0.2, 0.5])
def test_events_of_one_class_never_overlap_whatever_flickers(least):
    rng = np.random.default_rng(0)
    labels = [str(label) for label in np.repeat(rng.choice(["a", "b", "c"], 300), rng.integers(1, 9, 300))]
    events = Events("a.mp4", Wanted(least=least))
    told = spans(told_of(events, labels))
    assert len(told) > 50
    assert all(after[1] >= before[2] - 1e-6 for before, after in itertools.pairwise(told))
    assert all(end - start >= least - 1e-6 for _, start, end in told)
    assert events.counts.total() == len(told)


def test_frames_without_an_answer_are_part_of_an_event_but_not_of_its_probability():
    [event] = told_of(Events("a.mp4"), ["a"] * 4, unanswered={1, 3})
    assert (event.frames, event.unanswered, event.probability, event.greatest) == (4, 2, 0.5, 0.5)


def test_of_thinned_frames_numbers_are_those_of_the_video():
    events = told_of(Events("a.mp4"), ["a", "a", "b"], first=5, every=10)
    assert spans(events) == [("a", 0.5, 2.5), ("b", 2.5, 3.5)]
    assert [(event.first_frame, event.last_frame, event.frames) for event in events] == [(5, 15, 2), (25, 25, 1)]


def test_a_video_of_no_or_one_frame_or_whose_time_runs_back_has_events():
    assert told_of(Events("a.mp4"), []) == []
    assert spans(told_of(Events("a.mp4"), ["a"])) == [("a", 0.0, 0.0)]
    events = Events("a.mp4")
    events.add(0, 5.0, State(("a",), (0.9,)))
    [event] = events.add(1, 1.0, State(("b",), (0.9,)))
    assert event.seconds == 0


def test_only_open_events_are_remembered():
    events = Events("a.mp4")
    for number in range(1000):
        events.add(number, number / RATE, State((f"label {number % 3}",), (0.9,)))
    assert len(events._open) == 1
    assert events.counts.total() == 999


@pytest.mark.parametrize("least", [-1.0, float("nan")])
def test_what_cannot_be_asked_for_is_one_line(least):
    with pytest.raises(UsageError, match="--min-event"):
        Wanted(least=least)


def test_events_are_rows_of_csv_and_json_lines_that_say_the_same(tmp_path):
    events = told_of(Events("a,\udcff.mp4", lag=0.123456), ["red, bright", "red, bright", "green"])
    for name in ("events.csv", "events.jsonl"):
        with event_rows.to_file(tmp_path / name) as write:
            assert not (tmp_path / name).exists()
            for event in events:
                write(event)
    with open(tmp_path / "events.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert tuple(rows[0]) == tuple(lines[0]) == event_rows.COLUMNS
    assert rows[0]["label"] == "red, bright"
    for row, line in zip(rows, lines, strict=True):
        told = {name: cell if name in ("video", "label") else float(cell or "nan") for name, cell in row.items()}
        for name in ("track", "score"):
            assert math.isnan(told.pop(name))
            assert line.pop(name) is None
        assert told == {**line, "video": row["video"]}
    assert (lines[0]["start"], lines[0]["end"], lines[0]["lag"]) == (0.0, 0.2, 0.123)


def test_rows_are_written_while_a_stream_runs():
    stream = io.StringIO()
    write = event_rows.to_stream(stream, format="csv")
    for event in told_of(Events("a.mp4"), ["a", "b"]):
        write(event)
    assert stream.getvalue().splitlines()[1:] == [
        "a.mp4,a,0.0,0.1,0.1,0,0,1,0,0.5,0.5,,,",
        "a.mp4,b,0.1,0.2,0.1,1,1,1,0,0.75,0.75,,,",
    ]


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"must be \.csv or \.jsonl; did you mean '\.jsonl'"):
        event_rows.format_of(tmp_path / "events.json")


def test_events_of_scores_say_that_they_are_no_probabilities():
    [event] = told_of(Events("a.mp4", scores=True), ["car"] * 4)
    assert (event.probability, event.greatest, event.score) == (None, None, 0.625)
