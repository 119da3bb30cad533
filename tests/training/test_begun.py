"""What a run was begun with, read from its state, also from one of before."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from resnetkit.training.begun import Begun
from resnetkit.training.recipe import Recipe
from resnetkit.training.state import Position, saved
from tests.conftest import Output
from tests.training.conftest import BEGUN


def test_it_survives_json_with_all_that_may_be_in_it() -> None:
    for begun in (BEGUN, Begun.from_json(BEGUN.to_json() | {"timed": True, "moved_to": ["there"]})):
        assert Begun.from_json(json.loads(json.dumps(begun.to_json()))) == begun
    assert not Begun.from_json({k: v for k, v in BEGUN.to_json().items() if k != "contents_in_order"}).contents_in_order


def test_a_position_of_before_knew_one_figure() -> None:
    before = {"epoch": 1, "step": 2, "loss_sum": 3.0, "num_right": 5, "num_seen": 10, "seconds": 0.5}
    assert Position.from_json(before).mean("top1") == 0.5


@pytest.mark.parametrize("recipe", ["cifar10-resnet20", "tutorial"])
def test_a_run_of_a_recipe_that_is_gone_goes_on_with_what_its_state_carries(
    recipe: str, resnetkit: Callable[..., Output], tmp_path: Path
) -> None:
    how = ("--model", "resnet8", "--limit", "60", "--threads", "1", "--epochs", "1", "--output", "run")
    assert resnetkit("train", "digits", *how)[0] == 0
    scores = Path("run/predictions.csv").stat().st_mtime_ns
    for path in saved(Path("run/state")):
        with safe_open(path, framework="pt") as opened:
            said = json.loads(opened.metadata()["resnetkit_state"])
        said["request"]["request"]["recipe"] = recipe
        said["request"]["recipe"]["name"] = recipe
        for newer in ("vertical_flip", "turn", "colour", "policy"):
            del said["request"]["recipe"]["augment"][newer]
        save_file(load_file(path), path, metadata={"resnetkit_state": json.dumps(said)})
    code, _, err = resnetkit("resume", "run", "--epochs", "2")
    assert code == 0, err
    assert Path("run/predictions.csv").stat().st_mtime_ns > scores
    assert Recipe.from_json(said["request"]["recipe"]).augment.turn == 0
    assert f'name = "{recipe}"' in Path("run/recipe.toml").read_text()
