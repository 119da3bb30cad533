"""Several labels per picture, by the command line, from the list to the export."""

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

import resnetkit as rk
from resnetkit.api import benchmarking
from resnetkit.errors import DataError, InterruptedRun, UsageError
from tests.conftest import Output

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 220)}
QUICK = ("--model", "resnet8", "--weights", "none", "--threads", "1", "--seed", "1")


def paint(labels: list[str], path: Path, *, seed: int) -> None:
    generator = np.random.default_rng(seed)
    picture = Image.fromarray(generator.integers(150, 220, (16, 16, 3), dtype=np.uint8))
    draw = ImageDraw.Draw(picture)
    for label in labels:
        left = {"red": 0, "green": 5, "blue": 10}[label]
        draw.rectangle([left, int(generator.integers(0, 10)), left + 4, 15], fill=COLOURS[label])
    picture.save(path)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of 120 pictures with none to three labels."""
    folder, generator = tmp_path_factory.mktemp("labels"), np.random.default_rng(0)
    rows = []
    for number in range(120):
        labels = [name for name, share in zip(COLOURS, (0.5, 0.4, 0.2), strict=True) if generator.random() < share]
        paint(labels, folder / f"{number:03d}.png", seed=number)
        rows.append([f"{number:03d}.png", ";".join(labels)])
    with open(folder / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image_path", "label"], *rows])
    return folder / "list.csv"


@pytest.fixture(scope="module")
def run(listed: Path, tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    place = tmp_path_factory.mktemp("run") / "labels"
    return rk.train(
        str(listed), output=place, model="resnet8", weights="none", epochs=8, threads=1, seed=1, quiet=True
    )  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_figures_of_labels_that_are_better_than_noise(run: rk.Run) -> None:
    metrics = run.metrics
    assert metrics is not None
    assert metrics["task"] == "multilabel"
    assert metrics["map"] > metrics["chance_map"] + 0.2
    assert {"together.png", "predictions.png", "results.png", "report.html"} <= {p.name for p in run.path.iterdir()}
    assert "confusion_matrix.png" not in {path.name for path in run.path.iterdir()}
    assert list(run.history[0])[:9] == [
        "epoch", "seconds", "images_per_second", "lr", "train_loss", "train_exact", "val_loss", "val_map", "val_exact",
    ]  # fmt: skip
    rows = rows_of(run.path / "predictions.csv")
    assert {name for row in rows for name in json.loads(row["probabilities"])} == set(COLOURS)
    assert sum(row["correct"] == "true" for row in rows) / len(rows) == pytest.approx(metrics["exact_match"])
    page = (run.path / "report.html").read_text()
    assert "Label by label" in page
    assert "Labels that come together" in page
    assert "precision" in repr(run)


def test_predictions_are_the_labels_above_their_thresholds(run: rk.Run, listed: Path, tmp_path: Path) -> None:
    model = rk.load(run, engine="torch", precision="fp32", threads=1)
    rows = {row["source"]: row for row in rows_of(run.path / "predictions.csv")}
    at = dict(zip(model.classes, model.decision.of(3), strict=True))
    for prediction in model.predict_many(sorted(rows), top_k=3):
        reached = dict(prediction.top)
        wanted = json.loads(rows[prediction.source]["probabilities"])
        assert all(reached[name] == pytest.approx(wanted[name], abs=1e-4) for name in wanted)
        assert set(prediction.labels or ()) == {name for name in reached if reached[name] >= at[name]}


def in_this_process(command: list[str], **_: object) -> SimpleNamespace:
    """Measure as a process of its own does, without the seconds in which one begins."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        benchmarking.worker(command[-1])
    return SimpleNamespace(returncode=0, stdout=said.getvalue())


def test_every_verb_once(
    run: rk.Run, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    resnetkit: Callable[..., Output],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = resnetkit("predict", str(listed.parent), "--model", str(run.path), "--output", "rows.csv", "--threads", "1")
    assert done[0] == 0
    rows = rows_of(tmp_path / "rows.csv")
    assert list(rows[0]) == ["source", "status", "labels", "probabilities", "warnings", "error"]
    assert len(rows) == 120
    done = resnetkit("predict", str(listed), "--model", str(run.path), "--output", "parts/", "--format", "json")
    assert json.loads(done[1])["pictures"] == json.loads(done[1])["named"] == 120
    assert sum(json.loads(done[1])["per_class"].values()) == sum(
        len(r["labels"].split(";")) for r in rows if r["labels"]
    )
    done = resnetkit("evaluate", str(listed), "--model", str(run.path), "--output", "scores", "--split", "val")
    assert "Mean average precision" in done[1]
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text())["map"] == pytest.approx(
        run.metrics["map"], abs=0.01
    )
    done = resnetkit("export", str(run.path), "--to", "onnx", "--output", "export")
    parity = json.loads((tmp_path / "export" / "parity.json").read_text())
    assert parity["same_top1"] + len(parity["ties"]) == parity["pictures"] > 0
    assert "labels are the same" in " ".join((tmp_path / "export" / "README.txt").read_text().split())
    done = resnetkit("predict", str(listed), "--model", "export", "--format", "csv", "--precision", "fp32")
    assert [row["labels"] for row in csv.DictReader(done[1].splitlines())] == [row["labels"] for row in rows]
    done = resnetkit("report", str(run.path), "--output", "page.html")
    assert (tmp_path / "page.html").is_file()
    done = resnetkit("rename", str(run.path), "red=rot", "--output", "rot.safetensors")
    assert rk.load("rot.safetensors").classes == ("blue", "green", "rot")
    monkeypatch.setattr(benchmarking, "_ways", lambda *_: [("torch", "fp32")])
    monkeypatch.setattr(benchmarking, "_cold_start", lambda *_: 0.0)
    monkeypatch.setattr(benchmarking, "subprocess", SimpleNamespace(run=in_this_process))
    quick = ("--threads", "1", "--seconds", "0.1", "--format", "json")
    done = resnetkit("benchmark", str(run.path), "--data", str(listed), *quick)
    assert done[0] == 0


@pytest.mark.parametrize(
    "asked",
    [("--reject", "0.05"), ("--coverage", "0.9"), ("--sort-into", "sorted")],
)
def test_what_is_for_one_class_says_so(
    run: rk.Run, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resnetkit: Callable[..., Output],
    asked: tuple[str, str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = resnetkit("predict", str(listed), "--model", str(run.path), *asked)
    assert done[0] == 2
    assert asked[0] in done[2]
    assert "several labels" in done[2]


def test_thresholds_for_a_precision_are_fitted_to_a_copy(
    run: rk.Run, listed: Path, tmp_path: Path, resnetkit: Callable[..., Output]
) -> None:
    made = tmp_path / "precise.safetensors"
    done = resnetkit(
        "evaluate", str(listed), "--model", str(run.path), "--split", "val", "--calibrated", str(made), "--goal",
        "precision 0.8", "--output", str(tmp_path / "scores"),
    )  # fmt: skip
    assert done[0] == 0
    model = rk.load(made)
    assert model.decision.goal == "precision 0.8"
    assert len(model.decision.at) == 3
    done = resnetkit("evaluate", str(listed), "--model", str(run.path), "--split", "val", "--goal", "f1")
    assert done[0] == 2


def test_stopped_and_resumed_it_ends_with_the_same_bits(run: rk.Run, listed: Path, tmp_path: Path) -> None:
    def stop(row: dict[str, object]) -> None:
        if row["epoch"] == 3:
            raise KeyboardInterrupt

    place = tmp_path / "again"
    with pytest.raises((InterruptedRun, KeyboardInterrupt)):
        rk.train(
            str(listed), output=place, model="resnet8", weights="none", epochs=8, threads=1, seed=1, quiet=True,
            on_epoch=stop,
        )  # fmt: skip
    resumed = rk.resume(place, quiet=True)
    assert (resumed.path / "best.safetensors").read_bytes() == (run.path / "best.safetensors").read_bytes()


def test_moved_pictures_are_found_again_with_their_labels(run: rk.Run, listed: Path, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    shutil.copytree(listed.parent, tmp_path / "elsewhere")
    resumed = rk.resume(tmp_path / "run", epochs=9, data=str(tmp_path / "elsewhere" / "list.csv"), quiet=True)
    assert resumed.metrics["count"] == run.metrics["count"]


def test_folds_hold_out_every_picture_once(listed: Path, tmp_path: Path) -> None:
    found = rk.train(
        str(listed), output=tmp_path / "run", model="resnet8", weights="none", epochs=1, folds=3, threads=1, quiet=True
    )  # fmt: skip
    assert found.metrics["folds"]["pictures"] == found.metrics["count"] == 120
    assert found.metrics["map_interval"] is None


def test_a_figure_of_one_class_chooses_no_epoch(listed: Path) -> None:
    with pytest.raises(UsageError, match="choose last, map, loss"):
        rk.plan(str(listed), model="resnet8", weights="none", settings=("select=top1",), quiet=True)
    with pytest.raises(UsageError, match="several labels: use --set class_weights=balanced"):
        rk.plan(str(listed), model="resnet8", weights="none", settings=("sampling=balanced",), quiet=True)


def test_folders_of_several_labels_unite_files_of_one_content(listed: Path, tmp_path: Path) -> None:
    for row in rows_of(listed):
        for label in filter(None, row["label"].split(";")):
            (tmp_path / "tree" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(listed.parent / row["image_path"], tmp_path / "tree" / label)
    decided, report = rk.plan(str(tmp_path / "tree"), task="multilabel", model="resnet8", weights="none", quiet=True)
    assert decided.spec.num_classes == 3
    labelled = sum(bool(row["label"]) for row in rows_of(listed))
    assert report.total("train") + report.total("val") == labelled
    assert any(f"are {labelled} pictures" in line for line in report.sentences)


def test_compare_shows_all_labels_right_and_the_mean_average_precision(
    run: rk.Run, tmp_path: Path, resnetkit: Callable[..., Output]
) -> None:
    other = shutil.copytree(run.path, tmp_path / "other")
    found = rk.compare(run, other, threads=1)
    metrics = run.metrics
    assert metrics is not None
    assert found.rows[1].difference == 0
    assert found.rows[0].map == pytest.approx(metrics["map"], abs=1e-4)
    assert found.rows[0].top1 == pytest.approx(metrics["exact_match"])
    least = min(metrics["per_class"], key=lambda each: each["recall"])
    assert found.rows[0].worst == (least["class"], pytest.approx(least["recall"]))
    _, said, _ = resnetkit("compare", str(run.path), str(other), "--threads", "1")
    assert said.splitlines()[0].split("  ")[-1] == "photos/s"
    assert "all right" in said
    assert "mean AP" in said
    assert "accuracy" not in said.splitlines()[0]


@pytest.mark.parametrize(
    ("cell", "why"), [("red;blue", r"have every label that is known of them \(blue, red\)"), ("", "have no label;")]
)
def test_what_no_picture_differs_in_is_not_learnt(tmp_path: Path, cell: str, why: str) -> None:
    rows = ["image_path,label"]
    for number in range(10):
        paint(["red"], tmp_path / f"{number}.png", seed=number)
        rows.append(f"{number}.png,{cell}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=why):
        rk.plan(str(tmp_path / "list.csv"), model="resnet8", weights="none", task="multilabel", quiet=True)


def test_what_differs_between_parts_alone_is_not_learnt(tmp_path: Path) -> None:
    rows = ["image_path,label,split"]
    for number in range(12):
        paint(["red"], tmp_path / f"{number}.png", seed=number)
        rows.append(f"{number}.png,{'red' if number < 8 else ''},{'train' if number < 8 else 'val'}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"the pictures to train on have every label that is known of them \(red\)"):
        rk.plan(str(tmp_path / "list.csv"), model="resnet8", weights="none", task="multilabel", quiet=True)
