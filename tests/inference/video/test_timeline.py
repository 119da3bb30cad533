from dataclasses import replace

import numpy as np
import pytest

from resnetkit.inference.video.events import Event
from resnetkit.inference.video.states import State, Told
from resnetkit.inference.video.timeline import BINS, MOST_EVENTS, Timeline


def told(own: str | None, state: str) -> Told:
    return Told(None if own is None else State((own,), (0.9,)), State((state,), (0.75,)) if state else State())


def event(number: int, seconds: float) -> Event:
    return Event(
        video="a.mp4", label="a", start=float(number), end=number + seconds, first_frame=0, last_frame=1, frames=2,
        unanswered=0, probability=0.9, greatest=0.9, lag=None,
    )  # fmt: skip


@pytest.mark.parametrize(("seconds", "rate"), [(10.0, 25.0), (30.4, 12.5), (600.0, 2.0), (3 * 3600.0, 0.5)])
def test_every_second_of_a_video_is_counted_once_however_long_it_is(seconds, rate):
    timeline = Timeline(("a", "b"))
    number = round(seconds * rate)
    for place in range(number):
        timeline.add(place / rate, told("b" if place % 10 == 0 else "a", "a" if place < number / 2 else "b"))
    timeline.end()
    assert timeline.seconds == pytest.approx(seconds)
    assert timeline.covered.sum() == pytest.approx(seconds)
    assert timeline.state.sum(axis=0) == pytest.approx([seconds / 2, seconds / 2], rel=1e-3)
    assert timeline.own.sum(axis=0) == pytest.approx([0.9 * seconds, 0.1 * seconds], rel=1e-3)
    assert timeline.sure.sum() == pytest.approx(0.75 * seconds, rel=1e-3)
    assert timeline.columns(timeline.covered, 900) == pytest.approx(np.ones(900))
    assert timeline.state.shape == (BINS, 2)
    first = timeline.columns(timeline.state[:, 0], 100)
    assert first[:49] == pytest.approx(np.ones(49), abs=0.01)
    assert first[51:] == pytest.approx(np.zeros(49), abs=0.01)


def test_frames_that_fail_to_come_and_those_without_an_answer_are_seen():
    timeline = Timeline(("a",))
    for place in [*range(100), *range(200, 300)]:
        timeline.add(place / 10, told(None if 50 <= place < 60 else "a", "a"))
    timeline.end()
    assert timeline.seconds == pytest.approx(30)
    assert timeline.covered.sum() == pytest.approx(20, abs=0.5)
    assert timeline.unanswered.sum() == pytest.approx(1)
    assert timeline.state.sum() == pytest.approx(20, abs=0.5)
    assert timeline.columns(timeline.covered, 30)[11:19] == pytest.approx(np.zeros(8))


def test_a_video_of_no_or_one_frame_has_a_timeline():
    empty = Timeline(("a",))
    empty.end()
    assert empty.columns(empty.covered, 5).tolist() == [0.0] * 5
    one = Timeline(("a",))
    one.add(0.0, told("a", "a"))
    one.end()
    assert one.seconds == 0


def test_the_longest_events_are_remembered_and_all_are_counted():
    timeline = Timeline(("a",))
    for number in range(MOST_EVENTS + 50):
        timeline.add_event(event(number, 5.0 if number % 2 else 1.0 + number / 1000))
    assert timeline.counts == {"a": MOST_EVENTS + 50}
    assert len(timeline.events) == MOST_EVENTS
    assert [one.start for one in timeline.events] == sorted(one.start for one in timeline.events)
    assert sum(one.seconds == 5 for one in timeline.events) == (MOST_EVENTS + 50) // 2


def test_tracks_that_began_together_stand_in_the_order_of_their_numbers():
    timeline = Timeline(["a"])
    for number in (3, 1, 2):
        timeline.add_event(replace(event(0, 10.0 - number % 2), track=number))
    assert [one.track for one in timeline.events] == [1, 2, 3]
