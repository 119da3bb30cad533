"""The command line and the Python calls on real little pictures, from the folder to the figures."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import resnetkit as rk
from resnetkit.errors import DataError, UsageError
from resnetkit.models.checkpoint import save
from resnetkit.training.run import TIMING_COLUMNS
from resnetkit.watcher import Watcher
from tests.conftest import Output

QUICK = ("--model", "resnet8", "--epochs", "2", "--limit", "150", "--threads", "1", "--set", "augment.flip=none")


def table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_the_files_of_the_design(finished: rk.Run) -> None:
    names = {path.name for path in finished.path.iterdir()}
    assert names == {
        "best.safetensors", "last.safetensors", "state", "recipe.toml", "command.txt", "environment.json", "split.csv",
        "results.csv", "results.png", "metrics.json", "predictions.csv", "predictions.png", "confusion_matrix.png",
        "augmented.png", "reliability.png", "test_looks.csv", "report.html", "data.json", "reference.npz",
    }  # fmt: skip
    assert len(list((finished.path / "state").glob("*.safetensors"))) == 2
    metrics = finished.metrics
    assert metrics is not None
    rows = table(finished.path / "predictions.csv")
    assert metrics["split"] == "test"
    assert metrics["count"] == len(rows) == 150
    assert sum(row["correct"] == "true" for row in rows) / 150 == metrics["top1"]
    splits = {row["source"]: row["split"] for row in table(finished.path / "split.csv")}
    assert all(splits[row["source"]] == "test" for row in rows)
    assert [row["epoch"] for row in finished.history] == ["1", "2"]


def test_the_checkpoint_answers_the_same_with_nothing_beside_it(finished: rk.Run, digits: Path, tmp_path: Path) -> None:
    shutil.copy(finished.path / "best.safetensors", tmp_path / "alone.safetensors")
    model = rk.load(tmp_path / "alone.safetensors", threads=1, precision="fp32")
    rows = {row["source"]: row for row in table(finished.path / "predictions.csv")}
    sources = list(rows)[:20]
    for prediction in model.predict_many(sources):
        assert prediction.label == rows[prediction.source]["predicted"]
        assert prediction.probability == pytest.approx(float(rows[prediction.source]["probability"]), abs=1e-5)


def test_the_command_line_gives_the_bits_of_the_python_call(
    resnetkit: Callable[..., Output], finished: rk.Run, digits: Path
) -> None:
    code, out, err = resnetkit("train", digits, *QUICK, "--name", "again")
    assert code == 0
    assert "held-out photos" in out
    assert "network   resnet8, cifar stem, 10 classes" in err
    assert "epoch   2" in err
    for name in ("best.safetensors", "last.safetensors"):
        ours, theirs = load_file(finished.path / name), load_file(Path("runs/again") / name)
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_going_on_to_more_epochs_follows_the_schedule_of_the_longer_run(
    resnetkit: Callable[..., Output], digits: Path
) -> None:
    assert resnetkit("train", digits, *QUICK, "--name", "short")[0] == 0
    code, _, _ = resnetkit("resume", "short", "--epochs", "3")
    assert code == 0
    rows = table(Path("runs/short/results.csv"))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert rk.runs()[0].description["epochs_done"] == 3
    assert resnetkit("resume", "short", "--epochs", "1")[0] == 2
    code, _, err = resnetkit("resume", "short")
    assert code == 0
    assert "finished" in err


def test_a_run_is_resumed_from_another_folder(
    resnetkit: Callable[..., Output], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(digits, tmp_path / "digits")
    assert resnetkit("train", "digits", *QUICK, "--name", "moving")[0] == 0
    before = table(Path("runs/moving/results.csv"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert resnetkit("resume", tmp_path / "runs/moving", "--epochs", "3")[0] == 0
    after = table(tmp_path / "runs/moving/results.csv")
    assert [{k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in after[:2]] == [
        {k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in before
    ]


def test_changed_pictures_are_not_trained_on_by_mistake(
    resnetkit: Callable[..., Output], digits: Path, tmp_path: Path
) -> None:
    shutil.copytree(digits, tmp_path / "digits")
    assert resnetkit("train", "digits", *QUICK, "--name", "changed")[0] == 0
    trained = next(row["source"] for row in table(Path("runs/changed/split.csv")) if row["split"] == "train")
    Image.new("RGB", (8, 8), "red").save(trained)
    code, _, err = resnetkit("resume", "changed", "--epochs", "3")
    assert code == 3
    assert trained in err


def test_evaluate_takes_the_test_part_and_says_so(
    resnetkit: Callable[..., Output], finished: rk.Run, digits: Path
) -> None:
    code, out, _ = resnetkit("evaluate", digits, "--model", finished.path, "--format", "json", "--limit", "150")
    assert code == 0
    metrics = json.loads(out)
    assert metrics["split"] == "test"
    assert finished.metrics is not None
    assert metrics["top1"] == finished.metrics["top1"]
    assert [path.name for path in (finished.path / "evaluations").iterdir()] == ["digits"]


def test_pictures_that_trained_the_model_are_scored_only_when_asked(
    resnetkit: Callable[..., Output], digits: Path
) -> None:
    assert resnetkit("train", digits / "train", *QUICK, "--name", "own")[0] == 0
    code, out, err = resnetkit("evaluate", digits / "train", "--model", "own")
    assert code == 0
    held_out = sum(row["split"] == "val" for row in table(Path("runs/own/split.csv")))
    assert "trained own" in err
    assert f"{held_out}" in out or "held-out" in out
    code, out, _ = resnetkit("evaluate", digits / "train", "--model", "own", "--split", "train")
    assert "own training images" in out


def test_predict_goes_on_past_a_bad_file_and_leaves_with_4(
    resnetkit: Callable[..., Output], finished: rk.Run, digits: Path, tmp_path: Path
) -> None:
    picture = next((digits / "test" / "seven").iterdir())
    (tmp_path / "broken.png").write_bytes(picture.read_bytes()[:60])
    code, out, err = resnetkit("predict", picture, "broken.png", picture, "--model", finished.path, "--format", "jsonl")
    assert code == 4
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert "broken.png" in rows[1]["error"]
    assert "could not be read" in err


def test_predict_without_a_model_says_which_answers_and_how_to_get_its_weights(
    resnetkit: Callable[..., Output], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    picture = next((digits / "test" / "seven").iterdir())
    code, out, err = resnetkit("predict", picture)
    assert code == 7
    assert out == ""
    assert "answering: resnet18 with its ImageNet weights" in err
    assert "resnetkit download resnet18" in err


def test_sort_into_copies_and_leaves_the_originals(
    resnetkit: Callable[..., Output], finished: rk.Run, digits: Path
) -> None:
    pictures = digits / "test" / "zero"
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    code, _, err = resnetkit(
        "predict", pictures, "--model", finished.path, "--sort-into", "sorted", "--output", "rows.csv"
    )
    assert code == 0
    assert "copying" in err
    labels = {row["source"]: row["label"] for row in table(Path("rows.csv"))}
    copies = {path.name: path.parent.name for path in Path("sorted").rglob("*.png")}
    assert copies == {Path(source).name: label for source, label in labels.items()}
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == before


def test_bad_images_stop_the_run_before_it_begins_or_are_counted(
    resnetkit: Callable[..., Output], digits: Path, tmp_path: Path
) -> None:
    shutil.copytree(digits / "train", tmp_path / "messy")
    (tmp_path / "messy/zero/cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, _, err = resnetkit("train", "messy", *QUICK[:4])
    assert code == 3
    assert "cut.png" in err
    assert "--bad-images skip" in err.splitlines()[-1]
    assert not Path("runs").exists()
    code, _, err = resnetkit(
        "train", "messy", "--model", "resnet8", "--epochs", "1", "--bad-images", "skip", "--dry-run"
    )
    assert code == 0
    assert "1" in err
    assert not Path("runs").exists()


def test_a_name_that_is_taken_is_never_overwritten(resnetkit: Callable[..., Output], digits: Path) -> None:
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/notes.txt").write_text("precious")
    code, _, err = resnetkit("train", digits, *QUICK, "--name", "mine")
    assert code == 2
    assert "runs/mine" in err
    assert Path("runs/mine/notes.txt").read_text() == "precious"


def test_runs_lists_name_data_accuracy_and_date(resnetkit: Callable[..., Output], finished: rk.Run) -> None:
    code, out, _ = resnetkit("runs", finished.path.parent)
    assert code == 0
    assert "first" in out
    assert "digits" in out
    assert "% of 150 (test)" in out
    code, out, _ = resnetkit("runs", finished.path.parent, "--format", "json")
    assert json.loads(out)[0]["top1"] == finished.metrics["top1"]  # type: ignore[index]


def test_fine_tuning_fits_the_head_first_and_keeps_the_preprocessing(
    resnetkit: Callable[..., Output], finished: rk.Run, digits: Path
) -> None:
    arguments = ("--weights", finished.path / "best.safetensors", "--epochs", "1", "--limit", "150", "--threads", "1")
    code, _, err = resnetkit("train", digits, *arguments, "--name", "tuned", "--set", "augment.flip=none")
    assert code == 0
    assert "head fitted on frozen features" in err
    assert "recipe    finetune" in err
    assert rk.load("tuned").header.preprocess == finished.model.header.preprocess


def test_a_probe_is_a_complete_run_without_epochs_that_can_go_on(
    resnetkit: Callable[..., Output], finished: rk.Run, digits: Path
) -> None:
    arguments = ("--weights", finished.path / "best.safetensors", "--limit", "150", "--threads", "1")
    code, out, err = resnetkit("train", digits, *arguments, "--recipe", "probe", "--output", "probe")
    assert code == 0
    assert "recipe    probe: a linear head on frozen features, no epochs" in err
    assert "Accuracy" in out
    later = {"evaluations"}  # of other tests
    assert {path.name for path in Path("probe").iterdir()} == {path.name for path in finished.path.iterdir()} - later
    (row,) = table(Path("probe/results.csv"))
    assert (row["epoch"], row["lr"]) == ("0", "0.0")
    before, after = (load_file(place / "best.safetensors") for place in (finished.path, Path("probe")))
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"fc.weight", "fc.bias"}
    code, _, err = resnetkit("resume", "probe")
    assert code == 0
    assert "has its head fitted" in err
    assert resnetkit("resume", "probe", "--epochs", "1")[0] == 0
    assert [row["epoch"] for row in table(Path("probe/results.csv"))] == ["0", "1"]


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["train", "dry run"])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "budget.patience=3", "--set", "val_share=0"), "val_share"),
        (("--set", "optim.name=muon", "--set", "batchnorm=frozen"), "optim.name=sgd"),
        (("--model", "resnet8_fast"), "--image-size 16"),
        (("--set", "augment.cutout=16"), "augment.cutout"),
        (("--set", "compile=on"), "g++"),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything_is_decoded(
    resnetkit: Callable[..., Output], digits: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], says: str, more: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.setattr(
        "resnetkit.training.job.prepare_training", lambda *_, **__: pytest.fail("pictures were decoded")
    )
    monkeypatch.setenv("CXX", "no-such-compiler")
    code, _, err = resnetkit("train", digits, *QUICK, *arguments, *more)
    assert code == 2
    assert says in err.splitlines()[-1]
    assert not Path("runs").exists()


@pytest.mark.parametrize(("model", "size"), [("resnet8", 4), ("resnet8_fast", 16)])
def test_a_batch_of_one_pixel_is_refused_not_broken(
    resnetkit: Callable[..., Output], digits: Path, model: str, size: int
) -> None:
    alone = ("--model", model, "--image-size", size, "--batch-size", 1, "--limit", 40)
    code, _, err = resnetkit("train", digits, *QUICK, *alone)
    assert code == 2
    assert "BatchNorm needs two" in err.splitlines()[-1]


def test_a_compiled_run_is_not_taken_up_without_a_compiler(
    resnetkit: Callable[..., Output], digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnetkit.training.loop.compiled", lambda network: network)
    compiling = ("--set", "compile=on", "--epochs", "1", "--output", "compiled")
    assert resnetkit("train", digits, *QUICK, *compiling)[0] == 0
    monkeypatch.setenv("CXX", "no-such-compiler")
    code, _, err = resnetkit("resume", "compiled", "--epochs", "2")
    assert code == 2
    assert "install g++" in err


def test_a_run_that_lost_patience_is_finished_and_goes_on_when_told(
    resnetkit: Callable[..., Output], digits: Path
) -> None:
    settings = ("--set", "budget.patience=1", "--set", "optim.lr=0", "--set", "batchnorm=frozen", "--epochs", "9")
    code, out, err = resnetkit("train", digits, *QUICK, *settings, "--output", "still")
    assert code == 0
    assert "the run ends after 2 of 9 epochs" in err
    assert "Accuracy" in out
    assert rk.load("still").header.recipe["epochs"] == 2  # type: ignore[index]
    assert "epochs = 2\n" in Path("still/recipe.toml").read_text(encoding="utf-8")
    _, _, err = resnetkit("resume", "still")
    assert "has finished its 2 epochs" in err
    assert resnetkit("resume", "still", "--epochs", "4")[0] == 0
    assert len(table(Path("still/results.csv"))) == 4


def test_python_calls(finished: rk.Run, digits: Path) -> None:
    model = finished.model
    picture = next((digits / "test" / "three").iterdir())
    by_path, by_image = model.predict(picture), model.predict(Image.open(picture))
    assert by_path.top == by_image.top
    assert model.predict(str(picture)).label in model.classes
    features = model.features(torch.zeros(2, 3, 8, 8))
    assert [tuple(x.shape) for x in features.values()] == [(2, 16, 8, 8), (2, 16, 8, 8), (2, 32, 4, 4), (2, 64, 2, 2)]
    with pytest.raises(UsageError, match="no model 'resnet19'"):
        rk.load("resnet19")
    with pytest.raises(DataError):
        rk.load(picture)


def test_batches_of_one_picture_are_refused_where_batchnorm_cannot_have_them(
    resnetkit: Callable[..., Output], digits: Path
) -> None:
    arguments = ("--model", "resnet8", "--batch-size", "1", "--epochs", "1", "--limit", "60", "--threads", "1")
    code, _, err = resnetkit("train", digits, "--stem", "imagenet", *arguments)
    assert code == 2
    assert "--batch-size" in err.splitlines()[-1]
    assert not Path("runs").exists()
    assert resnetkit("train", digits, *arguments, "--set", "optim.lr=1e-4")[0] == 0


def test_what_can_be_told_before_reading_is_told_before_reading(
    resnetkit: Callable[..., Output], digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_reading(*_: object, **__: object) -> None:
        raise AssertionError("the pictures were read")

    monkeypatch.setattr("resnetkit.training.job.open_data", no_reading)
    for wrong in (
        ("--set", "optim.lrr=1"), ("--set", "optim.lr=inf"), ("--recipe", "scratc"), ("--model", "resnet19"),
        ("--device", "tpu"), ("--epochs", "0"), ("--model", "resnet18.imagenet1k_v1", "--weights", "none"),
    ):  # fmt: skip
        code, _, err = resnetkit("train", digits, *wrong)
        assert code == 2, (wrong, err)


def test_the_checkpoint_carries_the_final_figures(finished: rk.Run) -> None:
    metrics = finished.metrics
    assert metrics is not None
    kept = finished.model.header.metrics
    assert kept["top1"] == metrics["top1"]
    assert kept["split"] == "test"
    assert "confusion_matrix" not in kept


def test_classes_may_go_by_their_wordnet_ids(tmp_path: Path, digits: Path, finished: rk.Run) -> None:
    header = replace(finished.model.header, aliases={"n01": "one", "n02": "two"})
    save(tmp_path / "model.safetensors", finished.model.network, header)
    for alias, name in (("n01", "one"), ("n02", "two")):
        shutil.copytree(digits / "test" / name, tmp_path / "photos" / alias)
    shutil.copytree(digits / "test" / "three", tmp_path / "photos" / "three")
    result = rk.evaluate(tmp_path / "photos", model=tmp_path / "model.safetensors", threads=1)
    assert {row["label"] for row in result.rows} == {"one", "two", "three"}
    assert result.metrics["split"] == "all"


def test_a_model_that_is_named_is_the_one_that_answers(
    resnetkit: Callable[..., Output], finished: rk.Run, digits: Path
) -> None:
    picture, checkpoint = next((digits / "test" / "seven").iterdir()), finished.path / "best.safetensors"
    code, out, err = resnetkit("predict", picture, "--weights", checkpoint, "--format", "jsonl")
    assert code == 0
    assert "ImageNet" not in err
    code, out, err = resnetkit("predict", picture, "--weights", checkpoint, "--model", finished.path)
    assert code == 2
    code, out, err = resnetkit("predict", picture, "--weights", checkpoint, "--model", "resnet20")
    assert (code, out) == (3, "")
    code, _, err = resnetkit("train", digits, "--weights", "nosuch.pth")
    assert code == 2
    assert "nosuch.pth: no such file" in err


def test_python_calls_name_what_they_do_not_know(digits: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'epochs'"):
        rk.train(digits, epoch=1)


def test_a_reader_of_a_pipe_may_leave_and_stdout_may_be_closed(finished: rk.Run, digits: Path) -> None:
    program = f"{sys.executable} -m resnetkit"
    line = f"{program} predict {digits}/test --model {finished.path} --format csv --quiet --threads 1 | head -1"
    said = subprocess.run(
        ["bash", "-c", f"{line}; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-1] == "0"
    assert said.stderr == ""
    closed = subprocess.run(
        ["bash", "-c", f"{program} models resnet18 >&-"], capture_output=True, text=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (0, "")


def test_a_model_is_never_scored_on_what_it_learnt_from_unasked(
    resnetkit: Callable[..., Output], finished: rk.Run, digits: Path, tmp_path: Path
) -> None:
    learnt = [row for row in table(finished.path / "split.csv") if row["split"] == "train"]
    for row in learnt[:20]:
        place = tmp_path / "copies" / row["label"]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(row["source"], place)
    code, _, err = resnetkit("evaluate", "copies", "--model", finished.path)
    assert code == 2
    assert "--split train" in err
    with pytest.raises(UsageError, match="--split train"):
        rk.evaluate(tmp_path / "copies", model=finished.model)
    code, out, _ = resnetkit("evaluate", "copies", "--model", finished.path, "--split", "train")
    assert code == 0
    assert "own training images" in out


def test_figures_of_a_run_are_not_overwritten(resnetkit: Callable[..., Output], finished: rk.Run, digits: Path) -> None:
    before = (finished.path / "metrics.json").read_bytes()
    code, _, _ = resnetkit("evaluate", digits, "--model", finished.path, "--output", finished.path)
    assert code == 2
    assert (finished.path / "metrics.json").read_bytes() == before


def test_places_that_cannot_be_are_told_before_reading(resnetkit: Callable[..., Output], digits: Path) -> None:
    shutil.copytree(digits, "pictures")
    for wrong in (("--output", "pictures/run"), ("--name", ".hidden"), ("--name", "a\nb"), ("--name", "x" * 300)):
        code, _, err = resnetkit("train", "pictures", *QUICK, *wrong)
        assert code == 2, err
    Path("empty").mkdir()
    assert resnetkit("train", "pictures", *QUICK, "--output", "empty")[0] == 0
    assert Path("empty/best.safetensors").is_file()


def test_without_a_held_out_part_the_run_says_that_nothing_is_scored(
    resnetkit: Callable[..., Output], digits: Path
) -> None:
    code, _, err = resnetkit("train", digits / "train", *QUICK, "--name", "all", "--set", "val_share=0")
    assert code == 0
    assert "nothing was held out" in err
    assert table(Path("runs/all/results.csv"))[0]["val_top1"] == ""


def test_a_calibration_that_is_stopped_names_the_figures(
    finished: rk.Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    said, watcher, place = list[str](), Watcher(), tmp_path / "figures"
    monkeypatch.setattr(watcher, "note", said.append)
    monkeypatch.setattr("resnetkit.api.evaluation.fitted", stopped)
    copy = tmp_path / "copy.safetensors"
    with pytest.raises(KeyboardInterrupt):
        rk.evaluate(digits, model=finished.path, split="val", calibrated=copy, output=place, watcher=watcher)
    assert said[-1] == f"--calibrated {copy}: stopped before it was written; the figures are in {place}"
    assert (place / "metrics.json").exists()
    assert not copy.exists()


@pytest.mark.slow
def test_one_pixel_networks_repeat_their_bits(resnetkit: Callable[..., Output], digits: Path) -> None:
    for name in ("one", "again"):
        arguments = ("--model", "resnet18", "--stem", "imagenet", "--set", "model.width=8", "--weights", "none")
        code, _, err = resnetkit(
            "train", digits, *arguments, "--epochs", "1", "--limit", "100", "--threads", "1", "--name", name
        )
        assert code == 0, err
    ours, theirs = (load_file(f"runs/{name}/last.safetensors") for name in ("one", "again"))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_broken_run_does_not_hide_the_others(
    resnetkit: Callable[..., Output], finished: rk.Run, tmp_path: Path
) -> None:
    shutil.copytree(finished.path, tmp_path / "runs/good")
    shutil.copytree(finished.path, tmp_path / "runs/broken")
    for state in (tmp_path / "runs/broken/state").glob("*.safetensors"):
        state.write_bytes(state.read_bytes()[:100])
    code, out, err = resnetkit("runs")
    assert code == 0
    assert "good" in out
    assert "unreadable" in out
    assert "broken" in err


def test_going_on_voids_the_old_figures_until_the_run_is_scored_again(
    resnetkit: Callable[..., Output], finished: rk.Run, tmp_path: Path
) -> None:
    shutil.copytree(finished.path, tmp_path / "runs/more")

    def leave(row: dict[str, object]) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        rk.resume(tmp_path / "runs/more", epochs=4, on_epoch=leave)
    assert "unfinished, 3 of 4 epochs" in resnetkit("runs")[1]
    assert resnetkit("resume", "more")[0] == 0
    assert "unfinished" not in resnetkit("runs")[1]


def test_test_time_averaging_stands_beside_figures_that_stay_as_they_are(
    resnetkit: Callable[..., Output], finished: rk.Run, digits: Path
) -> None:
    scored = ("evaluate", digits, "--model", finished.path / "best.safetensors", "--limit", "150", "--format", "json")
    plain, averaged = (
        json.loads(resnetkit(*scored, *more)[1])
        for more in (("--output", "plain"), ("--output", "averaged", "--tta", "flip_shift"))
    )
    figures = averaged.pop("tta")
    assert averaged.pop("test_looks") == plain.pop("test_looks") + 1
    assert averaged == plain
    assert figures["views"] == "flip_shift"
    assert figures["loss"] != plain["loss"]
    assert table(Path("averaged/predictions.csv")) == table(Path("plain/predictions.csv"))
    assert json.loads(Path("averaged/metrics.json").read_text(encoding="utf-8"))["tta"] == figures
    _, out, _ = resnetkit(*scored[:-2], "--tta", "flip", "--output", "mirrored")
    assert out.splitlines()[2].startswith("With test-time averaging (each picture and its mirror): ")
    with pytest.raises(UsageError, match="unknown tta 'flipp': choose none, flip, flip_shift"):
        rk.evaluate(digits, model=finished.model, tta="flipp")


def test_a_recipe_may_report_test_time_averaging_at_the_end(finished: rk.Run, digits: Path, tmp_path: Path) -> None:
    settings = ("augment.flip=none", "tta=flip")
    run = rk.train(
        digits, model="resnet8", epochs=2, limit=150, threads=1, settings=settings, output=tmp_path / "averaged"
    )
    assert run.metrics is not None
    assert finished.metrics is not None
    figures = run.metrics.pop("tta")
    assert figures["views"] == "flip"
    assert {**run.metrics, "tta": 0} == {**finished.metrics, "tta": 0}
    assert run.model.header.metrics["tta"] == figures
    untimed = [{k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in run.history]
    assert untimed == [{k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in finished.history]
