import html.parser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.inference.video.events import Events
from resnetkit.inference.video.states import State, Told
from resnetkit.inference.video.timeline import Timeline
from resnetkit.report.drawing.canvas import FAINT, RIGHT, WRONG
from resnetkit.report.drawing.timeline import draw
from resnetkit.report.pages.video import render
from resnetkit.report.timelines import COLUMNS, MOST_ROWS, Picture, picture, ticks

NAMES = ("stop", "<b>go</b>", "a class name of sixty characters that goes on and on and on!", "개미")


def timeline_of(num_classes: int, seconds: float, *, gap: bool = False) -> Timeline:
    """Each class holds for an equal part of the time, one after the other; every tenth frame says the next one."""
    names = (NAMES + tuple(f"class {number}" for number in range(100)))[:num_classes]
    timeline, events, number = Timeline(names), Events("a.mp4"), 400
    for place in range(number):
        time = place / number * seconds
        if gap and 0.4 < place / number < 0.5:
            continue
        holds = place * num_classes // number
        own = names[(holds + 1) % num_classes] if place % 10 == 0 else names[holds]
        state = State((names[holds],), (0.5,))
        timeline.add(time, Told(State((own,), (0.9,)), state))
        for event in events.add(place, time, state):
            timeline.add_event(event)
    for event in events.end():
        timeline.add_event(event)
    timeline.end()
    return timeline


def picture_of(timeline: Timeline) -> Picture:
    return picture(timeline, video="a.mp4", smoothing="median 1s", lag="states change 0.48 s after the picture does")


def has_color(pixels: np.ndarray, color: str) -> bool:
    rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(pixels.astype(int) - rgb).max(axis=-1) <= 2).any())


@pytest.mark.parametrize(("num_classes", "seconds"), [(2, 10.0), (4, 600.0), (12, 3 * 3600.0), (100, 3600.0)])
def test_a_timeline_of_any_length_and_number_of_classes_fits_a_sheet(tmp_path, num_classes, seconds):
    shown = picture_of(timeline_of(num_classes, seconds))
    assert len(shown.rows) == min(num_classes, MOST_ROWS)
    draw(shown, tmp_path / "timeline.png")
    with Image.open(tmp_path / "timeline.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert 150 <= pixels.shape[0] <= 1000
    assert 1000 <= pixels.shape[1] <= 1300
    assert has_color(pixels, RIGHT)
    assert has_color(pixels, FAINT)
    assert not has_color(pixels, WRONG), "nothing is missing"


def test_rows_say_where_and_how_long_a_label_holds():
    shown = picture_of(timeline_of(4, 600.0))
    assert [row.share for row in shown.rows] == ["25.0 %"] * 4
    assert [row.events for row in shown.rows] == ["1"] * 4
    for number, row in enumerate(shown.rows):
        [bar] = [bar for bar in row.state if bar.after - bar.first > 10]
        assert bar.first == pytest.approx(number * COLUMNS / 4, abs=3)
        assert bar.after == pytest.approx((number + 1) * COLUMNS / 4, abs=3)
        assert bar.height == pytest.approx(0.5, abs=0.05)
        [(start, end, _)] = row.spans
        assert (start, end) == pytest.approx((number * COLUMNS / 4, (number + 1) * COLUMNS / 4), abs=1)
    assert shown.title == "a.mp4: 4 events in 10 min 00 s"


def test_time_without_frames_is_marked(tmp_path):
    shown = picture_of(timeline_of(2, 600.0, gap=True))
    longest = max(shown.gaps, key=lambda bar: bar.after - bar.first)
    assert longest.after - longest.first == pytest.approx(COLUMNS / 10, abs=15)
    draw(shown, tmp_path / "timeline.png")
    with Image.open(tmp_path / "timeline.png") as image:
        assert has_color(np.asarray(image.convert("RGB")), WRONG)


def test_a_label_of_one_frame_in_three_hours_can_be_seen():
    timeline, seen, rare = Timeline(("a", "b")), State(("a",), (0.9,)), State(("b",), (0.9,))
    for place in range(10_800):
        own = rare if place == 5_000 else seen
        timeline.add(float(place), Told(own, own))
    timeline.end()
    [bar] = picture_of(timeline).rows[1].state
    assert bar.strength >= 0.3


def test_there_are_few_round_ticks_for_any_length():
    for seconds in (0.5, 3, 9.9, 61, 1000, 86_399, 40 * 86_400):
        assert 2 <= len(ticks(seconds)) <= 9, seconds


def test_an_empty_timeline_is_drawn(tmp_path: Path):
    timeline = Timeline(("a",))
    timeline.end()
    draw(picture_of(timeline), tmp_path / "timeline.png")
    assert "No events" in render([(picture_of(timeline), [])], model="runs/a")


def test_the_page_has_every_row_and_event_and_names_are_only_text():
    timeline = timeline_of(4, 600.0, gap=True)
    text = render([(picture_of(timeline), timeline.events)], model="runs/<i>")
    html.parser.HTMLParser().feed(text)
    assert "<b>go" not in text
    assert "<i>" not in text
    assert text.count('class="event"') == 4
    assert text.count('<th scope="row"') == 4
    assert "no answer" in text
    assert "http" not in text.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("sure", "said"), [(None, "not calibrated"), (0.75, "the probability is that their boxes are right")]
)
def test_tracks_stand_on_the_page_by_their_numbers(sure: float | None, said: str) -> None:
    timeline = timeline_of(4, 10.0)
    tracks = [replace(timeline.events[0], track=7, score=0.5, probability=sure)]
    text = render([(picture_of(timeline), tracks)], model="cars")
    assert f"<caption>Tracks; {'the score' if sure is None else 'the probability'}" in text
    assert said in text
    assert "<td>#7</td>" in text
    assert f"<td>{'50.0' if sure is None else '75.0'} %</td>" in text
