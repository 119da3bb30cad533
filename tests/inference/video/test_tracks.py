"""Tracks of made boxes that move, cross, vanish and come back, with labels that flicker."""

import builtins
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from resnetkit.errors import UsageError
from resnetkit.inference.video.tracks import OnFrame, Track, Tracker, with_unsure
from resnetkit.models.detection.detected import Detected
from resnetkit.models.detection.platt import Platt
from resnetkit.models.detection.sureness import Sureness

pytest.importorskip("trackers", reason="needs the extra video and what OpenCV needs", exc_type=ImportError)

SURE = {"car": 0.6, "truck": 0.6}
Scene = Sequence[tuple[float, Sequence[Detected]]]


def box(left: float, top: float = 50, *, label: str = "car", score: float = 0.9, side: float = 40) -> Detected:
    return Detected(label, score, (left, top, left + side, top + side))


def tracked(scene: Scene, *, rate: float = 25, buffer: float = 1.0, calibrated: Platt | None = None) -> list[OnFrame]:
    tracker = Tracker(rate=rate, sure=SURE, buffer=buffer, calibrated=calibrated)
    told = [one for number, (time, objects) in enumerate(scene) for one in tracker.add(number, time, objects)]
    return told + tracker.end()


def at_rate(frames: Iterable[Sequence[Detected]], rate: float = 25) -> Scene:
    return [(number / rate, objects) for number, objects in enumerate(frames)]


def ended(told: Sequence[OnFrame]) -> list[Track]:
    return [track for one in told for track in one.ended]


def numbers(told: Sequence[OnFrame]) -> list[list[int | None]]:
    return [[one.track for one in frame.objects] for frame in told]


def test_objects_that_move_keep_their_numbers_from_the_first_frame_on() -> None:
    told = tracked(at_rate([box(4 * n, 50), box(300 - 4 * n, 200, label="truck", score=0.8)] for n in range(20)))
    assert [frame.number for frame in told] == list(range(20))
    assert numbers(told) == [[1, 2]] * 20
    one, other = ended(told)
    assert (one.number, one.label, one.first, one.last, one.frames) == (1, "car", 0, 19, 20)
    assert (one.begin, one.end) == (0, 19 / 25)
    assert (one.share, one.score) == pytest.approx((1, 0.9))
    assert (one.probability, one.mean, one.greatest) == (None, None, None)  # nobody fitted any
    assert other.to_json()["label"] == "truck"


def test_objects_that_cross_go_on_as_they_moved() -> None:
    # They meet in the middle, at a row of their own each, and overlap there by half.
    told = tracked(at_rate([box(6 * n, 50), box(240 - 6 * n, 70, score=0.8)] for n in range(41)))
    for frame in told:
        by_row = {one.box[1]: one.track for one in frame.objects}
        assert by_row == {50: 1, 70: 2}
    assert len(ended(told)) == 2


@pytest.mark.parametrize(("gone", "tracks"), [(20, 1), (30, 2)])
def test_an_object_that_vanishes_keeps_its_number_within_the_buffer(gone: int, tracks: int) -> None:
    frames = [[box(2 * n)] if n < 10 or n >= 10 + gone else [] for n in range(20 + gone)]
    told = tracked(at_rate(frames))
    assert [track.number for track in ended(told)] == list(range(1, tracks + 1))
    assert numbers(told)[-1] == [tracks]


def test_the_buffer_counts_seconds_where_frames_come_unevenly() -> None:
    times = np.cumsum([0.04, 0.04, 0.04, 0.9, 0.04, 1.2, 0.04])  # the second gap is longer than a second
    told = tracked([(float(time), [box(100)]) for time in times])
    assert numbers(told) == [[1]] * 5 + [[2]] * 2


def test_a_track_ends_once_it_is_lost_and_not_only_at_the_end() -> None:
    told = tracked(at_rate([[box(100)] if n < 5 else [] for n in range(60)]))
    [(frame, track)] = [(frame.number, track) for frame in told for track in frame.ended]
    assert 28 <= frame <= 31  # last seen on frame 4, then 25 frames that are one second
    assert (track.last, track.frames) == (4, 5)


def test_thinned_frames_wait_for_one_that_is_missed() -> None:
    told = tracked(at_rate([[box(100)] if n != 4 else [] for n in range(8)], rate=0.5), rate=0.5)
    assert [track.number for track in ended(told)] == [1]


def test_a_label_that_flickers_is_told_with_its_share() -> None:
    frames = [[box(2 * n, label="truck" if n % 4 == 3 else "car", score=0.7)] for n in range(20)]
    [track] = ended(tracked(at_rate(frames)))
    assert (track.label, track.share, track.frames) == ("car", 0.75, 20)
    assert track.score == pytest.approx(0.75 * 0.7)


def test_scores_decide_between_labels_that_are_as_frequent() -> None:
    frames = [[box(2 * n, label=("car", "truck")[n % 2], score=(0.7, 0.95)[n % 2])] for n in range(10)]
    [track] = ended(tracked(at_rate(frames)))
    assert (track.label, track.score) == ("truck", pytest.approx(0.95 / 2))


def test_the_probability_of_a_track_is_made_of_the_mean_of_those_of_its_boxes_for_its_label() -> None:
    labels, sure = ("car", "car", "truck", "car"), (0.5, 0.75, 0.25, 1.0)
    frames = [
        [] if n == 2 else [replace(box(2 * n, label=labels[n % 4]), probability=sure[n % 4])] for n in range(8)
    ]  # the third frame has nothing, and does not count
    [track] = ended(tracked(at_rate(frames)))
    assert (track.label, track.frames) == ("car", 7)
    assert track.mean == pytest.approx(2 * (0.5 + 0.75 + 1.0) / 7)
    assert (track.probability, track.greatest) == (None, 1.0)  # calibrated are boxes, not tracks
    platt = Platt(slope=0.5, offset=1.0, boxes=200, right=150)
    [track] = ended(tracked(at_rate(frames), calibrated=platt))
    assert track.probability == pytest.approx(float(platt.of(np.array(track.mean))))
    assert track.to_json()["probability"] == round(track.probability or 0, 6)


def test_unsure_objects_carry_a_track_on_and_begin_none() -> None:
    frames = [[box(2 * n, score=0.2 if 5 <= n < 15 else 0.9), box(300, 300, score=0.5)] for n in range(20)]
    told = tracked(at_rate(frames))
    assert numbers(told) == [[1]] * 20
    assert ended(told)[0].frames == 20


def test_an_object_of_one_frame_is_told_without_a_track() -> None:
    told = tracked(at_rate([[box(100)], [box(100), box(300, 300)], [box(100)]]))
    assert numbers(told) == [[1], [1, None], [1]]
    assert len(ended(told)) == 1


def test_numbers_have_no_gaps_whatever_is_seen_once() -> None:
    frames = [[box(60 * (n // 5 % 7), 40 * (n // 5 % 5))] if n % 5 else [box(500, 7 * n)] for n in range(200)]
    told = tracked(at_rate(frames), buffer=0.1)
    assert [track.number for track in ended(told)] == list(range(1, len(ended(told)) + 1))


def test_no_objects_are_no_tracks() -> None:
    told = tracked(at_rate([[]] * 5))
    assert [frame.objects for frame in told] == [()] * 5
    assert not ended(told)
    assert Tracker(rate=25, sure=SURE).end() == []


def test_two_boxes_in_one_place_are_two_tracks() -> None:
    told = tracked(at_rate([box(100), box(100, label="truck")] for _ in range(4)))
    assert {frozenset(frame) for frame in numbers(told)} == {frozenset({1, 2})}


def test_frames_of_one_time_and_none_that_goes_back_are_borne() -> None:
    told = tracked([(0.0, [box(100)]), (0.0, [box(100)]), (0.0, [box(100)]), (0.04, [box(100)])])
    assert numbers(told) == [[1]] * 4


def crowd(seed: int) -> Scene:
    """Make fifteen objects that wander, flicker in score and label, and are missed now and then."""
    chances = np.random.default_rng(seed)
    places, speeds = chances.uniform(0, 300, (15, 2)), chances.normal(0, 4, (15, 2))
    scene = []
    for number in range(40):
        places = places + speeds + chances.normal(0, 1.5, (15, 2))
        seen = [
            box(left / 2, top / 2, label=str(chances.choice(["car", "truck"])), score=float(chances.uniform(0.1, 1)))
            for left, top in places.tolist()
            if chances.random() > 0.15
        ]
        scene.append((number / 25, seen))
    return scene


def test_the_same_boxes_give_the_same_tracks_and_so_does_what_came_out() -> None:
    for seed in (0, 17):  # with the library's own overlaps, what came out of 17 gives other tracks
        scene = crowd(seed)
        told = tracked(scene)
        assert told == tracked(scene)
        assert len(ended(told)) >= 13
        assert told == tracked([(frame.time, list(frame.objects)) for frame in told])


def test_memory_does_not_grow_with_what_has_ended() -> None:
    tracker = Tracker(rate=25, sure=SURE, buffer=0.2)
    told = [one for n in range(600) for one in tracker.add(n, n / 25, [box(10 * (n % 40), 45 * (n // 40 % 9))])]
    assert len(ended(told)) > 10
    assert len(tracker._tallies) + len(tracker._joining._tracker.tracks) <= 4


def test_a_detector_is_asked_for_unsure_objects_too() -> None:
    assert with_unsure(Sureness(), 3).at == (0.1, 0.1, 0.1)


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="must be a number above 0"):
        Tracker(rate=0, sure={})


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'trackers'"), r'pip install "resnetkit\[video\]"'),
        (ImportError("libGL.so.1: cannot open shared object file"), "apt-get install libgl1"),
    ],
)
def test_libraries_that_are_missing_are_said_in_a_line(
    error: ImportError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refused(name: str, *rest: object) -> object:
        if name in ("supervision", "trackers"):
            raise error
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refused)
    with pytest.raises(UsageError, match=said):
        Tracker(rate=25, sure={})
