import numpy as np

from resnetkit.data.chances import Chances, key


def of(images: np.ndarray, *, seed: int = 0, epoch: int = 0) -> Chances:
    return Chances(seed=seed, epoch=epoch, images=images)


def test_a_picture_has_the_same_chances_in_any_batch() -> None:
    images = np.array([7, 3, 70_000, 0])
    together = of(images).uniform("shift", 3)
    for place, image in enumerate(images):
        assert (of(np.array([image])).uniform("shift", 3)[:, 0] == together[:, place]).all()


def test_chances_differ_by_seed_epoch_picture_and_what_they_are_for() -> None:
    images = np.arange(100)
    drawn = [
        of(images).uniform("shift", 2), of(images, seed=1).uniform("shift", 2), of(images, epoch=1).uniform("shift", 2),
        of(images).uniform("crop", 2),
    ]  # fmt: skip
    assert len(np.unique(np.stack(drawn))) == 4 * 2 * 100
    assert (of(images, epoch=1).in_epoch(0).uniform("crop", 2) == drawn[3]).all()


def test_chances_are_uniform_and_independent() -> None:
    drawn = np.concatenate([of(np.arange(20_000), epoch=e).uniform("x", 2) for e in range(3)])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    shares = np.histogram(drawn, bins=20, range=(0, 1))[0] / drawn.size
    np.testing.assert_allclose(shares, 0.05, atol=0.003)
    np.testing.assert_allclose(np.corrcoef(drawn), np.eye(6), atol=0.03)
    neighbours = np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 0.02


def test_whole_numbers_reach_every_value_below_their_bound() -> None:
    rows, columns = of(np.arange(1_000)).integers("shift", 9, 3)
    assert set(rows.tolist()) == set(range(9))
    assert set(columns.tolist()) == set(range(3))


def test_keys_keep_their_parts_apart() -> None:
    assert len({key(0, 1, 2), key(0, 2, 1), key(0, 12), key(1, 0, 2), key("0,1", 2, 0)}) == 5
