from collections import Counter

import numpy as np
import pytest
import torch

from resnetkit.data.batches import Batches, normalise, seeded
from resnetkit.data.cache import Pixels
from resnetkit.data.dataset import Item
from resnetkit.data.preflight import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.runtime import Runtime

PREPROCESS = Preprocess.for_size(4)


def batches_of(count: int, batch_size: int, *, seed: int = 0) -> Batches:
    part = Part(
        items=tuple(Item(f"{i}.png", "a", "train") for i in range(count)),
        targets=np.arange(count, dtype=np.int64),
        pixels=Pixels(np.arange(count, dtype=np.uint8).repeat(48).reshape(count, 4, 4, 3)),
    )
    return Batches(
        part,
        preprocess=PREPROCESS,
        augment=lambda pictures, chances: pictures,
        batch_size=batch_size,
        seed=seed,
        runtime=Runtime(),
    )


@pytest.mark.parametrize(("count", "batch_size"), [(2, 64), (64, 64), (65, 64), (129, 64), (10, 3), (7, 1)])
def test_every_image_counts_once_an_epoch_in_even_batches(count: int, batch_size: int) -> None:
    batches = batches_of(count, batch_size)
    for epoch in (0, 1):
        parts = [batches.indices(epoch, step) for step in range(batches.steps_per_epoch)]
        assert Counter(np.concatenate(parts).tolist()) == Counter(range(count))
        lengths = [len(part) for part in parts]
        assert max(lengths) <= batch_size
        assert max(lengths) - min(lengths) <= 1


def test_the_order_is_new_each_epoch_and_a_pure_function_of_seed_and_epoch() -> None:
    batches, again, other = batches_of(50, 8), batches_of(50, 8), batches_of(50, 8, seed=1)
    assert not np.array_equal(batches.indices(0, 0), batches.indices(1, 0))
    again.indices(7, 2)
    assert np.array_equal(batches.indices(0, 3), again.indices(0, 3))
    assert not np.array_equal(batches.indices(0, 3), other.indices(0, 3))


def test_a_batch_holds_pictures_with_their_own_targets() -> None:
    batches = batches_of(20, 6)
    indices = batches.indices(0, 1)
    images, targets = batches.get(indices, 0, 1)
    assert images.shape == (len(indices), 3, 4, 4)
    assert torch.equal(targets, torch.from_numpy(indices))
    restored = images[:, 0, 0, 0] * PREPROCESS.std[0] + PREPROCESS.mean[0]
    assert np.array_equal((restored * 255).round().numpy(), indices)
    assert batches.sources(indices) == [f"{i}.png" for i in indices]


def test_normalise_is_the_textbook_formula_in_either_layout() -> None:
    pixels = torch.randint(0, 256, (2, 4, 4, 3), dtype=torch.uint8, generator=seeded(0))
    planes = pixels.permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1).double() for v in (PREPROCESS.mean, PREPROCESS.std))
    for layout in (torch.channels_last, torch.contiguous_format):
        got = normalise(pixels, PREPROCESS, memory_format=layout)
        assert got.is_contiguous(memory_format=layout)
        torch.testing.assert_close(got.double(), (planes - mean) / std, atol=1e-6, rtol=0)


def test_generators_differ_by_every_part_of_their_position() -> None:
    draws = {torch.rand(1, generator=seeded(*p)).item() for p in [(0, 1, 2), (0, 2, 1), (1, 1, 2), (0, 12), (0, 1, 3)]}
    assert len(draws) == 5
