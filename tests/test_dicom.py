"""DICOM files, from the folder to the answer."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.data.sources import open_data, patients
from resnetkit.errors import DataError, UsageError
from tests.conftest import Output
from tests.data.test_dicom import of, written

WINDOWS = ("preprocess.windows=lung,soft-tissue,bone", "augment.crop=shift", "augment.flip=none")


def slice_of(kind: str, rng: np.random.Generator, **tags: str) -> bytes:
    """Return a slice whose kind is 120 Hounsfield units, a hundredth of what its own window shows."""
    values = (1024 + (0 if kind == "dry" else 120) + rng.integers(-30, 30, (16, 16))).astype(np.int16)
    return written(of(values, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=0, WindowWidth=12000, **tags))


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("data") / "slices", np.random.default_rng(0)
    for kind in ("dry", "wet"):
        (folder / kind).mkdir(parents=True)
        for number in range(30):
            data = slice_of(kind, rng, PatientID=f"{kind} {number // 3}")
            (folder / kind / ("IM" * (number % 2) + f"{number:06d}")).write_bytes(data)
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / "dry" / "NOTES").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def run(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    return rk.train(
        str(slices), model="resnet8", weights="none", epochs=12, threads=1, quiet=True, settings=WINDOWS,
        group_by="PatientID", output=tmp_path_factory.mktemp("run") / "three",
    )  # fmt: skip


def test_files_without_a_suffix_are_found_by_what_they_begin_with(slices: Path, tmp_path: Path) -> None:
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
    assert run.metrics["top1"] > 0.8
    model = rk.load(run)
    assert model.header.preprocess.windows == ("-600 1500", "40 375", "400 1800")
    right = [p.label == Path(p.source).parent.name for p in model.predict_many(slices)]
    assert sum(right) > 50
    assert "windows -600 1500, 40 375, 400 1800" in (run.path / "report.html").read_text(encoding="utf-8")


def test_patients_of_a_run_are_scored_by_one_answer_each(run: rk.Run, slices: Path, tmp_path: Path) -> None:
    """Without --group-by the groups are those of the run, so that nobody who trained it is scored."""
    told = rk.evaluate(str(slices), model=run, threads=1, output=tmp_path / "scored")
    by_patient: dict[str, list[tuple[float, bool]]] = {}
    for row in csv.DictReader((tmp_path / "scored" / "predictions.csv").read_text().splitlines()):
        wet = float(row["probability"]) if row["predicted"] == "wet" else 1 - float(row["probability"])
        by_patient.setdefault(row["group"], []).append((wet, row["label"] == "wet"))
    assert {len(of_one) for of_one in by_patient.values()} == {3}
    right = [(np.mean([wet for wet, _ in of_one]) > 0.5) == of_one[0][1] for of_one in by_patient.values()]
    cases = told.metrics["cases"]
    assert (cases["how"], cases["count"], cases["top1"]) == ("mean", len(right), np.mean(right))
    assert told.metrics["count"] == 3 * len(right)
    assert told.headline.startswith("Of groups 100.0 % are named right (95 % interval ")
    assert f"{len(right)} of {len(right)}, each by the mean of its 3 pictures)" in told.headline
    asked = rk.evaluate(str(slices), model=run, threads=1, output=tmp_path / "most", aggregate="max wet")
    assert asked.metrics["cases"]["how"] == "max wet"
    assert "groups named right: " in (run.path / "report.html").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="--group-by AccessionNumber: no picture"):
        rk.evaluate(str(slices), model=run, threads=1, group_by="AccessionNumber")
    with pytest.raises(UsageError, match="--aggregate max: the surest of which class"):
        rk.evaluate(str(slices), model=run, threads=1, aggregate="max")


def test_a_series_is_named_by_one_answer_and_its_unreadable_pictures_are_told(
    run: rk.Run, slices: Path, tmp_path: Path, resnetkit: Callable[..., Output]
) -> None:
    ward, who = tmp_path / "ward", patients.hashed("dry 0", tag="PatientID", key=patients.key())
    shutil.copytree(slices / "dry", ward, ignore=lambda _, names: [name for name in names if name > "000004"])
    whole = (ward / "000000").read_bytes()
    (ward / "000002").write_bytes(whole[:-100])
    (ward / "lone.dcm").write_bytes(slice_of("wet", np.random.default_rng(1)).replace(b"4711-ZQ ", b"        "))
    code, out, err = resnetkit("predict", ward, "--model", run.path, "--group-by", "PatientID", "--threads", "1")
    assert code == 4
    assert "2 groups by PatientID, whose values are kept as hashes" in err
    assert "1 of 4 images are in no group (no DICOM, or no PatientID in it)" in err
    assert "3 cases: 3 named, 1 picture could not be read or named" in err
    lines = out.splitlines()
    assert lines[0].split() == ["case", "pictures", "unread", "class", "probability"]
    assert lines[1].split()[:4] == [who, "2", "1", "dry"]
    assert f"error: {ward / '000002'}: has 412 bytes of pixels, and 512 are needed: cut off; copy it again" in out
    code, out, err = resnetkit(
        "predict", ward, "--model", run.path, "--group-by", "PatientID", "--format", "jsonl", "--aggregate", "max wet",
        "--threads", "1",
    )  # fmt: skip
    first = json.loads(out.splitlines()[0])
    assert (first["source"], first["pictures"], first["label"]) == (who, 2, "dry")
    assert [line.partition(": ")[0] for line in first["unread"]] == [str(ward / "000002")]
    for wrong, words in (
        (("--aggregate", "mean"), "add --group-by"),
        (("--group-by", "folder", "--sort-into", "x"), "--sort-into is for pictures, and --group-by answers for cases"),
        (("--group-by", "folder", "--output", "rows/"), "--output is for a folder of parts"),
        (("--group-by", "folder", "--aggregate", "max"), "write 'max dry' or 'max wet'"),
        (("--group-by", "folder", "--reject", "0.05"), "promise something of single pictures"),
    ):
        code, _, err = resnetkit("predict", ward, "--model", run.path, *wrong)
        assert (code, words in err) == (2, True), err


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
    assert rk.load(rk.resume(run.path, epochs=13, quiet=True)).header.preprocess == before
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
