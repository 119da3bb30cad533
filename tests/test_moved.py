"""Runs go on when their pictures lie elsewhere; runs that are broken or incomplete stop no others."""

import json
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import resnetkit as rk
from resnetkit.errors import DataError, UsageError
from resnetkit.training import run as runs
from resnetkit.watcher import Watcher
from tests.conftest import Output

HOW: dict[str, Any] = {"model": "resnet8", "limit": 60, "threads": 1, "settings": ("augment.flip=none",)}


def same_bits(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_pictures_that_moved_and_changed_their_names_give_the_same_bits(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resnetkit: Callable[..., Output]
) -> None:
    shutil.copytree(digits, "digits")
    rk.train("digits", epochs=1, name="stayed", **HOW)
    shutil.copytree("runs/stayed", "runs/moved")
    pictures = sorted(Path("digits").rglob("*.png"))
    random.Random(0).shuffle(pictures)
    for number, path in enumerate(pictures):
        heap = tmp_path / f"heap {number % 2}"
        heap.mkdir(exist_ok=True)
        shutil.copy(path, heap / f"{number}.png")
    for epochs in (2, 3):
        rk.resume("stayed", epochs=epochs)
    shutil.move("digits", tmp_path / "gone")
    code, _, err = resnetkit("resume", "moved", "--epochs", "2")
    assert code != 0
    code, _, err = resnetkit("resume", "moved", "--epochs", "2", "--data", "heap 1")
    assert code == 3
    assert " of its 120 pictures are not in heap 1 with the same content, the first digits/" in err
    assert len(err.strip().splitlines()) == 1
    assert resnetkit("resume", "moved", "--epochs", "2", "--data", "heap 0", "--data", "heap 1")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert resnetkit("resume", tmp_path / "runs/moved", "--epochs", "3")[0] == 0  # it knows the new place
    for name in ("best.safetensors", "last.safetensors"):
        assert same_bits(tmp_path / "runs/stayed" / name, tmp_path / "runs/moved" / name)


def test_a_place_that_is_gone_names_the_way_on(digits: Path, resnetkit: Callable[..., Output]) -> None:
    shutil.copytree(digits, "pictures")
    rk.train("pictures", epochs=1, name="a", **HOW)
    shutil.rmtree("pictures")
    code, _, err = resnetkit("resume", "a", "--epochs", "2")
    assert code == 2
    assert "pictures: no such file or folder" in err
    assert "resnetkit resume runs/a --data DATA" in err


def cut(run: Path) -> None:
    (run / "metrics.json").write_bytes((run / "metrics.json").read_bytes()[:100])


def of_another_type(run: Path) -> None:
    (run / "metrics.json").write_text(json.dumps({"top1": None, "count": "many"}))


def without_state(run: Path) -> None:
    shutil.rmtree(run / "state")


def with_a_broken_environment(run: Path) -> None:
    (run / "environment.json").write_text("{")


def with_half_a_model(run: Path) -> None:
    (run / "best.safetensors").write_bytes((run / "last.safetensors").read_bytes()[:-100])


def with_a_broken_state(run: Path) -> None:
    for path in (run / "state").glob("*.safetensors"):
        path.write_bytes(b"\x00" * 50)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (cut, "runs/x/metrics.json: is broken"), (of_another_type, "runs/x/metrics.json: is broken"),
        (without_state, "runs/x: has no state/"), (with_a_broken_environment, "runs/x: its state/ or environment.json"),
        (with_a_broken_state, "runs/x/state/"),
    ],
)  # fmt: skip
def test_a_broken_run_is_listed_with_what_is_wrong_and_stops_nothing(
    broken: Callable[[Path], None], said: str, finished: rk.Run, digits: Path, resnetkit: Callable[..., Output]
) -> None:
    for name in ("x", "y", "z"):
        shutil.copytree(finished.path, f"runs/{name}")
    Path("runs/empty").mkdir()
    broken(Path("runs/x"))
    code, out, err = resnetkit("runs", "--format", "json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert set(rows) == {"x", "y", "z"}
    assert said in rows["x"]["problem"]
    assert said in err
    assert rows["y"]["problem"] is None
    assert rows["y"]["top1"] == rows["z"]["top1"] == finished.metrics["top1"]  # type: ignore[index]
    assert "x" in resnetkit("runs")[1]
    picture = next(digits.rglob("*.png"))
    for name in ("x", "y"):  # the model itself is whole
        assert resnetkit("predict", picture, "--model", name, "--threads", "1")[0] == 0
    assert resnetkit("compare", "y", "z")[0] == 0
    assert repr(rk.runs()[0]).startswith("Run(")


def test_an_unreadable_model_is_named_and_stops_no_other(
    finished: rk.Run, digits: Path, resnetkit: Callable[..., Output]
) -> None:
    for name in ("x", "y"):
        shutil.copytree(finished.path, f"runs/{name}")
    with_half_a_model(Path("runs/x"))
    assert "runs/x/best.safetensors: cut short" in resnetkit("runs")[2]
    Path("runs/x/best.safetensors").write_bytes(b"\x00" * 50)
    picture = next(digits.rglob("*.png"))
    code, _, err = resnetkit("predict", picture, "--model", "x")
    assert code == 3
    assert "runs/x/best.safetensors" in err
    assert resnetkit("predict", picture, "--model", "y", "--threads", "1")[0] == 0
    assert resnetkit("runs")[0] == 0


def test_a_run_without_its_state_says_what_is_left_of_it(finished: rk.Run, resnetkit: Callable[..., Output]) -> None:
    shutil.copytree(finished.path, "runs/x")
    shutil.rmtree("runs/x/state")
    code, _, err = resnetkit("resume", "x")
    assert code == 3
    assert "no state/ in it; its model still answers: --model runs/x/best.safetensors" in err


@pytest.mark.parametrize(
    ("damaged", "verb"),
    [("recipe.toml", "report"), ("environment.json", "report"), ("split.csv", "report"),
     ("state/contents.txt", "evaluate"), ("state/contents.txt", "resume")],
)  # fmt: skip
def test_a_damaged_file_of_a_run_is_named(
    damaged: str, verb: str, finished: rk.Run, digits: Path, resnetkit: Callable[..., Output]
) -> None:
    shutil.copytree(finished.path, "runs/x")
    (Path("runs/x") / damaged).write_bytes(b"[[[\xff")
    if verb != "report":
        (Path("runs/x") / damaged).unlink()
        Path("runs/x/state/trained_on.json").unlink()
    more = {"report": (), "evaluate": (digits, "--limit", "20"), "resume": ("--epochs", "3")}[verb]
    code, _, err = resnetkit(verb, *more, *(["--model"] if verb == "evaluate" else []), "runs/x")
    assert code == 3
    assert f"runs/x/{damaged}: " in err
    assert "bug" not in err


@pytest.mark.slow
def test_a_page_needs_no_list_of_findings(finished: rk.Run, resnetkit: Callable[..., Output]) -> None:
    shutil.copytree(finished.path, "runs/x")
    Path("runs/x/data.json").write_text("{")
    assert resnetkit("report", "runs/x")[0] == 0


def test_a_name_that_is_taken_meanwhile_gives_way_unless_it_was_asked_for(
    digits: Path, resnetkit: Callable[..., Output], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("resnetkit.api.training._run_path", lambda *args, **kwargs: Path("runs/digits-resnet8"))
    options = ("--model", "resnet8", "--limit", "60", "--epochs", "1", "--threads", "1", "--set", "augment.flip=none")
    assert resnetkit("train", digits, *options)[0] == 0
    code, out, err = resnetkit("train", digits, *options)
    assert code == 0
    assert "runs/digits-resnet8 was taken by another training meanwhile: this one is runs/digits-resnet8-2" in err
    assert "runs/digits-resnet8-2" in out
    code, _, err = resnetkit("train", digits, *options, "--name", "digits-resnet8")
    assert code == 2
    assert "is not overwritten" in err
    assert sorted(path.name for path in Path("runs").iterdir()) == ["digits-resnet8", "digits-resnet8-2"]


def _take(folder: Path, name: str) -> None:
    partial = folder / f".{name}.partial"
    partial.mkdir()
    (partial / "file").write_text(name)
    if not runs._appear(partial, folder / "run"):
        shutil.rmtree(partial)


def test_of_many_that_take_one_name_at_once_one_has_it_whole(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _take(tmp_path, str(number)), range(30)))
    [run] = tmp_path.iterdir()
    assert len(list(run.iterdir())) == 1


def test_arrays_are_trained_on_scored_and_resumed_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images, labels = arrays()
    run = rk.train((images, labels), epochs=1, **HOW | {"limit": None})
    assert run.path == Path("runs/arrays-resnet8")
    assert run.metrics is not None
    assert run.metrics["split"] == "val"
    assert rk.load(run, threads=1).classes == tuple(sorted(set(map(str, labels))))
    assert rk.evaluate((images[:9], labels[:9]), model=run, split="train", threads=1).metrics["count"] < 9 + 1
    assert rk.plan((images, labels), model="resnet8")[0].spec.num_classes == 3
    shutil.copytree(run.path, "runs/again")
    with pytest.raises(UsageError, match=r"resume\(run, data=\(images, labels\)\)"):
        rk.resume(run, epochs=2)
    with pytest.raises(DataError, match=r"1 of its 60 pictures is not in arrays .* the first <arrays>::59"):
        rk.resume(run, epochs=2, data=(images[:-1], labels[:-1]))
    told = Told()
    rk.resume(run, epochs=2, data=(images, labels), watcher=told)
    assert "another class" not in " ".join(told.notes)
    rk.resume(run, epochs=2, data=(images, (labels + 1) % 3), watcher=told)
    assert told.notes.count("60 pictures lie under another class now; the labels are those of split.csv") == 1
    rk.resume("again", epochs=2, data=(images[::-1], labels[::-1]))
    assert same_bits(run.path / "last.safetensors", Path("runs/again/last.safetensors"))


class Told(Watcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def arrays() -> tuple[Any, Any]:
    import numpy as np

    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = generator.integers(0, 120, (60, 8, 8, 3), dtype=np.uint8)
    images[np.arange(60), :, :, labels] += 120
    return images, labels


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y: [x, y], "train((X, y))"),
        (lambda x, y: [x], "train((images, labels))"),
        (lambda x, y: [{"a": x}], "not dict"),
        (lambda x, y: [([1, 2, 3], [1, 2, 3])], "images must be [N, H, W] or [N, H, W, 3] uint8, not [3] int64"),
        (lambda x, y: [([*x[:59], x[0, 1:]], y)], "image 0 is [8, 8, 3], image 59 is [7, 8, 3]"),
        (lambda x, y: [(["a.png"] * 60, y)], "image 0 is a path: files and their labels are named in a .csv"),
        (lambda x, y: [([Image.new("P", (8, 8))] * 60, y)], "mode P: give image.convert('RGB')"),
        (lambda x, y: [(x, [[1], [1, 2]] * 30)], "labels: no array in main memory"),
        (lambda x, y: [([], [])], "images and labels are empty"),
        (lambda x, y: [(x / 255, y)], "(255 * x)"),
        (lambda x, y: [(x.transpose(0, 3, 1, 2), y)], "x.transpose(0, 2, 3, 1)"),
        (lambda x, y: [(x, y[:7])], "60 images and 7 labels"),
        (lambda x, y: [(x, y / 2)], "whole numbers or names"),
        (lambda x, y: [(x, [[1, 0, 0]] * 60)], "argmax(1)"),
        (lambda x, y: [(x, [""] * 60)], "whole numbers or names"),
    ],
)
def test_arrays_of_another_kind_are_refused_with_the_way_out(change: Callable[..., list[Any]], said: str) -> None:
    for call in (rk.train, lambda *data: rk.evaluate(*data, model="resnet20.cifar10"), rk.check):
        with pytest.raises((DataError, UsageError)) as refused:
            call(*change(*arrays()))  # type: ignore[operator]
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "held", [list, lambda x: list(map(Image.fromarray, x)), lambda x: list(map(torch.from_numpy, x)), np.ndarray.tolist]
)
def test_pictures_may_come_in_a_list(held: Callable[..., Any]) -> None:
    from resnetkit.data.sources import open_data

    images, labels = arrays()
    given, stacked = open_data((held(images), list(labels))), open_data((images, labels))
    assert given.items == stacked.items
    for item in given.items:
        assert np.array_equal(given.read(item), stacked.read(item))


@pytest.mark.parametrize("call", [rk.load, rk.train, rk.resume])
def test_a_name_that_no_file_can_have_is_wrong_usage(call: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"xxx\.\.\.: is longer than a name of a file can be"):
        call("x" * 300)


def test_labels_may_be_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resnetkit.data.sources import open_data

    images, labels = arrays()
    dataset = open_data((images, [["red", "green", "blue"][label] for label in labels]))
    assert dataset.classes == ("blue", "green", "red")
    assert (dataset.items[1].source, dataset.items[1].label) == ("<arrays>::1", "green")
