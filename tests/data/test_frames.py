"""Files of several frames, each of which is a picture: named, grouped, and never parted."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

import resnetkit as rk
from resnetkit.data.frames import normal, of_files
from resnetkit.data.opening import images
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_pictures
from resnetkit.errors import DataError, UsageError
from tests.conftest import Output
from tests.data.test_dicom import of, written
from tests.test_pages import BLUE, GREY, RED, stack


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips of four frames in two classes, as DICOM and TIFF, and one picture of one frame."""
    folder, random = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    for number in range(10):
        kind = folder / ("dark", "light")[number % 2]
        kind.mkdir(exist_ok=True)
        frames = (random.integers(0, 60, (4, 12, 12)) + 150 * (number % 2)).astype(np.uint8)
        if number < 6:
            (kind / f"{number}.dcm").write_bytes(written(of(frames, PatientID=f"p{number // 4}")))
        else:
            tifffile.imwrite(kind / f"{number}.tif", frames, photometric="minisblack")
    (folder / "dark" / "single.dcm").write_bytes(written(of(random.integers(0, 60, (12, 12)).astype(np.uint8))))
    return folder


def of_all(folder: Path, frames: str = "all", **how: str):
    return of_files(open_pictures(folder, **how), page=1, frames=frames)


def test_each_frame_is_a_picture_named_by_its_number(clips: Path) -> None:
    data = of_all(clips)
    assert (len(data), len(of_all(clips, "every 3"))) == (41, 21)
    names = [Path(item.source).name for item in data.items if "0.dcm" in item.source]
    assert names == [f"0.dcm#{number}" for number in (1, 2, 3, 4)]
    ends = [item.source[-2:] for item in of_all(clips, "every 3").items]
    assert ends == ["#1", "#4"] * 5 + ["cm"] + ["#1", "#4"] * 5
    assert data.notes == ("10 files hold 40 frames, of which 40 are pictures (all); those of one file stay together",)
    assert {item.group for item in data.items} == {item.source.partition("#")[0] for item in data.items if "#" in
                                                   item.source} | {None}  # fmt: skip
    for item in data.items:
        path, _, number = item.source.partition("#")
        if number:
            wanted = images.of_page(Path(path).read_bytes(), name="x", page=int(number))
            one, other = (Preprocess(size=12, resize=12).pixels(images.decode(content, name="x"))
                          for content in (data.read(item), wanted))  # fmt: skip
            assert (one == other).all()
            assert not images.has_several(data.read(item))
    assert of_files(data, page=1, frames="all") is data


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_frames_of_every_format_are_counted_but_for_the_second_picture_of_a_phone(kind: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(stack(GREY, RED, BLUE, kind=kind))
    data = of_all(tmp_path / "x")
    assert len(data) == (1 if kind == "MPO" else 3)
    if kind != "MPO":
        reds = [Preprocess(size=12, resize=12).pixels(data.open(item))[..., 0].mean() for item in data.items]
        assert np.argsort(reds).tolist() == [2, 0, 1]


def test_groups_that_are_given_hold_and_broken_files_are_left_as_they_are(clips: Path, tmp_path: Path) -> None:
    by_patient = of_all(clips, group_by="PatientID")
    assert len({item.group for item in by_patient.items if ".dcm#" in item.source}) == 2
    assert {item.group for item in by_patient.items if ".tif#" in item.source} == {
        item.source.partition("#")[0] for item in by_patient.items if ".tif#" in item.source
    }
    (tmp_path / "broken.dcm").write_bytes((clips / "dark" / "0.dcm").read_bytes()[:300])
    frames = of(np.zeros((2, 4, 4), np.uint8))
    frames.NumberOfFrames = 2_000_000_000
    (tmp_path / "many.dcm").write_bytes(written(frames))
    data = of_all(tmp_path)
    assert [Path(item.source).name for item in data.items] == ["broken.dcm", "many.dcm#1"]
    with pytest.raises(DataError, match=r"many.dcm: claims 2,000,000,000 frames, and no file has so many"):
        data.read(data.items[1])


@pytest.mark.parametrize("text", ["", "each", "every", "every 0", "every x", "2"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="choose one, all or 'every 5'"):
        normal(text)
    with pytest.raises(UsageError, match="leave one out"):
        Preprocess(page=2, frames="all")
    assert "frames" not in Preprocess().to_json()
    assert Preprocess.from_json(Preprocess(frames="Every 2").to_json()).frames == "every 2"


def test_a_run_learns_from_frames_keeps_those_of_a_file_together_and_finds_them_where_they_moved(
    clips: Path, tmp_path: Path, resnetkit: Callable[..., Output]
) -> None:
    here = shutil.copytree(clips, tmp_path / "clips")
    run = rk.train(
        here, model="resnet8", weights="none", epochs=1, batch_size=8, threads=1, quiet=True,
        settings=("preprocess.frames=every 2", "augment.flip=none", "val_share=0.3"), output=tmp_path / "run",
    )  # fmt: skip
    rows = list(csv.DictReader((run.path / "split.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 21
    parts: dict[str, set[str]] = {}
    for row in rows:
        parts.setdefault(row["source"].partition("#")[0], set()).add(row["split"])
    assert {len(of_file) for of_file in parts.values()} == {1}
    assert run.metrics is not None
    assert run.metrics["cases"]["pictures"]["most"] == 2
    assert "is no longer there" not in (run.path / "report.html").read_text(encoding="utf-8")
    told = rk.evaluate(here, model=run, split="val", threads=1, output=tmp_path / "scored")
    assert told.metrics["top1"] == run.metrics["top1"]
    model = rk.load(run, threads=1, engine="torch")
    assert [Path(one.source).name for one in model.predict_many(here)][:3] == ["0.dcm#1", "0.dcm#3", "2.dcm#1"]
    of_files = list(model.predict_cases(here, group_by="(.*)"))
    assert ([one.pictures for one in of_files].count(2), len(of_files)) == (10, 11)
    code, _, err = resnetkit("predict", here, "--model", run.path, "--engine", "torch", "--sort-into", "sorted")
    assert (code, "--sort-into copies files, and run names their frames" in err) == (2, True)
    here.rename(tmp_path / "moved")
    again = rk.resume(run.path, data=tmp_path / "moved", epochs=2, quiet=True)
    assert again.metrics is not None
    assert again.metrics["count"] == told.metrics["count"]


def test_frames_of_a_file_with_the_large_end_first_are_those_of_its_twin(shared_data: Path) -> None:
    few, many = (shared_data / "dicom" / name for name in ("rtdose_expb.dcm", "rtdose.dcm"))
    one, other = (of_all(path) for path in (few, many))
    assert len(one) == len(other) == 15
    for a, b in zip(one.items[::7], other.items[::7], strict=True):
        shown, wanted = (
            Preprocess(size=10, resize=10).pixels(data.open(item)) for data, item in ((one, a), (other, b))
        )
        assert (shown == wanted).all()
    both = of_all(shared_data / "dicom" / "SC_rgb_rle_16bit_2frame.dcm")
    assert [both.open(item).size for item in both.items] == [(100, 100)] * 2
