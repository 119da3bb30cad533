from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from resnetkit.data.batches import Batches, normalise, seeded
from resnetkit.data.dataset import Item
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.drawing import Sampling, drawn_evenly
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.runtime import Runtime
from resnetkit.training.recipe import Augment
from resnetkit.training.steps.augmenter import build_augmenter, build_mixer

PREPROCESS = Preprocess.for_size(4)


def batches_of(count: int, batch_size: int, *, seed: int = 0) -> Batches:
    part = Part(
        items=tuple(Item(f"{i}.png", ("a",), "train") for i in range(count)),
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


TARGETS = np.array([0] * 70 + [1] * 25 + [3] * 5)  # no picture of class 2


def test_balanced_sampling_shows_each_class_equally_often_and_no_picture_again_before_all_came() -> None:
    seen, more = Counter[int](), Counter[int]()
    for epoch in range(40):
        numbers = drawn_evenly(TARGETS, seed=0, epoch=epoch)
        positions, turns = numbers % 100, numbers // 100
        assert len(numbers) == len(set(numbers.tolist())) == 100
        of_class = Counter(TARGETS[positions].tolist())
        assert sorted(of_class.values()) == [33, 33, 34]
        more.update(label for label, count in of_class.items() if count == 34)
        for label in (0, 1, 3):
            often = Counter(positions[TARGETS[positions] == label].tolist())
            counts = [often[i] for i in range(100) if TARGETS[i] == label]
            assert max(counts) - min(counts) <= 1
        assert all(set(turns[positions == i]) == set(range(np.sum(positions == i))) for i in range(100))
        seen.update(positions[TARGETS[positions] == 0].tolist())
    assert sorted(more) == [0, 1, 3], "which class gets one more is drawn, too"
    assert len(seen) == 70
    assert max(seen.values()) < 32  # 40 * 33 / 70 = 19 expected, standard deviation 3.2


def test_what_is_drawn_is_a_pure_function_of_seed_and_epoch_in_no_order_of_classes() -> None:
    one = drawn_evenly(TARGETS, seed=0, epoch=3)
    assert np.array_equal(one, drawn_evenly(TARGETS.copy(), seed=0, epoch=3))
    for other in (drawn_evenly(TARGETS, seed=1, epoch=3), drawn_evenly(TARGETS, seed=0, epoch=4)):
        assert not np.array_equal(one, other)
        assert set(one.tolist()) != set(other.tolist())
    halves = [Counter(TARGETS[half % 100].tolist()) for half in (one[:50], one[50:])]
    assert all(8 <= half[label] <= 26 for half in halves for label in (0, 1, 3))  # 17 expected, sd 2.4
    assert sorted(drawn_evenly(np.zeros(7, int), seed=0, epoch=0).tolist()) == list(range(7))


def test_a_picture_that_comes_again_keeps_its_target_and_is_changed_otherwise() -> None:
    batches = real_batches(8, sampling="balanced", targets=np.array([0] * 20 + [1] * 3))
    looks: dict[int, list[torch.Tensor]] = {}
    for step in range(batches.steps_per_epoch):
        numbers = batches.indices(0, step)
        batch = batches.get(numbers, 0, step)
        assert np.array_equal(batch.targets, batches.part.targets[numbers % 23])
        assert batches.sources(numbers) == [f"{number % 23}.png" for number in numbers]
        for number, image in zip(numbers.tolist(), batch.images, strict=True):
            looks.setdefault(number % 23, []).append(image)
    again = [looks[rare] for rare in (20, 21, 22)]
    assert sum(map(len, again)) in (11, 12)
    assert all(any(not torch.equal(image, each[0]) for image in each[1:]) for each in again)
    common = next(iter(set(range(20)) - looks.keys()))
    assert batches.seen(common, 0).images.shape == (1, 4, 4, 3), "it is not drawn in this epoch"


def test_a_batch_holds_pictures_with_their_own_targets() -> None:
    batches = batches_of(20, 6)
    indices = batches.indices(0, 1)
    batch = batches.get(indices, 0, 1)
    images, targets = batch.images, batch.targets
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


@pytest.mark.parametrize("size", [(7, 5), (300, 224)])
def test_normalise_has_the_bits_of_torchvisions_preset(size: tuple[int, int]) -> None:
    pixels = torch.randint(0, 256, (3, *size, 3), dtype=torch.uint8, generator=seeded(0))
    planes = functional.convert_image_dtype(pixels.permute(0, 3, 1, 2), torch.float)
    expected = functional.normalize(planes, mean=PREPROCESS.mean, std=PREPROCESS.std)
    for layout in (torch.channels_last, torch.contiguous_format):
        assert torch.equal(normalise(pixels, PREPROCESS, memory_format=layout), expected)


def real_batches(
    batch_size: int, *, mixed: bool = False, count: int = 23, sampling: Sampling = "once",
    targets: np.ndarray | None = None,
) -> Batches:  # fmt: skip
    config = Augment(flip="alternating", crop="shift", shift=0.25, cutout=1, cutmix=0.5 * mixed, mixup=0.5 * mixed)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    part = Part(
        items=tuple(Item(f"{i}.png", ("a",), "train") for i in range(count)),
        targets=np.arange(count, dtype=np.int64) % 3 if targets is None else targets, pixels=Pixels(pixels),
    )  # fmt: skip
    return Batches(
        part, preprocess=PREPROCESS, augment=build_augmenter(config, PREPROCESS, device="cpu"),
        mix=build_mixer(config, num_classes=3), batch_size=batch_size, seed=5, runtime=Runtime(),
        sampling=sampling,
    )  # fmt: skip


def test_a_picture_looks_the_same_whatever_the_batch_size() -> None:
    def looks(batch_size: int, epoch: int) -> dict[int, torch.Tensor]:
        batches = real_batches(batch_size)
        looks = {}
        for step in range(batches.steps_per_epoch):
            indices = batches.indices(epoch, step)
            looks |= dict(zip(indices.tolist(), batches.get(indices, epoch, step).images, strict=True))
        return looks

    few, many = looks(3, epoch=1), looks(16, epoch=1)
    assert all(torch.equal(few[i], many[i]) for i in range(23))
    assert not all(torch.equal(few[i], other) for i, other in looks(3, epoch=3).items())


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("ranks", [1, 2, 5, 8])
def test_shares_of_a_batch_are_its_parts_even_empty_ones(ranks: int, mixed: bool) -> None:
    batches = real_batches(6, mixed=mixed)
    indices = batches.indices(0, 1)
    batch = batches.get(indices, 0, 1)
    bounds = np.linspace(0, len(indices), ranks + 1).round().astype(int).tolist()
    shares = [batches.get(indices, 0, 1, share=slice(a, b)) for a, b in pairwise(bounds)]
    assert torch.equal(torch.cat([part.images for part in shares]), batch.images)
    assert torch.equal(torch.cat([part.targets for part in shares]), batch.targets)
    assert batch.targets.shape == ((len(indices), 3) if mixed else (len(indices),))


def test_a_batch_of_one_is_mixed_with_itself() -> None:
    mixed, plain = real_batches(1, mixed=True), real_batches(1)
    for step in range(5):
        indices = mixed.indices(0, step)
        batch = mixed.get(indices, 0, step)
        assert torch.equal(batch.images, plain.get(indices, 0, step).images)
        assert torch.equal(batch.targets.argmax(1), torch.from_numpy(indices % 3))


@pytest.mark.parametrize("mixed", [False, True])
def test_a_picture_can_be_seen_as_the_network_gets_it(mixed: bool) -> None:
    batches = real_batches(6, mixed=mixed)
    indices = batches.indices(2, 3)
    for place, image in enumerate(indices.tolist()):
        assert torch.equal(batches.seen(image, 2).images[0], batches.changed(indices, 2, 3).images[place])
