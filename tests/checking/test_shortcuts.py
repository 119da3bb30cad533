"""Classes that the border, a mark in it or a column gives away are found, and noise is not."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.checking import features, probe, shortcuts
from resnetkit.data.columns import Column
from resnetkit.data.dataset import Item
from resnetkit.evaluation.areas import areas, under_roc
from tests.checking.test_forecast import described

TARGETS = np.arange(120) % 2
ALONE = tuple(map(str, range(120)))
ITEMS = tuple(Item(f"{number}.png", ("ab"[number % 2],)) for number in range(120))


def drawn(apart: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(120, 12)) + apart * np.eye(2, 12)[TARGETS]


def test_a_probe_tells_what_it_was_not_fitted_to_and_noise_is_a_half() -> None:
    found = probe.probe(drawn(1.5), TARGETS, ALONE)
    assert 0.8 < found.low < found.area < found.high < 1
    assert found.p_value == pytest.approx(1 / 200)
    assert 0.5 < found.by_chance < 0.7
    assert found.area == areas(under_roc, found.scores, TARGETS).macro
    told = [probe.probe(drawn(0, seed), TARGETS, ALONE) for seed in range(5)]
    assert sum(one.low <= 0.5 <= one.high for one in told) >= 4  # 4.75 expected, standard deviation 0.5
    assert sum(one.p_value < 0.05 for one in told) <= 1


def test_pictures_of_one_patient_give_each_other_nothing_away() -> None:
    random = np.random.default_rng(0)
    patient = np.arange(24).repeat(5)
    targets, numbers = random.permutation(np.arange(24) % 2)[patient], random.normal(size=(24, 12))[patient]
    numbers = numbers + 0.1 * random.normal(size=numbers.shape)
    names = tuple(map(str, patient))
    assert probe.probe(numbers, targets, ALONE).area > 0.9
    found = probe.probe(numbers, targets, names)
    assert found.low < 0.5
    assert found.p_value > 0.05


def told(border: np.ndarray, **columns: tuple[str | None, ...]) -> shortcuts.Shortcuts:
    pictures = described(drawn(2).astype(np.float32), TARGETS)
    pictures = features.Described(**{name: getattr(pictures, name) for name in pictures.__slots__} | {"items": ITEMS})
    named = [Column(name=name, values=values) for name, values in columns.items()]
    row = {item.source: number for number, item in enumerate(ITEMS)}
    found, notes = shortcuts.shortcuts(
        ITEMS, ALONE, named, described=pictures, border=lambda items: border[[row[item.source] for item in items]]
    )  # fmt: skip
    assert found is not None, notes
    return found


def test_a_border_is_suspect_where_it_tells_nearly_as_much_as_the_whole() -> None:
    for border, suspect in ((drawn(2, seed=1), True), (drawn(0, seed=1), False), (drawn(0.6, seed=1), False)):
        found = told(border)
        assert [one.name for one in found.sources] == [shortcuts.WHOLE, shortcuts.BORDER]
        assert [one.name for one in found.suspects] == [shortcuts.BORDER] * suspect
    assert json.loads(json.dumps(found.to_json())) == found.to_json()


def test_a_site_that_goes_with_the_class_is_suspect_and_one_that_does_not_is_not() -> None:
    random = np.random.default_rng(3)
    goes = tuple("xy"[int(target != (random.random() < 0.1))] for target in TARGETS)
    missing = tuple(None if target else "z" for target in TARGETS)
    noise = tuple(random.choice(["u", "v", "w"], 120).tolist())
    found = told(drawn(0, seed=1), site=goes, device=missing, noise=noise)
    assert [one.name for one in found.suspects] == ["site", "device"]
    assert [item.label for item in found.examples["site"]] == ["a", "b"]
    assert any("site alone tells the class" in line for line in found.sentences)
    same, notes = shortcuts.shortcuts(ITEMS, ALONE, [Column(name="one", values=("x",) * 120)])
    assert same is not None
    assert same.sources == ()
    assert "one is the same for all" in notes[0]


def test_the_middle_of_a_rim_is_grey() -> None:
    pixels = np.full((20, 30, 3), 7, np.uint8)
    rim = features._rim(pixels, 0.1, grey=(0.5, 0.5, 0.0))
    assert (rim[2:-2, 3:-3] == [128, 128, 0]).all()
    assert (rim == 7).all(axis=2).sum() == 20 * 30 - 16 * 24
    assert (pixels == 7).all()


def test_a_mark_in_the_corner_is_found_by_a_check(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = ["image_path,label,split,site"]
    for number in range(60):
        pixels = random.integers(0, 255, (8, 8, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        if number % 2:
            pixels[1:4, 1:8] = 255
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{'ab'[number % 2]},train,{'st'[number % 2]}")
    (tmp_path / "list.csv").write_text("\n".join(rows), encoding="utf-8")
    found = rk.check(tmp_path / "list.csv", by=("site",), output=tmp_path / "out", threads=1)
    assert found.shortcuts is not None
    assert {one.name for one in found.shortcuts.suspects} == {shortcuts.BORDER, "site"}
    assert found.counts["shortcut"] == 2
    page = (tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    assert "What tells the class alone" in page
    assert "the border alone tells the class" in page
    assert json.loads((tmp_path / "out" / "check.json").read_text())["shortcuts"]["count"] == 60
    bare = rk.check(tmp_path / "list.csv", weights="none", threads=1)
    assert bare.shortcuts is None
