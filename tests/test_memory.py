"""Weights remember what they and their ancestors were trained on, wherever they go: noise stays at chance."""

import csv
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import resnetkit as rk
from resnetkit.api.describing import describe
from resnetkit.api.int8 import Calibration, calibration
from resnetkit.data import splits
from resnetkit.errors import DataError, UsageError
from resnetkit.models import checkpoint
from resnetkit.models.checkpoint import read_header
from resnetkit.models.seen import Seen
from resnetkit.training.run import RunFolder
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
    again = rk.evaluate(COPIES["bmp"](noise, tmp_path), model=run.path, threads=1, engine="torch")
    assert again.metrics["count"] == len(parts(run)["val"])  # its run knows them all the same, by their pixels
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


@pytest.fixture(scope="module")
def halved(noise: Path, tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    """A run whose val part was large enough to score one half of it: that became test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "ENOUGH_TO_HALVE", 10)
        settings = ("select=top1", "val_share=0.5", "head_first=false")
        output = tmp_path_factory.mktemp("halved") / "halved"
        return rk.train(noise, model="resnet8", epochs=2, threads=1, settings=settings, output=output)


def looks(run: rk.Run) -> int:
    return len((run.path / "test_looks.csv").read_text().splitlines()) - 1


def test_a_test_part_that_a_run_drew_stays_one(halved: rk.Run, noise: Path, tmp_path: Path) -> None:
    run = rk.Run(RunFolder(Path(shutil.copytree(halved.path, tmp_path / "run"))))
    before, own = looks(run), parts(run)["test"]
    for split in ("auto", "test"):
        found = rk.evaluate(noise, model=run.path, split=split, threads=1, engine="torch")
        assert (found.metrics["split"], found.metrics["count"]) == ("test", len(own))
    for name in own:  # alone too
        (tmp_path / "half" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(noise / f"{name}.png", tmp_path / "half" / f"{name}.png")
    assert rk.evaluate(tmp_path / "half", model=run.path, threads=1, engine="torch").metrics["split"] == "test"
    assert looks(run) == before + 3
    for data in (noise, tmp_path / "half"):
        with pytest.raises(UsageError, match="takes no test pictures"):
            rk.evaluate(data, model=run.path, calibrated=tmp_path / "c.safetensors", threads=1, engine="torch")
    assert looks(run) == before + 3


def test_a_copied_checkpoint_knows_the_test_part_of_its_run(halved: rk.Run, noise: Path, tmp_path: Path) -> None:
    shutil.copy(halved.folder.best, tmp_path / "lone.safetensors")
    found = rk.evaluate(noise, model=tmp_path / "lone.safetensors", threads=1, engine="torch")
    assert (found.metrics["split"], found.metrics["count"]) == ("test", len(parts(halved)["test"]))


@pytest.fixture(scope="module")
def foreign(first: rk.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain weights of a CIFAR network, which do not tell its shortcut."""
    path = tmp_path_factory.mktemp("foreign") / "g.pth"
    torch.save(rk.load(first.path, engine="torch", precision="fp32", threads=1).network.state_dict(), path)
    return path


def test_what_cannot_be_known_of_ancestors_is_said_of_their_descendants(
    foreign: Path, noise: Path, tmp_path: Path
) -> None:
    name, heard = tmp_path / "f1", Notes()
    run = rk.train(noise, model="resnet8", weights=str(foreign), output=name, watcher=heard, **FAST)
    assert heard.heard.count(f"what {foreign} was trained on cannot be known: if {COUNTED}") == 1
    said = f"what the weights f1 began from were trained on cannot be known: if {COUNTED}"
    found = rk.evaluate(noise, model=run.path, threads=1, engine="torch")
    assert (len(found.notes), found.notes.count(said)) == (2, 1)
    rk.train(noise, weights=str(name), output=tmp_path / "f2", watcher=heard, **FAST)
    assert heard.heard.count(said) == 1


COUNTED = "it was on these pictures, they count all the same"


def test_the_network_asked_for_tells_what_plain_weights_do_not(foreign: Path, noise: Path, tmp_path: Path) -> None:
    cases = (("resnet20", UsageError, "8 layers, blocks 1-1-1"), (None, DataError, "name the network"))
    for model, kind, error in cases:
        with pytest.raises(kind, match=error):
            rk.train(noise, model=model, weights=str(foreign), output=tmp_path / "run", **FAST)


def test_a_run_of_before_knows_the_bytes_of_files_alone_and_says_so(first: rk.Run, noise: Path, tmp_path: Path) -> None:
    older = RunFolder(Path(shutil.copytree(first.path, tmp_path / "older")))
    older.lineage.unlink()
    network, header = checkpoint.load(older.best)
    checkpoint.save(older.best, network, replace(header, trained_on=Seen()))
    assert describe(str(older.path))[1].trained_on.words().endswith("; that is known by the bytes of files alone")  # type: ignore[union-attr]
    said = (
        "what older was trained on is known by the bytes of files alone: those pictures saved again count all the same"
    )
    found = rk.evaluate(noise, model=older.path, threads=1, engine="torch")
    assert (found.metrics["count"], said in found.notes) == (len(parts(first)["val"]), True)
    assert said in rk.evaluate(COPIES["bmp"](noise, tmp_path), model=older.path, threads=1, engine="torch").notes


def test_a_run_that_stopped_by_patience_was_chosen_by_what_stopped_it(noise: Path, tmp_path: Path) -> None:
    settings = ("head_first=false", "budget.patience=1", "optim.lr=0.0", "optim.name=sgd", "select=loss")
    run = rk.train(noise, model="resnet8", epochs=9, threads=1, output=tmp_path / "run", settings=settings)
    header = read_header(run.folder.last)
    assert (header.chosen["by"], header.chosen["done"] < 9) == ("patience", True)
    for remembered in (header.trained_on.chose, ""):  # an older version kept nothing of it
        network, _ = checkpoint.load(run.folder.last)
        trained_on = replace(header.trained_on, chose=remembered)
        checkpoint.save(run.folder.last, network, replace(header, trained_on=trained_on))
        found = rk.evaluate(noise, model=run.folder.last, threads=1, engine="torch")
        assert any("chose" in note for note in found.notes)
        assert found.metrics["optimistic"]


def test_an_int8_export_scores_test_pictures_first_and_none_that_chose(
    halved: rk.Run, selected: rk.Run, noise: Path, tmp_path: Path
) -> None:
    def calibrated(data: Path, run: rk.Run) -> Calibration:
        model = rk.load(run.path, engine="torch", threads=1)
        return calibration(
            [data], classes=model.classes, memory=model.memory, name="it", watcher=Watcher(), threads=1
        )  # fmt: skip

    of_halved = calibrated(noise, halved)
    assert (of_halved.part, len(of_halved.others)) == ("test", len(parts(halved)["test"]))
    assert len(calibrated(noise, selected).others) == len(parts(selected)["val"])
    for path in write_noise(tmp_path / "new", seed=9).rglob("*.png"):
        (tmp_path / "more" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "more" / path.parent.name / f"new {path.name}")
    shutil.copytree(noise, tmp_path / "more", dirs_exist_ok=True)
    others = calibrated(tmp_path / "more", selected).others.items
    assert {Path(item.source).name[:4] for item in others} == {"new "}
