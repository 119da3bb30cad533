"""Objects: where they lie on what the network gets, what is learnt of them, and runs of a detector."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import resnetkit as rk
from resnetkit import runtime as machine
from resnetkit.checking.drift import reference as drift
from resnetkit.data.batches import Batches
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data
from resnetkit.errors import InterruptedRun, UsageError
from resnetkit.models import checkpoint
from resnetkit.models.detection.sureness import Sureness
from resnetkit.models.macs import num_macs
from resnetkit.tasks.detection.placing import placer
from resnetkit.tasks.detection.planning import frame_for
from resnetkit.training.recipe import Augment
from resnetkit.training.steps.augmenter import build_augmenter
from resnetkit.watcher import Watcher
from tests.conftest import Output
from tests.tasks.shapes import paint

QUICK: dict[str, Any] = {"threads": 1, "seed": 1, "quiet": True, "image_size": 64, "batch_size": 4}
LEAST = 0.1  # a score that the run's answers have
NARROW = QUICK | {"model": "fasterrcnn_resnet18_light", "weights": "none", "settings": ("model.width=16",)}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("shapes") / "set", parts={"train": 12, "val": 6, "test": 8})


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> rk.Run:
    return rk.train(str(shapes), output=tmp_path_factory.mktemp("run") / "shapes", epochs=3, **NARROW)


def prepared(shapes: Path, *, whole: bool = True, **preprocess: Any) -> tuple[Part, Preprocess]:
    """Return the training part as it is decoded for random crops."""
    from resnetkit.data.preflight import prepare_training
    from resnetkit.data.prepared import Division, Reading

    made = Preprocess(**preprocess)
    found = prepare_training(
        open_data(str(shapes)), preprocess=made, reading=Reading(threads=1), division=Division(),
        whole_short_side=round(1.15 * made.size) if whole else None,
    )  # fmt: skip
    return found.parts["train"], found.preprocess


@pytest.mark.parametrize("part_of", ["random_resized", "shift", "none"])
@pytest.mark.parametrize("crop", ["pad", "center", "squash"])
def test_boxes_lie_around_their_shapes_however_pictures_are_changed(shapes: Path, crop: str, part_of: Any) -> None:
    whole = part_of == "random_resized"
    part, preprocess = prepared(shapes, whole=whole, size=96, width=128, resize=96, crop=crop)
    augment = Augment(flip="random", vertical_flip="random", crop=part_of, scale=0.3)
    batches = Batches(
        part, preprocess=preprocess, augment=build_augmenter(augment, preprocess, device="cpu"), seed=3, batch_size=12,
        place=placer(part, augment=augment, preprocess=preprocess, masks=False),
        runtime=machine.resolve(device="cpu", threads=1),
    )  # fmt: skip
    checked = 0
    for epoch in range(4):
        changed = batches.changed(batches.indices(epoch, 0), epoch, 0)
        for pixels, target in zip(changed.images.numpy().astype(int), changed.targets, strict=True):
            spread = pixels.max(axis=2) - pixels.min(axis=2) > 75  # shapes are colourful, their ground is grey
            outside = spread.copy()
            for left, top, right, bottom in target.boxes.numpy():
                outside[max(0, int(top) - 1) : int(bottom) + 2, max(0, int(left) - 1) : int(right) + 2] = False
            assert outside.mean() < 0.002, "a shape shows outside of the boxes"
            for (left, top, right, bottom), crowd in zip(target.boxes.numpy(), target.crowd.tolist(), strict=True):
                inner = spread[round(top) : round(bottom), round(left) : round(right)]
                if crowd or inner.size < 100:
                    continue
                filled_rows, filled_columns = inner.any(axis=1).mean(), inner.any(axis=0).mean()
                assert min(filled_rows, filled_columns) > 0.75, "a box is larger than what it is around"
                checked += 1
    assert checked > 20


def test_what_a_crop_cuts_to_a_rest_is_neither_object_nor_background(shapes: Path) -> None:
    part, preprocess = prepared(shapes, size=96, width=128, resize=96, crop="center")
    augment = Augment(flip="none", crop="random_resized", scale=0.1)
    place = placer(part, augment=augment, preprocess=preprocess, masks=False)
    from resnetkit.data.chances import Chances

    images = np.arange(len(part))
    targets = [
        target
        for epoch in range(20)
        for target in place(images, [(48, 64)] * len(part), Chances(seed=0, epoch=epoch, images=images))
    ]
    assert any(target.crowd.any() for target in targets)
    sides = torch.cat([target.boxes[:, 2:] - target.boxes[:, :2] for target in targets])
    assert sides.min() >= 1
    assert all((target.boxes[:, 2] <= 128).all() and (target.boxes >= 0).all() for target in targets)


def test_frames_have_the_aspect_of_the_pictures() -> None:
    for aspect in (0.4, 9 / 16, 0.75, 1, 4 / 3, 1.9):
        height, width = frame_for(aspect, area=416 * 320)
        assert height % 32 == width % 32 == 0
        assert 0.8 <= height * width / (416 * 320) <= 1.2
        assert abs(width / height / aspect - 1) < 0.08


def test_a_run_leaves_what_every_run_leaves_and_its_losses_by_name(run: rk.Run) -> None:
    metrics = run.metrics
    assert metrics is not None
    assert (metrics["task"], metrics["split"], metrics["count"]) == ("detection", "test", 8)
    assert {"predictions.csv", "predictions.png", "augmented.png", "results.png", "reference.npz"} <= {
        p.name for p in run.path.iterdir()
    }
    assert "calibration_of_boxes" in metrics
    columns = list(run.history[0])
    assert columns[:7] == [
        "epoch", "seconds", "images_per_second", "lr", "train_loss", "val_map", "val_map50",
    ]  # fmt: skip
    assert {f"train_{name}_loss" for name in ("objectness", "rpn_box_reg", "classifier", "box_reg")} <= set(columns)
    header = checkpoint.read_header(run.path / "best.safetensors")
    assert header.task == "detection"
    assert header.classes == ("green ring", "red disc")


def test_the_model_of_a_run_answers_what_was_scored(run: rk.Run, shapes: Path) -> None:
    import json

    model = rk.load(run, engine="torch", precision="fp32", threads=1)
    model.header = replace(model.header, decision=Sureness(at=(LEAST, LEAST)))  # it has learnt too little to be sure
    with open(run.path / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = {row["source"]: row for row in csv.DictReader(file)}
    told = 0
    for prediction in model.predict_many(sorted(rows)):
        wanted = [one for one in json.loads(rows[prediction.source]["predictions"]) if one["score"] >= LEAST]
        assert [one.label for one in prediction.objects] == [one["label"] for one in wanted]
        for one, other in zip(prediction.objects, wanted, strict=True):
            assert one.box == pytest.approx(other["box"], abs=0.01)
            told += 1
    assert told > 0


@pytest.mark.slow
def test_stopped_and_resumed_it_ends_with_the_same_bits(shapes: Path, run: rk.Run, tmp_path: Path) -> None:
    def stop(row: Any) -> None:
        import signal

        if row["epoch"] == 1:
            signal.raise_signal(signal.SIGINT)

    place = tmp_path / "again"
    with pytest.raises(InterruptedRun):
        rk.train(str(shapes), output=place, epochs=3, on_epoch=stop, **NARROW)
    rk.resume(place, quiet=True)
    for name in ("best", "last"):
        one, other = (checkpoint.load_arrays(path / f"{name}.safetensors") for path in (run.path, place))
        assert one.keys() == other.keys()
        assert all((one[key] == other[key]).all() for key in one)


@pytest.mark.slow
def test_losses_of_a_batch_do_not_depend_on_how_it_is_cut(shapes: Path, tmp_path: Path) -> None:
    whole, halves = (
        rk.train(
            str(shapes), output=tmp_path / name, epochs=1, settings=("precision=fp32", *more), **QUICK
        )
        for name, more in (("whole", ()), ("halves", ("micro_batch=1",)))
    )  # fmt: skip
    for name in ("train_loss", "train_classifier_loss", "train_objectness_loss"):
        assert float(whole.history[0][name]) == pytest.approx(float(halves.history[0][name]), rel=2e-3)


@pytest.mark.slow
def test_a_classifier_becomes_the_backbone_and_says_what_came_along(
    digits: Path, shapes: Path, tmp_path: Path, resnetkit: Callable[..., Output]
) -> None:
    rk.train(
        str(digits), output=tmp_path / "classifier", model="resnet18", stem="imagenet", weights="none", epochs=1,
        image_size=32, limit=20, settings=("model.width=8",), threads=1, quiet=True,
    )  # fmt: skip
    code, _, told = resnetkit(
        "train", shapes, "--weights", tmp_path / "classifier", "--epochs", 1, "--threads", 1, "--output",
        tmp_path / "detector", "--image-size", 64, "--batch-size", 4,
    )  # fmt: skip
    assert code == 0
    assert "stem, layer1, layer2, layer3 and layer4 came along" in told
    assert "fc stayed behind" in told


@pytest.mark.slow
def test_a_detector_s_trunk_becomes_a_classifier_and_its_heads_a_detector_s(
    digits: Path, run: rk.Run, shapes: Path, tmp_path: Path, resnetkit: Callable[..., Output]
) -> None:
    weights = str(run.path / "last.safetensors")
    quick = ("--weights", weights, "--epochs", 1, "--threads", 1, "--image-size", 64, "--limit", 20)
    code, _, told = resnetkit("train", digits, *quick, "--output", tmp_path / "classifier")
    assert code == 0, told
    code, _, told = resnetkit("train", shapes, *quick, "--output", tmp_path / "again")
    assert code == 0, told
    assert "tensors of pyramid and heads came along too, nothing is new" in told
    assert "stayed behind" not in told


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"recipe": "finetune"}, "fits a classifier"),
        ({"settings": ("augment.mixup=0.2",)}, "do not tell where objects go"),
        ({"settings": ("sampling=balanced",)}, "these have objects: leave it out"),
        ({"settings": ("batchnorm=recounted",)}, "of a detector it is frozen, batch, sync"),
        ({"model": "maskrcnn_resnet_2223_light"}, "these annotations are boxes"),
        ({"image_size": 10}, "--image-size 10: a detector's coarsest cells are 32 pixels"),
        ({"settings": ("select=top1",)}, "choose last, map50, map"),
        ({"settings": ("budget.patience=4", "select=last")}, "choose by select=map50 or map"),
    ],
)
def test_what_has_no_meaning_for_objects_is_refused_in_one_line(shapes: Path, options: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why) as told:
        rk.plan(str(shapes), **{"threads": 1, "quiet": True} | options)
    assert "\n" not in str(told.value)


def test_random_layers_and_statistics_are_not_kept(shapes: Path) -> None:
    begun, _ = rk.plan(str(shapes), **QUICK)
    assert (begun.recipe.train, begun.recipe.batchnorm) == ("layer2", "frozen")
    scratch, _ = rk.plan(str(shapes), weights="none", **QUICK)
    assert (scratch.recipe.train, scratch.recipe.batchnorm) == ("all", "batch")
    assert "BatchNorm of the backbone learns statistics" in scratch.reasons
    asked, _ = rk.plan(str(shapes), weights="none", settings=("batchnorm=frozen",), **QUICK)
    assert (asked.recipe.train, asked.recipe.batchnorm) == ("all", "frozen")


def test_a_copy_that_is_calibrated_has_asked_the_model_about_moved_pictures(
    run: rk.Run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FEWEST_BOXES", "FEWEST_OF_EACH"):
        monkeypatch.setattr(f"resnetkit.evaluation.detection.calibration.{name}", 0)
    said: list[str] = []
    watcher = Watcher()
    monkeypatch.setattr(watcher, "note", said.append)
    model = rk.load(run, threads=1)
    rk.evaluate(shapes, model=model, split="val", calibrated=tmp_path / "sure.safetensors", watcher=watcher)
    assert any(line.startswith("6 held-out pictures, moved 3 times, have ") for line in said)
    decision = checkpoint.read_header(tmp_path / "sure.safetensors").decision
    assert decision.tracks is not None


def test_the_time_of_a_run_knows_of_held_out_pictures_that_move(shapes: Path) -> None:
    plan, _ = rk.plan(str(shapes), epochs=1, **NARROW)
    train, val, test = 12, 6, 8
    named = 3 * train + val + val + test + 3 * val  # a step is three times naming; held-out pictures move three times
    assert plan.seconds == pytest.approx(5 + named * num_macs(plan.spec.body, plan.preprocess.frame) / 1e10)


def test_a_detector_is_refused_where_pictures_have_labels_alone(digits: Path) -> None:
    with pytest.raises(UsageError, match="finds objects, and nothing is marked on the pictures"):
        rk.plan(str(digits), model="fasterrcnn_resnet18_light", threads=1, quiet=True)


def test_a_detector_of_boxes_takes_outlines_for_boxes(tmp_path: Path) -> None:
    outlined = paint(tmp_path / "set", parts={"train": 4, "val": 2}, outlines=True)
    made = rk.train(str(outlined), output=tmp_path / "run", epochs=1, **NARROW)
    assert {"train_box_reg_loss"} <= made.history[0].keys()
    assert "train_mask_loss" not in made.history[0]


def test_a_detector_is_watched_by_what_its_backbone_sees(
    run: rk.Run, shapes: Path, tmp_path: Path, resnetkit: Callable[..., Output]
) -> None:
    assert drift.read(run.path / "reference.npz").counts == {"val": 6, "test": 8}
    paint(tmp_path / "usual", parts={"train": 130})
    usual, changed = tmp_path / "usual" / "train", tmp_path / "changed"
    changed.mkdir()
    for path in sorted(usual.iterdir())[110:]:
        with Image.open(path) as picture:
            picture.point(lambda value: value // 3).save(changed / path.name)
        path.unlink()
    code, _, err = resnetkit("watch", shapes / "val", "--model", run.path, "--threads", "1")
    assert (code, "a reference of 14 pictures in 14 groups is too small" in err) == (3, True)
    code, out, _ = resnetkit(
        "watch", shapes / "train", changed, "--model", run.path, "--reference", usual, "--threads", "1", "--quiet"
    )
    assert (code, "brightness" in out) == (8, True), out


@pytest.mark.slow
def test_it_learns_to_find_shapes(shapes: Path, tmp_path: Path) -> None:
    run = rk.train(str(shapes), output=tmp_path / "found", epochs=25, **QUICK)
    assert run.metrics is not None
    assert run.metrics["map50"] > 0.8 > 10 * run.metrics["noise"]["map50"]


@pytest.mark.slow
def test_masks_are_learnt_and_scored(tmp_path: Path) -> None:
    folder = paint(tmp_path / "set", parts={"train": 12, "val": 6, "test": 8}, outlines=True)
    run = rk.train(str(folder), output=tmp_path / "found", epochs=25, **QUICK)
    assert run.metrics is not None
    assert run.metrics["mask_map50"] > 0.6
