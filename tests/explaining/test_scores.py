"""A bad heat map has a bad score."""

import numpy as np
import pytest

from resnetkit.explaining.scores import NUM_RANDOM, STEPS, Probabilities, Scores, random_maps, score

SIDE = 32
INSIDE = (slice(8, 16), slice(10, 18))
FILL = np.array([120.0, 120.0, 120.0])


def picture() -> np.ndarray:
    pixels = np.random.default_rng(1).integers(90, 150, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels[INSIDE] = 255
    return pixels


def brightness(pixels: np.ndarray) -> np.ndarray:
    """Two classes: one is as probable as the square is white, the other takes the rest."""
    white = ((pixels[:, *INSIDE].mean(axis=(1, 2, 3)) - 120) / 135).clip(0, 1)
    return np.stack([white, 1 - white], axis=1)


def scored(heat: np.ndarray, pixels: np.ndarray, answer: Probabilities = brightness, fill: np.ndarray = FILL) -> Scores:
    [scores] = score(heat[None], [0], pixels, answer, fill=fill)
    return scores


def on_the_square() -> np.ndarray:
    heat = np.zeros((SIDE, SIDE), np.float32)
    heat[INSIDE] = 1
    return heat


def test_a_good_map_beats_a_random_one_and_its_opposite_loses() -> None:
    good = scored(on_the_square(), picture())
    bad = scored(1 - on_the_square(), picture())
    assert good.deletion < good.random_deletion < bad.deletion
    assert good.insertion > good.random_insertion > bad.insertion
    assert good.beats_random
    assert not bad.beats_random
    both = score(np.stack([on_the_square()] * 2), [0, 1], picture(), brightness, fill=FILL)
    assert both[0] == good
    assert both[1].deletion == pytest.approx(1 - good.deletion)
    assert (good.random_deletion, good.random_insertion) == (bad.random_deletion, bad.random_insertion)


def test_scores_are_areas_under_the_curves() -> None:
    """The square is 1/16 of the picture: gone after one step of 14, so the area is half a step."""
    scores = scored(on_the_square(), picture())
    assert STEPS == 14
    assert scores.deletion == pytest.approx(0.5 / 14)
    always = scored(on_the_square(), picture(), lambda pixels: np.full((len(pixels), 2), 0.7))
    assert always.deletion == always.insertion == always.random_deletion == pytest.approx(0.7)
    assert not always.beats_random


def test_a_random_map_is_no_better_than_random() -> None:
    """Over many maps the difference is none: the comparison favours nobody."""
    differences = []
    for seed in range(60):
        pixels = picture()
        pixels[0, 0] = seed
        own = np.random.default_rng(seed).random((8, 8)).repeat(4, axis=0).repeat(4, axis=1)
        scores = scored(own, pixels)
        differences.append(scores.deletion - scores.random_deletion)
    error = np.std(differences) / len(differences) ** 0.5
    assert abs(np.mean(differences)) < 3 * error


def test_random_maps_belong_to_the_picture() -> None:
    one, again, other = random_maps(picture()), random_maps(picture()), random_maps(255 - picture())
    assert (one == again).all()
    assert (one != other).any()
    assert one.shape == (NUM_RANDOM, SIDE, SIDE)
    assert np.abs(np.diff(one, axis=2)).mean() < 0.1, "they are smooth"


def test_grey_pictures_are_scored_too() -> None:
    grey = picture()[..., :1]
    scores = scored(on_the_square(), grey, fill=FILL[:1])
    assert scores.beats_random


def test_plain_values_are_rounded() -> None:
    scores = Scores(deletion=1 / 3, insertion=0.5, random_deletion=0.4, random_insertion=0.2)
    assert scores.to_json() == {
        "deletion": 0.333333, "insertion": 0.5, "random_deletion": 0.4, "random_insertion": 0.2, "beats_random": True,
    }  # fmt: skip
