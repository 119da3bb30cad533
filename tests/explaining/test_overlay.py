"""The picture under a heat map is what the network sees, pixel over pixel."""

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.preprocess import Preprocess
from resnetkit.explaining.overlay import overlay, seen_picture
from tests.inference.test_graph import some

SHAPES = ((60, 90), (90, 60), (40, 40), (31, 77))


def smooth(width: int, height: int) -> Image.Image:
    return Image.fromarray(some(1, 9, 9, seed=3)[0]).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess(resize=36, size=32),
        Preprocess(resize=32, size=36),
        Preprocess(size=32, crop="pad"),
        Preprocess(size=32, crop="squash"),
        Preprocess(size=32, resize=32, channels=1, mean=(0.5,), std=(0.2,)),
    ],
    ids=["cropped", "bordered", "padded", "squashed", "grey"],
)
def test_the_picture_shown_is_the_part_that_is_seen(preprocess: Preprocess, shape: tuple[int, int]) -> None:
    image = smooth(*shape)
    seen = preprocess.pixels(image).astype(float)
    part = seen_picture(image, preprocess, longest=1000)
    flat = Image.fromarray(part if part.shape[2] == 3 else part[..., 0])
    size = preprocess.size
    again = np.asarray(flat.resize((size, size), Image.Resampling.BILINEAR), dtype=float).reshape(seen.shape)
    # Half a pixel of rounding at most: with black borders that is seen along their edges only.
    assert np.median(np.abs(again - seen)) < 4


def test_a_large_picture_is_shown_smaller_and_a_small_one_as_it_is() -> None:
    preprocess = Preprocess(size=32, resize=32)
    assert seen_picture(smooth(900, 600), preprocess, longest=200).shape == (200, 200, 3)
    assert seen_picture(smooth(20, 30), preprocess, longest=200).shape == (20, 20, 3)


def test_hot_pixels_glow_and_cold_ones_are_dimmed() -> None:
    picture = np.full((40, 60, 1), 128, np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[:4] = 1
    shown = overlay(picture, heat)
    assert shown.shape == (40, 60, 3)
    assert shown[2, 30].sum() > shown[38, 30].sum() + 200
    assert (shown[38, 30] < 128).all()
