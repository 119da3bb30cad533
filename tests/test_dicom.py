"""DICOM files, from the folder to the answer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.data.sources import open_data
from resnetkit.errors import DataError, UsageError
from tests.conftest import Output
from tests.data.test_dicom import of, written

WINDOWS = ("preprocess.windows=lung,soft-tissue,bone", "augment.crop=shift", "augment.flip=none")


def slice_of(kind: str, rng: np.random.Generator) -> bytes:
    """Return a slice whose kind is 120 Hounsfield units, a hundredth of what its own window shows."""
    values = (1024 + (0 if kind == "dry" else 120) + rng.integers(-30, 30, (16, 16))).astype(np.int16)
    return written(of(values, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=0, WindowWidth=12000))


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("data") / "slices", np.random.default_rng(0)
    for kind in ("dry", "wet"):
        (folder / kind).mkdir(parents=True)
        for number in range(30):
            (folder / kind / ("IM" * (number % 2) + f"{number:06d}")).write_bytes(slice_of(kind, rng))
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / "dry" / "NOTES").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def run(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    return rk.train(
        str(slices), model="resnet8", weights="none", epochs=6, threads=1, quiet=True, settings=WINDOWS,
        output=tmp_path_factory.mktemp("run") / "three",
    )  # fmt: skip


def test_files_without_a_suffix_are_found_by_what_they_begin_with(slices: Path, tmp_path: Path) -> None:
    import shutil
    import zipfile

    found = open_data(str(slices))
    assert len(found) == 60
    assert sorted(Path(path).name for path in found.ignored) == ["DICOMDIR", "NOTES"]
    (tmp_path / "pics" / "a").mkdir(parents=True)
    for number, name in enumerate(("1.2.840.113", "x.dcm", "y.IMA", "z.dat")):
        shutil.copy(slices / "dry" / f"{2 * number:06d}", tmp_path / "pics" / "a" / name)
    assert [Path(item.source).name for item in open_data(str(tmp_path / "pics")).items] == [
        "1.2.840.113",
        "x.dcm",
        "y.IMA",
    ]
    for archive, pack in (("z.zip", "zip"), ("z.tar", "tar")):
        shutil.make_archive(str(tmp_path / "z"), pack, slices.parent, "slices")
        inside = open_data(str(tmp_path / archive))
        assert (len(inside), len(inside.ignored)) == (60, 2)
    with zipfile.ZipFile(tmp_path / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(slices / "wet" / "000000", "a/000000")
        packed.write(slices / "dry" / "NOTES", "a/NOTES")
    assert len(open_data(str(tmp_path / "deflated.zip"))) == 1


def test_a_network_learns_from_the_windows_that_it_is_given(run: rk.Run, slices: Path) -> None:
    assert run.metrics is not None
    assert run.metrics["top1"] == 1.0
    model = rk.load(run)
    assert model.header.preprocess.windows == ("-600 1500", "40 375", "400 1800")
    right = [p.label == Path(p.source).parent.name for p in model.predict_many(slices)]
    assert sum(right) > 50
    assert "windows -600 1500, 40 375, 400 1800" in (run.path / "report.html").read_text(encoding="utf-8")


def test_it_is_said_what_the_network_sees(slices: Path) -> None:
    two = ("preprocess.windows=lung,40 400", "preprocess.channels=2")
    for settings, words in (
        (WINDOWS, "windows   -600 1500, 40 375, 400 1800"),
        (two, "windows   -600 1500, 40 400 (cen"),
    ):
        decided, _ = rk.plan(str(slices), model="resnet8", weights="none", settings=settings, threads=1, quiet=True)
        assert any(words in reason for reason in decided.reasons)


def test_a_resumed_run_and_a_finer_one_keep_to_what_was_said(run: rk.Run, slices: Path) -> None:
    before = rk.load(run).header.preprocess
    assert rk.load(rk.resume(run.path, epochs=7, quiet=True)).header.preprocess == before
    how = {"weights": str(run.path), "threads": 1, "quiet": True}
    with pytest.raises(
        UsageError, match=r"say which with --set preprocess.windows='-600 1500,40 375,400 1800', or none"
    ):
        rk.plan(str(slices), **how)
    decided, _ = rk.plan(str(slices), settings=("preprocess.windows=none",), **how)
    assert decided.preprocess.windows == ()
    decided, _ = rk.plan(str(slices), settings=("preprocess.windows=brain",), **how)
    assert decided.preprocess.windows == ("40 80",)


def test_pictures_without_measured_values_are_told(run: rk.Run, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "colour.png")
    with pytest.raises(DataError, match=r"colour.png: the picture holds no greys of more than 8 bits"):
        rk.load(run).predict(tmp_path / "colour.png")


def test_the_command_line_takes_windows(resnetkit: Callable[..., Output], slices: Path) -> None:
    code, _, said = resnetkit("train", slices, "--set", "preprocess.windows=lungs", "--epochs", "1")
    assert code == 2
    assert "unknown window 'lungs'" in said
    assert "did you mean 'lung'" in said
