"""Measured values that are no DICOM files: arrays of an .npz, signed and floating-point TIFF, and what memory holds."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from resnetkit.data.decoded.decoding import Form
from resnetkit.data.decoded.survey import survey
from resnetkit.data.opening import images
from resnetkit.data.opening.measured import Measured
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data
from resnetkit.errors import DataError
from resnetkit.exporting.standalone.pictures import read_values
from resnetkit.inference.predictor import Predictor
from resnetkit.inference.sorting import base_name, execute, sort_into
from tests.data.test_dicom import of
from tests.inference.conftest import ColourEngine

WINDOW = Preprocess(size=8, resize=8, channels=1, mean=(0.5,), std=(0.25,), windows=("40 400",))
VALUES = np.random.default_rng(0).normal(0, 300, (6, 8, 8))
KINDS = ("int16", "int32", "float16", "float32", "float64", ">i2", "uint16")


def by_numpy(values: np.ndarray) -> np.ndarray:
    """Return what a window of 40 +- 200 shows."""
    return np.clip(np.floor((values.astype(np.float64) + 160) * 255 / 400 + 0.5), 0, 255).astype(np.uint8)


def of_kind(kind: str) -> np.ndarray:
    return (np.abs(VALUES) if kind == "uint16" else VALUES).astype(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_an_npz_keep_their_depth_until_the_window(kind: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "ct.npz", train_images=of_kind(kind), train_labels=[0, 1] * 3)
    data = open_data(str(tmp_path / "ct.npz"))
    surveyed = survey(data, threads=1)
    assert (surveyed.unreadable, surveyed.median_short_side) == ({}, 8)
    assert len(set(surveyed.pixels.values())) == 6
    for item, values in zip(data.items, of_kind(kind), strict=True):
        pixels = Form(preprocess=WINDOW).pixels(data.read(item), name=item.source)
        assert (pixels[..., 0] == by_numpy(values)).all()
    with pytest.raises(DataError, match=r"values, and nothing says which of them are black and white: --set pre"):
        Form(preprocess=WINDOW.changed(windows=())).pixels(data.read(data.items[0]), name="x")
    by_file = Form(preprocess=WINDOW.changed(windows=("file",))).pixels(data.read(data.items[0]), name="x")
    assert (by_file.min(), by_file.max()) == (0, 255)


def test_an_array_that_holds_nan_is_named(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[1, 2, 3] = np.nan
    np.savez(tmp_path / "ct.npz", train_images=values, train_labels=[0, 1] * 3)
    data = open_data(str(tmp_path / "ct.npz"))
    with pytest.raises(DataError, match=r"ct\.npz::train/1: holds NaN or infinite values"):
        data.open(data.items[1])


def test_copies_of_measured_arrays_keep_their_values(tmp_path: Path) -> None:
    np.savez(tmp_path / "ct.npz", train_images=of_kind("int16"), train_labels=[0, 1] * 3)
    data = open_data(str(tmp_path / "ct.npz"))
    assert base_name(data.items[0], data) == "0.tif"
    predictor = Predictor(ColourEngine(), classes=("a",), preprocess=WINDOW)
    plan = sort_into(list(predictor.predict_many(data)), tmp_path / "sorted", data, classes=("a",))
    list(execute(plan, data))
    copied = sorted((tmp_path / "sorted" / "a").iterdir())
    assert (np.asarray(Image.open(copied[2])) == of_kind("int16")[2]).all()


@pytest.mark.parametrize(("kind", "words"), [("i1", "8-bit signed"), ("f2", "16-bit float"), ("f8", "64-bit float")])
def test_numbers_that_pillow_takes_amiss_are_refused(kind: str, words: str) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, VALUES[0].clip(-128, 127).astype(kind))
    with pytest.raises(DataError, match=f"x.tif: {words} greys are not read; save it with 8 or 16 bits"):
        images.decode(file.getvalue(), name="x.tif")


@pytest.mark.parametrize("kind", ["i2", "i4", "f4"])
def test_signed_and_floating_point_tiff_take_windows(kind: str, tmp_path: Path) -> None:
    values = VALUES[0].astype(kind)
    tifffile.imwrite(tmp_path / "x.tif", values)
    content = (tmp_path / "x.tif").read_bytes()
    image = images.decode(content, name="x.tif")
    assert isinstance(image, Measured)
    assert (WINDOW.pixels(image)[..., 0] == by_numpy(values.astype(np.float32))).all()
    assert (read_values(content)[..., 0] == values.astype(np.float32)).all(), "what predict.py of an export reads"
    assert images.bits(content, name="x.tif") is None
    with pytest.raises(
        DataError, match="bring them into 0 to 65535 and save it as 16-bit PNG, or train with preprocess"
    ):
        WINDOW.changed(windows=()).pixels(image)


def test_a_turned_tiff_is_upright_before_its_window(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", VALUES[0, :4].astype(np.int16), extratags=[(274, "H", 1, 6, True)])
    content = (tmp_path / "x.tif").read_bytes()
    image = images.decode(content, name="x.tif")
    assert isinstance(image, Measured)
    assert image.size == (4, 8) == images.frame(content, name="x.tif")[:2]
    assert (image.values == np.rot90(VALUES[0, :4].astype(np.int16), -1)).all()


def test_whole_numbers_that_are_too_large_to_tell_from_negative_ones_are_refused() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.array([[1, 2**31 + 5]], np.uint32))
    with pytest.raises(DataError, match=r"holds values from -2\.14"):
        images.decode(file.getvalue(), name="x.tif")


def test_arrays_and_data_sets_in_memory_are_named_by_a_model_that_has_windows() -> None:
    model = Predictor(ColourEngine(), classes=("a",), preprocess=WINDOW)
    assert [(model.read(VALUES[0].astype(kind)).pixels[..., 0] == by_numpy(VALUES[0].astype(kind))).all()  # type: ignore[index]
            for kind in ("int16", "float32")] == [True, True]  # fmt: skip
    made = of((VALUES[0] + 1024).astype(np.int16), RescaleSlope=1, RescaleIntercept=-1024)
    (one,) = model.predict_many([made])
    assert (one.source, one.label) == ("<dataset>", "a")
    wanted = by_numpy((VALUES[0] + 1024).astype(np.int16) - 1024.0)
    assert (model.read(made).pixels[..., 0] == wanted).all()  # type: ignore[index]
    del made.PixelData
    with pytest.raises(DataError, match=r"<dataset>: is DICOM \(CT Image\) without pixels"):
        model.predict(made)
    with pytest.raises(
        DataError, match=r"<array>: an array must be .* uint8, not \[8, 8\] float64; floats in \[0, 1\]"
    ):
        Predictor(ColourEngine(), classes=("a",), preprocess=WINDOW.changed(windows=())).predict(VALUES[0])
