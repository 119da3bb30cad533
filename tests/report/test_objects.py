"""Objects drawn on their picture."""

import itertools
import unicodedata

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from resnetkit.data.marks import Mask, Object
from resnetkit.models.detection.detected import Detected
from resnetkit.report.drawing.objects import color_of, contrast, draw_found, draw_objects

CLASSES = ("RBC", "WBC", "Platelets", "dark")


@pytest.fixture(autouse=True)
def _matplotlib_is_left_as_it_was():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before


def plain(grey: int = 128, size: tuple[int, int] = (640, 480)) -> Image.Image:
    return Image.new("RGB", size, (grey, grey, grey))


def of_color(picture: Image.Image, color: str) -> np.ndarray:
    """Return which pixels have exactly that colour."""
    rgb = [round(255 * part) for part in to_rgb(color)]
    return (np.abs(np.asarray(picture).astype(int) - rgb) <= 1).all(axis=-1)


def luminance(color: str) -> float:
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_a_class_has_one_colour_and_neighbours_have_others():
    names = [f"class {number}" for number in range(200)]
    colors = [color_of(name, names) for name in names]
    assert len(set(colors)) == 200
    assert colors == [color_of(name, names) for name in names]
    for one, other in itertools.pairwise(colors):
        assert np.abs(np.subtract(to_rgb(one), to_rgb(other))).max() > 0.2


def test_letters_can_be_read_on_the_plate_of_every_class():
    names = [f"class {number}" for number in range(200)]
    for name in names:
        plate = color_of(name, names)
        light, dark = sorted((luminance(plate), luminance(contrast(plate))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_box_lies_where_the_object_is_and_stands_out_from_any_ground(grey):
    drawn = draw_objects(plain(grey), [Detected("RBC", 0.9, (100, 150, 300, 350))], classes=CLASSES)
    assert drawn.size == (640, 480)
    line = of_color(drawn, color_of("RBC", CLASSES))
    assert line[250, 100:102].all()
    assert line[250, 298:300].all()
    assert line[348:350, 200].all()
    assert not line[250, 110:290].any()
    row = np.asarray(drawn)[250, 90:110, 0].astype(int)
    assert np.abs(np.diff(row)).max() > 60  # whatever the ground


def test_a_name_stands_above_its_box_or_where_there_is_room():
    for box, place in (((100, 150, 300, 350), (100, 132)), ((0, 0, 200, 200), (2, 2)), ((560, 1, 639, 478), (562, 3))):
        drawn = draw_objects(plain(), [Detected("RBC", 0.9, box)], classes=CLASSES)
        assert of_color(drawn, color_of("RBC", CLASSES))[place[1] + 1 : place[1] + 6, place[0]].all()


def test_a_mask_is_half_transparent_with_an_edge():
    bitmap = np.zeros((480, 640), bool)
    bitmap[200:300, 200:280] = True
    one = Detected("WBC", 0.9, (200, 200, 280, 300), Mask.of(bitmap))
    drawn = np.asarray(draw_objects(plain(100), [one], classes=CLASSES)).astype(int)
    color = 255 * np.array(to_rgb(color_of("WBC", CLASSES)))
    inside = drawn[250, 240]
    assert np.abs(inside - (0.6 * 100 + 0.4 * color)).max() <= 1
    assert (drawn[250, 320] == 100).all()


def test_truth_is_dashed_and_named_where_nothing_of_its_class_was_found():
    known = [Object("RBC", (100, 100, 200, 200)), Object("WBC", (300, 300, 400, 400))]
    right = Detected("RBC", 0.9, (103, 98, 205, 203))
    drawn = draw_objects(plain(), [right], classes=CLASSES, truth=known)
    edge = np.asarray(drawn)[399, 301:399].astype(int).max(axis=-1)
    assert {0, 255} <= set(edge.tolist())
    white = of_color(drawn, "#ffffff")
    assert white[282:299, 300:320].mean() > 0.3  # the plate of the one that was missed
    assert white[80:98, 100:120].mean() < 0.1
    alone = draw_objects(plain(), (), classes=CLASSES, truth=known)
    assert of_color(alone, "#ffffff")[82:99, 100:120].mean() > 0.3


def test_below_the_picture_stands_how_many_there_are_of_each_colour():
    several = [Detected("RBC", 0.9, (10.0 + 50 * n, 100, 40.0 + 50 * n, 140)) for n in range(5)]
    drawn = draw_found(plain(), [*several, Detected("dark", 0.8, (300, 300, 400, 400))], classes=CLASSES)
    assert drawn.size == (640, 512)
    below = drawn.crop((0, 480, 640, 512))
    assert of_color(below, color_of("RBC", CLASSES)).sum() > 100
    assert of_color(below, color_of("dark", CLASSES)).sum() > 100
    assert draw_found(plain(), (), classes=CLASSES).size == (640, 512)


@pytest.mark.parametrize(
    ("size", "longest"), [((1, 1), 640), ((32, 20), 640), ((641, 20), 641), ((1700, 3), 1600), ((4000, 3000), 1600)]
)
def test_pictures_of_any_size_become_ones_to_look_at(size, longest):
    box = (0.1 * size[0], 0.1 * size[1], 0.9 * size[0], 0.9 * size[1])
    assert max(draw_objects(plain(size=size), [Detected("RBC", 0.9, box)], classes=CLASSES).size) == longest
    assert draw_found(plain(size=(2, 900)), [Detected("RBC", 0.9, (0, 0, 2, 900))], classes=CLASSES).width > 40


@pytest.mark.slow
def test_names_of_any_script_and_length_are_drawn_and_a_crowd_stays_on_the_picture():
    names = [unicodedata.normalize("NFD", "개미"), "דבורה (אדומה)", "नमस्ते", "🐝", "x" * 300, r"$\frac$", "a\nb", "‮abc"]
    chance = np.random.default_rng(0)
    corners = chance.uniform((0, 0), (600, 440), (120, 2))
    crowd = [
        Detected(names[number % len(names)], 0.99, (left, top, left + 30, top + 30))
        for number, (left, top) in enumerate(corners.tolist())
    ]
    assert draw_objects(plain(), crowd, classes=names).size == (640, 480)
    assert draw_found(plain(), crowd, classes=names).width == 640


def test_a_drawing_is_the_same_every_time_and_the_picture_stays():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8))
    before = picture.tobytes()
    one = [Detected("RBC", 0.9, (100, 150, 300, 350))]
    first, second = (draw_objects(picture, one, classes=CLASSES) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert picture.tobytes() == before


def test_grey_pictures_are_drawn_on_in_colour():
    drawn = draw_objects(plain().convert("L"), [Detected("RBC", 0.9, (100, 150, 300, 350))], classes=CLASSES)
    assert of_color(drawn, color_of("RBC", CLASSES)).any()
