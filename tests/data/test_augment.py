from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from resnetkit.data.batches import augment, seeded
from resnetkit.data.chances import Chances
from resnetkit.data.preprocess import Crop, Preprocess

PICTURES = torch.randint(0, 256, (64, 12, 10, 3), dtype=torch.uint8, generator=seeded(1))
FILL = torch.tensor([1, 2, 3], dtype=torch.uint8)


def chances(count: int = 64, *, epoch: int = 0, seed: int = 0) -> Chances:
    return Chances(seed=seed, epoch=epoch, images=np.arange(count))


def mirrored(changed: torch.Tensor) -> torch.Tensor:
    same = (changed == PICTURES).flatten(1).all(1)
    turned = (changed == PICTURES.flip(2)).flatten(1).all(1)
    assert (same ^ turned).all()
    return turned


def test_flip_mirrors_about_half_of_the_pictures_by_a_new_coin_each_epoch() -> None:
    first, second = (mirrored(augment.flip(PICTURES, augment.random_mirror(chances(epoch=epoch)))) for epoch in (0, 1))
    assert 16 < first.sum() < 48
    assert 16 < (first == second).sum() < 48


def test_alternating_flip_shows_every_picture_both_ways_in_each_pair_of_epochs() -> None:
    epochs = [augment.alternating_mirror(chances(epoch=epoch)) for epoch in range(5)]
    assert 16 < epochs[0].sum() < 48
    for one, next_one in pairwise(epochs):
        assert (one ^ next_one).all()
    assert 16 < (epochs[0] == augment.alternating_mirror(chances(seed=1))).sum() < 48
    assert torch.equal(mirrored(augment.flip(PICTURES, epochs[0])), torch.from_numpy(epochs[0]))


def test_shift_cuts_a_window_of_the_padded_picture() -> None:
    shifted = augment.shift(PICTURES, chances(), by=2, fill=FILL)
    padded = FILL.expand(64, 16, 14, 3).clone()
    padded[:, 2:14, 2:12] = PICTURES
    offsets = set()
    for i in range(64):
        matches = [
            (y, x) for y in range(5) for x in range(5) if (padded[i, y : y + 12, x : x + 10] == shifted[i]).all()
        ]
        assert len(matches) == 1
        offsets.add(matches[0])
    assert len(offsets) > 15


def test_cutout_blanks_one_square_with_the_fill() -> None:
    cut = augment.cutout(PICTURES, chances(), side=4, fill=FILL)
    changed = (cut != PICTURES).any(-1)
    assert (cut[changed] == FILL).all()
    assert changed.flatten(1).sum(1).max() <= 16
    assert changed.flatten(1).sum(1).min() >= 2
    assert changed.any(0).all()


def test_random_resized_crop_has_the_size_and_the_share_of_the_area() -> None:
    ramp = torch.arange(100).repeat(100, 1)[..., None].to(torch.uint8).expand(-1, -1, 3).contiguous()
    crops = augment.random_resized_crop([ramp] * 200, chances(200), frame=(32, 32), scale=0.25)
    assert crops.shape == (200, 32, 32, 3)
    widths = (crops[:, 0, -1, 0].int() - crops[:, 0, 0, 0].int()).float() / 100
    assert widths.min() > 0.25 * 0.75
    assert widths.max() > 0.9
    assert widths.std() > 0.1


def test_random_resized_crop_takes_pictures_of_any_shape() -> None:
    shapes = [(1, 1), (1, 50), (50, 1), (7, 300), (224, 224)]
    pictures = [torch.zeros(*shape, 3, dtype=torch.uint8) for shape in shapes]
    assert augment.random_resized_crop(pictures, chances(5), frame=(16, 16), scale=0.3).shape == (5, 16, 16, 3)
    assert augment.centre(pictures, preprocess=Preprocess.for_size(16)).shape == (5, 16, 16, 3)


@pytest.mark.parametrize("crop", ["center", "pad", "squash"])
def test_random_parts_of_a_wide_frame_have_its_aspect(crop: Crop) -> None:
    y, x = np.mgrid[:120, :320]
    ramp = torch.from_numpy(np.stack([y, x // 2, x * 0], axis=-1).astype(np.uint8))
    parts = augment.random_resized_crop([ramp] * 100, chances(100), frame=(36, 96), scale=0.3, crop=crop)
    assert parts.shape == (100, 36, 96, 3)
    # The steps from row to row and column to column, in the middle, where no bar is.
    tall = (parts[:, 26, 48, 0].float() - parts[:, 10, 48, 0].float()) / 16
    wide = (parts[:, 18, 72, 1].float() - parts[:, 18, 24, 1].float()) * 2 / 48
    aspect = wide / tall
    assert 0.9 < aspect.median() < 1.1
    if crop == "center":
        assert 0.7 < aspect.min() < 0.85
        assert 1.2 < aspect.max() < 1.45


def test_a_turn_of_a_wide_picture_keeps_its_proportions() -> None:
    picture = torch.zeros(64, 40, 120, 1, dtype=torch.uint8)
    picture[:, 10:30, 50:70] = 200  # a square in the middle
    for turned in augment.turn(picture, chances(), degrees=30):
        places = (turned[..., 0] > 100).nonzero().double()
        assert abs(len(places) - 400) < 20
        wide, narrow = torch.linalg.eigvalsh(torch.cov(places.T)).flip(0)
        assert narrow / wide > 0.95


def test_resizing_a_crop_is_torchs_antialiased_bilinear() -> None:
    picture = PICTURES[0]
    whole = augment.centre([picture], preprocess=Preprocess(size=5, resize=5))[0]
    square = picture[1:11].permute(2, 0, 1)[None].float()
    expected = functional.interpolate(square, (5, 5), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    torch.testing.assert_close(whole.float(), expected, atol=1.0, rtol=0)


def test_a_reflecting_shift_lets_in_the_mirror_image_of_the_border() -> None:
    shifted = augment.shift(PICTURES, chances(), by=3, fill=None)
    padded = functional.pad(PICTURES.permute(0, 3, 1, 2).float(), (3, 3, 3, 3), mode="reflect").permute(0, 2, 3, 1)
    tops, lefts = chances().integers("shift", 7, 7)
    for i, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        assert torch.equal(padded[i, top : top + 12, left : left + 10], shifted[i].float())


def test_a_shift_may_be_larger_than_the_picture() -> None:
    shifted = augment.shift(PICTURES[:, :1, :1], chances(), by=2, fill=FILL)
    assert shifted.shape == (64, 1, 1, 3)
    assert 30 < (shifted == FILL).all(-1).sum() < 64


@pytest.mark.parametrize("decide", [augment.random_mirror, augment.alternating_mirror])
def test_a_picture_is_mirrored_alike_in_any_batch(decide: Callable[[Chances], np.ndarray]) -> None:
    few = np.array([40, 3, 17])
    assert (decide(Chances(seed=0, epoch=5, images=few)) == decide(chances(epoch=5))[few]).all()


def test_a_mirrored_crop_is_the_mirror_image_of_the_crop() -> None:
    turned = np.arange(64) % 3 == 0
    for size in (6, 12):
        plain = augment.random_resized_crop(PICTURES, chances(), frame=(size, size), scale=0.3)
        both = augment.random_resized_crop(PICTURES, chances(), frame=(size, size), scale=0.3, mirrored=turned)
        assert torch.equal(both, augment.flip(plain, turned))


def test_a_vertical_flip_is_upside_down() -> None:
    turned = np.arange(64) % 3 == 0
    changed = augment.flip(PICTURES, turned, upside_down=True)
    assert torch.equal(changed[turned], PICTURES[turned].flip(1))
    assert torch.equal(changed[~turned], PICTURES[~turned])
    assert (augment.random_mirror(chances()) != augment.random_mirror(chances(), axis="vertical flip")).any()


def test_a_turn_is_what_pillow_draws_and_as_far_either_way_as_was_asked() -> None:
    y, x = np.mgrid[:33, :33]
    smooth = torch.from_numpy((120 + 100 * np.sin(x / 5) * np.cos(y / 7)).astype(np.uint8))
    pictures = smooth[None, :, :, None].expand(64, 33, 33, 3)
    changed = augment.turn(pictures, chances(), degrees=90)
    angles = 90 * (2 * chances().uniform("turn", 1)[0] - 1)
    assert angles.min() < -70
    assert angles.max() > 70
    middle = ((x - 16) ** 2 + (y - 16) ** 2) < 14**2
    for picture, angle in zip(changed, angles, strict=True):
        drawn = Image.fromarray(smooth.numpy()).rotate(-angle, Image.Resampling.BILINEAR)
        assert np.abs(picture[..., 0].numpy().astype(int) - np.asarray(drawn))[middle].max() <= 3


def test_no_edge_tells_that_a_picture_was_turned() -> None:
    assert torch.equal(augment.turn(torch.full_like(PICTURES, 77), chances(), degrees=180).unique(), torch.tensor([77]))


def test_colour_keeps_grey_grey_and_changes_brightness_by_the_share_that_was_asked() -> None:
    grey = torch.full((64, 6, 6, 3), 100, dtype=torch.uint8)
    changed = augment.colour(grey, chances(), by=0.4)
    assert (changed == changed[:, :1, :1, :1]).all()
    levels = changed[:, 0, 0, 0].float()
    assert 60 <= levels.min() < 70
    assert 130 < levels.max() <= 140
    coloured = augment.colour(PICTURES, chances(), by=0.4)
    assert (coloured != PICTURES).flatten(1).any(1).all()
    assert augment.colour(PICTURES[..., :1], chances(), by=0.4).shape == (64, 12, 10, 1)


def test_what_changes_one_by_one_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    changed = augment.one_by_one(PICTURES, chances(), change=drawn_at_random)
    assert torch.equal(torch.get_rng_state(), before)
    assert len({(changed[i, 0] == PICTURES[i, 0].roll(r, 0)).all().item() for i in range(64) for r in range(5)}) == 2


def drawn_at_random(picture: torch.Tensor) -> torch.Tensor:
    return picture.roll(int(torch.randint(5, ())), 2)


@pytest.mark.parametrize("name", ["shift", "cutout", "random_resized_crop", "turn", "colour", "one_by_one"])
def test_a_picture_is_changed_alike_in_any_batch(name: str) -> None:
    options = {
        "shift": {"by": 2, "fill": FILL},
        "cutout": {"side": 3, "fill": FILL},
        "random_resized_crop": {"frame": (6, 6), "scale": 0.3},
        "turn": {"degrees": 30},
        "colour": {"by": 0.3},
        "one_by_one": {"change": drawn_at_random},
    }
    change = partial(getattr(augment, name), **options.get(name, {}))
    together = change(PICTURES, chances(epoch=5))
    few = np.array([40, 3, 17])
    assert torch.equal(change(PICTURES[few], Chances(seed=0, epoch=5, images=few)), together[few])
    assert not torch.equal(change(PICTURES, chances(epoch=6)), together)
