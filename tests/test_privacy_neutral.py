"""What tags say stays hidden where paths tell nothing, and what tells beside the paths of pictures."""

from pathlib import Path

import numpy as np
import pytest

import resnetkit as rk
from resnetkit.data.decoded import survey
from resnetkit.data.opening.dicom_identity import identity
from resnetkit.data.sources import by_number, open_data, open_pictures
from resnetkit.data.sources.columns import wanted
from resnetkit.data.sources.telling import telling
from resnetkit.errors import DataError
from tests.test_privacy import one_of


def test_groups_classes_and_columns_that_a_tag_says_are_hidden_where_paths_tell_nothing(tmp_path: Path) -> None:
    scans, rows = tmp_path / "scans", ["image_path,label,who,site"]
    for number, who in enumerate(("Quasthoff", "Wehwalt", "Blutegel", "Silbersee")):
        path = one_of(scans, f"{'ab'[number % 2]}/{number}.dcm", PatientName=f"{who}^Ida")
        rows.append(f"{path},{'ab'[number % 2]},{who},{number % 2}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    neutral = open_data(str(tmp_path / "list.csv"), group_by="who")
    assert (neutral.hidden, neutral.dicom) == (None, 4)
    assert [len(str(item.group)) for item in neutral.items] == [16] * 4
    assert {item.group for item in open_data(str(tmp_path / "list.csv"), group_by="site").items} == {"0", "1"}
    who, site = (one.of(neutral, neutral.items) for one in wanted(("who", "site"), [str(tmp_path / "list.csv")]))
    assert [len(str(value)) for value in who.values] == [16] * 4
    assert site.values == ("0", "1", "0", "1")
    scans.rename(tmp_path / "Quasthoff")
    (tmp_path / "list.csv").write_text("\n".join(rows).replace("scans", "Quasthoff"))
    telling_list = open_data(str(tmp_path / "list.csv"), group_by="who")
    assert telling_list.hidden is not None
    assert [item.group for item in telling_list.items] == [item.group for item in neutral.items]
    (tmp_path / "Quasthoff").rename(scans)
    (tmp_path / "list.csv").write_text("\n".join(rows).replace(",a,", ",Wehwalt,"))
    with pytest.raises(DataError, match=r"^1 of 2 classes are called as an identifying tag"):
        open_data(str(tmp_path / "list.csv"))


def test_pictures_outside_the_classes_and_the_working_folder_tell_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.dcm", "b/2.dcm"):
        one_of(tmp_path / "scans", name, PatientName="Ida")
    one_of(tmp_path / "scans", "Silbersee.dcm", PatientName="Silbersee")
    assert open_data(str(tmp_path / "scans")).outside == ("file-0001.dcm",)
    (tmp_path / "scans" / "Silbersee.dcm").rename(tmp_path / "scans" / "3.dcm")
    assert open_data(str(tmp_path / "scans")).hidden is None
    (tmp_path / "Silbersee").mkdir()
    monkeypatch.chdir(tmp_path / "Silbersee")
    assert open_data(str(tmp_path / "scans")).hidden is not None


def test_tags_that_were_read_of_files_with_other_suffixes_make_it_a_set_of_dicom_files(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png"):
        one_of(tmp_path / "scans", name, PatientID=name)
    assert open_data(str(tmp_path / "scans"), group_by="PatientID").dicom == 2
    assert survey.survey(open_data(str(tmp_path / "scans")), threads=1).dicom


def test_arrays_are_not_searched_for_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "x.npz", train_images=np.zeros((4, 8, 8), np.uint8), train_labels=np.arange(4) % 2)
    monkeypatch.setattr(by_number, "_identity", lambda *_: pytest.fail("an array was read"))
    assert len(open_data(str(tmp_path / "x.npz")).items) == 4


def test_a_name_is_known_in_encodings_that_its_file_does_not_tell(tmp_path: Path) -> None:
    for how, who in (("utf-8", "Öhrlein"), ("gb18030", "山田^太郎")):
        path = one_of(tmp_path / how, "1.dcm", PatientName=who.encode(how).decode("latin-1"))
        found = identity(lambda path=path: path.open("rb"))  # type: ignore[misc]
        assert found is not None
        assert telling(found.said).stands_in(f"in/{who}.dcm")


def test_a_list_that_has_a_file_twice_has_the_same_numbers_for_every_verb(tmp_path: Path) -> None:
    names = [one_of(tmp_path, f"{who}.dcm", PatientName=who).name for who in ("Quasthoff", "Silbersee", "Wehwalt")]
    rows = ["image_path,label", f"./{names[2]},b", f"{names[0]},a", f"{names[2]},b", f"{names[1]},a", f"{names[0]},a"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    found = open_data(str(tmp_path / "list.csv"))
    assert len(found.items) == 3
    for item in found.items:
        path = rk.path_of(int(item.source[5:9]), tmp_path / "list.csv")
        assert Path(path).read_bytes() == found.read(item)


def test_lines_of_lists_name_no_dicom_file(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("image_path,label\nQuasthoff.dcm,a\nQuasthoff.dcm,Ida\n")
    with pytest.raises(DataError, match=r"list.csv, line 3: the picture is listed again \(first in line 2\), as some"):
        open_data(str(tmp_path / "list.csv"), task="classification")
    (tmp_path / "list.csv").write_text("image_path,label\nQuasthoff.dcm,\n")
    with pytest.raises(DataError, match=r"list.csv, line 2: the picture has no label"):
        open_data(str(tmp_path / "list.csv"))
    for name in ("Wehwalt/1.dcm", "wehwalt/2.dcm"):
        one_of(tmp_path / "scans", name, PatientName="Wehwalt")
    with pytest.raises(DataError, match=r"^2 of 2 classes are called"):
        open_data(str(tmp_path / "scans"))


def test_why_a_numbered_archive_cannot_be_read_is_told_without_its_name(tmp_path: Path) -> None:
    one_of(tmp_path / "scans", "Quasthoff.dcm", PatientName="Quasthoff")
    (tmp_path / "Quasthoff.zip").write_bytes(b"PK\3\4 broken")
    found = open_pictures(tmp_path / "scans", tmp_path / "Quasthoff.zip")
    said = []
    for item in found.items:
        try:
            found.read(item)
        except DataError as error:
            said.append(str(error))
    assert len(said) == 1
    assert "Quasthoff" not in said[0]
    assert "zip" in said[0] or "archive" in said[0], said
