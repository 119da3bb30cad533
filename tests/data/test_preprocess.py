from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.opening import images
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError

V1 = Preprocess(resize=256, size=224)
V2 = Preprocess(resize=232, size=224)


def opened(path: Path) -> Image.Image:
    """Return the photo as people open it with Pillow."""
    with Image.open(path) as image:
        return image.convert("RGB")


def photos(shared_data: Path) -> list[Path]:
    """50 photos, no two of one size."""
    by_size: dict[tuple[int, int], Path] = {}
    for folder in ("hymenoptera/val", "coco128/val2017"):
        for path in sorted((shared_data / folder).rglob("*.jpg")):
            with Image.open(path) as image:
                by_size.setdefault(image.size, path)
    assert len(by_size) >= 50
    return list(by_size.values())[:50]


def reference(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    functional = pytest.importorskip("torchvision.transforms.functional")
    image = functional.center_crop(functional.resize(image, preprocess.resize), preprocess.size)
    return np.asarray(image)


@pytest.mark.parametrize("preprocess", [V1, V2], ids=["V1", "V2"])
def test_pixels_equal_torchvisions_preset_on_50_photos(shared_data: Path, preprocess: Preprocess) -> None:
    for path in photos(shared_data):
        pixels = preprocess.pixels(images.decode(path.read_bytes(), name=str(path)))
        assert (pixels == reference(opened(path), preprocess)).all(), path


def test_normalised_pixels_equal_the_presets_tensor(shared_data: Path) -> None:
    presets = pytest.importorskip("torchvision.transforms._presets")
    for preprocess in (V1, V2):
        preset = presets.ImageClassification(crop_size=preprocess.size, resize_size=preprocess.resize)
        mean, std = np.float32(preprocess.mean), np.float32(preprocess.std)
        for path in photos(shared_data)[:5]:
            image = opened(path)
            ours = (preprocess.pixels(image).astype(np.float32) / np.float32(255) - mean) / std
            assert (ours.transpose(2, 0, 1) == preset(image).numpy()).all()


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 2), (1, 7), (7, 1), (33, 32), (31, 500), (255, 256), (500, 20), (224, 225)]
)
@pytest.mark.parametrize("preprocess", [V1, V2, Preprocess(resize=32, size=32), Preprocess(resize=20, size=33)])
def test_pixels_equal_torchvision_at_odd_sizes(size: tuple[int, int], preprocess: Preprocess) -> None:
    generator = np.random.default_rng(size[0] * 1000 + size[1])
    image = Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    # From version 13 on Pillow goes down first in what is shrunk far more down than across.
    order_is_free = size[1] > 2 * size[0] and preprocess.resize < size[0]
    ours, theirs = preprocess.pixels(image).astype(int), reference(image, preprocess).astype(int)
    np.testing.assert_allclose(ours, theirs, atol=1 if order_is_free else 0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop", ["center", "pad", "squash"])
def test_pictures_are_resized_across_and_then_down_whatever_pillow_does(interpolation: str, crop: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (400, 60, 3), dtype=np.uint8)
    preprocess = Preprocess(resize=32, size=32, crop=crop, interpolation=interpolation)
    (width, height), resampling = {"center": (32, 213), "pad": (5, 32), "squash": (32, 32)}[crop], interpolation.upper()
    across = Image.fromarray(picture).resize((width, 400), Image.Resampling[resampling])
    expected = across.resize((width, height), Image.Resampling[resampling])
    whole = np.asarray(expected) if crop != "center" else np.asarray(expected)[90:122]
    ours = preprocess.pixels(Image.fromarray(picture))
    assert (ours[:, 13:18] == whole).all() if crop == "pad" else (ours == whole).all()


def test_bicubic_equals_torchvision() -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (97, 133, 3), dtype=np.uint8))
    resized = functional.resize(image, 64, functional.InterpolationMode.BICUBIC)
    ours = Preprocess(resize=64, size=48, interpolation="bicubic").pixels(image)
    assert (ours == np.asarray(functional.center_crop(resized, 48))).all()


# Of pictures of (width, height) in a frame of 36x96: what they are resized to.
IN_A_FRAME = {
    ("center", (96, 36)): (96, 36), ("center", (200, 50)): (144, 36), ("center", (100, 100)): (96, 96),
    ("pad", (96, 36)): (96, 36), ("pad", (200, 50)): (96, 24), ("pad", (100, 100)): (36, 36),
    ("squash", (100, 100)): (96, 36),
}  # fmt: skip


@pytest.mark.parametrize(("crop", "size"), IN_A_FRAME)
def test_a_frame_of_height_and_width_is_covered_filled_or_taken_whole(crop: str, size: tuple[int, int]) -> None:
    preprocess = Preprocess(size=36, width=96, resize=36, crop=crop)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    new = IN_A_FRAME[crop, size]
    resized = image.resize((new[0], size[1]), Image.Resampling.BILINEAR).resize(new, Image.Resampling.BILINEAR)
    left, top = (new[0] - 96) // 2, (new[1] - 36) // 2
    assert (preprocess.pixels(image) == np.asarray(resized.crop((left, top, left + 96, top + 36)))).all()
    assert Preprocess.from_json(preprocess.to_json()) == preprocess
    shown = 1 - preprocess.left_out(*size)
    assert shown == pytest.approx(min(1, 96 / new[0]) * min(1, 36 / new[1]) if crop == "center" else 1)


def test_equal_sides_are_a_square() -> None:
    assert Preprocess(size=36, width=36, resize=36) == Preprocess(size=36, resize=36)
    assert "width" not in Preprocess().to_json()
    with pytest.raises(UsageError, match="at least 1 pixel, not 36x0"):
        Preprocess(size=36, width=0)


@pytest.mark.parametrize("crop", ["center", "pad", "squash"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (17, 40), (64, 64)])
def test_every_crop_gives_its_shape(crop: str, channels: int, size: tuple[int, int]) -> None:
    preprocess = Preprocess.for_size(32, channels=channels).changed(crop=crop)
    pixels = preprocess.pixels(Image.new("RGB", size, "white"))
    assert pixels.shape == (32, 32, channels)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("crop", ["center", "pad", "squash"])
def test_size_one_works(crop: str) -> None:
    assert Preprocess(size=1, resize=1, crop=crop).pixels(Image.new("RGB", (9, 5), "red")).tolist() == [[[255, 0, 0]]]


def test_pad_shows_the_whole_picture_with_black_around() -> None:
    pixels = Preprocess(size=32, crop="pad").pixels(Image.new("RGB", (64, 32), "white"))
    assert (pixels[8:24] == 255).all()
    assert (pixels[:8] == 0).all()
    assert (pixels[24:] == 0).all()


def test_pad_keeps_a_line_of_the_thinnest_picture() -> None:
    pixels = Preprocess(size=32, crop="pad").pixels(Image.new("RGB", (1, 50_000), "white"))
    assert (pixels == 255).all(axis=-1).any(axis=1).all()


def test_squash_shows_the_whole_picture_without_border() -> None:
    assert (Preprocess(size=32, crop="squash").pixels(Image.new("RGB", (640, 3), "white")) == 255).all()


def test_a_thread_thin_picture_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        DataError, match=r"1x50000 is too long and thin to crop to 224x224; train with preprocess.crop=pad, or cut it"
    ):
        V1.pixels(Image.new("RGB", (1, 50_000)))


def test_whole_keeps_aspect_and_never_enlarges() -> None:
    image = Image.new("RGB", (300, 200))
    assert V1.whole(image, side=100).shape == (100, 150, 3)
    assert V1.whole(image, side=400).shape == (200, 300, 3)
    assert V1.whole(Image.new("L", (1, 3000)), side=32).shape == (3000, 1, 3)


def test_whole_pictures_have_the_pixels_that_the_crop_needs_and_no_more() -> None:
    image = Image.new("RGB", (300, 200))
    assert V1.changed(crop="pad").whole(image, side=100).shape == (67, 100, 3)
    assert V1.changed(crop="squash").whole(image, side=250).shape == (200, 250, 3)
    assert V1.changed(crop="squash").whole(image, side=100).shape == (100, 100, 3)
    for crop in ("pad", "squash"):
        assert V1.changed(crop=crop).whole(image, side=400).shape == (200, 300, 3)


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (1000, 90)])
def test_what_is_left_out_is_what_lies_beside_the_box_that_is_seen(size: tuple[int, int]) -> None:
    for preprocess in (V1, V1.changed(crop="pad"), V1.changed(crop="squash"), Preprocess.for_size(32)):
        left, top, right, bottom = preprocess.seen(*size)
        shown = (min(right, size[0]) - max(left, 0)) * (min(bottom, size[1]) - max(top, 0))
        assert abs(preprocess.left_out(*size) - (1 - shown / (size[0] * size[1]))) < 0.03


def test_depth_reaches_16_bit_pictures() -> None:
    image = Image.fromarray(np.full((8, 8), 1023, dtype=np.uint16))
    preprocess = Preprocess(size=8, resize=8, channels=1, mean=(0.5,), std=(0.25,))
    assert preprocess.pixels(image).min() == 255
    assert preprocess.changed(depth=12).pixels(image).max() == 64


def test_orientation_is_applied_before_the_crop(shared_data: Path) -> None:
    folder = shared_data / "odd_images" / "exif_orientation"
    shapes = set()
    for number in range(1, 9):
        path = folder / f"Landscape_{number}.jpg"
        shapes.add(V1.whole(images.decode(path.read_bytes(), name=path.name), side=60).shape)
    assert len(shapes) == 1


def test_json_round_trip() -> None:
    preprocess = Preprocess.for_size(64, channels=1).changed(depth=12, crop="pad")
    assert Preprocess.from_json(preprocess.to_json()) == preprocess


@pytest.mark.parametrize("values", [{"colour": 3}, {"mean": "abc"}, {"size": "224"}, {"size": 0}, {"mean": None}])
def test_broken_json_is_an_error_about_data(values: dict) -> None:
    with pytest.raises(DataError, match="preprocessing"):
        Preprocess.from_json(values)


@pytest.mark.parametrize(
    "changes",
    [
        *({"size": 0}, {"crop": "middle"}, {"interpolation": "nearest"}, {"channels": 4}, {"mean": (0.5,)}),
        *({"depth": 17}, {"antialias": False}, {"std": (0.0, 1.0, 1.0)}),
    ],
)
def test_wrong_values_are_refused(changes: dict) -> None:
    with pytest.raises(UsageError):
        Preprocess(**changes)


def test_for_size_scales_the_resize_from_96_pixels() -> None:
    assert (Preprocess.for_size(224).resize, Preprocess.for_size(32).resize) == (256, 32)
