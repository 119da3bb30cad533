"""Parts of a production line, wider than high: from the folder to the export at their own height and width."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from resnetkit.models.spec import ResNetSpec
from resnetkit.training.planning.plan import Origin, decide
from resnetkit.training.recipe import settable
from resnetkit.training.request import Request
from tests.conftest import Output


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Pictures of 24x64; what tells the classes apart lies at an end, which a square from the middle never shows."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 40), ("val", 20)):
        for kind in ("good", "bad"):
            for number in range(count):
                pixels = generator.normal(120, 8, (24, 64, 3))
                if kind == "bad":
                    pixels[:, 2 + number % 6 : 8 + number % 6] -= 90
                path = tmp_path / "parts" / part / kind / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return tmp_path / "parts"


@pytest.mark.slow
def test_wide_pictures_are_trained_resumed_named_and_exported_in_their_own_frame(
    parts: Path, resnetkit: Callable[..., Output]
) -> None:
    how = ("--model", "resnet8", "--threads", "1", "--set", "precision=fp32")
    code, _, err = resnetkit("train", parts, *how, "--image-size", "24x64", "--epochs", "5", "--name", "wide")
    assert code == 0, err
    assert "pictures  24x64 pixels, as asked" in err
    run = rk.load("runs/wide", engine="torch")
    assert run.header.preprocess.frame == (24, 64)
    assert rk.runs()[0].metrics["top1"] >= 0.95
    assert resnetkit("resume", "wide", "--epochs", "6")[0] == 0
    assert resnetkit("predict", parts / "val", "--model", "wide", "--output", "rows.csv")[0] == 0
    with open("rows.csv", newline="") as file:
        named = [row["label"] == Path(row["source"]).parent.name for row in csv.DictReader(file)]
    assert np.mean(named) >= 0.95
    for place in ("inside", "outside"):
        images = ("--images", parts / "val", "--output", place)
        code, _, err = resnetkit("export", "wide", "--to", "onnx", "--preprocess", place, *images)
        assert code == 0, err
    picture = parts / "val" / "bad" / "3.png"
    answers = [rk.load(name, precision="fp32").predict(picture).probability for name in ("wide", "inside", "outside")]
    assert answers == pytest.approx([answers[0]] * 3, abs=1e-4)
    begun = ("--weights", "runs/wide", "--epochs", "1", "--name", "again")
    code, _, err = resnetkit("train", parts, "--threads", "1", *begun)
    assert code == 0, err
    assert rk.load("runs/again", engine="torch").header.preprocess.frame == (24, 64)


@pytest.mark.parametrize(("given", "sides"), [("36x96", (36, 96)), ("48", (48, None)), ((36, 96), (36, 96)),
                                              (32, (32, None)), ("64X64", (64, None))])  # fmt: skip
def test_an_image_size_is_a_side_or_height_and_width(given: object, sides: tuple[int, int | None]) -> None:
    request = Request(data=("x",), image_size=given)  # type: ignore[arg-type]
    assert (request.image_size, request.image_width) == sides
    assert Request.from_json(request.to_json()) == request


@pytest.mark.parametrize("given", ["36x", "axb", "1x2x3", "0x9", "-3", (1, 2, 3), 2.5, True])
def test_what_is_no_image_size_is_refused(given: object) -> None:
    with pytest.raises(UsageError, match=r"image.size"):
        Request(data=("x",), image_size=given)  # type: ignore[arg-type]


def test_a_width_stands_beside_a_height() -> None:
    assert Request(data=("x",), image_size=np.int64(36), image_width=96).image_width == 96  # type: ignore[arg-type]
    for size in (None, "36x96"):
        with pytest.raises(UsageError, match="image_width stands beside"):
            Request(data=("x",), image_size=size, image_width=50)  # type: ignore[arg-type]
    assert "preprocess.width" not in settable()


def test_a_frame_asked_for_keeps_a_resize_that_is_set_and_its_recipe_whoever_asks() -> None:
    sizes = {"median_side": 60, "num_classes": 2, "num_pictures": 100}
    high = Request(data=("x",), image_size="96x36", settings=("preprocess.resize=100",))  # type: ignore[arg-type]
    assert (high.image_size, high.image_width) == (96, 36)
    plan = decide(high, origin=None, **sizes)
    assert (plan.preprocess.frame, plan.preprocess.resize) == ((96, 36), 100)
    origin = Origin(name="wide", spec=ResNetSpec(stem="cifar"), preprocess=Preprocess(size=96, width=36, resize=96))
    asked = decide(Request(data=("x",), image_size="96x36"), origin=origin, **sizes)  # type: ignore[arg-type]
    brought = decide(Request(data=("x",), weights="wide"), origin=origin, **sizes)
    assert brought.preprocess == asked.preprocess == origin.preprocess
    assert brought.recipe.augment == asked.recipe.augment
    assert "pictures  96x36 pixels, as the weights were trained" in brought.reasons
    square = decide(Request(data=("x",), image_size=48), origin=origin, **sizes)
    assert (square.preprocess.frame, square.preprocess.resize) == ((48, 48), 48)


def test_long_pictures_are_judged_by_the_frame() -> None:
    assert Preprocess(size=16, width=2048, resize=16).can_crop(4096, 32)
    assert not Preprocess(size=32, width=1024, resize=32).can_crop(40, 3900)
    assert Preprocess(size=2048, width=16, resize=2048).can_crop(16, 2048)
    assert Preprocess().can_crop(25_600, 256)
    assert not Preprocess().can_crop(300_000, 2_000)
    with pytest.raises(DataError, match="2000x10 is too long and thin to crop to 32x16"):
        Preprocess(size=32, width=16, resize=32).pixels(Image.new("RGB", (2000, 10)))


def test_layers_are_listed_for_a_frame_and_a_size_without_them_is_refused(resnetkit: Callable[..., Output]) -> None:
    code, out, _ = resnetkit("models", "resnet20", "--layers", "--image-size", "36x96")
    assert code == 0
    assert "output at 36x96" in out
    assert "16x36x96" in out
    code, _, err = resnetkit("models", "resnet20", "--image-size", "36")
    assert code == 2
    assert "add --layers" in err
