"""What columns of a list and tags of DICOM files say of pictures, and the values that they are compared by."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.columns import Column, compared
from resnetkit.data.sources import open_data
from resnetkit.data.sources.columns import wanted
from resnetkit.errors import DataError, UsageError
from tests.data.test_dicom import of, written


def column(*values: str | None, edges: tuple[float, ...] | None = None) -> Column:
    return Column(name="age", values=values, edges=edges)


def test_many_numbers_become_quartiles_and_no_picture_is_lost() -> None:
    found = compared(column(*(str(number) for number in range(1, 101)), None, "old"))
    assert found.edges == (25.75, 50.5, 75.25)
    assert found.order == ("<25.75", "25.75 to <50.5", "50.5 to <75.25", ">=75.25")
    assert [found.values.count(name) for name in found.order] == [25] * 4
    assert (found.without, found.no_number) == (1, 1)
    dates = compared(column(*(str(20230100 + number) for number in range(1, 101))))
    assert dates.edges == pytest.approx([20230125.75, 20230150.5, 20230175.25], abs=0.01)


def test_stated_edges_hold_and_a_band_of_few_pictures_stays_for_itself() -> None:
    found = compared(column(*["39.9"] * 12, *["40"] * 12, *["61"] * 3, edges=(40, 60)))
    assert found.order == ("<40", "40 to <60")
    assert found.few == {">=60": 3}
    assert found.values[-3:] == (None, None, None)
    assert found.values[11:13] == ("<40", "40 to <60")


def test_rare_values_are_one_and_few_numbers_are_names() -> None:
    found = compared(column(*["3"] * 12, *["1.5"] * 11, *["0.5"] * 6, *["7"] * 5))
    assert (found.order, found.edges) == (("3", "1.5", "other, 2 values"), ())
    assert found.values.count("other, 2 values") == 11
    alone = compared(column(*["3"] * 12, *["7"] * 5))
    assert (alone.order, alone.few) == (("3",), {"other, 1 value": 5})
    assert len(compared(column(*[f"site {n // 10}" for n in range(300)])).order) == 21


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    rows = ["image_path,label,split,sex,age"]
    for number in range(4):
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{'ab'[number % 2]},test,{'FM'[number % 2]},{20 + number}")
    (tmp_path / "list.csv").write_text("\n".join(rows).replace("F,20", ",20"), encoding="utf-8")
    return tmp_path / "list.csv"


def test_a_list_says_what_its_columns_hold(listed: Path) -> None:
    data = open_data(str(listed))
    sex, age = (one.of(data, data.items[::-1]) for one in wanted(("sex", "age:22,23"), [str(listed)]))
    assert (sex.values, sex.edges) == (("M", "F", "M", None), None)
    assert (age.values, age.edges) == (("23", "22", "21", "20"), (22.0, 23.0))
    frame = replace(data.items[1], source=f"{data.items[1].source}#7")  # of a file that all say something of
    assert wanted("sex", [str(listed)])[0].of(data, [frame]).values == ("M",)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["sx"], "did you mean 'sex'?"),
        (["age:60,40"], "rising numbers"),
        (["age:"], "rising numbers"),
        (["label"], "is what is told apart"),
        (["PatientBirthDate"], "PatientAge"),
        (["PatientID"], "says who somebody is"),
        (["sex", "sex"], "twice"),
    ],
)
def test_what_cannot_be_compared_by_is_refused(listed: Path, asked: list[str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        wanted(asked, [str(listed)])
    assert said in str(refused.value)


def test_a_picture_of_two_ages_is_named_with_its_line(listed: Path) -> None:
    with listed.open("a", encoding="utf-8") as file:
        file.write("\n3.png,b,test,M,50")
    with pytest.raises(DataError, match=r"line 6: age is '50' here, and '23'"):
        wanted(["age"], [str(listed)])


def test_tags_say_no_names_and_no_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RESNETKIT_CONFIG", str(tmp_path / "settings"))
    said = (("F", "045Y", "St. Agnes"), ("Meier^Anna", "018M", "St. Agnes"), ("M", "old", ""))
    for number, (sex, age, place) in enumerate(said):
        values = np.full((8, 8), 40 * number, np.uint16)
        (tmp_path / "wards" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a name is no sex, says pydicom
            data = written(of(values, PatientSex=sex, PatientAge=age, InstitutionName=place))
        (tmp_path / "wards" / "ab"[number % 2] / f"{number}.dcm").write_bytes(data)
    caplog.clear()
    data = open_data(str(tmp_path / "wards"))
    items = sorted(data.items, key=lambda item: Path(item.source).name)
    asked = wanted(["PatientSex", "PatientAge", "InstitutionName", "Manufacturer"], [str(tmp_path / "wards")])
    sex, age, place = (one.of(data, items) for one in asked[:3])
    assert sex.values == ("F", None, "M")
    assert age.values == ("45", "1.5", None)
    assert age.edges == tuple(range(10, 100, 10))
    assert place.values[0] == place.values[1]
    assert len(str(place.values[0])) == 16
    assert "Agnes" not in str(place)
    assert place.values[2] is None
    assert "Meier" not in caplog.text
    with pytest.raises(UsageError, match="no picture is a DICOM file that has this tag"):
        asked[3].of(data, items)
