import pytest
import torch
from torch.nn import functional

from resnetkit.data import augment
from resnetkit.data.batches import seeded
from resnetkit.data.preprocess import Preprocess

PICTURES = torch.randint(0, 256, (64, 12, 10, 3), dtype=torch.uint8, generator=seeded(1))
FILL = torch.tensor([1, 2, 3], dtype=torch.uint8)


def test_flip_mirrors_about_half_of_the_pictures_and_leaves_the_rest() -> None:
    flipped = augment.flip(PICTURES, seeded(0))
    same = (flipped == PICTURES).flatten(1).all(1)
    mirrored = (flipped == PICTURES.flip(2)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_shift_cuts_a_window_of_the_padded_picture() -> None:
    shifted = augment.shift(PICTURES, seeded(0), by=2, fill=FILL)
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
    cut = augment.cutout(PICTURES, seeded(0), side=4, fill=FILL)
    changed = (cut != PICTURES).any(-1)
    assert (cut[changed] == FILL).all()
    assert changed.flatten(1).sum(1).max() <= 16
    assert changed.flatten(1).sum(1).min() >= 2
    assert changed.any(0).all()


def test_random_resized_crop_has_the_size_and_the_share_of_the_area() -> None:
    ramp = torch.arange(100).repeat(100, 1)[..., None].to(torch.uint8).expand(-1, -1, 3).contiguous()
    crops = augment.random_resized_crop([ramp] * 200, seeded(0), size=32, scale=0.25)
    assert crops.shape == (200, 32, 32, 3)
    widths = (crops[:, 0, -1, 0].int() - crops[:, 0, 0, 0].int()).float() / 100
    assert widths.min() > 0.25 * 0.75
    assert widths.max() > 0.9
    assert widths.std() > 0.1


def test_random_resized_crop_takes_pictures_of_any_shape() -> None:
    shapes = [(1, 1), (1, 50), (50, 1), (7, 300), (224, 224)]
    pictures = [torch.zeros(*shape, 3, dtype=torch.uint8) for shape in shapes]
    assert augment.random_resized_crop(pictures, seeded(0), size=16, scale=0.3).shape == (5, 16, 16, 3)
    assert augment.centre(pictures, preprocess=Preprocess.for_size(16)).shape == (5, 16, 16, 3)


def test_resizing_a_crop_is_torchs_antialiased_bilinear() -> None:
    picture = PICTURES[0]
    whole = augment.centre([picture], preprocess=Preprocess(size=5, resize=5))[0]
    square = picture[1:11].permute(2, 0, 1)[None].float()
    expected = functional.interpolate(square, (5, 5), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    torch.testing.assert_close(whole.float(), expected, atol=1.0, rtol=0)


@pytest.mark.parametrize("name", ["flip", "shift", "cutout"])
def test_the_same_generator_gives_the_same_pictures(name: str) -> None:
    options = {"flip": {}, "shift": {"by": 2, "fill": FILL}, "cutout": {"side": 3, "fill": FILL}}[name]
    function = getattr(augment, name)
    one, again, other = (function(PICTURES, seeded(0, 5, step), **options) for step in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
