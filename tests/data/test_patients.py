"""Groups from tags of DICOM files, and groups that lie in several parts."""

import os
import stat
import warnings
from pathlib import Path

import numpy as np
import pytest

import resnetkit as rk
from resnetkit.data.dataset import Item
from resnetkit.data.groups import apart, check_whole
from resnetkit.data.opening import dicom_header
from resnetkit.data.sources import open_data, patients
from resnetkit.errors import DataError, ResourceError, UsageError
from tests.data.test_dicom import of, written

NAMES = ("Meier^Anna", "MRN-0047110", "19440229", "St. Agnes Hospital")


@pytest.fixture
def wards(tmp_path: Path) -> Path:
    """Twelve slices of six patients in two classes, and a picture that is no DICOM."""
    rng = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "wards" / ("dry", "wet")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        values = (100 * (number % 2) + rng.integers(0, 30, (16, 16))).astype(np.uint16)
        who = {"PatientName": NAMES[0], "PatientBirthDate": NAMES[2], "InstitutionName": NAMES[3]}
        data = written(of(values, PatientID=f"{NAMES[1]}{number // 2}", StudyInstanceUID=f"1.2.3.{number}", **who))
        (folder / f"{number:06d}.dcm").write_bytes(data)
    return tmp_path / "wards"


def test_pictures_of_one_patient_form_a_group_whose_name_nobody_can_guess(
    wards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNETKIT_CONFIG", str(tmp_path / "one"))
    data = open_data(str(wards), group_by="PatientID")
    groups = {int(Path(item.source).stem): item.group for item in data.items}
    assert len(set(groups.values())) == 6
    assert all(groups[number] == groups[number + 1] for number in range(0, 12, 2))
    assert all(len(str(group)) == 16 and int(str(group), 16) >= 0 for group in groups.values())
    assert data.notes[0] == "6 groups by PatientID, whose values are kept as hashes"
    assert [item.group for item in open_data(str(wards), group_by="PatientID").items] == [i.group for i in data.items]
    assert len({item.group for item in open_data(str(wards), group_by="StudyInstanceUID").items}) == 12
    (key,) = (tmp_path / "one").iterdir()
    assert os.name == "nt" or stat.S_IMODE(key.stat().st_mode) == 0o600
    monkeypatch.setenv("RESNETKIT_CONFIG", str(tmp_path / "other"))
    elsewhere = {item.group for item in open_data(str(wards), group_by="PatientID").items}
    assert elsewhere.isdisjoint(groups.values())


def test_nothing_that_a_run_leaves_says_who_it_was(wards: Path, tmp_path: Path) -> None:
    run = rk.train(
        str(wards), group_by="PatientID", model="resnet8", weights="none", epochs=1, threads=1, quiet=True,
        output=tmp_path / "run", settings=("preprocess.windows=file", "augment.flip=none", "val_share=0.34"),
    )  # fmt: skip
    rk.evaluate(str(wards), model=run, split="val", threads=1, output=tmp_path / "scored")
    rows = (run.path / "split.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "source,label,split,group"
    parts: dict[str, set[str]] = {}
    for row in rows[1:]:
        parts.setdefault(row.split(",")[3], set()).add(row.split(",")[2])
    assert len(parts) == 6
    assert all(len(of_group) == 1 for of_group in parts.values())
    written_files = [path for folder in (run.path, tmp_path / "scored") for path in folder.rglob("*") if path.is_file()]
    cache = Path(os.environ["RESNETKIT_CACHE"])
    written_files += [path for path in cache.rglob("*") if path.is_file()]
    assert len(written_files) > 10
    for path in written_files:
        content = path.read_bytes()
        assert [name for name in NAMES if name.encode() in content] == [], path


def test_files_without_the_tag_are_counted_and_a_tag_that_no_file_has_is_refused(wards: Path, tmp_path: Path) -> None:
    (wards / "dry" / "none.dcm").write_bytes(written(of(np.zeros((8, 8), np.uint16), PatientID=" ")))
    notes = open_data(str(wards), group_by="PatientID").notes
    assert "1 of 13 images are in no group (no DICOM, or no PatientID in it)" in notes
    with pytest.raises(UsageError, match="--group-by AccessionNumber: no picture is a DICOM file that has this tag"):
        open_data(str(wards), group_by="AccessionNumber")
    with pytest.raises(UsageError, match="did you mean 'PatientID'"):
        open_data(str(wards), group_by="PatientId")


def test_a_value_that_breaks_a_rule_is_not_quoted(recwarn: pytest.WarningsRecorder) -> None:
    value = "4711-ZQ-of-Vlk"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = written(of(np.zeros((4, 4), np.uint16), StudyInstanceUID=value))
    assert dicom_header.text(data, "StudyInstanceUID") == value
    assert [str(one.message) for one in recwarn] == []


def test_a_key_that_cannot_be_kept_or_is_damaged_is_told(
    wards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESNETKIT_CONFIG", str(tmp_path / "file"))
    with pytest.raises(ResourceError, match="set RESNETKIT_CONFIG to a folder that can be written to"):
        open_data(str(wards), group_by="PatientID")
    monkeypatch.setenv("RESNETKIT_CONFIG", str(tmp_path / "keys"))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "key-of-groups").write_text("abc")
    with pytest.raises(UsageError, match="is no key"):
        open_data(str(wards), group_by="PatientID")


def test_the_same_value_of_another_tag_is_another_group() -> None:
    one, other = (patients.hashed("7", tag=tag, key=bytes(32)) for tag in patients.TAGS[:2])
    assert one != other
    assert patients.hashed("7", tag=patients.TAGS[0], key=bytes(31) + b"\1") != one


def test_a_group_in_several_parts_stops_training_with_its_pictures_counted(tmp_path: Path, digits: Path) -> None:
    items = [Item(f"{n}.png", ("a",), split=("train", "train", "val", None)[n], group="p1") for n in range(4)]
    assert apart(items) == {"p1": items}
    assert apart(items[:2]) == {}
    with pytest.raises(DataError, match=r"1 group of 4 pictures lie in several parts, as p1 \(2 in train, 1 in val\)"):
        check_whole(items)
    pictures = sorted(digits.rglob("*.png"))[:6]
    rows = [
        f"{picture},{'ab'[n % 2]},{'test' if n > 3 else 'train'},{'p1' if n in (0, 4) else f'own{n}'}"
        for n, picture in enumerate(pictures)
    ]
    (tmp_path / "list.csv").write_text("\n".join(["image_path,label,split,group", *rows]))
    with pytest.raises(DataError, match=r"as p1 \(1 in train, 1 in test\)"):
        rk.train(tmp_path / "list.csv", model="resnet8", epochs=1, threads=1, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
