"""Cross-validation: what the folds hold out, that each is the run it would be alone, and that no stop changes a bit."""

import csv
import json
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import resnetkit as rk
from resnetkit.data.dataset import Item
from resnetkit.data.splits import into_folds
from resnetkit.errors import InterruptedRun, UsageError
from resnetkit.training.run import TIMING_COLUMNS
from tests.conftest import Output

QUICK: dict[str, Any] = {
    "model": "resnet8", "epochs": 2, "batch_size": 16, "threads": 1, "quiet": True, "settings": ("model.width=8",),
}  # fmt: skip
FOLDS = 4


def arrays(count: int = 44, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures whose class is their brightest channel; the last four are copies of the first."""
    generator = np.random.default_rng(seed)
    labels = np.array(["amber", "bronze", "coral"])[np.arange(count) % 3]
    pixels = generator.integers(0, 150, (count, 8, 8, 3), dtype=np.uint8)
    pixels[np.arange(count), :, :, np.arange(count) % 3] += 60
    pixels[-4:], labels[-4:] = pixels[:4], labels[:4]
    return pixels, labels


def table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same_tensors(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    return rk.train(arrays(), folds=FOLDS, output=tmp_path_factory.mktemp("folded") / "run", **QUICK)


def test_every_picture_is_held_out_once_with_its_copies(folded: rk.Run) -> None:
    rows = table(folded.path / "predictions.csv")
    assert len(rows) == len({row["source"] for row in rows}) == 44
    fold = [int(row["fold"]) for row in rows]
    assert fold[-4:] == fold[:4]
    assert set(fold) == set(range(1, FOLDS + 1))
    assert max(Counter(fold).values()) - min(Counter(fold).values()) <= 2
    of_class = Counter((row["label"], row["fold"]) for row in rows)
    assert min(of_class.values()) >= 2
    for number in range(1, FOLDS + 1):
        parts = {row["source"]: row["split"] for row in table(folded.folder.folds / f"{number}" / "split.csv")}
        assert {row["source"] for row in rows if int(row["fold"]) == number} == {
            source for source, part in parts.items() if part == "val"
        }
        assert len(parts) == 44


def test_folds_are_a_cross_validation_made_by_hand(folded: rk.Run, tmp_path: Path) -> None:
    rows = {row["source"]: row for row in table(folded.path / "predictions.csv")}
    right = 0
    for number in range(1, FOLDS + 1):
        split = tmp_path / f"by-{number}"
        rk.train(arrays(), output=split, **QUICK | {"epochs": 1})  # a run whose split.csv is then rewritten
        with open(split / "split.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["source", "label", "split"])
            for source, row in rows.items():
                writer.writerow([source, row["label"], "val" if int(row["fold"]) == number else "train"])
        alone = rk.train(arrays(), output=tmp_path / f"{number}", split_from=str(split), **QUICK)
        assert same_tensors(alone.path / "best.safetensors", folded.folder.folds / f"{number}" / "best.safetensors")
        for row in table(alone.path / "predictions.csv"):
            assert row["predicted"] == rows[row["source"]]["predicted"]
            right += row["correct"] == "true"
    assert folded.metrics is not None
    assert folded.metrics["top1"] == right / 44


def test_the_model_that_ships_is_a_run_on_all_pictures(folded: rk.Run, tmp_path: Path) -> None:
    alone = rk.train(arrays(), output=tmp_path / "all", **QUICK | {"settings": (*QUICK["settings"], "val_share=0")})
    assert same_tensors(alone.path / "best.safetensors", folded.path / "best.safetensors")
    header = folded.model.header
    assert header.metrics["folds"]["says"] == f"by {FOLDS} folds; the model that ships saw all pictures"
    assert header.metrics["split"] == "folds"
    assert header.decision.fitted_on == 44
    assert header.trained_on.pictures == 44
    assert folded.metrics is not None
    figures = folded.metrics["folds"]
    assert figures["sd"] == pytest.approx(np.std([one["top1"] for one in figures["each"]], ddof=1))



def stopping(*, fold: int | None, epoch: int) -> Callable[[dict[str, Any]], None]:
    def hear(row: dict[str, Any]) -> None:
        if row.get("fold") == fold and row["epoch"] == epoch:
            signal.raise_signal(signal.SIGINT)

    return hear


@pytest.mark.parametrize("fold", [3, None])
def test_a_stop_in_a_fold_or_in_the_last_fit_changes_no_bit(folded: rk.Run, tmp_path: Path, fold: int | None) -> None:
    place = tmp_path / "stopped"
    with pytest.raises(InterruptedRun, match=rf"epoch 2 of 2.*resume {place}$"):
        rk.train(arrays(), folds=FOLDS, output=place, on_epoch=stopping(fold=fold, epoch=1), **QUICK)
    assert (place / "folds" / "3").is_dir()
    assert (place / "folds" / "4").is_dir() == (fold is None)
    run = rk.resume(place, data=arrays(), quiet=True)
    for name in ("best.safetensors", "last.safetensors", *(f"folds/{n}/best.safetensors" for n in range(1, FOLDS + 1))):
        assert same_tensors(run.path / name, folded.path / name)
    for folder in (Path(), Path("folds/3")):
        states = sorted(path.name for path in (folded.path / folder / "state").glob("*.safetensors"))
        assert states == sorted(path.name for path in (run.path / folder / "state").glob("*.safetensors"))
        assert same_tensors(run.path / folder / "state" / states[-1], folded.path / folder / "state" / states[-1])
    untimed = [{k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in run.history]
    assert untimed == [{k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in folded.history]
    assert (run.path / "predictions.csv").read_text() == (folded.path / "predictions.csv").read_text()
