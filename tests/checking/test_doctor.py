"""What is wrong with a set is found, named, and nothing else is."""

import csv
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

import resnetkit as rk
from resnetkit.cli import main
from resnetkit.errors import DataError, UsageError
from resnetkit.words import NO_MEDICAL_DEVICE

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\u202egpj.jpg"


@pytest.fixture(scope="module")
def photos(shared_data: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((shared_data / "hymenoptera" / "train" / "ants").glob("*.jpg"))[:40]]


def opened(photo: bytes) -> Image.Image:
    return Image.open(io.BytesIO(photo)).convert("RGB")


@pytest.fixture(scope="module")
def messy(photos: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with one fault of each kind; the picture of each is called after it."""
    root = tmp_path_factory.mktemp("data") / "messy"
    folders = {name: root / name for name in ("train/ant", "train/bee", "val/ant", "val/bee")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    ant, bee, val_ant, val_bee = folders.values()
    for number, photo in enumerate(photos[:24]):
        (ant if number % 2 else bee).joinpath(f"{number}.jpg").write_bytes(photo)
    val_ant.joinpath("good.jpg").write_bytes(photos[24])
    val_bee.joinpath("good.jpg").write_bytes(photos[25])
    val_ant.joinpath("same_as_1.jpg").write_bytes(photos[1])
    opened(photos[3]).resize((200, 150)).save(val_ant / "smaller_3.jpg", quality=80)
    whole = opened(photos[5])
    whole.crop((0, 0, whole.width * 9 // 10, whole.height)).save(ant / "cut_5.jpg", quality=90)
    ant.joinpath("two_labels.jpg").write_bytes(photos[26])
    bee.joinpath("two_labels_too.jpg").write_bytes(photos[26])
    ant.joinpath("cut_off.jpg").write_bytes(photos[27][: len(photos[27]) // 2])
    ant.joinpath("damaged.jpg").write_bytes(damaged(photos[28]))
    opened(photos[29]).save(bee / "really_png.jpg", "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    opened(photos[30]).save(bee / "rotated.jpg", exif=exif)
    opened(photos[31]).convert("CMYK").save(bee / "cmyk.jpg")
    opened(photos[32]).resize((20, 15)).save(bee / "tiny.png")
    opened(photos[33]).crop((0, 0, 300, 40)).save(bee / "long.png")
    Image.new("RGB", (200, 200), (90, 90, 90)).save(ant / "blank.png")
    opened(photos[34]).point(lambda value: value // 8).save(ant / "dark.png")
    opened(photos[35]).filter(ImageFilter.GaussianBlur(12)).save(ant / "blurred.png")
    ant.joinpath("NAME.jpg").write_bytes(photos[36])
    ant.joinpath("name.jpg").write_bytes(photos[37])
    ant.joinpath(HOSTILE.replace("/", "_")).write_bytes(photos[38])
    return root


def damaged(photo: bytes) -> bytes:
    """Return a JPEG whose scan ends early, but that ends as a whole one does."""
    return photo[: len(photo) * 2 // 3] + b"\xff\xd9"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all that a check writes: its files, and `lists/clean.csv`."""
    return tmp_path_factory.mktemp("written")


@pytest.fixture(scope="module")
def found(messy: Path, written: Path) -> rk.Check:
    before = {path: path.read_bytes() for path in messy.rglob("*") if path.is_file()}
    checked = rk.check(
        messy, output=written / "out", clean_list=written / "lists" / "clean.csv", weights="none", threads=1
    )  # fmt: skip
    assert {path: path.read_bytes() for path in messy.rglob("*") if path.is_file()} == before
    return checked


def names(found: rk.Check, kind: str) -> set[frozenset[str]]:
    return {frozenset(Path(source).name for source in finding.sources) for finding in found.of_kind(kind)}


@pytest.mark.parametrize(
    ("kind", "pictures"),
    [
        ("unreadable", {"cut_off.jpg"}), ("damaged", {"damaged.jpg"}), ("wrong suffix", {"really_png.jpg"}),
        ("rotated", {"rotated.jpg"}), ("odd mode", {"cmyk.jpg"}), ("tiny", {"tiny.png"}),
        ("extreme shape", {"long.png"}), ("blank", {"blank.png"}), ("dark", {"dark.png"}), ("blurred", {"blurred.png"}),
        ("same name", {"NAME.jpg", "name.jpg"}), ("identical across", {"1.jpg", "same_as_1.jpg"}),
        ("two labels", {"two_labels.jpg", "two_labels_too.jpg"}), ("near across", {"3.jpg", "smaller_3.jpg"}),
            ("doubtful", {"5.jpg", "cut_5.jpg"}),
    ],
)  # fmt: skip
def test_a_fault_is_found_and_only_there(found: rk.Check, kind: str, pictures: set[str]) -> None:
    assert names(found, kind) == {frozenset(pictures)}


def test_the_set_as_a_whole_is_described_as_training_would(found: rk.Check) -> None:
    said = "\n".join(found.report.sentences)
    assert "1 of 4 validation images are also in training (identical, as" in said
    assert "1 of 4 validation images are near-copies of training images:" in said


def test_a_set_without_faults_has_no_findings(photos: list[bytes], tmp_path: Path) -> None:
    for number, photo in enumerate(photos[:8]):
        folder = tmp_path / "clean" / ("ant" if number % 2 else "bee")
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(f"{number}.jpg").write_bytes(photo)
    checked = rk.check(tmp_path / "clean", weights="none", threads=1)
    assert checked.findings == ()
    assert checked.left_out == {}


def test_groups_in_two_parts_and_small_classes_are_found(photos: list[bytes], tmp_path: Path) -> None:
    rows = ["image_path,label,split,group"]
    for number, photo in enumerate(photos[:13]):
        tmp_path.joinpath(f"{number}.jpg").write_bytes(photo)
        rows.append(
            f"{number}.jpg,{'few' if number == 0 else 'many'},{'val' if number > 11 else 'train'},{number % 12}"
        )
    tmp_path.joinpath("list.csv").write_text("\n".join(rows))
    checked = rk.check(tmp_path / "list.csv", weights="none", threads=1)
    assert [finding.kind for finding in checked.findings] == ["group across", "few images"]
    assert checked.findings[0].splits == ("train", "val")
    assert checked.findings[1].why == "few has 1, the largest class 11"


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of the 2 images can be read"):
        rk.check(tmp_path, weights="none", threads=1)


def test_the_clean_list_trains(found: rk.Check, written: Path) -> None:
    path = written / "lists" / "clean.csv"
    with open(path, encoding="utf-8", newline="") as file:
        listed = {Path(row["image_path"]).name: row for row in csv.DictReader(file)}
    gone = {"cut_off.jpg", "damaged.jpg", "blank.png", "two_labels.jpg", "two_labels_too.jpg", "1.jpg", "3.jpg"}
    assert {Path(source).name for source in found.left_out} == gone
    assert gone & set(listed) == set()
    assert {"same_as_1.jpg", "smaller_3.jpg", "rotated.jpg", "5.jpg", "cut_5.jpg"} <= set(listed)
    assert all(Path(source).name not in ("5.jpg", "cut_5.jpg") for source in found.groups), "doubtful"
    assert all(row["image_path"].startswith(".") for row in listed.values())
    again = rk.check(path, weights="none", threads=1)
    assert not {"unreadable", "damaged", "identical across", "near across", "two labels"} & set(again.counts)
    plan = rk.plan(path, model="resnet8", image_size=32, recipe="scratch")
    assert plan


def test_near_copies_of_unsplit_data_share_a_group_in_the_clean_list(photos: list[bytes], tmp_path: Path) -> None:
    for number, photo in enumerate(photos[:10]):
        folder = tmp_path / "data" / ("ant" if number % 2 else "bee")
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(f"{number}.jpg").write_bytes(photo)
    opened(photos[0]).save(tmp_path / "data" / "bee" / "again.jpg", quality=70)
    path = tmp_path / "clean.csv"
    rk.check(tmp_path / "data", clean_list=path, weights="none", threads=1)
    with open(path, encoding="utf-8", newline="") as file:
        groups = {Path(row["image_path"]).name: row["group"] for row in csv.DictReader(file)}
    assert groups["again.jpg"] == groups["0.jpg"] != ""
    assert sum(group != "" for group in groups.values()) == 2


def test_the_clean_list_of_an_archive_names_its_members(photos: list[bytes], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for number, photo in enumerate([*photos[:8], photos[0]]):
            archive.writestr(f"set/{'ant' if number % 2 else 'bee'}/{number}.jpg", photo)
    path = tmp_path / "lists" / "clean.csv"
    checked = rk.check(tmp_path / "set.zip", clean_list=path, weights="none", threads=1)
    assert len(checked.left_out) == 1
    again = rk.check(path, weights="none", threads=1)
    assert len(again.items) == 8
    assert again.counts == {}


def test_sets_that_lie_in_no_file_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in no file"):
        rk.check("digits", limit=20, clean_list=tmp_path / "clean.csv", weights="none", threads=1)


def test_the_files_of_a_check_lie_outside_the_pictures(messy: Path) -> None:
    with pytest.raises(UsageError, match="lies inside"):
        rk.check(messy, output=messy / "out", weights="none", threads=1)


def test_the_page_is_whole_and_hostile_names_stay_names(found: rk.Check, written: Path) -> None:
    page = (written / "out" / "check.html").read_text(encoding="utf-8")
    assert f"{NO_MEDICAL_DEVICE}</footer>" in page
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert page.count("data:image/") >= len(found.findings)
    assert "http" not in page.replace("http-equiv", "")
    values = json.loads((written / "out" / "check.json").read_text(encoding="utf-8"))
    assert values["counts"] == found.counts
    assert len(values["findings"]) == len(found.findings)


def test_the_same_check_twice_says_the_same(messy: Path, found: rk.Check) -> None:
    assert rk.check(messy, weights="none", threads=2).to_json() == found.to_json()


def test_pictures_too_small_to_compare_are_counted() -> None:
    checked = rk.check("digits", limit=40, weights="none", threads=1)
    assert checked.of_kind("near") == checked.of_kind("doubtful") == ()
    assert any("below 16 pixels" in note for note in checked.notes)


def test_arrays_are_checked_too(shared_data: Path) -> None:
    checked = rk.check(shared_data / "medmnist" / "breastmnist.npz", limit=60, weights="none", threads=1)
    assert len(checked.items) > 100
    assert np.isfinite([finding.score or 0 for finding in checked.findings]).all()


def test_a_copy_of_a_picture_that_lies_in_two_parts_is_found_across_them(photos: list[bytes], tmp_path: Path) -> None:
    for part, label in (("train", "ant"), ("train", "bee"), ("val", "ant"), ("val", "bee")):
        (tmp_path / "data" / part / label).mkdir(parents=True)
    for number, photo in enumerate(photos[:8]):
        (tmp_path / "data" / "train" / ("ant" if number % 2 else "bee") / f"{number}.jpg").write_bytes(photo)
    (tmp_path / "data" / "val" / "bee" / "same.jpg").write_bytes(photos[0])
    (tmp_path / "data" / "val" / "ant" / "own.jpg").write_bytes(photos[9])
    opened(photos[0]).save(tmp_path / "data" / "train" / "bee" / "again.jpg", quality=70)
    path = tmp_path / "clean.csv"
    checked = rk.check(tmp_path / "data", clean_list=path, weights="none", threads=1)
    assert {Path(source).name for source in checked.left_out} == {"0.jpg", "again.jpg"}
    assert rk.check(path, weights="none", threads=1).counts == {}


def test_odd_file_names_stand_in_the_list_or_among_what_is_left_out(photos: list[bytes], tmp_path: Path) -> None:
    names = [b"a\rb.jpg", b"a\nb.jpg", b'a,"b".jpg', b"plain.jpg", b"\xff.jpg", b"other.jpg"]
    for number, (name, photo) in enumerate(zip(names, photos, strict=False)):
        folder = tmp_path / "data" / ("ant" if number % 2 else "bee")
        folder.mkdir(parents=True, exist_ok=True)
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(photo)
    path = tmp_path / "clean.csv"
    checked = rk.check(tmp_path / "data", clean_list=path, weights="none", threads=1)
    assert list(checked.left_out.values()) == ["its name is no UTF-8, which a list is: rename it"]
    assert len(rk.check(path, weights="none", threads=1).items) == 5
    run = rk.train(tmp_path / "data", model="resnet8", epochs=1, image_size=32, output=tmp_path / "run", threads=1)
    assert run.metrics is not None
    assert rk.evaluate(tmp_path / "data", model=run.path, split="train", threads=1).metrics["count"] >= 2


def test_results_take_the_place_of_no_other_file(messy: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("image_path,label,notes\n")
    for place, words in ((mine, "is there already"), (tmp_path, "ends in .csv"), (mine / "x.csv", "cannot be")):
        with pytest.raises(UsageError, match=words):
            rk.check(messy, clean_list=place, weights="none", threads=1)
    assert mine.read_text() == "image_path,label,notes\n"


def test_what_the_set_lacks_is_not_called_nothing(
    photos: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, photo in enumerate(photos[:6]):
        folder = tmp_path / "data" / ("train" if number < 5 else "val") / ("ant" if number % 2 else "bee")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(photo)
    with pytest.raises(SystemExit):
        main(
            ["check", str(tmp_path / "data"), "--weights", "none", "--output", str(tmp_path / "out"), "--threads", "1"]
        )
    out = capsys.readouterr().out
    assert "without validation images: bee" in out
    assert "Nothing else is wrong" in out
    assert "Nothing else is wrong" in (tmp_path / "out" / "check.html").read_text()


def test_a_set_without_pictures_says_what_is_there_instead(tmp_path: Path) -> None:
    (tmp_path / "scan.nii").write_bytes(b"\0" * 344 + b"n+1\0")
    with pytest.raises(DataError, match=r"no images found; ignored files: 1, the first .*scan.nii"):
        rk.check(tmp_path, weights="none", threads=1)
