import io
import shutil
import unicodedata
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from resnetkit import runtime
from resnetkit.data.dataset import Dataset
from resnetkit.data.decoded.survey import survey
from resnetkit.data.opening import images
from resnetkit.data.prepared import Prepared
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data
from resnetkit.errors import DataError, ResourceError, UsageError
from tests.data.prepared import prepare

KOREAN = unicodedata.normalize("NFC", "불개미")
HEBREW = "נמלים"
SMALL = Preprocess.for_size(16)


def jpeg(seed: int, *, size: tuple[int, int] = (20, 16)) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def fill(root: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def good_photos(*, part: str = "", count: int = 6, labels: tuple[str, ...] = ("ants", "bees")) -> dict[str, bytes]:
    return {
        f"{part}{label}/{i}.jpg": jpeg(hash((len(part), number, i)) % 9999)
        for number, label in enumerate(labels)
        for i in range(count)
    }


def ready(data: Path | Dataset, **changed: object) -> Prepared:
    dataset = data if isinstance(data, Dataset) else open_data(data)
    return prepare(dataset, **({"preprocess": SMALL, "threads": 2} | changed))  # type: ignore[arg-type]


def test_each_part_is_decoded_as_its_use_asks(tmp_path):
    fill(tmp_path, good_photos(part="train/") | good_photos(part="val/", count=2))
    fill(tmp_path, {"train/ants/wide.jpg": jpeg(5, size=(90, 40))})
    prepared = ready(tmp_path, whole_short_side=20)
    train, val = prepared.parts["train"], prepared.parts["val"]
    shapes = Counter(picture.shape for picture in train.pixels.take(np.arange(13)))
    assert shapes == {(16, 20, 3): 12, (20, 45, 3): 1}
    assert val.pixels.take(np.arange(4)).shape == (4, 16, 16, 3)
    assert train.targets.tolist() == [0] * 7 + [1] * 6
    for i, item in enumerate(val.items):
        expected = SMALL.pixels(Image.open(item.source))
        assert (val.pixels.take(np.array([i]))[0] == expected).all(), "evaluation pixels are those of Preprocess"
    assert [item.source for item in val.items] == [
        f"{tmp_path}/val/{c}/{i}.jpg" for c in ("ants", "bees") for i in (0, 1)
    ]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were decoded, as they come."""
    names: list[str] = []
    original = images.decode

    def decode(data: bytes, *, name: str, at_least: int | None = None) -> Image.Image:
        names.append(name)
        return original(data, name=name, at_least=at_least)

    monkeypatch.setattr(images, "decode", decode)
    return names


def test_each_file_is_decoded_once(tmp_path, opened):
    dataset = open_data(fill(tmp_path, good_photos()))
    ready(dataset)
    assert sorted(opened) == sorted(item.source for item in dataset.items)


def test_without_a_val_part_a_share_is_held_out_and_said(tmp_path):
    prepared = ready(fill(tmp_path, good_photos(count=20)))
    assert set(prepared.parts) == {"train", "val"}
    assert len(prepared.parts["train"]) + len(prepared.parts["val"]) == 40
    assert "training images are held out" in str(prepared.report)
    again = ready(tmp_path, rows={item.source: str(item.split) for item in prepared.items})
    assert again.fingerprint == prepared.fingerprint


def test_new_photos_under_an_earlier_split_train_and_are_counted(tmp_path):
    prepared = ready(fill(tmp_path, good_photos(count=20)))
    rows = {item.source: str(item.split) for item in prepared.items}
    again = ready(fill(tmp_path, {"ants/new.jpg": jpeg(77)}), rows=rows)
    assert again.parts["val"].items == prepared.parts["val"].items
    assert "1 images are new since that split was made" in str(again.report)


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """A folder with everything that goes wrong in real ones."""
    decomposed = unicodedata.normalize("NFD", KOREAN)
    photos = good_photos(part="train/", labels=(HEBREW, KOREAN)) | {
        f"train/{HEBREW}/nested/deeper/{HEBREW}.jpg": jpeg(100),
        f"train/{HEBREW}/Thumbs.db": b"thumbs",
        f"train/{HEBREW}/text.jpg": b"this is no picture",
        f"train/{KOREAN}/cut.jpg": jpeg(101, size=(60, 60))[:900],
        "train/lonely/1.jpg": jpeg(102),
        f"val/{decomposed}/{decomposed}.jpg": jpeg(103),
        f"val/{HEBREW}/1.jpg": jpeg(104),
        "loose.jpg": jpeg(105),
    }
    photos[f"val/{HEBREW}/copy.jpg"] = photos[f"train/{HEBREW}/0.jpg"]
    photos[f"train/{KOREAN}/same.jpg"] = photos[f"train/{HEBREW}/1.jpg"]
    (tmp_path / "photos/train/nothing").mkdir(parents=True)
    return fill(tmp_path / "photos", photos)


def test_a_messy_folder_stops_with_the_line_to_type(messy):
    reports = []
    with pytest.raises(DataError) as caught:
        ready(messy, report_to=reports.append, hint="add --bad-images skip")
    message = str(caught.value)
    assert message.startswith("2 of 20 images cannot be read: ")
    assert f"{messy}/train/{HEBREW}/text.jpg (seems to be" in message
    assert f"{messy}/train/{KOREAN}/cut.jpg (broken or cut-off JPEG" in message
    assert message.endswith("; add --bad-images skip")
    assert "\n" not in message
    assert len(reports) == 1, "the report comes before the stop"
    assert caught.value.exit_code == 3


def test_a_messy_folder_is_reported_and_its_bad_files_left_out(messy):
    prepared = ready(messy, bad_images="skip")
    report = prepared.report
    assert prepared.classes == ("lonely", HEBREW, KOREAN)
    assert report.counts == {
        "lonely": {"train": 1, "val": 0},
        HEBREW: {"train": 7, "val": 2},
        KOREAN: {"train": 7, "val": 1},
    }
    assert [source.rpartition("/")[2] for source, _ in report.unreadable] == ["text.jpg", "cut.jpg"]
    assert report.ignored == (f"{messy}/train/{HEBREW}/Thumbs.db",)
    assert report.outside == (f"{messy}/loose.jpg",)
    assert report.empty == (f"{messy}/train/nothing",)
    assert report.missing == {"val": ("lonely",)}
    assert report.single == ("lonely",)
    assert report.across == (("val", "train", 1, f"{messy}/val/{HEBREW}/copy.jpg"),)
    (((_, one), (_, other)),) = report.two_labels
    assert {one, other} == {HEBREW, KOREAN}


def test_the_table_is_at_most_80_cells_wide_and_names_everything(messy):
    text = str(ready(messy, bad_images="skip").report)
    lines = text.splitlines()
    assert max(cell_len(line) for line in lines) <= 80
    for part in (
        *("2 images cannot be read:", "1 other file ignored:", "1 image in no class folder, not used:"),
        *("1 class folder without images:", "1 class without validation images: lonely"),
        *("1 class with a single image: lonely", "1 of 3 validation images are also in training"),
        *("1 image in two classes", HEBREW, KOREAN),
    ):
        assert part in text
    column = {cell_len(line) for line in lines[:5]}
    assert len(column) == 1, "columns line up whatever the script"


def test_many_classes_become_a_summary(tmp_path):
    items = {f"{c:03}/{i}.jpg": jpeg(10 * c + i) for c in range(60) for i in range(2 + (c == 7))}
    lines = str(ready(fill(tmp_path, items), val_share=0.5).report).splitlines()
    assert lines[1].startswith("most, of 60 classes: ")
    assert lines[4].startswith("total")


def test_a_class_without_readable_images_is_dropped(tmp_path):
    fill(tmp_path, good_photos(labels=("a", "b")) | {"c/1.jpg": b"x"})
    assert ready(tmp_path, bad_images="skip").classes == ("a", "b")


def test_a_class_that_only_validation_can_show_is_refused(tmp_path):
    fill(tmp_path, good_photos(part="train/") | good_photos(part="val/", count=2))
    fill(tmp_path, {"train/wasps/1.jpg": b"x", "val/wasps/2.jpg": jpeg(3)})
    with pytest.raises(DataError, match="class 'wasps' has no training image that can be read"):
        ready(tmp_path, bad_images="skip")


def test_data_without_pictures_or_with_one_class_are_refused(tmp_path):
    fill(tmp_path / "none", {"a/notes.txt": b"", "b/notes.txt": b""})
    with pytest.raises(DataError, match=r"no images found; ignored files: 2, .*notes.txt"):
        ready(tmp_path / "none")
    with pytest.raises(DataError, match="no images found; 1 lie in no class folder"):
        ready(fill(tmp_path / "loose", {"1.jpg": jpeg(1)}))
    with pytest.raises(DataError, match=r"one class only \(ants\)"):
        ready(fill(tmp_path / "one", good_photos(labels=("ants",))))
    with pytest.raises(DataError, match=r"one class only .* has images that can be read"):
        ready(fill(tmp_path / "broken", good_photos(labels=("ants",)) | {"bees/1.jpg": b"x"}), bad_images="skip")
    with pytest.raises(DataError, match="nothing can be held out"):
        ready(fill(tmp_path / "few", good_photos(count=1)))


@pytest.mark.parametrize(("given", "only"), [(("val",), "val"), (("test",), "test"), (("test", "val"), "val and test")])
def test_data_without_a_training_part_are_refused_unless_another_is_asked_for(tmp_path, given, only):
    for part in given:
        fill(tmp_path, good_photos(part=f"{part}/", count=2))
    with pytest.raises(DataError, match=rf"no training part \(only {only}\)"):
        ready(tmp_path)
    scored = ready(tmp_path, part=given[0], classes=("ants", "bees"))
    assert len(scored.parts[given[0]]) == 4


def test_a_training_part_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    fill(tmp_path, good_photos(part="train/", count=2) | good_photos(part="val/", count=2))
    dataset, read = open_data(tmp_path), Dataset.read

    def no_train(self, item):
        if item.split == "train":
            raise DataError(f"{item.source}: gone")
        return read(self, item)

    monkeypatch.setattr(Dataset, "read", no_train)
    with pytest.raises(DataError, match="no training image could be read"):
        ready(dataset, bad_images="skip")


def test_given_parts_lose_what_trained_the_starting_weights_and_nothing_takes_its_place(tmp_path):
    data = open_data(fill(tmp_path, good_photos(part="train/") | good_photos(part="val/", labels=("ants", "bees"))))
    val = {item.source for item in data.items if item.split == "val"}
    some = ready(data, trained=set(sorted(val)[:3]))
    assert {item.source for item in some.left_out} == set(sorted(val)[:3])
    assert {item.source for item in some.parts["val"].items} == val - set(sorted(val)[:3])
    for holds_out in (True, False):
        none = ready(data, trained=val, holds_out=holds_out)
        assert set(none.parts) == {"train"}
        assert {item.source for item in none.left_out} == val
        assert {(item.source in val, item.split) for item in none.items} == {(True, "seen"), (False, "train")}
    again = ready(data, rows={item.source: item.split for item in none.items})
    assert (again.fingerprint, again.items) == (none.fingerprint, none.items)


def test_a_limit_that_leaves_nothing_to_hold_out_is_told(tmp_path):
    fill(tmp_path, good_photos())
    with pytest.raises(UsageError, match=r"--limit 3 is too small for 2 classes: .*; --limit 4 or more"):
        ready(open_data(tmp_path, limit=3))
    assert set(ready(open_data(tmp_path, limit=4)).parts) == {"train", "val"}
    scored = ready(open_data(tmp_path, limit=2).as_part("test"), part="test", classes=("ants", "bees"))
    assert len(scored.parts["test"]) == 2


def test_the_classes_of_a_model_say_what_targets_mean(tmp_path):
    dataset = open_data(fill(tmp_path, good_photos(count=2))).as_part("test")
    prepared = ready(dataset, classes=("wasps", "bees", "ants"), part="test")
    assert prepared.classes == ("wasps", "bees", "ants")
    assert prepared.parts["test"].targets.tolist() == [2, 2, 1, 1]
    with pytest.raises(DataError, match=r"class 'bees' \(2 images .*did you mean 'bee'.*--rename bees=bee"):
        ready(dataset, classes=("bee", "ants"), part="test")


def test_only_the_parts_that_are_asked_for_are_read(tmp_path):
    fill(tmp_path, good_photos(part="train/") | good_photos(part="test/", count=2) | {"train/ants/bad.jpg": b"x"})
    prepared = ready(tmp_path, part="test", classes=("ants", "bees"))
    assert set(prepared.parts) == {"test"}


def test_the_depth_of_16_bit_pictures_is_that_of_the_training_part(tmp_path):
    def deep(highest: int) -> bytes:
        buffer = io.BytesIO()
        values = np.random.default_rng(highest).integers(0, highest, (16, 16), np.uint16)
        values[0, 0] = highest
        Image.fromarray(values).save(buffer, "PNG")
        return buffer.getvalue()

    deep_photos = {f"train/{c}/{i}.png": deep(900 + 3000 * i + n) for n, c in enumerate("ab") for i in range(2)}
    prepared = ready(fill(tmp_path, deep_photos | {"val/a/1.png": deep(60_000)}), preprocess=SMALL)
    assert prepared.preprocess.depth == 12
    assert "16-bit images use 12 bits: 4,095 becomes white." in str(prepared.report)
    assert ready(tmp_path, preprocess=SMALL.changed(depth=16)).preprocess.depth == 16


def with_free(monkeypatch: pytest.MonkeyPatch, *, memory: int, disk: int) -> None:
    """Pretend that so many bytes are free."""
    monkeypatch.setattr(runtime, "available_memory", lambda: memory)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=disk))


def test_memory_and_disk_are_asked_before_any_decoded_picture_is_stored(tmp_path, monkeypatch, opened):
    dataset = open_data(fill(tmp_path, good_photos()))
    monkeypatch.setenv("RESNETKIT_CACHE", str(tmp_path / "cache"))
    with_free(monkeypatch, memory=5_000, disk=4_000)
    with pytest.raises(
        ResourceError, match=r"--image-size 8 \(now 16\), or --limit 4, or set RESNETKIT_CACHE"
    ) as caught:
        ready(dataset)
    assert caught.value.exit_code == 5
    assert sorted(opened) == sorted(item.source for item in dataset.items), "by the first look at them"
    assert not list((tmp_path / "cache").rglob("*.pixels"))


def test_the_fingerprint_tells_changed_data(tmp_path):
    fill(tmp_path, good_photos(part="train/") | good_photos(part="val/", count=2))
    first = ready(tmp_path)
    assert ready(tmp_path, threads=1).fingerprint == first.fingerprint
    fill(tmp_path, {"train/ants/0.jpg": jpeg(55), "train/ants/new.jpg": jpeg(56)})
    (tmp_path / "train/bees/1.jpg").rename(tmp_path / "train/ants/moved.jpg")
    second = ready(tmp_path)
    assert second.fingerprint != first.fingerprint


def test_progress_counts_reading_and_decoding_to_the_end(messy):
    steps: list[tuple[int, int]] = []
    ready(messy, bad_images="skip", progress=lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps)
    assert steps[-1] == (40, 40)


def test_a_survey_tells_sizes_and_what_cannot_be_read(messy):
    seen = survey(open_data(messy), threads=2)
    assert seen.median_short_side == 16
    assert [source.rpartition("/")[2] for source in seen.unreadable] == ["text.jpg"]
    assert len(seen.digests) == 19
    with pytest.raises(DataError, match="no picture can be read"):
        survey(replace(open_data(messy), items=()), threads=1).median_short_side  # noqa: B018


def test_archives_and_arrays_go_the_same_way(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name, content in good_photos().items():
            archive.writestr(name, content)
    assert ready(tmp_path / "photos.zip").classes == ("ants", "bees")
    digits = prepare(open_data("digits", limit=100), preprocess=Preprocess.for_size(8, channels=1), threads=1)
    assert digits.parts["train"].pixels.take(np.array([0])).shape == (1, 8, 8, 1)


def test_names_with_control_characters_cannot_break_the_table(tmp_path):
    dataset = open_data(fill(tmp_path, good_photos() | {"a\nb\x1b[31m/1.jpg": jpeg(1), "a\nb\x1b[31m/2.jpg": jpeg(2)}))
    assert "\x1b" not in str(ready(dataset).report)


def test_real_photos_are_ready(shared_data):
    prepared = ready(open_data(shared_data / "hymenoptera"), preprocess=Preprocess(), whole_short_side=258)
    assert {part: len(content) for part, content in prepared.parts.items()} == {"train": 244, "val": 153}
    assert not prepared.parts["train"].pixels.uniform
    assert prepared.report.unreadable == ()


def stack(*levels: int) -> bytes:
    noise = np.random.default_rng(levels[0]).integers(0, 90, (16, 20), np.uint8)
    pages = [Image.fromarray(noise * (level > 0) + np.uint8(level)) for level in levels]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    return buffer.getvalue()


def test_files_of_several_pages_are_counted(tmp_path):
    fill(tmp_path, good_photos() | {f"ants/{i}.tif": stack(50 + i, 99) for i in range(3)} | {"bees/x.tif": stack(7)})
    assert (
        f"3 files hold several pages or frames, of which the first is used: {tmp_path}/ants/0.tif"
        in ready(tmp_path).report.sentences
    )


def test_empty_first_pages_are_refused_and_counted(tmp_path):
    fill(tmp_path, good_photos() | {f"ants/{i}.tif": stack(0, 60, 60) for i in range(3)})
    with pytest.raises(DataError, match=r"3 of 15 images cannot be read: .* \(the first of its 3 pages is empty"):
        ready(tmp_path)
    report = ready(tmp_path, bad_images="skip").report
    assert "3 images cannot be read:" in report.sentences
    assert not any("several pages" in sentence for sentence in report.sentences)
