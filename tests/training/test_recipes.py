"""The named recipes as they resolve, and the settings that reach into them."""

import dataclasses
import inspect
import json
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import UsageError
from resnetkit.models.spec import ResNetSpec
from resnetkit.training.recipe import Recipe, settable, with_settings
from resnetkit.training.recipes import RECIPES, recipe_named
from tests.golden import check_golden


def test_the_recipes_are_those_that_were_agreed_on() -> None:
    resolved = {
        name: {
            kind: recipe_named(name).for_pictures(median_side=side, size=32).to_json()
            for kind, side in (("of the network's size", 32), ("larger", 400))
        }
        for name in RECIPES
    }
    check_golden(Path(__file__).with_name("recipes.json"), json.dumps(resolved, indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_called_like_its_function_and_says_what_it_is_for(name: str) -> None:
    assert recipe_named(name).name == name
    first_line = (inspect.getdoc(RECIPES[name]) or "").splitlines()[0]
    assert first_line.endswith((".", ":"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name: str) -> None:
    recipe = recipe_named(name)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_only_settings_a_network_has(name: str) -> None:
    ResNetSpec(block="bottleneck").changed(**recipe_named(name).model)


@pytest.mark.parametrize("name", RECIPES)
def test_what_derives_from_a_recipe_is_checked_again(name: str) -> None:
    recipe = recipe_named(name)
    assert recipe.changed(epochs=3).epochs == 3
    for wrong in ({"epochs": -1}, {"label_smoothing": 1.0}, {"ema": -0.1}, {"select": "f1"}, {"micro_batch": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            recipe.changed(**wrong)
    for room, wrong in (
        ("optim", {"lr": -1.0}),
        ("optim", {"bias_factor": 0.0}),
        ("optim", {"bias_factor": float("nan")}),
        ("optim", {"plain_momentum": 1.0}),
        ("budget", {"minutes": 0.0}),
        ("budget", {"patience": -1}),
        ("schedule", {"name": "step"}),
        ("augment", {"shift": 1.0}),
    ):
        with pytest.raises(UsageError, match=f"{room}.{next(iter(wrong))}"):
            dataclasses.replace(getattr(recipe, room), **wrong)


def test_only_a_fitted_head_needs_no_epochs() -> None:
    assert recipe_named("finetune").changed(epochs=0).epochs == 0
    with pytest.raises(UsageError, match="epochs"):
        recipe_named("scratch").changed(epochs=0)


@pytest.mark.parametrize(("count", "epochs"), [(195, 31), (1187, 5), (20, 40), (600, 11), (10**6, 3)])
def test_the_budget_of_steps_makes_fewer_epochs_of_more_pictures(count: int, epochs: int) -> None:
    assert recipe_named("finetune").for_count(count).epochs == epochs
    assert recipe_named("scratch").for_count(count) == recipe_named("scratch")


def test_epochs_that_are_asked_for_go_before_the_budget_of_steps() -> None:
    asked = with_settings(recipe_named("finetune"), {}, ("epochs=70",))
    assert asked.for_count(10**6).epochs == 70


# Values that are valid and no recipe's own, where the type alone does not give one.
VALUES: dict[str, Any] = {
    "optim.layer_decay": 0.25,
    "preprocess.depth": 12,
    "preprocess.channels": 1,
    "preprocess.windows": ("lung", "40 400"),
    "model.block": "bottleneck",
    "model.widening": 2,
}


def another_value(key: str, hint: Any) -> Any:
    if key in VALUES:
        return VALUES[key]
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(choice for choice in get_args(hint) if choice is not type(None))
    if get_origin(hint) is Literal:
        return get_args(hint)[-1]
    if get_origin(hint) is tuple:
        return (1, 2) if get_args(hint)[0] is int else (0.25, 0.5, 0.75)
    return {bool: True, int: 7, float: 0.125, str: "x"}[hint]


def written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize("key", settable())
def test_every_setting_arrives_where_its_key_says(key: str) -> None:
    value, preprocess = another_value(key, settable()[key]), dict[str, Any]()
    recipe = with_settings(recipe_named("scratch"), preprocess, (f"{key}={written(value)}",))
    room, _, name = key.rpartition(".")
    if room == "preprocess":
        assert preprocess == {name: value}
    elif room == "model":
        assert recipe.model == {name: value}
    else:
        assert getattr(getattr(recipe, room) if room else recipe, name) == value
    kept = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert json.dumps(kept.to_json()) == json.dumps(recipe.to_json())


def test_settings_are_applied_one_after_the_other_and_leave_the_recipe_as_it_was() -> None:
    before = recipe_named("scratch")
    after = with_settings(before, {}, ("epochs=5", "optim.lr=0.5", "optim.name=adamw", "epochs=6"))
    assert (after.epochs, after.optim.lr, after.optim.name) == (6, 0.5, "adamw")
    assert after.changed(epochs=before.epochs, optim=before.optim) == before == recipe_named("scratch")


def test_none_is_written_as_a_word() -> None:
    recipe = recipe_named("scratch").changed(micro_batch=8)
    assert with_settings(recipe, {}, ("micro_batch=none",)).micro_batch is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optim.lrr=0.1", "did you mean 'optim.lr'"),
        ("label_smothing=0.1", "did you mean 'label_smoothing'"),
        ("model.widht=32", "did you mean 'model.width'"),
        ("preprocess.interpolaton=bilinear", "did you mean 'preprocess.interpolation'"),
        ("zzz=1", "resnetkit recipes NAME"),
        ("name=mine", "unknown key"),
        ("preprocess.size=96", "--image-size N or HxW"),
        ("preprocess.width=96", "--image-size N or HxW"),
        ("model.num_classes=3", "unknown key"),
        ("model=x", "unknown key"),
        ("optim=sgd", "unknown key"),
        ("epochs", "KEY=VALUE"),
        ("epochs=2.5", "'2.5' is not a whole number"),
        ("epochs=", "'' is not a whole number"),
        ("optim.lr=fast", "'fast' is not a number"),
        ("optim.nesterov=maybe", "'maybe' is not true or false"),
        ("schedule.name=cosin", "did you mean 'cosine'"),
        ("model.blocks=2,x", "'x' is not a whole number"),
    ],
)
def test_a_wrong_setting_is_told_with_what_was_probably_meant(setting: str, message: str) -> None:
    with pytest.raises(UsageError) as told:
        with_settings(recipe_named("scratch"), {}, (setting,))
    assert str(told.value).startswith(f"--set {setting}: ")
    assert message in str(told.value)


@pytest.mark.parametrize("setting", ["optim.lr=nan", "ema=nan", "schedule.warmup_epochs=nan"])
def test_numbers_that_are_none_are_refused(setting: str) -> None:
    with pytest.raises(UsageError):
        with_settings(recipe_named("scratch"), {}, (setting,))


def test_preprocessing_takes_what_its_settings_give() -> None:
    changes: dict[str, Any] = {}
    with_settings(recipe_named("scratch"), changes, ("preprocess.crop=pad", "preprocess.mean=0.5,0.5,0.5"))
    changed = Preprocess.for_size(32).changed(**changes)
    assert (changed.crop, changed.mean) == ("pad", (0.5, 0.5, 0.5))


def test_an_unknown_recipe_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'finetune'"):
        recipe_named("fine-tune")
