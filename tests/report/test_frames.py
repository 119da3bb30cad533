"""Frames of videos with what was found on them."""

import itertools
import time

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from resnetkit.data.marks import Mask
from resnetkit.models.detection.detected import Detected
from resnetkit.report.drawing.frames import Annotator, bar
from resnetkit.report.drawing.objects import color_at, color_of

CLASSES = ("car", "truck", "개미", "שלום")
SIZE = (320, 180)


@pytest.fixture(scope="module")
def annotator() -> Annotator:
    return Annotator(CLASSES)


def frame(size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new("RGB", size, (90, 90, 90))


def car(left: float, *, track: int | None, top: float = 60, mask: Mask | None = None) -> Detected:
    return Detected("car", 0.87, (left, top, left + 40, top + 30), mask, track=track)


def of_color(picture: Image.Image, color: str) -> np.ndarray:
    """Return which pixels have exactly that colour."""
    rgb = [round(255 * part) for part in to_rgb(color)]
    return (np.asarray(picture).astype(int) == rgb).all(axis=-1)


def test_the_bar_lies_below_and_hides_nothing_of_the_frame(annotator: Annotator) -> None:
    given = frame()
    drawn = annotator.drawn(given, time=12.48, said=[("truck", 0.9)])
    assert drawn.size == (320, 180 + bar(SIZE))
    assert drawn.crop((0, 0, *SIZE)).tobytes() == given.tobytes() == frame().tobytes()
    assert of_color(drawn, color_of("truck", CLASSES))[180:].sum() > 200


def test_what_the_bar_says_can_be_told_apart(annotator: Annotator) -> None:
    said = (
        [("car", 0.9)],
        [("car", 0.8)],
        [("truck", 0.9)],
        [("not sure", None)],
        [("개미", 0.9)],
        [("שלום", 0.9)],
        [],
    )
    bars = [annotator.drawn(frame(), time=1, said=one).crop((0, 180, 320, 180 + bar(SIZE))) for one in said]
    bars.append(annotator.drawn(frame(), time=1.01).crop((0, 180, 320, 180 + bar(SIZE))))
    for one, other in itertools.combinations(bars, 2):
        assert one.tobytes() != other.tobytes()


def test_labels_without_room_are_counted(annotator: Annotator) -> None:
    said = [(label, 0.9) for label in CLASSES]
    few, all_of_them = (annotator.drawn(frame((220, 180)), time=1, said=some) for some in (said[:2], said))
    colors = [color_of(label, CLASSES) for label in CLASSES]
    assert [of_color(few, color).sum() > 99 for color in colors] == [True, True, False, False]
    assert [of_color(all_of_them, color).sum() > 99 for color in colors] == [True, True, False, False]
    assert few.tobytes() != all_of_them.tobytes()


def test_boxes_have_the_colour_of_their_track_or_else_of_their_class(annotator: Annotator) -> None:
    objects = [car(20, track=2), car(120, track=9), car(220, track=None)]
    drawn = annotator.drawn(frame(), time=1, objects=objects)
    for one, color in zip(objects, (color_at(1), color_at(8), color_of("car", CLASSES)), strict=True):
        left, top, right, bottom = (int(edge) for edge in one.box)
        assert of_color(drawn, color)[top:bottom, left].all()
        assert of_color(drawn, color)[bottom - 1, left:right].all()


def test_the_oldest_track_has_its_name_where_two_compete(annotator: Annotator) -> None:
    crowd = [car(100 + number % 3, track=9 - number, top=60 + number % 2) for number in range(8)]
    drawn = annotator.drawn(frame(), time=1, objects=crowd)
    plates = [number for number in range(2, 10) if of_color(drawn, color_at(number - 1))[:180].sum() > 400]
    assert plates[0] == 2
    assert len(plates) <= 3


def test_a_mask_is_seen_through(annotator: Annotator) -> None:
    bitmap = np.zeros((180, 320), bool)
    bitmap[65:85, 25:55] = True
    drawn = annotator.drawn(frame(), time=1, objects=[car(20, track=1, mask=Mask.of(bitmap))])
    mixed = 0.6 * 90 + 0.4 * 255 * np.array(to_rgb(color_at(0)))
    assert np.abs(np.asarray(drawn)[75, 40] - mixed).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (64, 48), (1921, 1081)])
def test_frames_of_any_size_can_be_drawn(annotator: Annotator, size: tuple[int, int]) -> None:
    beyond = Detected("car", 1.0, (-5, -5, 5000, 5000), track=1)
    outside = Detected("truck", 0.5, (4000, 4000, 4001, 4001), track=2)
    drawn = annotator.drawn(frame(size), time=1e6, said=[("car", 1.0)], objects=[beyond, outside])
    assert drawn.size == (size[0], size[1] + bar(size))
    assert bar(size) % 2 == 0


def test_a_frame_is_drawn_far_faster_than_a_picture(annotator: Annotator) -> None:
    objects = [car(10 + 38 * number, track=number) for number in range(1, 8)]
    annotator.drawn(frame((960, 540)), time=0, objects=objects)  # draws the words
    begin = time.process_time()
    for number in range(10):
        annotator.drawn(frame((960, 540)), time=number / 25, objects=objects)
    assert (time.process_time() - begin) / 10 < 0.02  # 0.0012 was measured, 0.08 for a picture by matplotlib
