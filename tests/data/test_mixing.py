from random import Random

import pytest
import torch

from resnetkit.data.batches import seeded
from resnetkit.data.batches.mixing import cutmix, mixup, soft_targets

PIXELS = torch.randint(0, 256, (6, 12, 10, 3), dtype=torch.uint8, generator=seeded(0))
OTHERS = PIXELS.roll(1, 0)


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.5, 0.77, 1.0])
def test_mixup_is_the_weighted_mean_and_that_of_equal_pictures_is_the_picture(weight: float) -> None:
    mixed = mixup(PIXELS, OTHERS, weight=weight)
    exact = weight * PIXELS.double() + (1 - weight) * OTHERS.double()
    torch.testing.assert_close(mixed.double(), exact, atol=0.501, rtol=0)
    assert torch.equal(mixup(PIXELS, PIXELS, weight=weight), PIXELS)


def test_cutmix_takes_one_part_from_the_partner_and_the_weight_is_the_share_that_stays() -> None:
    black, white = torch.zeros_like(PIXELS), torch.full_like(PIXELS, 255)
    areas = []
    for seed in range(200):
        chance = Random(seed)
        mixed, weight = cutmix(black, white, weight=chance.random(), chance=chance)
        taken = mixed[:, :, :, 0] == 255
        assert (taken == taken[0]).all()
        rows, columns = taken[0].any(1), taken[0].any(0)
        assert torch.equal(taken[0], rows[:, None] & columns)
        assert weight == pytest.approx(1 - taken[0].float().mean().item())
        areas.append(weight)
        assert (mixed.sum(-1) % 765 == 0).all()
    assert min(areas) < 0.3
    assert max(areas) > 0.95
    assert len(set(areas)) > 30


def test_cutmix_leaves_all_of_a_picture_of_full_weight_and_can_reach_every_pixel() -> None:
    assert torch.equal(cutmix(PIXELS, OTHERS, weight=1.0, chance=Random(0))[0], PIXELS)
    black, white = torch.zeros_like(PIXELS[:1]), torch.ones_like(PIXELS[:1])
    reached = [cutmix(black, white, weight=0.9, chance=Random(seed))[0] for seed in range(300)]
    assert torch.cat(reached).any(0).all()


def test_soft_targets_share_the_weight_among_both_classes() -> None:
    got = soft_targets(torch.tensor([0, 2]), torch.tensor([1, 2]), weight=0.75, num_classes=3)
    assert torch.equal(got, torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]))
