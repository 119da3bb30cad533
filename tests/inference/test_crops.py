"""Objects cut out of their pictures."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.inference.crops import GROUP_BY, Crops
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.predictor import Predictor
from resnetkit.models.detection.detected import Detected
from tests.fakes import COLOURS
from tests.inference.conftest import TWO

Paint = Callable[..., Path]


@pytest.fixture
def cut(finder: Predictor, tmp_path: Path) -> Callable[..., Crops]:
    """Cut what is found on pictures out, into tmp_path / crops."""

    def run(*paths: Path, classes: tuple[str, ...] = COLOURS) -> Crops:
        crops = Crops(tmp_path / "crops", classes)
        for path in paths:
            prediction = replace(finder, classes=classes).predict(path)
            crops.add(prediction, finder.preprocess.convert(Image.open(path)), path.stem)
        return crops

    return run


def files_under(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())


def test_crops_are_pixels_of_the_original_in_a_folder_per_class(
    cut: Callable[..., Crops], scene: Paint, tmp_path: Path
) -> None:
    path = scene("a.png", TWO)
    before = path.read_bytes()
    crops = cut(path)
    assert list(files_under(tmp_path / "crops")) == ["blue/a-2.png", "red/a-1.png"]
    with Image.open(path) as whole, Image.open(tmp_path / "crops/blue/a-2.png") as crop:
        assert crop.size == (50, 70)
        assert crop.tobytes() == whole.crop(TWO["blue"]).tobytes()
    assert path.read_bytes() == before
    assert str(crops).startswith("2 crops in 2 folders of")
    assert "resnetkit train" in str(crops)


def test_crops_take_no_place_and_the_same_command_makes_no_second_ones(
    cut: Callable[..., Crops], scene: Paint, tmp_path: Path
) -> None:
    mine = tmp_path / "crops/red/a-1.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    other = scene("night/a.png", {"red": (0, 0, 30, 30)})
    for _ in range(2):
        cut(scene("a.png", TWO), other)
        names = ["blue/a-2.png", "red/a-1.png", "red/a-1_2.png", "red/a-1_3.png"]
        assert list(files_under(tmp_path / "crops")) == names
    assert mine.read_text() == "mine"


def test_crops_of_one_picture_are_a_group_to_train_on(cut: Callable[..., Crops], scene: Paint, tmp_path: Path) -> None:
    from resnetkit.data.sources import open_data

    cut(scene("x-1.png", TWO), scene("x-2.png", TWO))
    dataset = open_data(str(tmp_path / "crops"), group_by=GROUP_BY)
    assert [item.label for item in dataset.items] == ["blue", "blue", "red", "red"]
    assert [item.group for item in dataset.items] == ["x-1", "x-2", "x-1", "x-2"]


def test_hostile_class_names_stay_inside_the_folder(cut: Callable[..., Crops], scene: Paint, tmp_path: Path) -> None:
    cut(scene("a.png", TWO), classes=("../evil", "CON", "개미"))
    assert list(files_under(tmp_path / "crops")) == ["_evil/a-1.png", "개미/a-2.png"]


def test_a_box_smaller_than_a_pixel_is_one_pixel(tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(75, dtype=np.uint8).reshape(5, 5, 3))
    tiny = tuple(Detected("a", 0.9, box) for box in ((4.9, 4.9, 5.0, 5.0), (2.2, 3.1, 2.3, 3.3), (0.0, 0.0, 5.0, 5.0)))
    Crops(tmp_path, ["a"]).add(Prediction(source="x", status="ok", objects=tiny, size=(5, 5)), picture, "x")
    for number, size in enumerate(((1, 1), (1, 1), (5, 5)), start=1):
        with Image.open(tmp_path / f"a/x-{number}.png") as crop:
            assert crop.size == size
