"""Cross-validation: what the folds hold out, that each is the run it would be alone, and that no stop changes a bit."""

import csv
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import resnetkit as rk
from resnetkit.api import comparing, evaluation, finishing, training
from resnetkit.checking.drift import reference as drift
from resnetkit.data.dataset import Item
from resnetkit.data.splits import into_folds
from resnetkit.errors import InterruptedRun, UsageError
from resnetkit.training.run import TIMING_COLUMNS
from tests.conftest import Output

QUICK: dict[str, Any] = {
    "model": "resnet8", "epochs": 2, "batch_size": 16, "threads": 1, "quiet": True, "settings": ("model.width=8",),
}  # fmt: skip
FOLDS = 3


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


@pytest.fixture(autouse=True, scope="module")
def _undrawn() -> Iterator[None]:
    """Draw nothing: pictures take most of a tiny run's time, and other tests look at them."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (training, "draw_augmented"), (finishing, "draw_history"), (finishing, "write_at_the_end"),
            (evaluation, "draw_scores"),
        ):  # fmt: skip
            patch.setattr(module, name, lambda *_, **__: None)
        yield


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
        by_hand = tmp_path / f"split-{number}"
        (by_hand / "state").mkdir(parents=True)
        lines = [f"{source},{row['label']},{'val' if int(row['fold']) == number else 'train'}"
                 for source, row in rows.items()]  # fmt: skip
        (by_hand / "split.csv").write_text("\n".join(["source,label,split", *lines]) + "\n")
        alone = rk.train(arrays(), output=tmp_path / f"{number}", split_from=str(by_hand), **QUICK)
        assert same_tensors(alone.path / "best.safetensors", folded.folder.folds / f"{number}" / "best.safetensors")
        scored = table(alone.path / "predictions.csv")
        assert [row["predicted"] for row in scored] == [rows[row["source"]]["predicted"] for row in scored]
        right += sum(row["correct"] == "true" for row in scored)
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


@pytest.mark.parametrize("fold", [3, pytest.param(None, marks=pytest.mark.slow)])
def test_a_stop_in_a_fold_or_in_the_last_fit_changes_no_bit(folded: rk.Run, tmp_path: Path, fold: int | None) -> None:
    place = tmp_path / "stopped"
    with pytest.raises(InterruptedRun, match=rf"epoch 2 of 2.*resume {place}$"):
        rk.train(arrays(), folds=FOLDS, output=place, on_epoch=stopping(fold=fold, epoch=1), **QUICK)
    assert (place / "folds" / "3").is_dir()
    assert not (place / "metrics.json").exists()
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


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"folds": 1}, "--folds must be at least 2, not 1"),
        ({"folds": 20}, "class 'bronze' has 13 pictures to hold out .* use --folds 13"),
        ({"folds": 3, "split_from": "other"}, "--folds and --split-from contradict each other"),
        ({"folds": 3, "settings": ("select=top1",)}, "none may choose the epoch: leave select=top1 out"),
        ({"folds": 3, "settings": ("budget.patience=2",)}, "leave budget.patience=2 out"),
        ({"folds": 3, "settings": ("budget.minutes=1",)}, "say --epochs N"),
    ],
)
def test_what_folds_cannot_be_is_refused_in_a_line(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        rk.train(arrays(), output=tmp_path / "run", **QUICK | more)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_fold_is_resumed_with_its_run_and_more_epochs_go_to_all(folded: rk.Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"resnetkit resume {folded.path}$"):
        rk.resume(folded.folder.folds / "2", data=arrays(), quiet=True)
    copy = tmp_path / "longer"
    shutil.copytree(folded.path, copy)
    run = rk.resume(copy, data=arrays(), epochs=3, quiet=True)
    assert run.description["epochs_done"] == 3
    for number in range(1, FOLDS + 1):
        assert len(table(copy / "folds" / f"{number}" / "results.csv")) == 3
    assert run.metrics is not None
    assert run.metrics["split"] == "folds"


def test_a_given_test_part_is_scored_by_the_last_model_alone(tmp_path: Path) -> None:
    pixels, names = arrays()
    labels = np.unique(names, return_inverse=True)[1]
    np.savez(
        tmp_path / "set.npz", train_images=pixels[:30], train_labels=labels[:30, None], val_images=pixels[30:36],
        val_labels=labels[30:36, None], test_images=pixels[36:40], test_labels=labels[36:40, None],
    )  # fmt: skip
    run = rk.train(tmp_path / "set.npz", folds=2, output=tmp_path / "run", **QUICK)
    assert run.metrics is not None
    assert (run.metrics["split"], run.metrics["count"]) == ("test", 4)
    assert run.metrics["folds"]["pictures"] == 36
    assert {row["split"] for row in table(run.path / "predictions.csv")} == {"test"}
    assert len(table(run.path / "folds" / "predictions.csv")) == 36
    assert drift.read(run.path / "reference.npz").counts == {"test": 4}


def test_a_network_that_learnt_from_all_pictures_has_no_reference_and_watch_says_why(
    folded: rk.Run, tmp_path: Path
) -> None:
    Image.fromarray(arrays()[0][0]).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="by folds it has learnt from every picture of its data: give pictures"):
        rk.watch(tmp_path / "a.png", model=folded.path, threads=1)


def test_two_folded_runs_are_compared_where_each_was_honest(
    folded: rk.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "_speeds", lambda scored, _: [1.0] * len(scored))
    other = rk.train(arrays(), folds=2, output=tmp_path / "other", **QUICK | {"seed": 1})
    found = rk.compare(folded, other, threads=1)
    assert found.count == 40  # of 44 pictures, four of them twice
    assert sum("did not train on it" in note for note in found.notes) == 2


def test_folds_are_alike_in_classes_and_keep_groups(tmp_path: Path) -> None:
    items = [Item(f"{n}", ("ab"[n % 3 == 0],), "train", group=f"g{n // 4}" if n < 40 else None) for n in range(100)]
    digests = [f"{n:032x}" for n in range(100)]
    numbers = into_folds(items, digests, count=5, seed=0, alike=[(digests[50], digests[99])], trained={"60"})
    assert numbers[60] == 0
    assert numbers[50] == numbers[99] != 0
    assert all(len(set(numbers[start : start + 4])) == 1 for start in range(0, 40, 4))
    held = Counter(zip((item.label for item in items), numbers, strict=True))
    for label in "ab":
        counts = [held[label, fold] for fold in range(1, 6)]
        assert max(counts) - min(counts) <= 2
    assert numbers == into_folds(items, digests, count=5, seed=0, alike=[(digests[50], digests[99])], trained={"60"})
    assert numbers != into_folds(items, digests, count=5, seed=1, alike=[(digests[50], digests[99])], trained={"60"})


def test_one_group_that_holds_a_class_cannot_be_held_out() -> None:
    items = [Item(f"{n}", ("b" if n in (0, 1) else "a",), "train", group="g" if n < 3 else None) for n in range(12)]
    with pytest.raises(UsageError, match="class 'b' has 1 picture to hold out"):
        into_folds(items, [f"{n:032x}" for n in range(12)], count=2, seed=0)


def test_the_page_and_the_list_of_runs_say_whose_figure_it_is(
    folded: rk.Run, resnetkit: Callable[..., Output], tmp_path: Path
) -> None:
    page = folded.report(output=tmp_path / "page.html", photos=False).read_text(encoding="utf-8")
    assert f"By {FOLDS} folds: each photo was named by a network that did not train on it" in page
    assert "Fold by fold" in page
    assert folded.metrics is not None
    low, high = folded.metrics["top1_interval"]
    assert low < folded.metrics["top1"] < high
    code, out, _ = resnetkit("runs", folded.path.parent)
    assert code == 0
    assert f"of 44 (by {FOLDS} folds)" in out
    assert len(out.splitlines()) == 2


@pytest.mark.slow
def test_folds_begin_with_the_same_weights_and_hold_out_nothing_these_know(tmp_path: Path) -> None:
    pixels, labels = arrays()
    first = rk.train((pixels[:12], labels[:12]), output=tmp_path / "first", **QUICK)
    parts = {row["source"].rpartition("::")[2]: row["split"] for row in table(first.path / "split.csv")}
    known = {int(number) for number, part in parts.items() if part == "train"}
    more: dict[str, Any] = {"threads": 1, "quiet": True, "folds": 2, "epochs": 1, "weights": str(first.path)}
    whole = rk.train(arrays(), output=tmp_path / "whole", **more)
    assert whole.metrics is not None
    assert whole.metrics["count"] == 44 - len(known) - len(known & {0, 1, 2, 3})  # which come twice
    with pytest.raises(InterruptedRun, match="after the last epoch of a fold; go on with"):
        rk.train(arrays(), output=tmp_path / "stopped", on_epoch=stopping(fold=1, epoch=1), **more)
    shutil.rmtree(first.path)  # what folds begin with is kept in the run
    run = rk.resume(tmp_path / "stopped", data=arrays(), quiet=True)
    for name in ("best.safetensors", "folds/1/best.safetensors", "folds/2/best.safetensors"):
        assert same_tensors(run.path / name, whole.path / name)
    header = rk.load(run.folder.folds / "2").header
    assert header.trained_on.ancestors == 0
    assert header.recipe["name"] == "finetune"
    assert not any(
        name.startswith("start/") for state in (run.path / "state").glob("*.safetensors") for name in load_file(state)
    )
