"""Weights remember what they and their ancestors were trained on, wherever they go: noise stays at chance."""

import csv
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.errors import UsageError
from resnetkit.models.checkpoint import read_header
from resnetkit.watcher import Watcher

CLASSES = ("a", "b", "c")
EACH = 20
FAST = {"epochs": 1, "threads": 1, "settings": ("head_first=false",)}


class Notes(Watcher):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


def write_noise(folder: Path, *, seed: int = 0, suffix: str = "png") -> Path:
    random = np.random.default_rng(seed)
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for number in range(EACH):
            pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.{suffix}", lossless=True)
    return folder


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise(tmp_path_factory.mktemp("memory") / "noise")


@pytest.fixture(scope="module")
def first(noise: Path) -> rk.Run:
    return rk.train(noise, model="resnet8", epochs=2, threads=1, output=noise.parent / "first")


def parts(run: rk.Run) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    with open(run.folder.split, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["split"], set()).add("/".join(row["source"].split("/")[-2:]).rpartition(".")[0])
    return found


def test_a_chain_of_three_runs_holds_out_what_none_of_them_was_trained_on(
    first: rk.Run, noise: Path, tmp_path: Path
) -> None:
    heard = Notes()
    second = rk.train(noise, weights=str(first.folder.last), seed=3, output=tmp_path / "2", watcher=heard, **FAST)
    third = rk.train(noise, weights=str(second.path), seed=4, output=tmp_path / "3", **FAST)
    assert parts(first) == parts(second) == parts(third)
    count = len(parts(first)["train"])
    said = f"{count} of these pictures are known to {first.folder.last} or what it began from"
    assert any(said in note for note in heard.heard)
    seen = read_header(third.folder.best).trained_on
    assert (seen.known, seen.pictures, seen.ancestors) == (True, count, 0)


def as_archive(noise: Path, place: Path) -> Path:
    with zipfile.ZipFile(place / "noise.zip", "w") as archive:
        for path in sorted(noise.rglob("*.png")):
            archive.write(path, path.relative_to(noise))
    return place / "noise.zip"


def as_arrays(noise: Path, place: Path) -> Path:
    files = sorted(noise.rglob("*.png"))
    labels = np.array([CLASSES.index(path.parent.name) for path in files])
    np.savez(
        place / "noise.npz", train_images=np.stack([np.asarray(Image.open(f)) for f in files]), train_labels=labels
    )
    return place / "noise.npz"


COPIES: dict[str, Callable[[Path, Path], Path]] = {
    "folder": lambda noise, place: Path(shutil.copytree(noise, place / "elsewhere")),
    "archive": as_archive,
    "arrays": as_arrays,
    "bmp": lambda noise, place: write_noise(place / "bmp", suffix="bmp"),
    "webp": lambda noise, place: write_noise(place / "webp", suffix="webp"),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_file_without_its_run_knows_its_pictures_in_whatever_they_lie(
    copy: str, first: rk.Run, noise: Path, tmp_path: Path
) -> None:
    shutil.copy(first.folder.last, tmp_path / "lone.safetensors")
    names = {str(number): label for number, label in enumerate(CLASSES)} if copy == "arrays" else None
    data = COPIES[copy](noise, tmp_path)
    found = rk.evaluate(data, model=tmp_path / "lone.safetensors", rename=names, threads=1, engine="torch")
    own = parts(first)
    assert (found.metrics["count"], found.metrics["not_counted"]) == (len(own["val"]), len(own["train"]))
    assert any(f"{len(own['train'])} of these pictures trained" in note for note in found.notes)


@pytest.fixture(scope="module")
def learnt(first: rk.Run, noise: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first run was trained on, alone."""
    folder = tmp_path_factory.mktemp("learnt")
    for name in parts(first)["train"]:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(noise / f"{name}.png", folder / f"{name}.png")
    return folder


def test_where_nothing_is_new_nothing_is_scored_and_that_is_said(first: rk.Run, learnt: Path, tmp_path: Path) -> None:
    heard = Notes()
    run = rk.train(learnt, weights=str(first.path), output=tmp_path / "run", watcher=heard, **FAST)
    assert (set(parts(run)), run.metrics) == ({"train"}, None)
    assert any("none is new to hold out, so nothing is scored" in note for note in heard.heard)
    with pytest.raises(UsageError, match="pictures trained first: give it others"):
        rk.evaluate(learnt, model=first.path, threads=1)
    assert rk.evaluate(learnt, model=first.path, split="train", threads=1).metrics["split"] == "train"


def test_given_parts_lose_what_trained_the_weights_and_resume_copes(first: rk.Run, noise: Path, tmp_path: Path) -> None:
    for path in noise.rglob("*.png"):
        place = tmp_path / "parts" / ("val" if int(path.stem) % 2 else "train") / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    run = rk.train(tmp_path / "parts", weights=str(first.path), output=tmp_path / "run", **FAST)
    before, own = parts(run), parts(first)
    assert before["seen"] == {name for name in own["train"] if int(name.rpartition("/")[2]) % 2}
    assert before["val"] <= own["val"]
    assert run.metrics is not None
    assert run.metrics["not_counted"] == len(before["seen"])
    assert parts(rk.resume(run.path, epochs=2)) == before
    again = rk.train(tmp_path / "parts", model="resnet8", split_from=str(run.path), output=tmp_path / "again", **FAST)
    assert parts(again) == before


@pytest.mark.parametrize("to", ["openvino", "onnx"])
def test_an_export_knows_what_its_model_was_trained_on(to: str, first: rk.Run, learnt: Path, tmp_path: Path) -> None:
    folder = rk.export(first.path, to=to, images=[learnt], output=tmp_path / "export", threads=1).folder
    with pytest.raises(UsageError, match="it learnt from"):
        rk.evaluate(learnt, model=folder, threads=1)
    record = json.loads((folder / "record.json").read_text())
    assert record["header"]["trained_on"]["pictures"] == len(parts(first)["train"])
    card = " ".join((folder / "README.txt").read_text().split())
    assert "can prove by it that it was in the training set" in card
    assert "--set remember=false" in card


def test_a_calibrated_copy_knows_what_trained_and_what_calibrated_it(
    first: rk.Run, noise: Path, learnt: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.safetensors"
    rk.evaluate(noise, model=first.path, calibrated=copy, threads=1, engine="torch", precision="fp32")
    with pytest.raises(UsageError, match="it learnt from"):
        rk.evaluate(learnt, model=copy, threads=1)
    run = rk.train(noise, weights=str(copy), output=tmp_path / "run", **FAST)
    assert parts(run) == parts(first)
    for path in noise.rglob("*.png"):  # half of what calibrated it, by other names: judged by what the others fit
        if f"{path.parent.name}/{path.stem}" in parts(first)["val"] and int(path.stem) % 2:
            (tmp_path / "half" / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "half" / path.parent.name / f"again {path.name}")
    half = rk.evaluate(tmp_path / "half", model=copy, threads=1, engine="torch")
    assert half.metrics["calibration"]["fitted_on"] == "crossfit"


def test_one_switch_leaves_the_digests_out(noise: Path, learnt: Path, tmp_path: Path) -> None:
    settings = ("remember=false",)
    run = rk.train(noise, model="resnet8", epochs=1, threads=1, output=tmp_path / "run", settings=settings)
    for file in (run.folder.best, run.folder.last):
        assert b'"trained":' not in file.read_bytes().replace(b"\\", b"")
    assert read_header(run.folder.best).trained_on.words() == "was left out of the file (remember=false)"
    shutil.copy(run.folder.best, tmp_path / "lone.safetensors")
    found = rk.evaluate(noise, model=tmp_path / "lone.safetensors", threads=1, engine="torch")
    assert any("was left out of the file" in note for note in found.notes)
    assert found.metrics["count"] == 3 * EACH


@pytest.fixture
def selected(noise: Path, tmp_path: Path) -> rk.Run:
    return rk.train(
        noise, model="resnet8", epochs=2, threads=1, output=tmp_path / "selected", settings=("select=top1",)
    )


def test_pictures_that_chose_an_epoch_are_no_evidence_for_it(selected: rk.Run, noise: Path, tmp_path: Path) -> None:
    run = rk.train(noise, weights=str(selected.path), output=tmp_path / "on", **FAST)
    assert (set(parts(run)), run.metrics) == ({"train"}, None)
    assert not read_header(selected.folder.last).trained_on.chose
    alone = rk.evaluate(noise, model=selected.path, threads=1, engine="torch")
    assert any("chose selected" in note for note in alone.notes)
    shutil.copytree(noise, tmp_path / "more")
    for path in write_noise(tmp_path / "new", seed=9).rglob("*.png"):
        shutil.copy(path, tmp_path / "more" / path.parent.name / f"new {path.name}")
    with_new = rk.evaluate(tmp_path / "more", model=selected.path, threads=1, engine="torch")
    assert (with_new.metrics["count"], with_new.metrics["not_counted"]) == (3 * EACH, 3 * EACH)
    with pytest.raises(UsageError, match="takes no pictures that chose"):
        rk.evaluate(noise, model=selected.path, calibrated=tmp_path / "c.safetensors", threads=1, engine="torch")
