"""Training and held-out pictures do not show the same photo unnoticed."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from resnetkit.api import cached, clear_cache
from resnetkit.data import copies, near_copies
from resnetkit.data.preflight import Prepared, prepare
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data


@pytest.fixture(scope="module")
def photos(shared_data: Path) -> list[Image.Image]:
    paths = sorted((shared_data / "hymenoptera" / "train" / "ants").glob("*.jpg"))[:30]
    return [Image.open(path).convert("RGB").resize((120, 90)) for path in paths]


@pytest.fixture
def doubled(photos: list[Image.Image], tmp_path: Path) -> Path:
    """Two classes of fifteen photos, each of which is there again, smaller."""
    for number, photo in enumerate(photos):
        folder = tmp_path / "data" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        photo.save(folder / f"{number}.png")
        photo.resize((90, 70)).save(folder / f"{number}-again.jpg", quality=80)
    return tmp_path / "data"


def ready(data: Path, **how: object) -> Prepared:
    return prepare(open_data(data), preprocess=Preprocess.for_size(32), threads=1, **how)  # type: ignore[arg-type]


def sides(prepared: Prepared) -> dict[str, str]:
    return {Path(item.source).stem: str(item.split) for item in prepared.items}


@pytest.mark.parametrize("seed", range(4))
def test_near_copies_come_to_one_side_of_a_split_that_is_made(doubled: Path, seed: int) -> None:
    prepared = ready(doubled, seed=seed, val_share=0.4)
    side = sides(prepared)
    assert set(side.values()) == {"train", "val"}
    assert [name for name in side if side[name] != side[name.removesuffix("-again")]] == []
    assert "60 images are near-copies of others: those of one photo stay on one side" in str(prepared.report)
    assert "images are near-copies of training images" not in str(prepared.report)


def test_near_copies_across_a_split_that_was_given_are_counted(doubled: Path, tmp_path: Path) -> None:
    for number in (0, 1, 2):
        path = next(doubled.rglob(f"{number}-again.jpg"))
        place = tmp_path / "parts" / "val" / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / path.name)
    doubled.rename(tmp_path / "parts" / "train")
    report = ready(tmp_path / "parts").report
    assert "3 of 3 validation images are near-copies of training images:" in str(report)
    assert report.near[0][:3] == ("val", "train", 3)
    assert "stay on one side" not in str(report), "nothing is divided here"


def test_what_was_found_is_kept_for_the_same_pictures(doubled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clear_cache()
    first = ready(doubled)
    (kept,) = [entry for entry in cached() if entry.what == "near-copies"]
    assert (kept.data, kept.pictures) == (doubled.name, 60)
    searched: list[int] = []
    original = near_copies.near_copies
    monkeypatch.setattr(near_copies, "near_copies", lambda *a, **k: searched.append(1) or original(*a, **k))
    assert ready(doubled).items == first.items
    assert searched == []
    next(doubled.rglob("3.png")).unlink()
    ready(doubled)
    assert searched == [1], "other pictures are searched anew"
    assert clear_cache().files >= 2
    assert not list(copies.copies_folder().iterdir())


@pytest.mark.parametrize("broken", ["", "{", '{"pairs": [[0, 999]]}', '{"pairs": 3}', "[]"])
def test_a_broken_file_is_found_anew(doubled: Path, broken: str) -> None:
    clear_cache()
    first = ready(doubled)
    (file,) = copies.copies_folder().iterdir()
    file.write_text(broken)
    assert ready(doubled).items == first.items


def test_too_many_pictures_are_not_searched_and_that_is_said(doubled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST", 59)
    prepared = ready(doubled)
    assert "near-copies are not looked for among 60 images" in str(prepared.report)


def test_without_anything_to_hold_apart_nothing_is_searched(doubled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "copies_of", None)
    assert len(ready(doubled, parts=("train", "test")).items) == 60


def test_copies_within_a_part_do_not_matter_where_the_split_is_given(doubled: Path) -> None:
    dataset = open_data(doubled)
    split = replace(
        dataset, items=tuple(replace(item, split="val" if "/a/" in item.source else "train") for item in dataset.items)
    )
    digests = {item.source: item.source for item in split.items}
    apart = copies.copies_of(split, digests, parts_alone=True, threads=1, progress=None)
    together = copies.copies_of(split, digests, parts_alone=False, threads=1, progress=None)
    assert (len(apart), len(together)) == (0, 30)
