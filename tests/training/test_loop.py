import copy
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from resnetkit.data.batches import Batch
from resnetkit.errors import DivergedError, InterruptedRun, ResourceError
from resnetkit.runtime import Runtime
from resnetkit.training import state as states
from resnetkit.training.choosing import Validation, better
from resnetkit.training.learning import Figures, Forward
from resnetkit.training.loop import Loop
from resnetkit.training.recipe import Optim, Recipe
from resnetkit.training.state import State
from resnetkit.training.stopping import StopRequest
from resnetkit.watcher import Step, Watcher

MakeLoop = Callable[..., Loop]
TIMING = ("seconds", "images_per_second", "storing_seconds")


def figures(state: State) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIMING} for row in state.rows]


def assert_same_bits(one: State, other: State) -> None:
    for room in ("model", "ema", "best", "optimizer", "right"):
        ours, theirs = getattr(one, room), getattr(other, room)
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert torch.equal(ours[name], theirs[name]), (room, name)
    assert figures(one) == figures(other)


class Interrupting(Watcher):
    """Sends a signal to this process at one moment of the run."""

    def __init__(self, moment: int, number: int = signal.SIGINT) -> None:
        self.left, self.number = moment, number

    def step(self, step: Step) -> None:
        self._tick()

    def epoch(self, row: dict[str, Any]) -> None:
        self._tick()

    def _tick(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        self.left -= 1


FULL = Recipe(
    epochs=2, batch_size=8, optim=Optim(lr=0.05), label_smoothing=0.1, ema=0.9, clip_norm=1.0,
    class_weights="balanced", micro_batch=5,
).for_pictures(median_side=8, size=8)  # fmt: skip
ADAMW = Recipe(epochs=2, batch_size=8, optim=Optim(name="adamw", lr=1e-3)).for_pictures(median_side=8, size=8)


@pytest.mark.parametrize("recipe", [FULL, ADAMW], ids=["sgd-ema-clip", "adamw"])
@pytest.mark.parametrize("moment", [0, *(pytest.param(moment, marks=pytest.mark.slow) for moment in (3, 5)), 4, 9])
def test_an_interrupted_and_resumed_run_ends_with_the_same_bits(
    make_loop: MakeLoop, tmp_path: Path, recipe: Recipe, moment: int
) -> None:
    with StopRequest() as stop:
        whole = make_loop(recipe, folder=tmp_path / "whole").run(stop)
    folder = tmp_path / "stopped"
    with StopRequest() as stop, pytest.raises(InterruptedRun) as stopped:
        make_loop(recipe, folder=folder, watch=Interrupting(moment)).run(stop)
    assert stopped.value.exit_code == 130
    with StopRequest() as stop:
        resumed = make_loop(recipe, folder=folder, fresh=False).run(stop)
    assert_same_bits(whole, resumed)
    ours, theirs = (load_file(states.saved(place)[-1]) for place in (tmp_path / "whole", folder))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_drawn_classes_are_the_same_ones_after_a_stop(make_loop: MakeLoop, tmp_path: Path) -> None:
    recipe = ADAMW.changed(sampling="balanced")
    with StopRequest() as stop:
        whole = make_loop(recipe, folder=tmp_path / "whole").run(stop)
        plain = make_loop(ADAMW, folder=tmp_path / "plain").run(stop)
    with StopRequest() as stop, pytest.raises(InterruptedRun):
        make_loop(recipe, folder=tmp_path / "stopped", watch=Interrupting(9)).run(stop)
    with StopRequest() as stop:
        resumed = make_loop(recipe, folder=tmp_path / "stopped", fresh=False).run(stop)
    assert_same_bits(whole, resumed)
    assert figures(plain) != figures(whole)


def test_sigterm_saves_and_names_its_exit_code(make_loop: MakeLoop) -> None:
    with StopRequest() as stop, pytest.raises(InterruptedRun, match="epoch 1 of 2, step 3") as stopped:
        make_loop(watch=Interrupting(2, signal.SIGTERM)).run(stop)
    assert stopped.value.exit_code == 143


def test_a_signal_during_validation_is_obeyed_before_it_ends(make_loop: MakeLoop) -> None:
    loop = make_loop()
    validate = loop.task.validate

    def interrupted(network: Any, check: Callable[[], None]) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return validate(network, check)

    loop.task = replace(loop.task, validate=interrupted)
    with StopRequest() as stop, pytest.raises(InterruptedRun, match="epoch 1 of 2, step 5"):
        loop.run(stop)
    assert states.newest(loop.folder).rows == []


def test_the_signal_handlers_of_the_caller_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_signal_has_its_default_effect() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal_number == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_training_learns(make_loop: MakeLoop) -> None:
    with StopRequest() as stop:
        state = make_loop(epochs=6).run(stop)
    assert state.best_row is not None
    assert state.best_row["val_top1"] > 0.8
    assert state.rows[-1]["train_loss"] < state.rows[0]["train_loss"]


def test_the_same_seed_gives_the_same_bits(make_loop: MakeLoop, tmp_path: Path) -> None:
    with StopRequest() as stop:
        one = make_loop(folder=tmp_path / "one").run(stop)
        other = make_loop(folder=tmp_path / "other").run(stop)
    assert_same_bits(one, other)


def test_a_loss_that_is_not_finite_never_reaches_the_weights(make_loop: MakeLoop) -> None:
    loop = make_loop()
    learn, steps = loop.task.learn, []

    def explodes(forward: Forward, batch: Batch) -> tuple[torch.Tensor, Figures]:
        steps.append(copy.deepcopy(loop.network.state_dict()))
        loss, figures = learn(forward, batch)
        return loss * (math.nan if len(steps) == 3 else 1), figures

    loop.task = replace(loop.task, learn=explodes)
    with StopRequest() as stop, pytest.raises(DivergedError, match=r"epoch 1, step 3, learning rate .*\d{3}\.png") as e:
        loop.run(stop)
    assert e.value.exit_code == 6
    assert len(steps) == 3
    for name, parameter in loop.network.named_parameters():
        assert torch.equal(parameter, steps[2][name]), name
    assert states.newest(loop.folder).position.step == 0


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_batch(make_loop: MakeLoop) -> None:
    said: list[str] = []
    watch = Watcher()
    watch.note = said.append  # type: ignore[method-assign]
    loop = make_loop(watch=watch)
    forward = loop.network.forward

    def small_device(images: torch.Tensor) -> torch.Tensor:
        if len(images) > 3 and loop.network.training:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(images)

    loop.network.forward = small_device  # type: ignore[method-assign]
    with StopRequest() as stop:
        state = loop.run(stop)
    assert state.micro_batch == 2
    assert state.rows[-1]["epoch"] == 2
    assert said == [
        "out of memory: going on with 4 images at a time, the batch stays 8",
        "out of memory: going on with 2 images at a time, the batch stays 8",
    ]


def test_out_of_memory_with_one_image_says_what_to_change(make_loop: MakeLoop) -> None:
    loop = make_loop()

    def no_memory(images: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError

    loop.network.forward = no_memory  # type: ignore[method-assign]
    with StopRequest() as stop, pytest.raises(ResourceError, match="--image-size"):
        loop.run(stop)


def test_micro_batches_give_the_gradient_of_the_whole_batch(make_loop: MakeLoop, tmp_path: Path) -> None:
    ends = []
    for micro in (None, 3):
        loop = make_loop(
            folder=tmp_path / str(micro),
            epochs=1,
            batchnorm="frozen",
            micro_batch=micro,
            class_weights="balanced",
            runtime=Runtime(dtype="fp32", threads=1),
        )
        with StopRequest() as stop:
            ends.append(loop.run(stop).model)
    for name in ends[0]:
        torch.testing.assert_close(ends[0][name], ends[1][name], atol=2e-5, rtol=1e-4)


def test_frozen_batchnorm_keeps_its_statistics_and_head_only_keeps_all_else(
    make_loop: MakeLoop, tmp_path: Path
) -> None:
    frozen = make_loop(folder=tmp_path / "a", batchnorm="frozen")
    before = copy.deepcopy(frozen.network.state_dict())
    head = make_loop(folder=tmp_path / "b", train="head")
    with StopRequest() as stop:
        after, only_head = frozen.run(stop).model, head.run(stop).model
    assert all(torch.equal(before[name], after[name]) for name in before if "running" in name)
    assert not torch.equal(before["conv1.weight"], after["conv1.weight"])
    changed = {name for name in before if not torch.equal(before[name], only_head[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_the_averaged_weights_are_what_is_scored_and_kept_as_best(make_loop: MakeLoop) -> None:
    loop = make_loop(ema=0.9)
    with StopRequest() as stop:
        state = loop.run(stop)
    assert not torch.equal(state.ema["conv1.weight"], state.model["conv1.weight"])
    best_epoch = state.best_row["epoch"] if state.best_row else 0
    if best_epoch == 2:
        assert torch.equal(state.best["conv1.weight"], state.ema["conv1.weight"])


def test_what_two_rooms_of_a_state_hold_alike_is_written_once(make_loop: MakeLoop, tmp_path: Path) -> None:
    with StopRequest() as stop:
        state = make_loop(ema=0.9).run(stop)
    path = state.save(tmp_path)
    held = sum(t.nbytes for room in state._ROOMS for t in getattr(state, room).values())
    once = held - sum(t.nbytes for t in state.best.values())
    assert once <= path.stat().st_size < once + 20_000
    read = State.load(path)
    for room in State._ROOMS:
        assert getattr(read, room).keys() == getattr(state, room).keys()
        assert all(torch.equal(value, getattr(state, room)[name]) for name, value in getattr(read, room).items())


@pytest.mark.parametrize(
    ("select", "first", "second", "second_wins"),
    [
        ("top1", (0.5, 1.0), (0.6, 2.0), True),
        ("top1", (0.5, 1.0), (0.5, 0.9), True),
        ("top1", (0.5, 1.0), (0.5, 1.0), False),
        ("loss", (0.9, 1.0), (0.5, 0.9), True),
    ],
)
def test_the_best_epoch_is_chosen_by_the_named_figure(
    select: str, first: tuple[float, float], second: tuple[float, float], second_wins: bool
) -> None:
    rows = [{"val_top1": top1, "val_loss": loss} for top1, loss in (first, second)]
    assert better(rows[1], rows[0], select) is second_wins


def test_a_held_out_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_save(make_loop: MakeLoop) -> None:
    loop = make_loop()
    loop.task = replace(loop.task, validate=lambda network, check: Validation({"val_loss": math.nan, "val_top1": 0.1}))
    with StopRequest() as stop, pytest.raises(DivergedError, match="held-out loss is not finite after epoch 1"):
        loop.run(stop)
    assert states.newest(loop.folder).rows == []


def test_a_full_disk_is_told_and_the_older_save_stays(
    make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    loop = make_loop()

    def full(path: Path, *given: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    state, empty = states.newest(loop.folder), tmp_path_factory.mktemp("empty")
    monkeypatch.setattr(states, "write_safetensors", full)
    with StopRequest() as stop, pytest.raises(ResourceError, match=r"No space left on device\); the save before it is"):
        loop.run(stop)
    with pytest.raises(ResourceError, match="; nothing is saved yet: free some space"):
        state.save(empty)
    monkeypatch.undo()
    assert states.newest(loop.folder).position.step == 0
    assert not [*loop.folder.glob(".*.tmp"), *empty.iterdir()]


def test_a_device_that_works_ahead_stops_within_ten_steps_with_finite_weights(make_loop: MakeLoop) -> None:
    # "cpu:0" computes on the CPU and takes the way of devices whose losses are read only every ten steps.
    loop = make_loop(runtime=Runtime(device="cpu:0", threads=1), batch_size=2)
    learn, steps = loop.task.learn, []

    def explodes(forward: Forward, batch: Batch) -> tuple[torch.Tensor, Figures]:
        steps.append(len(steps) + 1)
        loss, figures = learn(forward, batch)
        return loss * (math.nan if len(steps) == 3 else 1), figures

    loop.task = replace(loop.task, learn=explodes)
    with StopRequest() as stop, pytest.raises(DivergedError, match="epoch 1, step 3"):
        loop.run(stop)
    assert 3 < len(steps) <= 13
    assert all(torch.isfinite(parameter).all() for parameter in loop.network.parameters())
    assert states.newest(loop.folder).position.step == 0


def test_reading_losses_late_changes_no_figure(make_loop: MakeLoop, tmp_path: Path) -> None:
    ends = []
    for device in ("cpu", "cpu:0"):
        loop = make_loop(folder=tmp_path / device, runtime=Runtime(device=device, threads=1))
        with StopRequest() as stop:
            ends.append(loop.run(stop))
    assert_same_bits(*ends)


def test_without_a_validation_part_the_newest_is_the_best() -> None:
    row = {"train_top1": 0.5, "train_loss": 1.0, "val_loss": None, "val_top1": None}
    assert better(row | {"train_top1": 0.4}, row, "top1")
