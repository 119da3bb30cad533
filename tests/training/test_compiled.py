import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from resnetkit.errors import UsageError
from resnetkit.models.catalog import spec_of
from resnetkit.runtime import Runtime
from resnetkit.training import budget
from resnetkit.training import loop as loop_module
from resnetkit.training.loop import Loop
from resnetkit.training.planning import compiled as module
from resnetkit.training.planning.compiled import check_compiler, repays
from resnetkit.training.recipe import Budget, Recipe
from resnetkit.training.stopping import StopRequest
from tests.training.test_loop import assert_same_bits


@pytest.fixture(autouse=True)
def _a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_compiler", lambda: True)


def told(recipe: Recipe, name: str, **changes: object) -> bool:
    asked: dict = {"pixels": 32**2, "num_images": 50_000, "device": "cpu"}
    asked |= {key: changes.pop(key) for key in tuple(changes) if key in asked}
    return repays(recipe, spec_of(name, **changes), **asked)


def test_only_long_runs_of_narrow_networks_on_a_cpu_are_compiled() -> None:
    long = Recipe(epochs=100)
    assert told(long, "resnet20")
    assert told(long, "resnet56")
    assert not told(long.changed(epochs=10), "resnet20")
    assert not told(long, "resnet18")
    assert not told(long, "resnet8_fast")
    assert not told(long, "resnet18", width=32, stem="cifar"), "its last stage is wide"
    assert not told(long, "resnet20", device="cuda")
    assert not told(long, "resnet20", pixels=8**2)
    assert not told(long.changed(train="head"), "resnet20")


def test_the_recipe_can_ask_for_it_or_rule_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(Recipe(compile="on", epochs=1), "resnet18")
    assert not told(Recipe(compile="off", epochs=1000), "resnet20")
    monkeypatch.setattr(module, "_has_compiler", lambda: False)
    assert not told(Recipe(epochs=100), "resnet20")
    with pytest.raises(UsageError, match=r"g\+\+"):
        check_compiler("cpu")
    check_compiler("cuda")


def test_every_length_of_batch_is_compiled_before_anything_is_timed_and_costs_no_bit(
    make_loop: Callable[..., Loop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    timed: list[int] = []

    def pretended(network: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(images: torch.Tensor) -> torch.Tensor:
            seen.append(len(images))
            return network(images)

        return forward

    def seconds(*_: object, **__: object) -> float:
        timed.extend(seen)
        return 1.0

    monkeypatch.setattr(loop_module, "compiled", pretended)
    monkeypatch.setattr(budget, "seconds_per_epoch", seconds)
    with StopRequest() as stop:
        plain = make_loop(folder=tmp_path / "plain").run(stop)
        runtime = Runtime(dtype="bf16", threads=1, compiled=True)
        loop = make_loop(folder=tmp_path / "compiled", runtime=runtime, budget=Budget(minutes=1))
        state = loop.run(stop)
    assert timed == [8, 7], "37 pictures in batches of at most 8"
    assert set(seen) == set(timed)
    assert_same_bits(state, plain)


RUN = """
import sys
import resnetkit as rk
from resnetkit.errors import InterruptedRun
from resnetkit.watcher import Watcher

class Stop(Watcher):
    def step(self, step):
        if "stop" in sys.argv and step.epoch == 1 and step.step == 3:
            import os, signal
            os.kill(os.getpid(), signal.SIGTERM)

try:
    rk.train(
        "digits", model="resnet8", output=sys.argv[1], epochs=1, batch_size=37, threads=1, limit=300,
        watcher=Stop(), settings=("compile=on",),
    )
except InterruptedRun:
    rk.resume(sys.argv[1])
"""


@pytest.mark.slow
def test_a_compiled_run_that_was_stopped_ends_with_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    for name, more in (("whole", []), ("halves", ["stop"])):
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / f"cache-{name}")}
        subprocess.run(
            [sys.executable, "-c", RUN, str(tmp_path / name), *more], check=True, env=environment, timeout=300
        )
    whole, halves = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "halves"))
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[key], halves[key]) for key in whole)
