"""Parts of a production line, wider than high: from the folder to the export at their own height and width."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.errors import UsageError
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


@pytest.mark.parametrize("given", ["36x", "axb", "1x2x3", "0x9", "-3", (1, 2, 3)])
def test_what_is_no_image_size_is_refused(given: object) -> None:
    with pytest.raises(UsageError, match=r"image.size"):
        Request(data=("x",), image_size=given)  # type: ignore[arg-type]
