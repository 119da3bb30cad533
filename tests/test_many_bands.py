"""Pictures of five bands, from the TIFF to the answer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import resnetkit as rk
from resnetkit.data.opening import images
from resnetkit.data.opening.many_bands import ManyBands
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from tests.conftest import Output

DRAWN = True  # runs with their pictures

BANDS = ("--set", "preprocess.channels=5")


def write(path: Path, values: np.ndarray, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig", **how)  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that differ in the fifth band alone."""
    folder, generator = tmp_path_factory.mktemp("bands"), np.random.default_rng(0)
    for kind, level in (("dry", 60), ("wet", 180)):
        for number in range(30):
            values = generator.integers(0, 256, (16, 16, 5)).astype(np.uint8)
            values[..., 4] = level + generator.integers(-20, 20, (16, 16))
            write(folder / kind / f"{number:02d}.tif", values)
    return folder


@pytest.fixture(scope="module")
def run(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    return rk.train(
        str(crops), model="resnet8", weights="none", epochs=6, threads=1, quiet=True,
        settings=("preprocess.channels=5", "augment.crop=shift"), output=tmp_path_factory.mktemp("run") / "five",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_all_bands_are_read_however_they_lie(tmp_path: Path, kind: str, dtype: type) -> None:
    values = np.random.default_rng(0).integers(0, 250, (6, 9, 5)).astype(dtype)
    written = values if kind == "contig" else np.moveaxis(values, -1, 0)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, written, photometric="minisblack", planarconfig=kind)
    found = images.decode(path.read_bytes(), name="x.tif")
    assert isinstance(found, ManyBands)
    assert found.size == (9, 6)
    np.testing.assert_array_equal(found.values, values)
    assert images.bits(path.read_bytes(), name="x.tif") == (None if dtype is np.uint8 else 8)
    assert images.size(path.read_bytes()) == (9, 6)


def test_each_band_is_resized_as_a_grey_picture_is() -> None:
    values = np.random.default_rng(0).integers(0, 256, (40, 60, 5)).astype(np.uint8)
    five = Preprocess(size=24, resize=28, channels=5, mean=(0.5,) * 5, std=(0.25,) * 5)
    one = five.changed(channels=1, mean=(0.5,), std=(0.25,))
    found = five.pixels(ManyBands(values))
    assert found.shape == (24, 24, 5)
    for band in range(5):
        np.testing.assert_array_equal(found[..., band], one.pixels(Image.fromarray(values[..., band]))[..., 0])


def test_bits_of_training_pictures_scale_16_bit_bands() -> None:
    found = ManyBands(np.full((2, 2, 4), 4095, np.uint16)).eight_bits(depth=12)
    assert found.values.dtype == np.uint8
    assert (found.values == 255).all()


def test_a_network_learns_from_the_band_that_tells(run: rk.Run, crops: Path) -> None:
    assert run.metrics is not None
    assert run.metrics["top1"] == 1.0
    model = rk.load(run)
    assert len(model.header.preprocess.mean) == 5
    assert model.header.preprocess.mean[4] == pytest.approx(120 / 255, abs=0.08)
    assert model.header.preprocess.std[0] == pytest.approx(74 / 255, abs=0.03)
    assert [p.label for p in model.predict_many([crops / "dry" / "00.tif", crops / "wet" / "00.tif"])] == ["dry", "wet"]


def test_colour_weights_are_taken_by_repeating_their_filters(crops: Path) -> None:
    decided, _ = rk.plan(str(crops), model="resnet20", settings=("preprocess.channels=5",), threads=1, quiet=True)
    assert any("filters are repeated" in reason for reason in decided.reasons)


@pytest.mark.slow
def test_a_network_with_repeated_filters_learns(crops: Path, tmp_path: Path) -> None:
    made = rk.train(
        str(crops), model="resnet20", epochs=1, settings=("preprocess.channels=5",), threads=1, quiet=True,
        output=tmp_path / "run",
    )  # fmt: skip
    assert rk.load(made).header.spec.in_channels == 5


@pytest.mark.slow
def test_resumed_it_keeps_the_statistics(run: rk.Run) -> None:
    before = rk.load(run).header.preprocess
    assert rk.load(rk.resume(run.path, epochs=7, quiet=True)).header.preprocess == before


def test_other_numbers_of_bands_are_told(crops: Path, run: rk.Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has 5 bands, .*: --set preprocess.channels=5 trains on all of them"):
        rk.plan(str(crops), model="resnet8", weights="none", quiet=True)
    with pytest.raises(DataError, match="has 5 bands, not 4"):
        rk.plan(str(crops), model="resnet8", weights="none", settings=("preprocess.channels=4",), quiet=True)
    Image.new("RGB", (16, 16)).save(tmp_path / "colour.png")
    with pytest.raises(DataError, match="has 3 bands, not 5"):
        rk.load(run).predict(tmp_path / "colour.png")
    with pytest.raises(UsageError, match="change colours, not 5 bands"):
        rk.plan(str(crops), settings=("preprocess.channels=5", "augment.colour=0.2"), quiet=True)
    with pytest.raises(UsageError, match="at most 64"):
        rk.plan(str(crops), settings=("preprocess.channels=65",), quiet=True)


def test_pages_and_pictures_show_the_first_three_bands(run: rk.Run) -> None:
    names = {path.name for path in run.path.iterdir()}
    assert {"augmented.png", "predictions.png", "report.html"} <= names
    assert "5 bands" in (run.path / "report.html").read_text()


def test_exports_are_for_colour_and_grey(run: rk.Run, resnetkit: Callable[..., Output]) -> None:
    code, _, said = resnetkit("export", str(run.path), "--to", "onnx", "--output", "x")
    assert code == 2
    assert "reads 5 bands" in said


def test_without_the_library_the_extra_is_named(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(UsageError, match=r"resnetkit\[bands\]"):
        images.decode((crops / "dry" / "00.tif").read_bytes(), name="x.tif")
