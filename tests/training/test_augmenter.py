from random import Random

import numpy as np
import pytest
import torch

from resnetkit.data.batches import seeded
from resnetkit.data.chances import Chances
from resnetkit.data.preprocess import Crop, Preprocess
from resnetkit.data.view import View
from resnetkit.errors import UsageError
from resnetkit.training.recipe import Augment
from resnetkit.training.steps.augmenter import build_augmenter, build_mixer, build_viewer

PREPROCESS = Preprocess.for_size(8)
PICTURES = torch.randint(0, 256, (9, 8, 8, 3), dtype=torch.uint8, generator=seeded(0))
CHANCES = Chances(seed=0, epoch=0, images=np.arange(9))


def test_without_changes_pictures_stay_as_they_are() -> None:
    apply = build_augmenter(Augment(flip="none", crop="none"), PREPROCESS, device="cpu")
    assert torch.equal(apply(PICTURES, CHANCES), PICTURES)


@pytest.mark.parametrize(
    "config",
    [
        Augment(flip="random", crop="none"),
        Augment(flip="alternating", crop="none"),
        Augment(flip="none", crop="shift"),
        Augment(flip="none", crop="shift", border="reflect"),
        Augment(flip="none", crop="shift", shift=0.99, border="reflect"),
        Augment(flip="none", crop="random_resized"),
        Augment(flip="none", crop="none", cutout=3),
        Augment(flip="none", crop="none", vertical_flip="random"),
        Augment(flip="none", crop="none", turn=45),
        Augment(flip="none", crop="none", colour=0.3),
        Augment(flip="none", crop="none", policy="trivial"),
        Augment(flip="none", crop="none", policy="rand"),
    ],
)
def test_every_setting_changes_pictures_and_leaves_the_given_ones_untouched(config: Augment) -> None:
    given = PICTURES.clone()
    changed = build_augmenter(config, PREPROCESS, device="cpu")(given, CHANCES)
    assert changed.shape == PICTURES.shape
    assert changed.dtype == torch.uint8
    assert not torch.equal(changed, PICTURES)
    assert torch.equal(given, PICTURES)


def test_what_enters_is_the_mean_colour_or_the_picture_s_own() -> None:
    white = torch.full_like(PICTURES, 255)
    mean = torch.tensor([round(255 * value) for value in PREPROCESS.mean], dtype=torch.uint8)
    for border in ("mean", "reflect"):
        config = Augment(flip="none", crop="shift", border=border)
        shifted = build_augmenter(config, PREPROCESS, device="cpu")(white, CHANCES)
        entered = shifted[(shifted != 255).any(-1)]
        assert (len(entered) > 0) == (border == "mean")
        assert (entered == mean).all()


def test_nothing_is_mixed_where_no_recipe_asks_for_it() -> None:
    assert build_mixer(Augment(), num_classes=3) is None


@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_each_picture_is_mixed_with_the_one_before_it_by_the_weight_of_its_targets(mixup: float, cutmix: float) -> None:
    mix = build_mixer(Augment(mixup=mixup, cutmix=cutmix), num_classes=9)
    assert mix is not None
    brightness = torch.arange(0, 180, 20, dtype=torch.uint8)[:, None, None, None].expand(9, 8, 8, 3)
    weights, kinds = set(), set()
    for seed in range(40):
        mixed, targets = mix(brightness, torch.arange(9), Random(seed))
        assert mixed.shape == (8, 8, 8, 3)
        expected = targets @ torch.arange(0, 180, 20).float()
        torch.testing.assert_close(mixed.float().mean((1, 2, 3)), expected, atol=0.51, rtol=0)
        torch.testing.assert_close(targets.sum(1), torch.ones(8))
        weights.add(targets[0, 1].item())
        if 0.1 < targets[0, 1] < 0.9:
            kinds.add("mixup" if len(mixed[0].unique()) == 1 else "cutmix")
    assert len(weights) > 8
    assert kinds == {name for name, alpha in (("mixup", mixup), ("cutmix", cutmix)) if alpha}


@pytest.mark.parametrize(
    ("config", "crop"),
    [
        (Augment(flip="alternating", crop="none"), "center"),
        (Augment(flip="random", crop="shift", shift=0.3), "center"),
        (Augment(flip="random", crop="random_resized", scale=0.3), "center"),
        (Augment(flip="random", crop="random_resized", scale=0.3), "pad"),
        (Augment(flip="none", crop="random_resized", scale=0.3), "squash"),
        (Augment(flip="none", crop="none", turn=180), "center"),
        (Augment(flip="random", crop="random_resized", vertical_flip="random", turn=20, cutout=4), "center"),
        (Augment(flip="random", crop="shift", vertical_flip="random", turn=90), "center"),
    ],
)
def test_views_tell_where_the_pixels_of_changed_pictures_lie(config: Augment, crop: Crop) -> None:
    preprocess = Preprocess.for_size(32, width=64).changed(crop=crop)
    height, width = (48, 80) if config.crop == "random_resized" else preprocess.frame
    y, x = np.mgrid[:height, :width] + 0.5
    ramp = np.stack([40 + 200 * x / width, 40 + 200 * y / height, np.full_like(x, 255)], axis=-1).round()
    pictures = torch.from_numpy(np.repeat(ramp[None].astype(np.uint8), 20, axis=0))
    chances = Chances(seed=1, epoch=3, images=np.arange(20))
    changed = build_augmenter(config, preprocess, device="cpu")(pictures, chances).numpy()
    views = build_viewer(config, preprocess)([View.whole(width, height)] * 20, chances)
    checked = 0
    for picture, view in zip(changed, views, strict=True):
        assert (view.height, view.width) == preprocess.frame
        down, across = np.nonzero(picture[..., 2] == 255)  # neither bars nor border
        on_picture = view.back(np.stack([across + 0.5, down + 0.5], axis=-1))
        inside = ((on_picture > 2) & (on_picture < np.array([width, height]) - 2)).all(axis=1)
        if config.crop == "random_resized" and config.turn:  # beside this circle is a mirror image of what was cut
            inside &= np.hypot(across + 0.5 - 32, down + 0.5 - 16) < 14
        expected = 40 + 200 * on_picture[inside] / (width, height)
        assert np.abs(picture[down, across][inside, :2] - expected).max() < 150 / height, view
        checked += int(inside.sum())
    assert checked > 20 * 400


def test_a_policy_has_no_views() -> None:
    with pytest.raises(UsageError, match=r"augment\.policy=rand"):
        build_viewer(Augment(policy="rand"), PREPROCESS)
