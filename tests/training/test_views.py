"""What augmentation shows covers what scoring shows, read off pictures whose pixels tell where they lie."""

from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import resnetkit as rk
from resnetkit.data.batches.augment import centre
from resnetkit.data.chances import Chances
from resnetkit.data.preprocess import Preprocess
from resnetkit.training.recipe import Augment
from resnetkit.training.steps.augmenter import build_augmenter

COUNT = {"none": 1, "shift": 120, "random_resized": 400}  # views: these come up that often at least
SHAPES = [(36, 96), (96, 36), (64, 64), (300, 800), (20, 30)]


@dataclass(frozen=True)
class View:
    """Where a view lies on its picture, in shares of the picture's sides, and how much of it is bars."""

    left: float
    right: float
    top: float
    bottom: float
    bars: float


def charted(height: int, width: int) -> Image.Image:
    """Return a picture whose red tells how far right a pixel lies, whose green how far down; blue is always full."""
    across = np.tile((np.arange(width) + 0.5) / width * 255, (height, 1))
    down = np.tile((np.arange(height) + 0.5)[:, None] / height * 255, (1, width))
    return Image.fromarray(np.dstack([across, down, np.full((height, width), 255)]).round().astype(np.uint8))


def view(pixels: np.ndarray) -> View:
    """Read off `[S, S, 3]` uint8 what it shows."""
    inside = pixels[..., 2] == 255
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    shown = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(float) / 255
    size = len(pixels)
    left, right = _ends(columns, shown[..., 0].mean(0), size)
    top, bottom = _ends(rows, shown[..., 1].mean(1), size)
    return View(left, right, top, bottom, 1 - inside.mean())


def _ends(places: np.ndarray, values: np.ndarray, size: int) -> tuple[float, float]:
    # Not the first and the last, which are mixed with what lies beyond the picture.
    inner = slice(1, -1) if len(places) > 3 else slice(None)
    slope, start = np.polyfit(places[inner] + 0.5, values[inner], 1)
    return start, start + slope * size


def trained(picture: Image.Image, preprocess: Preprocess, crop: str) -> list[View]:
    """Return the views of many epochs, decoded as the training job decodes for this augmentation."""
    whole = crop == "random_resized"
    pixels = preprocess.whole(picture, side=round(1.15 * preprocess.size)) if whole else preprocess.pixels(picture)
    count = COUNT[crop]
    batch = torch.from_numpy(np.stack([pixels] * count))
    apply = build_augmenter(Augment(flip="none", crop=crop), preprocess, device="cpu")  # type: ignore[arg-type]
    changed = apply(batch, Chances(seed=0, epoch=0, images=np.arange(count))).numpy()
    if crop == "shift":  # what enters has the mean colour, which is no place of the picture
        changed[(changed == [round(255 * mean) for mean in preprocess.mean]).all(-1)] = 0
    return [view(one) for one in changed]


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("augment", ["none", "shift", "random_resized"])
@pytest.mark.parametrize("crop", ["center", "pad", "squash"])
def test_what_augmentation_shows_covers_what_scoring_shows(
    crop: str, augment: str, shape: tuple[int, int], size: int
) -> None:
    preprocess = Preprocess.for_size(size).changed(crop=crop)
    picture = charted(*shape)
    scored = np.array(astuple(view(preprocess.pixels(picture))))
    views = np.array([astuple(one) for one in trained(picture, preprocess, augment)])
    tolerance = 0.04
    assert (views.min(0) <= scored + tolerance).all(), f"{views.min(0)} begins above {scored}"
    assert (views.max(0) >= scored - tolerance).all(), f"{views.max(0)} ends below {scored}"
    extent = np.array([views[:, 1] - views[:, 0], views[:, 3] - views[:, 2]])
    seen = np.array([scored[1] - scored[0], scored[3] - scored[2]])
    # The centre crop of a picture much longer than wide shows 7 % less than any random part of 35 % of the area.
    assert (extent.min(1) <= seen * 1.08).all(), f"scale: {extent.min(1)} at least, {seen} is scored"
    assert (extent.max(1) >= seen * 0.96).all(), f"scale: {extent.max(1)} at most, {seen} is scored"
    alike = (abs(views - scored) < 0.2).all(1)
    assert alike.mean() > 0.01, "a view like the one that is scored comes up"
    assert (views[:, 4] < 0.95).all(), "no view is bars alone"


@pytest.mark.parametrize("crop", ["center", "pad", "squash"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_whole_training_pictures_are_shown_without_chance_as_scoring_shows_them(
    crop: str, shape: tuple[int, int]
) -> None:
    preprocess = Preprocess.for_size(112).changed(crop=crop)
    picture = charted(*shape)
    whole = preprocess.whole(picture, side=129).copy()
    ours = view(centre([torch.from_numpy(whole)], preprocess=preprocess)[0].numpy())
    np.testing.assert_allclose(astuple(ours), astuple(view(preprocess.pixels(picture))), atol=0.06)


@pytest.mark.parametrize("crop", ["center", "pad", "squash"])
def test_pictures_that_are_cut_already_are_shown_as_they_are(crop: str) -> None:
    preprocess = Preprocess.for_size(112).changed(crop=crop)
    pixels = preprocess.pixels(charted(100, 150)).copy()
    assert torch.equal(centre([torch.from_numpy(pixels)], preprocess=preprocess)[0], torch.from_numpy(pixels))


def test_under_pad_a_part_leaves_out_nothing_that_it_has_room_for() -> None:
    for one in trained(charted(36, 96), Preprocess.for_size(32).changed(crop="pad"), "random_resized"):
        assert one.top < 0.03, "the bars above are bars"
        assert one.bottom > 0.97, "and so are those below"


def wide_parts(folder: Path) -> Path:
    """Write parts of 36x96 pixels; those of NG have a dark bar near an end, where the centre crop never looks."""
    chance = np.random.default_rng(0)
    for part, count in (("train", 120), ("val", 60)):
        for number in range(2 * count):
            label, pixels = ("OK", "NG")[number % 2], chance.normal(150, 12, (36, 96))
            if label == "NG":
                at = int(chance.integers(0, 15) if chance.random() < 0.5 else chance.integers(77, 91))
                pixels[:, at : at + 5] -= 90
            path = folder / part / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("crop", ["pad", "squash"])
def test_a_flaw_at_the_end_of_a_long_picture_is_learnt_where_it_is_in_view(crop: str, tmp_path: Path) -> None:
    data, settings = str(wide_parts(tmp_path / "wide")), (f"preprocess.crop={crop}",)
    run = rk.train(data, model="resnet8", epochs=30, threads=1, settings=settings, output=str(tmp_path / "run"))
    assert run.metrics["top1"] >= 0.99
