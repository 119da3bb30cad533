"""Only what is one picture for certain is a copy: saved again or made smaller; never what differs in one place."""

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from resnetkit.data.copies.resaved import is_resaved, resaved_pairs
from resnetkit.data.decoded import contents
from resnetkit.data.sources import open_data

WAYS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def saved_again(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def smaller(picture: Image.Image, scale: float, how: Image.Resampling) -> Image.Image:
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), how)


def pictures_of(source: Path, *, count: int, limit: int | None = None) -> list[Image.Image]:
    dataset = open_data(source, limit=limit)
    pictures = (dataset.open(item).convert("RGB") for item in dataset.items)
    return [picture for picture in pictures if min(picture.size) >= 32][:count]


def pairs_of(pictures: list[Image.Image]) -> set[tuple[int, int]]:
    known = [contents.content_of(picture) for picture in pictures]
    return set(resaved_pairs(known, lambda number, _: pictures[number]))


@pytest.mark.parametrize(
    "source", [pytest.param("cifar10.zip", marks=pytest.mark.slow), "hymenoptera", "traffic_lights"]
)
def test_pictures_saved_again_or_made_smaller_are_found_and_no_others(source: str, shared_data: Path) -> None:
    pictures = pictures_of(shared_data / source, count=20, limit=30)
    again = [saved_again(picture, 75 + number % 21) for number, picture in enumerate(pictures)]
    half = [smaller(picture, 0.5, WAYS[number % 4]) for number, picture in enumerate(pictures)]
    for copies in (again, half):
        found = pairs_of([*pictures, *copies])
        planted = {(number, number + len(pictures)) for number in range(len(pictures))}
        assert len(planted & found) >= 0.95 * len(pictures)
        assert found <= planted


@pytest.mark.parametrize(("source", "limit"), [("medmnist/pneumoniamnist.npz", 700), ("gtsrb", None)])
def test_pictures_that_look_alike_are_no_copies(source: str, limit: int | None, shared_data: Path) -> None:
    dataset = open_data(shared_data / source, limit=limit)
    pictures = [dataset.open(item).convert("RGB") for item in dataset.items]
    unique = list({contents.content_of(picture).pixels: picture for picture in pictures}.values())
    assert pairs_of(unique) == set()


def test_handwritten_digits_at_32_pixels_are_no_copies() -> None:
    dataset = open_data("digits")
    digits = [dataset.open(item).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC) for item in dataset.items]
    assert pairs_of(digits) == set()


def with_blob(picture: Image.Image, at: tuple[int, int], *, strength: float, radius: float) -> Image.Image:
    values = np.asarray(picture, np.float32)
    down, across = np.mgrid[: values.shape[0], : values.shape[1]]
    bump = np.exp(-((down - at[0]) ** 2 + (across - at[1]) ** 2) / (2 * radius**2))
    return Image.fromarray((values + strength * bump[..., None]).clip(0, 255).astype(np.uint8))


def test_a_lesion_makes_another_picture(shared_data: Path) -> None:
    dataset = open_data(shared_data / "medmnist/pneumoniamnist.npz", limit=20)
    for item in dataset.items[:30]:
        x_ray = dataset.open(item).convert("RGB")
        assert is_resaved(x_ray, saved_again(x_ray, 85))
        assert not is_resaved(x_ray, with_blob(x_ray, (14, 9), strength=40, radius=1.5))


def slide(number: str) -> Image.Image:
    page = Image.new("RGB", (480, 360), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for line in range(12):
        text = f"Line {line}: the quick brown fox jumps over the lazy dog"
        pen.text((20, 20 + 26 * line), text if line != 6 else f"Total of the month: {number}", fill="black", font=font)
    return page


def test_a_digit_makes_another_slide() -> None:
    assert is_resaved(slide("1,853"), saved_again(slide("1,853"), 80))
    for other in ("1,858", "1,653", "7,853"):
        assert not is_resaved(saved_again(slide("1,853"), 90), saved_again(slide(other), 90))
        assert not is_resaved(slide("1,853"), smaller(slide(other), 0.6, Image.Resampling.LANCZOS))


def test_another_colour_in_one_place_makes_another_picture(shared_data: Path) -> None:
    for light in pictures_of(shared_data / "traffic_lights", count=20, limit=30):
        values = np.asarray(light).copy()
        height, width = values.shape[:2]
        place = slice(height // 8, height // 3), slice(width // 3, 2 * width // 3)
        values[place] = values[place][..., [1, 0, 2]] // 2 + np.array([0, 90, 30], np.uint8)
        assert not is_resaved(light, Image.fromarray(values))


def test_no_chain_of_small_differences_leads_from_one_reading_to_another() -> None:
    def reading(level: int) -> Image.Image:
        page = Image.new("L", (64, 64), 150)
        pen = ImageDraw.Draw(page)
        pen.ellipse((8, 8, 56, 56), fill=225, outline=40, width=2)
        pen.rectangle((28, 28, 36, 36), fill=100 + level)
        return page.convert("RGB")

    readings = [reading(level) for level in range(60)]
    neighbours = [is_resaved(one, two) for one, two in pairwise(readings)]
    assert all(neighbours), "each is hardly another picture than the one before"
    pairs = pairs_of(readings)
    for together in connected(len(readings), pairs):
        assert max(together) - min(together) <= 12
    assert len(pairs) >= 40


def connected(count: int, pairs: set[tuple[int, int]]) -> list[set[int]]:
    sets = {number: {number} for number in range(count)}
    for one, two in pairs:
        joined = sets[one] | sets[two]
        sets |= dict.fromkeys(joined, joined)
    return list(sets.values())


def test_pictures_that_show_nothing_are_no_copies() -> None:
    rng = np.random.default_rng(0)
    plain = [Image.fromarray(rng.integers(120, 123, (60, 60, 3), np.uint8)) for _ in range(10)]
    assert pairs_of(plain) == set()


def test_one_picture_has_no_copies() -> None:
    assert pairs_of([]) == pairs_of([slide("1")]) == set()


def test_parts_are_searched_against_each_other_alone(shared_data: Path) -> None:
    pictures = pictures_of(shared_data / "hymenoptera", count=6)
    pictures = [picture.resize((100, 80)) for picture in pictures]
    pictures += [saved_again(picture, 90) for picture in pictures]
    known = [contents.content_of(picture) for picture in pictures]
    for parts, found in (("tttttttttttt", 0), ("ttttttvvvvvv", 6), ("tttttteeevvv", 6), ("tttvvvtttvvv", 0)):
        assert len(resaved_pairs(known, lambda number, _: pictures[number], parts=list(parts))) == found


def page(number: int, *, size: tuple[int, int] = (1280, 720), font: int = 18) -> Image.Image:
    sheet = Image.new("RGB", size, "white")
    pen, letters = ImageDraw.Draw(sheet), ImageFont.load_default(font)
    for line in range(14):
        pen.text((40, 30 + 2.4 * font * line), f"{line}. The same words stand on every page of it", "black", letters)
    pen.text((size[0] - 130, size[1] - 40), f"page {number}", "black", letters)
    return sheet


def test_the_small_print_of_a_large_slide_makes_another_slide() -> None:
    pages = [page(number) for number in range(100, 103)]
    assert pairs_of(pages) == set()
    assert pairs_of([saved_again(one, 90) for one in pages]) == set()
    mixed = [smaller(one, 0.7, WAYS[number % 4]) if number % 2 else one for number, one in enumerate(pages)]
    assert pairs_of(mixed) == set()
    copies = [saved_again(pages[0], 75), smaller(pages[1], 0.7, WAYS[3])]
    assert pairs_of([*pages[:2], *copies]) == {(0, 2), (1, 3)}


@pytest.mark.parametrize("noise", [0, 3])
def test_a_thin_needle_that_moved_by_less_than_a_degree_makes_another_picture(noise: float) -> None:
    rng = np.random.default_rng(0)
    gauges = []
    for degrees in np.arange(10.0, 14.0, 0.4):
        dial = Image.new("RGB", (480, 480), "#c8c8c8")
        pen, turn = ImageDraw.Draw(dial), np.deg2rad(degrees)
        pen.ellipse((40, 40, 440, 440), fill="#e8e8e8", outline="black", width=5)
        pen.line((240, 240, 240 + 150 * np.cos(turn), 240 - 150 * np.sin(turn)), fill="black", width=2)
        values = np.asarray(dial, np.float32) + rng.normal(0, noise, (480, 480, 3))
        gauges.append(Image.fromarray(values.clip(0, 255).astype(np.uint8)))
    unique = list({contents.content_of(gauge).pixels: gauge for gauge in gauges}.values())
    assert pairs_of(unique) == set()
