"""What is one picture stays on one side of the split, and what only looks alike is divided as any other."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from resnetkit.api import cached, clear_cache
from resnetkit.data import copies
from resnetkit.data.copies import resaved
from resnetkit.data.decoded.survey import survey
from resnetkit.data.prepared import Prepared
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data
from tests.data.prepared import prepare


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
        photo.resize((84, 63)).save(folder / f"{number}-again.jpg", quality=85)
    return tmp_path / "data"


def ready(data: Path, **how: object) -> Prepared:
    return prepare(open_data(data), preprocess=Preprocess.for_size(32), threads=1, **how)  # type: ignore[arg-type]


def sides(prepared: Prepared) -> dict[str, str]:
    return {Path(item.source).stem: str(item.split) for item in prepared.items}


@pytest.mark.parametrize("seed", range(4))
def test_certain_copies_come_to_one_side_of_a_split_that_is_made(doubled: Path, seed: int) -> None:
    prepared = ready(doubled, seed=seed, val_share=0.4)
    side = sides(prepared)
    assert set(side.values()) == {"train", "val"}
    assert [name for name in side if side[name] != side[name.removesuffix("-again")]] == []
    assert "60 are copies of others: those of one picture stay on one side" in " ".join(str(prepared.report).split())
    assert "images are near-copies of training images" not in str(prepared.report)


def gauge(angle: float, rng: np.random.Generator) -> Image.Image:
    """One fixed camera on a dial; what differs is where the needle points, a little light and the noise."""
    image = Image.new("L", (128, 128), 150)
    draw = ImageDraw.Draw(image)
    draw.ellipse((10, 10, 118, 118), fill=225, outline=40, width=3)
    for mark in range(12):
        at = math.radians(30 * mark)
        draw.line([64 + r * f(at) for r in (46, 53) for f in (math.cos, math.sin)], fill=30, width=2)
    draw.line((64, 64, 64 + 44 * math.cos(angle), 64 + 44 * math.sin(angle)), fill=10, width=3)
    values = np.asarray(image.resize((64, 64)), float) * rng.uniform(0.98, 1.02) + rng.normal(0, 2, (64, 64))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def test_readings_of_one_gauge_are_divided_as_any_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(80):
        folder = tmp_path / "data" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        gauge(math.radians(2 * number), rng).save(folder / f"{number}.png")
    prepared = ready(tmp_path / "data", val_share=0.3)
    assert "one picture" not in str(prepared.report)
    unsearched = ready(tmp_path / "data", val_share=0.3, keep_together="files")
    assert prepared.items == unsearched.items
    assert len(prepared.parts["val"]) >= 12


def test_a_setting_divides_copies_as_any_pictures(doubled: Path) -> None:
    Image.open(doubled / "a" / "0.png").save(doubled / "a" / "0-again.bmp")
    apart: dict[str, set[str]] = {"copies": set(), "pixels": set(), "files": set()}
    for seed in range(5):
        for what, parted in apart.items():
            prepared = ready(doubled, seed=seed, val_share=0.4, keep_together=what)
            side = {Path(item.source).name: item.split for item in prepared.items}
            if side["0-again.bmp"] != side["0.png"]:
                parted.add("pixels")
            if any(side[f"{number}.png"] != side[f"{number}-again.jpg"] for number in range(1, 30)):
                parted.add("copies")
    assert apart == {"copies": set(), "pixels": {"copies"}, "files": {"copies", "pixels"}}


def test_a_split_that_is_given_is_not_searched_anew(doubled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ready(doubled)
    monkeypatch.setattr(copies, "copies_of", None)
    rows = {item.source: str(item.split) for item in first.items}
    assert ready(doubled, rows=rows).fingerprint == first.fingerprint


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
    original = resaved.resaved_pairs
    monkeypatch.setattr(resaved, "resaved_pairs", lambda *a, **k: searched.append(1) or original(*a, **k))
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
    (file,) = copies.copies_folder().glob("*.json")
    file.write_text(broken)
    assert ready(doubled).items == first.items


def test_too_many_pictures_are_not_searched_and_that_is_said(doubled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST", 59)
    prepared = ready(doubled)
    assert "copies are not looked for among 60 images" in str(prepared.report)


def test_without_anything_to_hold_apart_nothing_is_searched(doubled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "copies_of", None)
    assert len(ready(doubled, holds_out=False).items) == 60


def test_copies_within_a_part_do_not_matter_where_the_split_is_given(doubled: Path) -> None:
    dataset = open_data(doubled)
    split = replace(
        dataset, items=tuple(replace(item, split="val" if "/a/" in item.source else "train") for item in dataset.items)
    )
    surveyed = survey(split, threads=1)
    apart = copies.copies_of(split, surveyed, parts_alone=True)
    together = copies.copies_of(split, surveyed, parts_alone=False)
    assert (len(apart), len(together)) == (0, 30)
