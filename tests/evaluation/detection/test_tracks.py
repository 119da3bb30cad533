"""Tracks of held-out pictures that move: copies whose geometry is known, boxes joined in place, what is fitted."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.dataset import Item
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.marks import Object, Truth
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.view import View
from resnetkit.evaluation.detection.moved import COPIES, PICTURES, Copy, copies_of, drawn
from resnetkit.evaluation.detection.overlaps import box_overlaps
from resnetkit.evaluation.detection.tracks import Judged, fit_tracks, tracks_of
from resnetkit.inference.video.tracks import Track
from resnetkit.models.detection.platt import Platt
from resnetkit.models.detection.sureness import Sureness
from resnetkit.tasks.detection.scoring import fitted
from resnetkit.tasks.detection.tracks import with_tracks
from resnetkit.watcher import Watcher
from tests.evaluation.detection.scenes import found, truth

CLASSES = ("car", "truck")
BOXES = Platt(slope=1.0, offset=0.0, boxes=200, right=100)  # the probability of a box is its score
DECISION = Sureness(at=(0.6, 0.6), platt=BOXES)
PREPROCESS = Preprocess(resize=96, size=96, width=128, crop="pad")
SIZE = (200, 100)  # bars above and below


def picture(*boxes: tuple[int, int, int, int]) -> tuple[np.ndarray, View]:
    """Return the pixels of a grey picture with white boxes, as the network wants them, and where they lie."""
    shown = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    for left, top, right, bottom in boxes:
        shown[top:bottom, left:right] = 255
    return PREPROCESS.pixels(Image.fromarray(shown)), PREPROCESS.view(*SIZE)


def white(pixels: np.ndarray) -> np.ndarray:
    """Return the row, `[1, 6]`, of the one white box on a copy, found by its pixels."""
    rows, columns = np.nonzero(pixels[..., 0] > 175)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return np.array([[*box, 0.9, 0]], np.float32)


def test_what_is_seen_on_a_copy_lies_where_it_lies_on_the_picture() -> None:
    box = (80, 30, 120, 70)
    pixels, view = picture(box)
    copies = copies_of(pixels, view, size=SIZE, seed=3, count=6)
    assert len({one.pixels.tobytes() for one in copies}) == 6
    for one in copies:
        [back] = one.found(white(one.pixels)).boxes
        assert back == pytest.approx(box, abs=2.5)  # a pixel of the view is 1.6 of the picture
        assert box_overlaps([back], [box])[0, 0] > 0.85
        assert (one.window[:2] >= 0).all()
        assert (one.window[2:] <= SIZE).all()
        assert (one.pixels[0] == pixels[0]).all(), "bars stay as they are"
    assert copies_of(pixels, view, size=SIZE, seed=3)[0].window.tolist() == copies[0].window.tolist()


def test_objects_are_cut_to_what_is_seen_and_count_neither_way_where_that_is_little() -> None:
    copy = Copy(pixels=np.zeros((1, 1, 3), np.uint8), view=View.whole(*SIZE), window=np.array([50, 10, 150, 90]))
    there = truth((0, (60, 20, 80, 40)), (1, (40, 20, 60, 40)), (0, (10, 20, 52, 40)), (0, (0, 0, 20, 20)))
    shown = copy.shows(there)
    assert shown.boxes.tolist() == [[60, 20, 80, 40], [50, 20, 60, 40], [50, 20, 52, 40]]
    assert shown.crowd.tolist() == [False, False, True]
    row = np.array([[40, 20, 60, 40, 0.9, 1], [0, 0, 30, 30, 0.9, 0]], np.float32)
    assert copy.found(row).boxes.tolist() == [[50, 20, 60, 40]]


@pytest.mark.parametrize("size", [(1, 1), (1000, 1), (3, 2)])
def test_tiny_and_blank_pictures_are_moved_too(size: tuple[int, int]) -> None:
    pixels, view = np.zeros((96, 128, 3), np.uint8), PREPROCESS.view(*size)
    for one in copies_of(pixels, view, size=size, seed=0):
        assert one.pixels.shape == pixels.shape
        assert len(one.found(np.zeros((0, 6), np.float32))) == len(one.shows(truth())) == 0


def test_pictures_are_drawn_from_as_many_groups_as_there_are() -> None:
    assert drawn([None] * 7) == list(range(7))
    assert len(drawn([None] * 500)) == PICTURES
    groups = ["large"] * 100 + [f"{number}" for number in range(50)]
    assert {groups[number] for number in drawn(groups)} == set(groups)
    assert drawn(groups) == drawn(groups)


def still(count: int) -> list[Copy]:
    return [
        Copy(pixels=np.zeros((1, 1, 3), np.uint8), view=View.whole(*SIZE), window=np.array([0, 0, *SIZE], float))
    ] * count


def judged(there: Truth, *frames: Sequence[tuple[int, float, tuple[float, float, float, float]]]) -> list[Judged]:
    founds = [found(*one) for one in frames]
    return tracks_of(still(len(frames)), founds, there, classes=CLASSES, decision=DECISION)


CAR, TRUCK, AWAY = (10.0, 10.0, 50.0, 50.0), (60.0, 10.0, 100.0, 50.0), (150.0, 10.0, 190.0, 50.0)


def test_tracks_are_judged_by_what_share_of_their_boxes_is_right() -> None:
    there = truth((0, CAR), (1, TRUCK))
    frames = [[(0, 0.9, CAR), (0, 0.8, TRUCK), (1, 0.7, AWAY)]] * 3
    told = {f"{one.track.label} {one.track.mean:.1f}": one for one in judged(there, *frames)}
    assert {name: (one.right, one.cut) for name, one in told.items()} == {
        "car 0.9": (1, False), "car 0.8": (0, False), "truck 0.7": (0, False),
    }  # fmt: skip
    moved = (30.0, 10.0, 70.0, 50.0)  # overlaps itself by a third, and so no more by half
    [one] = judged(truth((0, CAR)), [(0, 0.9, CAR)], [(0, 0.8, CAR)], [(0, 0.7, moved)])
    assert (one.track.frames, one.track.mean, one.right) == (3, pytest.approx(0.8), pytest.approx(2 / 3))
    [one] = judged(truth((0, CAR), crowd=(0,)), [(0, 0.9, CAR)], [(0, 0.9, CAR)])
    assert one.cut


def test_a_track_begins_with_a_sure_box_that_is_found_again_at_once() -> None:
    there = truth((0, CAR))
    assert judged(there, [(0, 0.9, CAR)], [], [(0, 0.9, CAR)]) == []
    assert judged(there, [(0, 0.5, CAR)], [(0, 0.5, CAR)], [(0, 0.9, CAR)]) == []
    [one] = judged(there, [(0, 0.9, CAR)], [(0, 0.2, CAR)], [(0, 0.05, CAR)])
    assert (one.track.frames, one.track.mean) == (2, pytest.approx(0.55))
    # A box that lies nearer is taken by its own track, and unsure ones take what sure ones leave.
    near = (20.0, 10.0, 60.0, 50.0)
    two = judged(there, *[[(0, 0.9, CAR), (0, 0.8, near)]] * 3)
    assert sorted(one.track.mean for one in two) == pytest.approx([0.8, 0.9])


def made(count: int, *, seed: int = 0) -> list[Judged]:
    """Return tracks that are right as often as a slope of 0.75 and an offset of 0.5 say of their means."""
    random = np.random.default_rng(seed)
    means = random.uniform(0.2, 1, count)
    right = random.random(count) < Platt(slope=0.75, offset=0.5, boxes=0, right=0).of(means)
    track = Track(
        number=1, label="car", share=1, score=1, probability=None, mean=0, greatest=None, first=0, last=1, begin=0,
        end=1, frames=2,
    )  # fmt: skip
    pairs = zip(means.tolist(), right.tolist(), strict=True)
    return [Judged(track=replace(track, mean=mean), right=float(hit), cut=False) for mean, hit in pairs]


def test_the_fit_of_tracks_finds_what_made_them_right_and_leaves_out_what_is_cut() -> None:
    fit = fit_tracks(made(5000))
    assert fit is not None
    assert (fit.slope, fit.offset) == pytest.approx((0.75, 0.5), abs=0.08)
    assert fit.boxes == 5000
    assert fit_tracks(made(5000) + [replace(one, right=0, cut=True) for one in made(500)]) == fit
    assert fit_tracks(made(99)) is None
    assert fit_tracks([]) is None


def test_least_scores_and_probabilities_know_nothing_of_classes_that_nobody_looked_for() -> None:
    part = part_of(120)
    boxes = (part.items[0].marks[0].box, (20, 40, 40, 60), (40, 30, 80, 70))
    car, truck, beside = (part.views[0].into([box[:2], box[2:]]).ravel().tolist() for box in boxes)
    outputs = np.tile(np.array([[*car, 0.8, 0], [*truck, 0.9, 1]], np.float32), (120, 1, 1))
    outputs[::3, 0, :4] = beside  # what is no car
    counted, alone = (
        fitted(outputs, one, classes=CLASSES, where="val")
        for one in (part, replace(part, items=tuple(replace(item, unknown=("truck",)) for item in part.items)))
    )
    assert (counted.platt.boxes, alone.platt.boxes) == (240, 120)
    assert alone.platt.of(np.array([0.8]))[0] == pytest.approx(2 / 3, abs=0.05)
    assert alone.at[0] == counted.at[0]


def part_of(count: int) -> Part:
    """Return pictures with a white car each."""
    pixels, view = picture((80, 30, 120, 70))
    marks = (Object("car", (80, 30, 120, 70)),)
    items = tuple(Item(f"{number}.png", labels=("car",), marks=marks) for number in range(count))
    return Part(
        items=items, targets=np.array([Truth.of(marks, CLASSES)] * count), pixels=Pixels(np.stack([pixels] * count)),
        sizes=np.array([SIZE] * count), views=(view,) * count,
    )  # fmt: skip


class Noting(Watcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_moved_pictures_fit_what_makes_probabilities_of_tracks_or_say_that_they_are_too_few() -> None:
    asked: list[int] = []

    def answers(part: Part, decision: Sureness) -> tuple[Sureness, list[str]]:
        def ask(numbers: Sequence[int], pixels_of: object) -> object:
            for number in reversed(numbers):  # in any order
                copies = pixels_of(number)
                asked.append(len(copies))
                # The car, and on three of four pictures something that recurs and is none.
                wrong = np.array([[20, 40, 40, 60, 0.65, 1]], np.float32)
                rows = [np.concatenate([white(one), wrong]) for one in copies]
                yield number, np.stack(rows if number % 4 else [row[:1] for row in rows])

        watcher = Noting()
        more = with_tracks(decision, part, classes=CLASSES, where="val", ask=ask, watcher=watcher)
        return more, watcher.notes

    more, notes = answers(part_of(70), DECISION)
    assert asked == [COPIES] * PICTURES
    assert more.tracks is not None
    assert notes == [
        f"60 held-out pictures, moved 3 times, have {more.tracks.boxes} tracks, 60 right: what makes probabilities of "
        "them is fitted to these"
    ]
    assert more.tracks.right == 60
    assert more.tracks.of(np.array([0.9]))[0] > 0.9
    assert more.tracks.of(np.array([0.65]))[0] < 0.4
    few, notes = answers(part_of(6), DECISION)
    assert few == DECISION
    assert "too few for probabilities of tracks, 100 tracks" in notes[0]
    part = part_of(70)
    unknown = replace(part, items=tuple(replace(one, unknown=("truck",)) for one in part.items))
    without, notes = answers(unknown, DECISION)  # nobody looked for trucks: of these nothing is said
    assert "have 60 tracks, 60 right: too few" in notes[0]
    assert without.tracks is None
    asked.clear()
    assert answers(part, Sureness()) == (Sureness(), [])  # without probabilities of boxes nothing is asked
    assert asked == []
