"""What points to DICOM files: a DICOMDIR, and lists of them in a CSV."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from resnetkit import path_of
from resnetkit.data.sources import dicomdir, open_data, open_pictures
from resnetkit.errors import DataError, UsageError
from tests.data.test_dicom import of, written


@pytest.fixture
def disc(shared_data: Path, tmp_path: Path) -> Path:
    """A disc as hospitals burn it, which can be written to."""
    shutil.copytree(shared_data / "dicom" / "dicomdirtests", tmp_path / "disc", copy_function=shutil.copyfile)
    (tmp_path / "disc").chmod(0o755)
    return tmp_path / "disc"


def test_a_dicomdir_gives_the_pictures_that_it_lists_by_their_paths(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "dicomdirtests"
    wanted = {str(path) for part in ("77654033", "98892001", "98892003") for path in (folder / part).rglob("[0-9]*")}
    wanted = {path for path in wanted if Path(path).is_file()}
    for name in ("DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-nooffset", "DICOMDIR-reordered"):
        assert dicomdir.is_dicomdir(str(folder / name))
        assert {path_of(number, folder / name) for number in range(1, 32)} == wanted, name
    pictures = open_pictures(folder / "DICOMDIR", group_by="StudyInstanceUID")
    assert len(pictures) == 31
    assert "6 groups by StudyInstanceUID, whose values are kept as hashes" in pictures.notes
    assert {item.source for item in pictures.items} >= {"file-0001", "file-0031"}, "folders are called as patients are"
    assert pictures.open(pictures.items[0]).size == (16, 16)
    assert not dicomdir.is_dicomdir(str(folder / "77654033" / "CR1" / "6154"))
    with pytest.raises(UsageError, match="DICOMDIR: lists pictures and not what they show: put them into a folder of"):
        open_data(str(folder / "DICOMDIR"))


def test_files_that_are_gone_are_named_and_letters_may_be_smaller(disc: Path) -> None:
    (disc / "77654033" / "CR1" / "6154").unlink()
    (disc / "77654033" / "CR2").rename(disc / "77654033" / "cr2")
    pictures = open_pictures(disc / "DICOMDIR")
    assert len(pictures) == 31
    paths = {path_of(number, disc / "DICOMDIR"): f"file-{number:04d}" for number in range(1, 32)}
    named = {item.source: item for item in pictures.items}
    gone, there = (next(name for path, name in paths.items() if path.endswith(end)) for end in ("CR1/6154", "cr2/6247"))
    assert pictures.open(named[there]).size == (16, 16)
    with pytest.raises(DataError, match=f"{gone}: cannot be read"):
        pictures.open(named[gone])


def test_a_dicomdir_that_cannot_be_used_is_one_line(disc: Path, tmp_path: Path) -> None:
    shutil.copy(disc / "DICOMDIR", tmp_path / "DICOMDIR")
    with pytest.raises(DataError, match=r"none of the 31 pictures that it lists is there, as .*6154: copy the folders"):
        dicomdir.read(str(tmp_path / "DICOMDIR"))
    with pytest.raises(DataError, match="lists no pictures"):
        dicomdir.read(str(disc / "DICOMDIR-empty.dcm"))
    whole = (disc / "DICOMDIR").read_bytes()
    (disc / "cut").write_bytes(whole[:9000])
    with pytest.raises(DataError, match="cut: is cut off: the end of its list is missing"):
        dicomdir.read(str(disc / "cut"))
    (disc / "out").write_bytes(whole.replace(b"77654033", b"..      "))
    with pytest.raises(DataError, match="out: lists a file that is not below its folder"):
        dicomdir.read(str(disc / "out"))
    with pytest.raises(DataError, match="lists a file that is not below its folder"):
        open_pictures(disc / "out", group_by="PatientID")
    made = pydicom.dcmread(disc / "DICOMDIR")
    for record in made.DirectoryRecordSequence:
        if record.DirectoryRecordType == "IMAGE":
            record.DirectoryRecordType = "SR DOCUMENT"
            break
    made.DirectoryRecordSequence[-1].RecordInUseFlag = 0
    made.save_as(disc / "mixed")
    pictures = open_pictures(disc / "mixed")
    assert len(pictures) == 29
    assert any("1 of the files that it lists are no pictures" in note for note in pictures.notes)


def test_a_list_points_to_dicom_files_with_a_suffix_and_without(tmp_path: Path) -> None:
    rows = ["image_path,finding,patient"]
    for number in range(6):
        name = f"s{number % 2}/" + (f"{number}.dcm", f"{number:06d}", f"1.2.{number}")[number % 3]
        (tmp_path / name).parent.mkdir(exist_ok=True)
        values = np.full((8, 8), number, np.int16)
        (tmp_path / name).write_bytes(written(of(values, PatientID=f"id{number // 2}")))
        rows.append(f"{name},{('well', 'ill')[number % 2]},p{number // 3}")
    path = tmp_path / "list.csv"
    path.write_text("\n".join(rows).replace("finding", "label"))
    data = open_data(str(path), group_by="PatientID")
    assert [item.label for item in data.items] == ["well", "ill"] * 3
    assert [data.items[n].group == data.items[n + 1].group for n in range(5)] == [True, False, True, False, True]
    assert [item.group for item in open_data(str(path), group_by="patient").items] == ["p0"] * 3 + ["p1"] * 3
    assert len({item.group for item in open_data(str(path), group_by="folder").items}) == 2
    assert [data.open(item).size for item in data.items] == [(8, 8)] * 6
    assert len({item.group for item in open_pictures(path, group_by="PatientID").items}) == 3
    path.write_text("image_path,label\ns0/000004.dcm,well\n")
    with pytest.raises(DataError, match=r"write s0/.* for s0/000004.dcm"):
        open_data(str(path))
