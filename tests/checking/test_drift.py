"""Pictures held against a reference: the limit keeps its rate, changes are seen, copies do not count."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from resnetkit.checking.drift import reference as file_of
from resnetkit.checking.drift.alarm import Alarm, Sighting
from resnetkit.checking.drift.chart import Chart, Space, limit
from resnetkit.checking.drift.lookout import Lookout
from resnetkit.checking.drift.looks import differences, looks_of
from resnetkit.checking.drift.reference import Reference
from resnetkit.checking.drift.still import LEAST_COPIES, Standing, Still, asked
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError

CHANNELS, COUNT = 24, 400
MIXING = np.random.default_rng(0).standard_normal((6, CHANNELS))
BLANK = np.zeros((8, 8, 3), np.uint8)


def features(count: int, seed: int, *, shift: float = 0.0) -> np.ndarray:
    """Return `[count, 24]` as a ReLU leaves them, of six hidden things."""
    random = np.random.default_rng(seed)
    hidden = random.standard_normal((count, 6)) + shift
    return np.maximum(hidden @ MIXING + random.standard_normal((count, CHANNELS)), 0).astype(np.float32)


def reference(rows: np.ndarray, groups: np.ndarray | None = None) -> Reference:
    return Reference(
        features=rows, looks=np.full((len(rows), 4), 0.5, np.float32), made=rows[:4], counts={"val": len(rows)},
        groups=np.arange(len(rows)) if groups is None else groups, preprocess=Preprocess(size=8).to_json(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> Lookout:
    return Lookout(reference(features(COUNT, 1)), every=1_000, still=Still(copies=600))


@pytest.fixture
def lookout(fitted: Lookout) -> Lookout:
    return copy.deepcopy(fitted)


def alarms(lookout: Lookout, rows: np.ndarray, *, since: int = 0) -> Iterator[Alarm]:
    """Yield the alarms that pictures raise."""
    for number, row in enumerate(rows, start=since + 1):
        alarm = lookout.see(Sighting(number, f"{number}.png"), BLANK, row)
        if alarm is not None:
            yield alarm


def first_alarm(lookout: Lookout, rows: np.ndarray, *, since: int = 0) -> Alarm | None:
    return next(alarms(lookout, rows, since=since), None)


def test_pictures_like_the_reference_raise_no_more_alarms_than_stated(lookout: Lookout) -> None:
    rows, told = lookout._space.scores(features(20_000, 2)), 0
    chart = Chart(lookout.chart.limit, width=rows.shape[1], known_from=COUNT)
    for row in rows:
        if chart.add(row):
            told += 1
            chart.restart()
    assert told <= 20
    assert chart.limit < 100  # one so wide that nothing passes it would keep that too


@pytest.mark.parametrize("before", [0, 150, 900])
def test_a_change_is_seen_and_its_beginning_told(lookout: Lookout, before: int) -> None:
    assert first_alarm(lookout, features(before, 3)) is None
    alarm = first_alarm(lookout, features(100, 4, shift=0.7), since=before)
    assert alarm is not None
    assert alarm.kind == "drift"
    assert alarm.at.number <= before + 60
    assert abs(alarm.since.number - before - 1) <= 5
    assert alarm.pictures == alarm.at.number - alarm.since.number + 1
    assert all(one.sighting.number >= alarm.since.number for one in alarm.shown)


def test_one_odd_picture_is_no_alarm(lookout: Lookout) -> None:
    assert first_alarm(lookout, features(60, 5)) is None
    assert first_alarm(lookout, 1e4 * np.ones((1, CHANNELS), np.float32), since=60) is None


def test_the_chart_begins_anew_after_its_alarm(lookout: Lookout) -> None:
    assert first_alarm(lookout, features(100, 4, shift=0.7)) is not None
    assert lookout.chart.level > lookout.chart.limit
    assert first_alarm(lookout, features(100, 6)) is None


def test_memory_does_not_grow(lookout: Lookout) -> None:
    small = Chart(1e9, width=3, known_from=100)
    for number in range(5_000):
        small.add(np.full(3, number % 7, np.float32))
    assert small.memory.shape == (2_000, 3)
    assert [row[0] for row in small.recent()[-3:]] == [(5_000 - 3 + number) % 7 for number in range(3)]
    assert small.changed() <= 2_000
    assert {kept.maxlen for kept in (lookout._pixels, lookout._looks)} == {256}


def test_copies_of_the_picture_before_do_not_count(lookout: Lookout) -> None:
    rows = features(12, 7).repeat(10, axis=0)
    assert first_alarm(lookout, rows) is None
    assert (lookout.counted, lookout.copies) == (12, 108)
    first_alarm(lookout, features(200, 8))
    assert lookout.copies <= 110


@pytest.mark.parametrize("lasting", [features(1, 9)[0], np.zeros(CHANNELS, np.float32)])
def test_a_picture_that_stands_still_is_one_alarm_of_its_own_kind_whatever_it_shows(
    lookout: Lookout, lasting: np.ndarray
) -> None:
    assert first_alarm(lookout, features(100, 6)) is None
    level = lookout.chart.level
    [alarm] = alarms(lookout, lasting[None].repeat(3_000, axis=0), since=100)
    assert (alarm.kind, alarm.since.number, alarm.at.number, alarm.pictures) == ("still", 101, 701, 600)
    assert "stands still since picture 101 (101.png), 600 copies in a row (" in alarm.words
    assert [one.sighting.number for one in alarm.shown] == [101, 701]
    assert lookout.counted == 101
    assert abs(lookout.chart.level - level) < lookout.chart.limit / 2  # copies are not in the chart
    assert first_alarm(lookout, features(100, 16), since=4_000) is None


def test_a_change_is_seen_where_every_scene_lasts(lookout: Lookout) -> None:
    alarm = first_alarm(lookout, features(60, 4, shift=0.7).repeat(100, axis=0))
    assert alarm is not None
    assert (alarm.kind, alarm.at.number // 100 <= 60) == ("drift", True)
    assert lookout.counted <= 60


def test_pictures_that_are_like_none_in_the_reference_are_copies_only_where_their_pixels_are(lookout: Lookout) -> None:
    rows = 1e4 * np.ones((100, CHANNELS), np.float32) + features(100, 18)
    random, still = np.random.default_rng(0), copy.deepcopy(lookout)
    pictures = random.integers(0, 90, (100, 8, 8, 3), dtype=np.uint8)
    told = [
        lookout.see(Sighting(n, ""), pixels, row) for n, (pixels, row) in enumerate(zip(pictures, rows, strict=True))
    ]
    assert next(alarm for alarm in told if alarm is not None).kind == "drift"
    assert lookout.copies == 0
    shaken = pictures[:1] // 2 + random.integers(0, 4, (100, 8, 8, 3), dtype=np.uint8)
    assert all(
        still.see(Sighting(n, ""), pixels, row) is None
        for n, (pixels, row) in enumerate(zip(shaken, rows, strict=True))
    )
    assert still.counted == 1


def test_copies_of_usual_pictures_raise_no_more_alarms_than_stated(lookout: Lookout) -> None:
    assert len(list(alarms(lookout, features(1_500, 13).repeat(2, axis=0)))) <= 2
    assert lookout.counted >= 1_450


def test_pictures_of_the_reference_itself_are_counted(lookout: Lookout) -> None:
    stored = features(COUNT, 1)[:40].astype(np.float16).astype(np.float32)  # as its file keeps them
    first_alarm(lookout, np.concatenate([stored, features(60, 17)]))
    assert lookout.known == 40


def standing(text: str, times: list[float | None]) -> tuple[int | None, Standing]:
    """Return at which copy a picture stands still for too long."""
    clock = Standing(asked(text))
    clock.moved(Sighting(0, "", times[0]))
    told = [copies for copies, time in enumerate(times[1:], start=1) if clock.stood(Sighting(copies, "", time))]
    assert len(told) <= 1
    return (told or [None])[0], clock


def test_the_clock_of_a_still_picture_goes_by_the_time_of_frames() -> None:
    minute = [0.5 * number for number in range(300)]
    assert standing("1m", list(minute))[0] == 120
    assert standing("600", list(minute))[0] is None
    assert standing("120", list(minute))[0] == 120
    assert standing("none", list(minute))[0] is None
    untimed, clock = standing("1m", [None] * 300)  # one a second
    assert (untimed, clock.timed) == (60, False)
    assert standing("1m", [0.0, *(3_600.0 + number for number in range(20))])[0] == LEAST_COPIES  # a stream stalled
    assert standing("2m", [*minute[:200], *minute])[0] == 200 + 41  # the next video begins at 0
    clock.moved(Sighting(301, "", 7.0))
    assert (clock.copies, clock.seconds, clock.timed) == (0, 0.0, True)


@pytest.mark.parametrize("text", ["9", "0", "-5", "10x", "ten", "0s", "", "1e9s"])
def test_how_long_a_picture_may_stand_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=f"--still {text}: write it as 600"):
        asked(text)


def test_what_comes_in_groups_is_less_than_it_looks() -> None:
    rows = features(60, 10).repeat(10, axis=0) + np.random.default_rng(1).normal(0, 0.01, (600, CHANNELS))
    apart = limit(rows, np.arange(600), every=1_000)
    assert limit(rows, np.arange(600) // 10, every=1_000) > 1.3 * apart


@pytest.mark.parametrize(
    ("rows", "groups", "every", "error", "says"),
    [
        (features(99, 1), None, 1_000, DataError, "99 pictures .* --reference DATA"),
        (features(200, 1), np.arange(200) % 5, 1_000, DataError, "in 5 groups"),
        (features(200, 1), None, 10, UsageError, "--false-alarm-every 10"),
        (np.ones((200, 8), np.float32), None, 1_000, DataError, "all alike"),
    ],
)
def test_what_cannot_be_held_against_anything_is_refused(
    rows: np.ndarray, groups: np.ndarray | None, every: int, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Lookout(reference(rows, groups), every=every, still=Still())


def test_the_space_is_that_of_the_principal_components() -> None:
    rows = features(300, 11)
    space = Space.of(rows, 5)
    rooted = np.sqrt(rows)
    values, vectors = np.linalg.eigh(np.cov(rooted.T))
    overlap = np.linalg.svd(vectors[:, -5:].T @ space.axes)[1]
    assert overlap.min() > 0.99
    np.testing.assert_allclose(np.square(space.deviations), values[::-1][:5], rtol=0.02)


def test_the_same_reference_has_the_same_bytes_and_comes_back(tmp_path: Path) -> None:
    written = reference(features(120, 12))
    written.write(tmp_path / "a.npz")
    written.write(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert file_of.is_reference(tmp_path / "a.npz")
    back = file_of.read(tmp_path / "a.npz")
    np.testing.assert_allclose(back.features, written.features, rtol=1e-3)
    assert (back.counts, back.preprocess) == (written.counts, written.preprocess)
    with np.load(tmp_path / "a.npz") as stored:
        assert sorted(stored) == ["about", "features", "groups", "looks", "made"]


@pytest.mark.parametrize("kept", [0, 10, 500])
def test_a_damaged_reference_is_one_line(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "reference.npz"
    reference(features(120, 12)).write(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"reference\.npz: is no reference, or damaged"):
        file_of.read(path)


class Fixed:
    """An engine whose features are given."""

    batch_size, ahead = 4, 0

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        return self.rows[: len(pixels)]


def test_a_reference_of_other_weights_or_other_pixels_is_refused() -> None:
    rows = features(120, 12)
    kept, preprocess = reference(rows), Preprocess(size=8)
    kept.check_fits(Fixed(rows * 1.001), preprocess, name="m", file="f")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="of other weights than m"):
        kept.check_fits(Fixed(rows * 1.05), preprocess, name="m", file="f")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="prepared otherwise"):
        kept.check_fits(Fixed(rows), preprocess.changed(crop="squash"), name="m", file="f")  # type: ignore[arg-type]


def test_how_pictures_differ_is_said_in_plain_figures() -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(60, 200, (200, 8, 8, 3), dtype=np.uint8)
    usual = looks_of(pictures)
    assert differences(looks_of(pictures[:50]), usual) == ()
    assert differences(usual + np.float32(1e-4), usual) == ()  # what reads the same, however sure it is
    darker = differences(looks_of(pictures[:50] // 2), usual)
    assert darker[0].deviations < 0
    assert {"brightness", "contrast"} <= {one.name for one in darker}
    brightness = next(one for one in darker if one.name == "brightness")
    assert brightness.now == pytest.approx(brightness.reference / 2, abs=0.01)
    assert brightness.words == f"brightness {brightness.now:.2g}, was {brightness.reference:.2g}"
