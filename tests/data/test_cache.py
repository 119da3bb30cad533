import tracemalloc

import numpy as np
import pytest

from resnetkit.data import cache
from resnetkit.data.cache import Pixels


def picture(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_pictures_of_one_shape_are_one_array():
    pixels = Pixels.collect((picture(4, 5, i) for i in range(10)), count=10)
    taken = pixels.take(np.array([7, 2, 2]))
    assert pixels.uniform
    assert isinstance(taken, np.ndarray)
    assert taken.shape == (3, 4, 5, 3)
    assert taken[:, 0, 0, 0].tolist() == [7, 2, 2]
    assert (len(pixels), pixels.nbytes) == (10, 600)


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_pictures_of_several_shapes_keep_theirs(monkeypatch, chunk):
    monkeypatch.setattr(cache, "_CHUNK", chunk)
    sizes = [(4, 5), (4, 5), (6, 3), (4, 5), (1, 1), (9, 9)]
    pixels = Pixels.collect((picture(h, w, i) for i, (h, w) in enumerate(sizes)), count=9)
    taken = pixels.take(np.arange(6))
    assert not pixels.uniform
    assert [one.shape[:2] for one in taken] == sizes
    assert all((one == i).all() for i, one in enumerate(taken))
    assert pixels.nbytes == sum(h * w * 3 for h, w in sizes)


def test_fewer_pictures_than_announced_are_fine():
    assert len(Pixels.collect((picture(2, 2, i) for i in range(3)), count=5)) == 3
    assert len(Pixels.collect(iter([]), count=5)) == 0


@pytest.mark.parametrize("last_height", [100, 101])
def test_nothing_is_held_twice(last_height):
    tracemalloc.start()
    heights = [100] * 199 + [last_height]
    pixels = Pixels.collect((picture(height, 100, 0) for height in heights), count=200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < pixels.nbytes + cache._CHUNK + 1_000_000


def test_the_bytes_of_whole_pictures_are_estimated_from_their_sizes():
    sizes = [(400, 200), (50, 50)]
    assert cache.bytes_needed(sizes, short_side=100, channels=3) == 3 * (200 * 100 + 50 * 50) / 2
