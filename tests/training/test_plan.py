from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resnetkit.api.training import plan
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from resnetkit.models.catalog import spec_of
from resnetkit.training.job import open_request_data
from resnetkit.training.planning.plan import TRUNK, Origin, Plan, decide, precision_of, weights_wanted
from resnetkit.training.recipes import RECIPES, scratch
from resnetkit.training.request import Request
from tests.data.annotated_sets import put, write_voc

CIFAR_ORIGIN = Origin(name="runs/cifar", spec=spec_of("resnet20"), preprocess=Preprocess.for_size(32))
TRUNK_ORIGIN = Origin(name=TRUNK, spec=spec_of("resnet_2223", num_classes=0), preprocess=Preprocess())
IMAGENET_ORIGIN = Origin(name="resnet18.imagenet1k_v1", spec=spec_of("resnet18"), preprocess=Preprocess())


def decided(side: int, *, origin: Origin | None = None, count: int = 200, **asked: object) -> Plan:
    request = Request(data=("photos",), **asked)  # type: ignore[arg-type]
    return decide(request, origin=origin, median_side=side, num_classes=2, num_pictures=count)


@pytest.mark.parametrize(
    ("side", "model", "size", "stem"),
    [
        (500, None, 224, "imagenet"),
        (96, None, 224, "imagenet"),
        (95, None, 96, "imagenet"),
        (92, None, 92, "cifar"),
        (30, None, 32, "cifar"),
        (8, "resnet20", 8, "cifar"),
        (500, "resnet20", 32, "cifar"),
        (28, "resnet50", 28, "cifar"),
    ],
)
def test_size_and_stem_follow_the_pictures(side: int, model: str | None, size: int, stem: str) -> None:
    plan = decided(side, model=model)
    assert (plan.preprocess.size, plan.spec.stem) == (size, stem)
    assert plan.recipe.name == "scratch"
    assert plan.spec.num_classes == 2


def wanted(side: int, count: int = 1000, **asked: Any) -> str | None:
    return weights_wanted(Request(data=("x",), **asked), median_side=side, num_pictures=count)


def test_a_network_that_is_named_brings_its_own_weights_for_photos() -> None:
    assert wanted(400, model="resnet18") == "resnet18.imagenet1k_v1"
    assert wanted(400, model="resnet50") == "resnet50.imagenet1k_v1"
    assert wanted(400, model="resnet_2223") == TRUNK
    assert wanted(32, model="resnet18") is wanted(400, model="resnet18", stem="cifar") is None
    assert wanted(32, model="resnet20") == wanted(400, model="resnet20") == "resnet20.cifar10"
    assert wanted(400, settings=("model.stem=imagenet",), weights="a.pth") == "a.pth"


MANY = 1_000_000


@pytest.mark.parametrize("count", [10, MANY])
def test_where_nothing_is_named_photos_begin_from_the_trunk(count: int) -> None:
    assert wanted(96, count) == wanted(400, count, recipe="probe") == wanted(400, count, image_size=64) == TRUNK
    assert wanted(28, count, image_size=96) == wanted(28, count, stem="imagenet") == TRUNK
    assert wanted(28, count, recipe="finetune") == TRUNK, "there are no other weights to begin from"
    assert wanted(400, count, weights="none") is wanted(400, count, recipe="scratch") is None
    assert wanted(400, count, stem="cifar") is wanted(400, count, settings=("model.stem=cifar",)) is None
    assert wanted(400, count, image_size=63) is wanted(28, count, image_size=32) is None
    assert wanted(400, count, image_size=80, image_width=48) is None
    assert wanted(400, count, image_size=96, image_width=48) == TRUNK, "as many pixels as 68x68"
    assert wanted(28, count, settings=("model.width=32",)) is wanted(28, count, recipe="cifar10-fast") is None


def test_small_pictures_are_enlarged_for_the_trunk_where_the_table_says_so() -> None:
    assert wanted(28, 10_000) == wanted(95, 10_000, image_size=64) == TRUNK
    assert wanted(28, 10_001) is wanted(28, 10_001, image_size=64) is None


def test_enlarged_pictures_are_whole_and_the_plan_says_why() -> None:
    for asked, size in (({}, 96), ({"image_size": 64}, 64), ({"recipe": "probe"}, 96)):
        plan = decided(28, origin=TRUNK_ORIGIN, **asked)
        assert (plan.preprocess.size, plan.preprocess.resize, plan.spec.stem) == (size, size, "imagenet")
        assert plan.reasons[0] == "network   resnet_2223, that of the weights, imagenet stem, 2 classes"
        assert plan.reasons[1] == f"pictures  {size} pixels, enlarged for the weights (median side 28)"
    named = decided(28, origin=TRUNK_ORIGIN, weights=TRUNK)
    assert (named.preprocess.size, named.preprocess.resize) == (224, 256)
    photo = decided(400, origin=TRUNK_ORIGIN)
    assert (photo.preprocess.size, photo.preprocess.resize) == (224, 256)


def test_random_weights_are_explained_where_nobody_asked_for_them() -> None:
    for asked, why in (
        ({}, "are for larger pictures, or fewer of them"), ({"image_size": 32}, "are for 64x64 pixels or more"),
        ({"weights": "none"}, None), ({"stem": "cifar"}, None), ({"model": "resnet18"}, None),
        ({"recipe": "scratch"}, None), ({"settings": ("model.width=32",)}, None),
    ):  # fmt: skip
        [line] = [line for line in decided(28, count=MANY, **asked).reasons if line.startswith("weights")]
        assert line == "weights   random (trained from scratch)" + (f": those of ImageNet {why}" if why else "")


def test_weights_bring_finetune_and_their_own_preprocessing() -> None:
    plan = decided(400, origin=IMAGENET_ORIGIN)
    assert plan.recipe.name == "finetune"
    assert (plan.preprocess.resize, plan.preprocess.size) == (256, 224)
    smaller = decided(400, origin=IMAGENET_ORIGIN, image_size=112)
    assert (smaller.preprocess.resize, smaller.preprocess.size) == (128, 112)


def test_without_a_model_the_weights_say_which_network_it_is() -> None:
    plan = decided(400, origin=CIFAR_ORIGIN)
    assert plan.spec == CIFAR_ORIGIN.spec.changed(num_classes=2)
    assert plan.preprocess.size == 32


def test_what_the_file_of_the_weights_holds_beside_the_trunk_is_named() -> None:
    beside = "fc.1.weight 3x512, fc.1.bias 3 (a head of 3)"
    reasons = decided(300, origin=replace(IMAGENET_ORIGIN, beside=beside)).reasons
    assert f"left out  of the file: {beside}" in reasons
    assert not [line for line in decided(300, origin=IMAGENET_ORIGIN).reasons if line.startswith("left out")]


def test_the_recipes_changes_reach_the_network() -> None:
    plan = decided(32, model="resnet50", settings=("model.stem=imagenet", "model.stride=v1"))
    assert (plan.spec.stem, plan.spec.stride) == ("imagenet", "v1")
    wider = decided(32, model="resnet20", settings=("model.width=24", "model.activation=gelu"))
    assert (wider.spec.width, wider.spec.activation) == (24, "gelu")
    assert wider.reasons[0].startswith("network   resnet20 with width 24, activation gelu, cifar stem, 2 classes")


def test_a_stem_that_is_set_decides_about_weights() -> None:
    assert wanted(400, settings=("model.stem=cifar",)) is None
    assert decided(400, settings=("model.stem=cifar",)).spec.stem == "cifar"


def test_one_pixel_before_the_last_stage_takes_fp32_on_a_cpu() -> None:
    small = decided(8, model="resnet18", stem="imagenet")
    assert precision_of(small, device="cpu") == "fp32"
    assert precision_of(small, device="cuda") == "auto"
    assert precision_of(decided(32, model="resnet18", stem="imagenet"), device="cpu") == "auto"


def test_a_stem_that_is_asked_for_goes_before_the_recipes() -> None:
    assert decided(32, model="resnet50", recipe="cifar10-fast", stem="cifar").spec.stem == "cifar"


def test_grey_pictures_are_asked_for_with_the_preprocessing() -> None:
    plan = decided(32, settings=("preprocess.channels=1",))
    assert (plan.spec.in_channels, plan.preprocess.channels, len(plan.preprocess.mean)) == (1, 1, 1)


def test_random_crops_are_for_pictures_with_pixels_to_spare() -> None:
    assert decided(400).recipe.augment.crop == "random_resized"
    assert decided(400, model="resnet20").recipe.augment.crop == "random_resized"
    assert decided(32).recipe.augment.crop == "shift"
    assert decided(32, settings=("augment.crop=none",)).recipe.augment.crop == "none"


def test_fine_tuning_is_as_long_as_the_pictures_are_many_unless_told() -> None:
    few, many = (decided(400, origin=CIFAR_ORIGIN, count=count) for count in (200, 5000))
    assert (few.recipe.epochs, many.recipe.epochs) == (31, 3)
    assert "3 epochs (about 939 steps on 5000 pictures)" in many.reasons[-1]
    for told in ({"epochs": 12}, {"settings": ("epochs=12",)}):
        plan = decided(400, origin=CIFAR_ORIGIN, count=5000, **told)
        assert plan.recipe.epochs == 12
        assert "steps" not in plan.reasons[-1]
    assert decided(400, origin=CIFAR_ORIGIN, count=5000, batch_size=200).recipe.epochs == 16


def test_a_probe_has_no_epochs_and_sees_pictures_as_evaluation_does() -> None:
    plan = decided(400, origin=CIFAR_ORIGIN, recipe="probe")
    assert (plan.recipe.epochs, plan.recipe.augment.crop) == (0, "none")
    assert plan.reasons[-1].endswith("no epochs")


@pytest.mark.parametrize(
    ("origin", "asked", "ways_out"),
    [
        (CIFAR_ORIGIN, {"stem": "imagenet"}, ("--stem", "--weights none")),
        (IMAGENET_ORIGIN, {"settings": ("model.stem=cifar",)}, ("model.stem", "--weights none")),
        (CIFAR_ORIGIN, {"model": "resnet50"}, ("--model", "--weights none")),
        (IMAGENET_ORIGIN, {"settings": ("model.width=32",)}, ("--set model", "--weights none")),
        (IMAGENET_ORIGIN, {"settings": ("model.activation=gelu",)}, ("width 64, relu", "--weights none")),
        (None, {"recipe": "finetune"}, ("--weights NAME|FILE", "--recipe scratch")),
    ],
)
def test_contradictions_name_the_two_ways_out(
    origin: Origin | None, asked: dict[str, object], ways_out: tuple[str, str]
) -> None:
    with pytest.raises(UsageError) as error:
        decided(400, origin=origin, **asked)
    assert all(way in str(error.value) for way in ways_out), error.value


@pytest.mark.parametrize("flag", ["epochs", "batch_size", "image_size", "limit"])
def test_counts_are_positive(flag: str) -> None:
    with pytest.raises(UsageError, match=f"--{flag.replace('_', '-')} must be at least 1"):
        Request(data=("x",), **{flag: 0})


def test_a_request_survives_json() -> None:
    import json

    request = Request(data=("a", "b"), settings=("epochs=3",), rename={"x": "y"}, limit=5)
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request


@pytest.mark.parametrize(
    ("labels", "task"),
    [("auto", "auto"), ("one", "classification"), ("several", "multilabel"), ("objects", "detection")],
)
def test_what_older_runs_say_of_labels_is_the_task(labels: str, task: str) -> None:
    values = {k: v for k, v in Request(data=("x",)).to_json().items() if k != "task"}
    assert Request.from_json(values | {"labels": labels}).task == task


def test_a_recipe_made_for_a_network_brings_it_and_another_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    made = scratch().changed(network="resnet20")
    monkeypatch.setitem(RECIPES, "made", lambda: made)
    assert Request(data=("x",), recipe="made").architecture == "resnet20"
    assert Request(data=("x",), recipe="made", model="resnet32").architecture == "resnet32"
    assert Request(data=("x",)).architecture == "resnet18"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("train=layer4", "views=6"), "layer4 and the head, on 6 stored views of each picture (120 MB)"),
        (("train=layer3",), "layer3, layer4 and the head"),
        (("train=head", "views=60"), "the head, on 31 stored views of each picture (6 MB)"),
    ],
)
def test_the_plan_says_what_learns_and_what_is_stored(settings: tuple[str, ...], words: str) -> None:
    assert f"learns    {words}" in decided(400, origin=IMAGENET_ORIGIN, settings=settings).reasons
    assert not any("learns" in reason for reason in decided(400, origin=IMAGENET_ORIGIN).reasons)


def test_what_chooses_the_epoch_is_told_where_it_is_not_the_end_of_a_descent() -> None:
    said = {name: decided(32, settings=settings) for name, settings in {
        "default": (), "chosen": ("select=loss",), "patient": ("budget.patience=4",),
        "patient by loss": ("budget.patience=4", "select=loss"), "constant": ("schedule.name=constant",),
        "not to zero": ("schedule.final=0.2",),
    }.items()}  # fmt: skip
    assert {name: plan.recipe.select for name, plan in said.items()} == {
        "default": "last", "chosen": "loss", "patient": "top1", "patient by loss": "loss", "constant": "last",
        "not to zero": "last",
    }  # fmt: skip
    lines = {name: [line for line in plan.reasons if line.startswith("model")] for name, plan in said.items()}
    assert lines["default"] == []
    assert lines["patient"] == ["model     the epoch that is best by held-out accuracy, as budget.patience=4 needs"]
    assert lines["patient by loss"] == ["model     the epoch that is best by held-out loss, as budget.patience=4 needs"]
    assert all("one of many alike" in lines[name][0] for name in ("constant", "not to zero"))
    with pytest.raises(UsageError, match="leave one of them out"):
        decided(32, settings=("budget.patience=4", "select=last"))


def test_classes_drawn_evenly_stand_in_the_plan_and_are_not_weighted_beside() -> None:
    line = "sampling  classes drawn evenly: those of rare classes come several times an epoch, others now and then"
    plan = decided(32, settings=("sampling=balanced",))
    assert line in plan.reasons
    assert plan.recipe.balances
    assert not decided(32).recipe.balances
    assert not any(reason.startswith("sampling") for reason in decided(32).reasons)
    with pytest.raises(UsageError, match="do the same twice: leave one of them out"):
        decided(32, settings=("sampling=balanced", "class_weights=balanced"))


@pytest.mark.parametrize(
    ("sizes", "crop", "share"),
    [
        ([(96, 36)] * 3, "center", "62%"),
        ([(36, 96)] * 3, "center", "62%"),
        ([(96, 36), (36, 36), (96, 36)], "center", "62%"),
        ([(96, 36)] * 3, "pad", None),
        ([(96, 36)] * 3, "squash", None),
        ([(36, 36)] * 3, "center", None),
        ([(40, 36)] * 3, "center", None),
        ([], "center", None),
    ],
)
def test_the_plan_says_what_the_crop_leaves_out_where_that_is_much(
    sizes: list[tuple[int, int]], crop: str, share: str | None
) -> None:
    request = Request(data=("parts",), model="resnet8", settings=(f"preprocess.crop={crop}",))
    plan = decide(request, origin=None, median_side=36, num_classes=2, num_pictures=20, sizes=sizes)
    said = [reason for reason in plan.reasons if reason.startswith("crop ")]
    assert len(said) == (share is not None)
    assert all(f"{share} of a picture's area" in line and "--set preprocess.crop=pad" in line for line in said)


def test_a_square_photo_loses_no_more_than_usual_and_a_photo_of_4_to_3_does() -> None:
    request = Request(data=("photos",), weights="none")
    for size, told in (((400, 400), False), ((400, 300), True)):
        plan = decide(request, origin=None, median_side=300, num_classes=2, num_pictures=20, sizes=[size])
        assert any("43%" in reason for reason in plan.reasons) == told


@pytest.mark.parametrize("recipe", [None, "finetune"])
def test_pictures_that_cannot_be_read_are_named_before_weights_are_fetched(recipe: str | None, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_text("no picture")
    with pytest.raises(DataError, match="2 of 2 images cannot be read"):
        plan(tmp_path, recipe=recipe)


def test_bad_images_skip_leaves_out_faults_of_annotations(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "set")
    put(root / "Annotations" / "empty.xml", "<annotation>")
    with pytest.raises(DataError, match="or leave it out with --bad-images skip"):
        open_request_data(Request(data=(str(root),)))
    data = open_request_data(Request(data=(str(root),), bad_images="skip"))
    assert (len(data), [Path(fault.file).name for fault in data.faults]) == (3, ["empty.xml"])
