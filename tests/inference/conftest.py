"""An engine that sees colours, and pictures of one colour: answers are known without training anything."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.preprocess import Preprocess
from resnetkit.inference.predictor import Predictor
from resnetkit.models.decision import Decision
from resnetkit.models.detection.sureness import Sureness
from tests import fakes
from tests.fakes import ColourFinder, OneByOne

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
DIM_RED = (90, 0, 0)
Boxes = dict[str, tuple[int, int, int, int]]
TWO: Boxes = {"red": (10, 20, 50, 60), "blue": (100, 40, 150, 110)}


class ColourEngine(OneByOne):
    """Logits are the mean of each channel in [0, 10]; `batches` holds the sizes it was given."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        assert pixels.dtype == np.uint8
        self.batches.append(len(pixels))
        return (pixels.mean(axis=(1, 2)) / 25.5).astype(np.float32)


@pytest.fixture
def preprocess() -> Preprocess:
    return Preprocess.for_size(8)


@pytest.fixture
def predictor(preprocess: Preprocess) -> Predictor:
    return Predictor(ColourEngine(), classes=tuple(COLOURS), preprocess=preprocess, decision=Decision(), name="colours")


@pytest.fixture
def paint(tmp_path: Path) -> Callable[..., Path]:
    """Write a picture of one colour below tmp_path and return its path."""

    def write(name: str, colour: str | tuple[int, ...] = "red", size: tuple[int, int] = (12, 10)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, COLOURS.get(colour, colour)).save(path)
        return path

    return write


@pytest.fixture
def finder() -> Predictor:
    preprocess = Preprocess(size=60, width=80, crop="pad")
    return Predictor(ColourFinder(), classes=fakes.COLOURS, preprocess=preprocess, decision=Sureness(), name="finder")


@pytest.fixture
def scene(tmp_path: Path) -> Callable[..., Path]:
    """Write a black picture with coloured boxes below tmp_path and return its path."""

    def write(name: str, boxes: Boxes, *, size: tuple[int, int] = (160, 120), turned: int = 1) -> Path:
        picture = Image.new("RGB", size)
        for colour, box in boxes.items():
            picture.paste(COLOURS.get(colour, DIM_RED), box)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = turned
        picture.save(path, exif=exif)
        return path

    return write
