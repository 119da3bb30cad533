"""Test-time averaging: which views, with which weights, and that nothing else changes by it."""

import numpy as np
import pytest

from resnetkit.evaluation.averaging import VIEWS, averaged_logits, shifted
from tests.fakes import OneByOne


class Positions(OneByOne):
    """Logits that know where colours are: each is the sum of the pixels under its own random weights."""

    def __init__(self, side: int, num_classes: int = 3) -> None:
        self.weights = np.random.default_rng(1).normal(size=(side * side * 3, num_classes))
        self.num_pictures = 0

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        self.num_pictures += len(pixels)
        return (pixels.reshape(len(pixels), -1) @ self.weights / 255).astype(np.float32)


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)


def averaged(pictures: np.ndarray, views: str) -> np.ndarray:
    engine = Positions(6)
    return averaged_logits(engine, pictures, engine.logits(pictures), views=views)  # type: ignore[arg-type]


def test_flip_is_the_mean_of_a_picture_and_its_mirror(pictures: np.ndarray) -> None:
    by_hand = (Positions(6).logits(pictures) + Positions(6).logits(pictures[:, :, ::-1].copy())) / 2
    np.testing.assert_allclose(averaged(pictures, "flip"), by_hand, rtol=1e-5)


def test_flip_shift_weighs_six_views_as_airbench_does(pictures: np.ndarray) -> None:
    def mirrored(versions: np.ndarray) -> np.ndarray:
        return (Positions(6).logits(versions.copy()) + Positions(6).logits(versions[:, :, ::-1].copy())) / 2

    padded = np.stack([np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="reflect") for picture in pictures])
    moved = (mirrored(padded[:, :6, :6]) + mirrored(padded[:, 2:, 2:])) / 2
    np.testing.assert_allclose(averaged(pictures, "flip_shift"), (mirrored(pictures) + moved) / 2, rtol=1e-5)


def test_a_shift_moves_every_pixel_by_one_and_reflects_the_border(pictures: np.ndarray) -> None:
    down_right, up_left = shifted(pictures, 1), shifted(pictures, -1)
    assert (down_right[:, 1:, 1:] == pictures[:, :-1, :-1]).all()
    assert (down_right[:, 0, 1:] == pictures[:, 1, :-1]).all()
    assert (up_left[:, :-1, :-1] == pictures[:, 1:, 1:]).all()
    assert (up_left[:, :-1, -1] == pictures[:, 1:, -2]).all()


def test_a_symmetric_picture_gains_nothing_from_its_mirror(pictures: np.ndarray) -> None:
    symmetric = np.maximum(pictures, pictures[:, :, ::-1])
    np.testing.assert_array_equal(averaged(symmetric, "flip"), Positions(6).logits(symmetric))


@pytest.mark.parametrize("views", VIEWS)
def test_a_picture_of_one_colour_looks_alike_in_every_view(views: str) -> None:
    plain = np.full((2, 6, 6, 3), 77, np.uint8)
    np.testing.assert_allclose(averaged(plain, views), Positions(6).logits(plain), rtol=1e-6)


@pytest.mark.parametrize(("views", "more"), [("none", 0), ("flip", 1), ("flip_shift", 5)])
def test_the_plain_logits_are_not_computed_twice(pictures: np.ndarray, views: str, more: int) -> None:
    engine = Positions(6)
    averaged_logits(engine, pictures, Positions(6).logits(pictures), views=views)  # type: ignore[arg-type]
    assert engine.num_pictures == more * len(pictures)
