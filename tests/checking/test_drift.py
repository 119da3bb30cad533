"""Pictures held against a reference: the limit keeps its rate, changes are seen, copies do not count."""

from pathlib import Path

import numpy as np
import pytest

from resnetkit.checking.drift import reference as file_of
from resnetkit.checking.drift.chart import Chart, Space, limit
from resnetkit.checking.drift.lookout import Lookout, Sighting
from resnetkit.checking.drift.looks import differences, looks_of
from resnetkit.checking.drift.reference import Reference
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
    return Lookout(reference(features(COUNT, 1)), every=1_000)


@pytest.fixture
def lookout(fitted: Lookout) -> Lookout:
    fitted.restart()
    fitted.counted = fitted.copies = 0
    fitted._last = None
    return fitted


def watched(lookout: Lookout, rows: np.ndarray, *, since: int = 0) -> int | None:
    """Return the number of the picture that raised an alarm."""
    for number, row in enumerate(rows, start=since + 1):
        if lookout.see(Sighting(number, f"{number}.png"), BLANK, row) == "alarm":
            return number
    return None


def test_pictures_like_the_reference_raise_no_more_alarms_than_stated(lookout: Lookout) -> None:
    rows, alarms = lookout._space.scores(features(20_000, 2)), 0
    chart = Chart(lookout.chart.limit, width=rows.shape[1], known_from=COUNT)
    for row in rows:
        if chart.add(row):
            alarms += 1
            chart.restart()
    assert alarms <= 20
    assert chart.limit < 100  # one so wide that nothing passes it would keep that too


@pytest.mark.parametrize("before", [0, 150, 900])
def test_a_change_is_seen_and_its_beginning_told(lookout: Lookout, before: int) -> None:
    assert watched(lookout, features(before, 3)) is None
    at = watched(lookout, features(100, 4, shift=0.7), since=before)
    assert at is not None
    assert at <= before + 60
    alarm = lookout.alarm()
    assert alarm.at.number == at
    assert abs(alarm.since.number - before - 1) <= 5
    assert alarm.differing == at - alarm.since.number + 1
    assert all(one.sighting.number >= alarm.since.number for one in alarm.shown)


def test_one_odd_picture_is_no_alarm(lookout: Lookout) -> None:
    assert watched(lookout, features(60, 5)) is None
    assert watched(lookout, 1e4 * np.ones((1, CHANNELS), np.float32), since=60) is None


def test_a_restart_forgets_what_was_seen(lookout: Lookout) -> None:
    assert watched(lookout, features(100, 4, shift=0.7)) is not None
    lookout.restart()
    assert lookout.chart.level == 0
    assert watched(lookout, features(100, 6)) is None


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
    assert watched(lookout, rows) is None
    assert (lookout.counted, lookout.copies) == (12, 108)
    watched(lookout, features(200, 8))
    assert lookout.copies <= 110


@pytest.mark.parametrize("lasting", [features(1, 9)[0], np.zeros(CHANNELS, np.float32)])
def test_a_scene_that_lasts_counts_once_in_sixty_copies_and_is_told_in_the_end(
    lookout: Lookout, lasting: np.ndarray
) -> None:
    assert watched(lookout, lasting[None].repeat(180, axis=0)) is None
    assert lookout.counted == 3
    assert watched(lookout, lasting[None].repeat(3_600, axis=0), since=180) is not None
    assert lookout.counted < 40
    alarm = lookout.alarm()
    assert alarm.still == 60 * (lookout.counted - 1)
    assert f"stands still, {alarm.still:,} copies in a row" in alarm.words
    lookout.restart()
    assert watched(lookout, features(100, 6)) is None


def test_copies_of_usual_pictures_raise_no_more_alarms_than_stated(lookout: Lookout) -> None:
    alarms = 0
    for row in features(1_500, 13).repeat(2, axis=0):
        if lookout.see(Sighting(1, "it"), BLANK, row) == "alarm":
            alarms += 1
            lookout.restart()
    assert alarms <= 2
    assert lookout.counted >= 1_450


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
        Lookout(reference(rows, groups), every=every)


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
    darker = differences(looks_of(pictures[:50] // 2), usual)
    assert darker[0].deviations < 0
    assert {"brightness", "contrast"} <= {one.name for one in darker}
    brightness = next(one for one in darker if one.name == "brightness")
    assert brightness.now == pytest.approx(brightness.reference / 2, abs=0.01)
    assert brightness.words == f"brightness {brightness.now:.2g}, was {brightness.reference:.2g}"
