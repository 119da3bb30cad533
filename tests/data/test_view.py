"""Points go through a view and come back, and what is drawn through its map is what the pixels are."""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.preprocess import Preprocess
from resnetkit.data.view import View

POINTS = np.array([[0.0, 0.0], [1.5, 0.5], [20.0, 3.0], [7.0, 31.0]])
# What each step does to a view, and to pixels that are floats, by Pillow alone.
Step = Callable[[View, Image.Image], tuple[View, Image.Image]]


def resize(chance: Random) -> Step:
    height, width = chance.randint(12, 64), chance.randint(12, 64)
    return lambda view, image: (view.resized(height=height, width=width), image.resize((width, height), 2))


def crop(chance: Random) -> Step:
    """Cut out a part, or add bars."""
    edges = [chance.randint(-4, 4) for _ in range(4)]

    def apply(view: View, image: Image.Image) -> tuple[View, Image.Image]:
        left, top = edges[:2]
        width, height = max(8, image.width + edges[2] - left), max(8, image.height + edges[3] - top)
        cut = image.crop((left, top, left + width, top + height))
        return view.cropped(top=top, left=left, height=height, width=width), cut

    return apply


def mirror(chance: Random) -> Step:
    upside_down = chance.random() < 0.5
    how = Image.Transpose.FLIP_TOP_BOTTOM if upside_down else Image.Transpose.FLIP_LEFT_RIGHT
    return lambda view, image: (view.mirrored(upside_down=upside_down), image.transpose(how))


def turn(chance: Random) -> Step:
    degrees = chance.uniform(-180, 180)
    return lambda view, image: (view.turned(degrees), image.rotate(-degrees, Image.Resampling.BILINEAR))


def shear(chance: Random) -> Step:
    across = chance.uniform(-0.5, 0.5)

    def apply(view: View, image: Image.Image) -> tuple[View, Image.Image]:
        back = (1, -across, across * image.height / 2, 0, 1, 0)
        drawn = image.transform(image.size, Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
        return view.sheared(across=across), drawn

    return apply


STEPS = (resize, crop, mirror, turn, shear)


def test_points_of_a_thousand_chains_go_and_come_back() -> None:
    for seed in range(1000):
        chance, view, image = Random(seed), View.whole(40, 32), Image.new("F", (40, 32))
        for _ in range(chance.randint(1, 8)):
            view, image = chance.choice(STEPS)(chance)(view, image)
            assert (view.width, view.height) == image.size
        assert np.abs(view.back(view.into(POINTS)) - POINTS).max() < 0.01, seed


def drawn_through(view: View, image: Image.Image) -> np.ndarray:
    """Return the original as its map alone says that the view shows it."""
    corner, right, down = view.back([[0, 0], [1, 0], [0, 1]])
    across, below = right - corner, down - corner
    coefficients = (across[0], below[0], corner[0], across[1], below[1], corner[1])
    size = (view.width, view.height)
    return np.asarray(image.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR))


def test_what_the_map_draws_is_what_the_steps_made() -> None:
    y, x = np.mgrid[:160, :200] / 200
    smooth = Image.fromarray((np.sin(9 * x) + np.cos(7 * y) + 2).astype(np.float32))
    for seed in range(200):
        chance, view, image = Random(seed), View.whole(*smooth.size), smooth
        for _ in range(chance.randint(1, 3)):
            view, image = chance.choice(STEPS[1:])(chance)(view, image)
        inside = drawn_through(view, Image.new("F", smooth.size, 1.0)) == 1
        stays = np.asarray(image) > 0  # bars are black, and a turn may have brought some into the picture
        both = inside & stays & (drawn_through(view, smooth) > 0)
        both[[0, -1]] = both[:, [0, -1]] = False
        found, expected = np.asarray(image)[both], drawn_through(view, smooth)[both]
        if len(found):
            assert np.quantile(np.abs(found - expected), 0.95) < 0.02, seed


@pytest.mark.parametrize("crop", ["center", "pad", "squash"])
@pytest.mark.parametrize("size", [(300, 200), (97, 251), (224, 224), (40, 31)])
@pytest.mark.parametrize("width", [96, 160])
def test_the_view_of_a_preprocessing_is_what_its_pixels_show(crop: str, size: tuple[int, int], width: int) -> None:
    preprocess = Preprocess.for_size(96, width=width).changed(crop=crop)
    view = preprocess.view(*size)
    assert (view.height, view.width) == (96, width)
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    positions = np.stack([255 * x / size[0], 255 * y / size[1], np.full_like(x, 128)], axis=-1)
    pixels = preprocess.pixels(Image.fromarray(positions.round().astype(np.uint8)))
    inner = np.array([[x + 0.5, y + 0.5] for x in range(width) for y in range(96)])
    on_picture = view.back(inner)
    shown = ((on_picture > 2) & (on_picture < np.array(size) - 2)).all(axis=1)
    seen = np.array([pixels[int(y), int(x), :2] for x, y in inner[shown]])
    assert np.abs(seen - 255 * on_picture[shown] / size).max() < 255 * 1.5 / min(size)
