"""What a run says of the epoch that is its model, and of figures that the choice made too good."""

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

import resnetkit as rk
from resnetkit.api.reporting import report
from resnetkit.data import splits
from resnetkit.errors import InterruptedRun, UsageError
from resnetkit.models import checkpoint
from resnetkit.models.checkpoint import read_header
from resnetkit.training import state as states
from resnetkit.watcher import Watcher
from tests.conftest import Output


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures without any content: no accuracy above a third is true."""
    folder, random = tmp_path_factory.mktemp("data") / "noise", np.random.default_rng(0)
    for number in range(120):
        path = folder / "abc"[number % 3] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return folder


def train(data: Path, output: Path, *settings: str, epochs: int = 5, **options: Any) -> rk.Run:
    return rk.train(data, model="resnet8", epochs=epochs, threads=1, settings=settings, output=output, **options)


@pytest.fixture(scope="module")
def runs(noise: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, rk.Run]:
    place = tmp_path_factory.mktemp("runs")
    chosen = train(noise, place / "chosen", "select=top1")
    return {"chosen": chosen, "last": train(noise, place / "last", split_from=str(chosen.path))}


def metrics_of(run: rk.Run) -> dict[str, Any]:
    assert run.metrics is not None
    return run.metrics


def test_the_last_epoch_ships_and_nothing_is_corrected(runs: dict[str, rk.Run]) -> None:
    run = runs["last"]
    best, last = (load_file(run.path / f"{name}.safetensors") for name in ("best", "last"))
    assert all((best[name] == tensor).all() for name, tensor in last.items())
    assert metrics_of(run)["chosen"] == read_header(run.path / "best.safetensors").chosen
    assert (metrics_of(run)["chosen"]["by"], metrics_of(run)["chosen"]["epoch"]) == ("last", 5)
    assert not {"optimistic", "top1_counted"} & set(metrics_of(run))
    assert (
        "The model is the last epoch, 5; no picture chose it."
        in rk.Evaluation(metrics=metrics_of(run), rows=[]).headline
    )


def test_an_epoch_chosen_by_the_pictures_that_score_has_a_corrected_accuracy(runs: dict[str, rk.Run]) -> None:
    run, metrics = runs["chosen"], metrics_of(runs["chosen"])
    best = max(run.history, key=lambda row: (float(row["val_top1"]), -float(row["val_loss"])))
    chosen = metrics["chosen"]
    assert (chosen["by"], chosen["epoch"], chosen["looks"]) == ("top1", int(best["epoch"]), 5)
    assert chosen["on"] == metrics["count"]
    with open(run.path / "predictions.csv", newline="") as file:
        counted = np.mean([row["correct"] == "true" for row in csv.DictReader(file)])
    assert metrics["top1_counted"] == pytest.approx(counted)
    assert metrics["top1_interval"][0] <= metrics["top1"] <= metrics["top1_counted"]
    assert {"loss", "balanced_accuracy", "calibration"} <= set(metrics["optimistic"])
    words = rk.Evaluation(metrics=metrics, rows=[]).headline
    assert "corrected for the choice among 5 epochs on these" in words
    assert "too good" in words
    assert read_header(run.path / "best.safetensors").chosen == chosen
    assert read_header(run.path / "last.safetensors").chosen["by"] == "last"


def test_every_place_says_what_chose(runs: dict[str, rk.Run], resnetkit: Callable[..., Output], tmp_path: Path) -> None:
    said = {name: (run.path / "report.html").read_text() for name, run in runs.items()}
    assert "corrected for the choice among 5 epochs" in said["chosen"]
    assert "all figures but this accuracy are too good" in said["chosen"]
    assert "The model is the last epoch, 5" in said["last"]
    assert not any("best epoch" in text for text in said.values())
    _, out, _ = resnetkit("runs", runs["last"].path.parent)
    epoch = metrics_of(runs["chosen"])["chosen"]["epoch"]
    assert f"epoch {epoch} of 5, best by accuracy" in out
    assert "corrected for the choice" in out
    assert "last epoch (5)" in out
    _, out, _ = resnetkit("models", runs["chosen"].path)
    assert f"epoch {epoch} of 5, chosen by accuracy among 5 on" in out


@pytest.mark.slow
def test_a_comparison_with_a_run_that_these_pictures_chose_gives_no_verdict(
    runs: dict[str, rk.Run], noise: Path, tmp_path: Path
) -> None:
    other = train(noise, tmp_path / "other", epochs=1, split_from=str(runs["last"].path))
    found = rk.compare(runs["last"], runs["chosen"], other)
    chosen, honest = found.rows[1], found.rows[2]
    assert (chosen.p_value, chosen.difference, chosen.chosen_here) == (None, None, True)
    assert "chose the epoch of chosen" in chosen.verdict
    assert honest.p_value is not None
    assert honest.chosen == "last epoch (1)"
    first = rk.compare(runs["chosen"], runs["last"], other)
    assert [row.p_value for row in first.rows] == [None] * 3


@pytest.mark.slow
def test_runs_of_older_versions_are_treated_as_chosen(runs: dict[str, rk.Run], tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(runs["chosen"].path, older)
    counted = metrics_of(runs["chosen"])["top1_counted"]
    kept = {name: value for name, value in metrics_of(runs["chosen"]).items() if name not in ("chosen", "optimistic")}
    kept["top1"] = kept.pop("top1_counted")
    (older / "metrics.json").write_text(json.dumps(kept))
    network, header = checkpoint.load(older / "best.safetensors")
    checkpoint.save(older / "best.safetensors", network, type(header)(**header_without_choice(header)))
    found = rk.compare(older, runs["last"])
    assert "chose the epoch of older" in found.rows[1].verdict
    assert "all figures here are too good" in report(older).read_text()
    run = rk.runs(tmp_path)[0]
    assert metrics_of(run)["top1"] == counted
    assert "top1" in metrics_of(run)["optimistic"]


def test_an_older_run_that_goes_on_is_marked_since_the_answers_of_its_first_epochs_were_not_kept(
    runs: dict[str, rk.Run], tmp_path: Path
) -> None:
    older = tmp_path / "older"
    shutil.copytree(runs["chosen"].path, older)
    state = states.newest(older / "state")
    state.right = {}
    state.save(older / "state")
    metrics = metrics_of(rk.resume(older, epochs=6))
    assert metrics["chosen"]["looks"] == 6
    assert "top1" in metrics["optimistic"]
    assert "top1_counted" not in metrics


def header_without_choice(header: checkpoint.Header) -> dict[str, Any]:
    return {name: getattr(header, name) for name in header.__dataclass_fields__ if name != "chosen"}


def test_pictures_that_chose_are_not_clean_when_they_are_scored_again(runs: dict[str, rk.Run], noise: Path) -> None:
    again = rk.evaluate(noise, model=runs["chosen"].path, split="val", threads=1)
    assert "top1" in again.metrics["optimistic"]
    assert "These photos chose it" in again.headline
    assert "optimistic" not in rk.evaluate(noise, model=runs["last"].path, split="val", threads=1).metrics


def test_of_many_held_out_pictures_half_choose_and_half_score(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "ENOUGH_TO_HALVE", 20)
    run = train(noise, tmp_path / "halved", "select=top1", "val_share=0.4", epochs=2)
    parts = splits.read_split(run.folder.split)
    counts = {part: sum(each == part for each in parts.values()) for part in ("train", "val", "test")}
    metrics = metrics_of(run)
    assert min(counts.values()) > 8
    assert (metrics["split"], metrics["count"], metrics["chosen"]["on"]) == ("test", counts["test"], counts["val"])
    assert not {"optimistic", "top1_counted"} & set(metrics)
    assert metrics["calibration"]["fitted_on"] == "val"
    assert f"{counts['val']} of them choose the epoch" in (run.path / "data.json").read_text()
    whole = train(noise, tmp_path / "whole", "val_share=0.4", epochs=2)
    assert set(splits.read_split(whole.folder.split).values()) == {"train", "val"}
    assert (load_file(run.folder.last)["fc.bias"] == load_file(whole.folder.last)["fc.bias"]).all()


def test_an_interrupted_run_ships_its_last_epoch_and_says_that_more_were_planned(
    noise: Path, tmp_path: Path, resnetkit: Callable[..., Output]
) -> None:
    with pytest.raises(InterruptedRun):
        train(noise, tmp_path / "cut", on_epoch=lambda row: os.kill(os.getpid(), signal.SIGINT))
    chosen = read_header(tmp_path / "cut" / "best.safetensors").chosen
    assert (chosen["by"], chosen["epoch"], chosen["of"]) == ("last", 1, 5)
    _, out, _ = resnetkit("runs", tmp_path)
    assert "unfinished, 1 of 5 epochs" in out
    assert "epoch 1 of 5" in out
    run = rk.resume(tmp_path / "cut", epochs=3)
    assert (metrics_of(run)["chosen"]["epoch"], metrics_of(run)["chosen"]["done"]) == (3, 3)


@pytest.mark.slow
def test_patience_chooses_and_a_fine_tuning_below_its_head_says_so(noise: Path, tmp_path: Path) -> None:
    patient = train(noise, tmp_path / "patient", "budget.patience=1", "optim.lr=0", "batchnorm=frozen")
    assert metrics_of(patient)["chosen"]["by"] == "top1"
    assert "top1_counted" in metrics_of(patient)
    heard: list[str] = []

    class Notes(Watcher):
        def note(self, text: str) -> None:
            heard.append(text)

    # A rate of 1 spoils what the head had reached.
    run = rk.train(
        "digits", weights="resnet20.cifar10", recipe="finetune", epochs=1, limit=150, threads=1, watcher=Notes(),
        settings=("optim.lr=1",), output=tmp_path / "spoilt",
    )  # fmt: skip
    assert any("--recipe probe gives that head alone" in text for text in heard)
    assert metrics_of(run)["chosen"]["epoch"] == 1
    assert "--recipe probe" in (run.path / "report.html").read_text()


def test_to_choose_without_held_out_pictures_is_refused(noise: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="select=loss chooses by held-out pictures"):
        train(noise, tmp_path / "none", "select=loss", "val_share=0")
