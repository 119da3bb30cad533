"""Copies of a photo are found, and other photos of the same things are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.copies.near_copies import least_similarity, near_copies, thumbnail
from resnetkit.data.sources import open_data


def saved_again(picture: Image.Image, *, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def resized(picture: Image.Image, scale: float) -> Image.Image:
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)


def cut(picture: Image.Image, across: float, down: float, at: tuple[float, float]) -> Image.Image:
    """Keep `across` of the width and `down` of the height, at a place between (0, 0) and (1, 1)."""
    width, height = picture.width * across, picture.height * down
    left, top = at[0] * (picture.width - width), at[1] * (picture.height - height)
    return picture.crop((round(left), round(top), round(left + width), round(top + height)))


COPIES = {
    "JPEG at quality 50": lambda picture: saved_again(picture, quality=50),
    "half the size": lambda picture: resized(picture, 0.5),
    "twice the size": lambda picture: resized(picture, 2),
    "a fifth cut off at the right": lambda picture: cut(picture, 0.8, 1, (0, 0)),
    "a fifth cut off at the top": lambda picture: cut(picture, 1, 0.8, (0, 1)),
    "cut off at all sides": lambda picture: cut(picture, 0.9, 0.89, (0.5, 0.5)),
    "a corner": lambda picture: cut(picture, 0.9, 0.89, (1, 0)),
    "cut, smaller and saved again": lambda picture: saved_again(
        resized(cut(picture, 0.9, 0.89, (0, 1)), 0.6), quality=70
    ),
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def pictures_of(source: str, count: int) -> list[Image.Image]:
    dataset = open_data(source, limit=count)
    return [dataset.open(item).convert("RGB") for item in dataset.items[:count]]


@pytest.fixture(scope="module")
def insects(shared_data: Path) -> list[Image.Image]:
    return pictures_of(str(shared_data / "hymenoptera"), 80)


@pytest.fixture(scope="module")
def small_insects(insects: list[Image.Image]) -> np.ndarray:
    return thumbnails(insects)


def thumbnails(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([thumbnail(one) for one in pictures])


def found(*parts: np.ndarray) -> set[tuple[int, int]]:
    return {(pair.first, pair.second) for pair in near_copies(np.concatenate(parts))}


@pytest.mark.parametrize("name", COPIES)
def test_finds_copies_of_photos_whatever_was_done_to_them(
    name: str, insects: list[Image.Image], small_insects: np.ndarray
) -> None:
    pairs = found(small_insects, thumbnails([COPIES[name](picture) for picture in insects[:40]]))
    planted = {(number, number + len(insects)) for number in range(40)}
    assert len(planted & pairs) >= 38
    assert len({pair for pair in pairs - planted if pair[1] - pair[0] != len(insects)}) <= 4


@pytest.mark.slow
def test_finds_copies_among_many_small_pictures(shared_data: Path) -> None:
    pictures = pictures_of(str(shared_data / "cifar10.zip"), 500)
    small = [COPIES["cut, smaller and saved again"](picture) for picture in pictures[:100]]
    pairs = found(thumbnails(pictures + small))
    assert sum((number, number + len(pictures)) in pairs for number in range(100)) >= 90
    assert sum(second < len(pictures) for _, second in pairs) <= 10


def test_a_mirrored_copy_says_so(insects: list[Image.Image], small_insects: np.ndarray) -> None:
    mirrored = thumbnails([COPIES["mirrored"](insects[3])])
    (pair,) = [pair for pair in near_copies(np.concatenate([small_insects[:20], mirrored])) if pair.second == 20]
    assert (pair.first, pair.mirrored) == (3, True)
    assert 0.88 <= pair.similarity <= 1


def test_pictures_without_details_are_no_copies_of_each_other() -> None:
    rng = np.random.default_rng(0)
    plain = [Image.fromarray(rng.integers(level, level + 3, (40, 40, 3), np.uint8)) for level in range(0, 200, 4)]
    assert found(thumbnails(plain)) == set()


@pytest.mark.slow
def test_x_rays_that_all_look_alike_are_no_copies(shared_data: Path) -> None:
    pictures = pictures_of(str(shared_data / "medmnist" / "pneumoniamnist.npz"), 150)
    small = thumbnails(pictures)
    assert least_similarity(small, None) > 0.9
    assert len(found(small)) <= 1
    assert (0, len(pictures)) in found(small, thumbnails([saved_again(pictures[0], quality=95)]))


def test_one_picture_or_none_has_no_copies(insects: list[Image.Image]) -> None:
    assert near_copies(np.zeros((0, 32, 32, 3), np.uint8)) == []
    assert near_copies(thumbnail(insects[0])[None]) == []


def test_the_order_of_pictures_changes_no_pair(insects: list[Image.Image], small_insects: np.ndarray) -> None:
    corners = thumbnails([COPIES["a corner"](picture) for picture in insects[:10]])
    pictures = np.concatenate([small_insects[:30], corners])
    turned = {(59 - 20 - second, 59 - 20 - first) for first, second in found(pictures[::-1])}
    assert turned == found(pictures)
