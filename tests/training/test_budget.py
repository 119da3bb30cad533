import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resnetkit.errors import InterruptedRun
from resnetkit.training import budget
from resnetkit.training import state as states
from resnetkit.training.budget import epochs_that_fit, fewer_epochs, seconds_per_epoch
from resnetkit.training.choosing import Validation
from resnetkit.training.loop import Loop
from resnetkit.training.recipe import Budget, Recipe
from resnetkit.training.stopping import StopRequest
from resnetkit.watcher import Watcher
from tests.training.test_loop import assert_same_bits

MakeLoop = Callable[..., Loop]
MINUTE = Recipe(epochs=30, budget=Budget(minutes=1))


def rows(*seconds: float, first: int = 1) -> list[dict[str, Any]]:
    return [{"epoch": first + number, "seconds": value} for number, value in enumerate(seconds)]


class Notes(Watcher):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_an_epoch_is_its_steps_and_one_validation_without_the_slow_first_steps() -> None:
    now, steps = [0.0], list[int]()

    def step(number: int) -> None:
        now[0] += 100 if len(steps) < 2 else 2
        steps.append(number)

    def validate() -> None:
        now[0] += 7

    assert seconds_per_epoch(step, validate, steps=3, clock=lambda: now[0]) == 3 * 2 + 7
    assert set(steps) == {0, 1, 2}


@pytest.mark.parametrize(("each", "epochs"), [(7, 8), (1, 30), (2, 30), (90, 1)])
def test_as_many_epochs_as_fit_at_least_one_and_never_more_than_the_recipes(each: float, epochs: int) -> None:
    decision = epochs_that_fit(MINUTE, [], each=each)
    assert decision.epochs == epochs
    assert f"--epochs {epochs}" in decision.why
    assert ("all 30 epochs fit" in decision.why) == (epochs == 30)


@pytest.mark.parametrize(("views", "epochs"), [(0, 20), (4, 16), (10, 10), (20, 10)])
def test_the_first_epochs_take_the_time_of_their_views_too(views: int, epochs: int) -> None:
    recipe = MINUTE.changed(train="layer4", views=views)
    assert epochs_that_fit(recipe, [], each=3, storing=3).epochs == epochs


def test_views_that_are_stored_slow_no_later_epoch() -> None:
    recipe = MINUTE.changed(train="layer4", views=2)
    done = [row | {"storing_seconds": 9} for row in rows(10.5, 10.5)]
    assert fewer_epochs(recipe, done[:1], best=done[0]) is None  # 1.5 an epoch, and 9 once more
    assert fewer_epochs(recipe, done, best=done[0]) is None
    assert fewer_epochs(recipe, [row | {"storing_seconds": 0} for row in done], best=done[0]) is not None


def test_the_time_of_the_fitted_head_is_not_there_any_more() -> None:
    assert epochs_that_fit(MINUTE, rows(32, first=0), each=7).epochs == 4


@pytest.mark.parametrize(
    ("behind", "epochs"),
    [
        ((2.0,), None),  # 60 of 60 seconds
        ((2.1, 2.1), None),  # 63: within the tenth
        ((3.0, 3.0), 20),  # 90: what fits, 18 more
        ((30.0, 20.0), 2),  # 10 seconds left, 25 each
        ((50.0,), 1),
        ((35.0, 30.0), 2),  # later than allowed
        ((32.0,), 2),  # one more ends at 64, within the tenth
    ],
)
def test_a_run_that_is_slower_than_it_was_timed_gets_fewer_epochs(behind: tuple[float, ...], epochs: int) -> None:
    decision = fewer_epochs(MINUTE, rows(*behind), best=rows(*behind)[-1])
    assert (decision and decision.epochs) == epochs


def test_a_run_whose_time_is_over_says_that_its_rate_has_not_come_down() -> None:
    over, behind = (fewer_epochs(MINUTE, rows(*seconds), best=rows(*seconds)[-1]) for seconds in ((70.0,), (32.0,)))
    assert over is not None
    assert behind is not None
    assert (over.epochs, behind.epochs) == (1, 2)
    assert over.why.endswith("the run ends here, before its learning rate has come down")
    assert behind.why.endswith("from here on the learning rate is that of a run of 2")


def test_the_latest_epochs_tell_how_long_those_ahead_take() -> None:
    recipe = MINUTE.changed(epochs=8)
    behind = rows(1, 1, 1, 10, 10, 10)
    decision = fewer_epochs(recipe, behind, best=behind[-1])
    assert decision is None  # 33 used and 20 to come, not 33 / 6 each
    assert fewer_epochs(recipe.changed(epochs=10), behind, best=behind[-1]).epochs == 8  # type: ignore[union-attr]


def test_without_a_budget_nothing_is_decided() -> None:
    assert fewer_epochs(Recipe(epochs=3), rows(1e9), best=rows(1)[0]) is None


def test_patience_ends_when_the_best_lies_that_far_behind() -> None:
    recipe = Recipe(epochs=30, budget=Budget(patience=3), select="top1")
    behind = rows(*[1] * 6)
    assert fewer_epochs(recipe, behind, best=behind[3]) is None
    decision = fewer_epochs(recipe, behind, best=behind[2])
    assert decision is not None
    assert decision.epochs == 6
    assert "held-out accuracy for 3 epochs" in decision.why
    assert fewer_epochs(recipe.changed(epochs=6), behind, best=behind[2]) is None


@pytest.mark.parametrize("each", [10.0, 25.0])
def test_a_run_within_minutes_has_the_bits_of_one_with_as_many_epochs(
    make_loop: MakeLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: float
) -> None:
    timed = budget.seconds_per_epoch

    def fixed(*given: Any, **more: Any) -> float:
        timed(*given, **more)  # the steps are done, so that undoing them is needed
        return each

    monkeypatch.setattr(budget, "seconds_per_epoch", fixed)
    watch = Notes()
    loop = make_loop(folder=tmp_path / "timed", epochs=4, ema=0.9, budget=Budget(minutes=1), watch=watch)
    with StopRequest() as stop:
        within = loop.run(stop)
    epochs = min(4, int(60 / each))
    with StopRequest() as stop:
        plain = make_loop(folder=tmp_path / "plain", epochs=epochs, ema=0.9).run(stop)
    assert_same_bits(within, plain)
    assert within.begun.recipe["epochs"] == epochs
    assert len(watch.said) == 1


def test_a_resumed_run_is_not_timed_again(make_loop: MakeLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = make_loop(epochs=2, budget=Budget(minutes=1))
    with StopRequest() as stop:
        loop.run(stop)
    monkeypatch.setattr(budget, "seconds_per_epoch", lambda *_, **__: pytest.fail("timed again"))
    with StopRequest() as stop:
        assert make_loop(epochs=3, budget=Budget(minutes=1), fresh=False).run(stop).position.epoch == 3


def test_a_signal_while_steps_are_timed_leaves_the_run_at_its_beginning(make_loop: MakeLoop) -> None:
    loop = make_loop(epochs=2, budget=Budget(minutes=1))
    first = states.newest(loop.folder)
    validate = loop.task.validate

    def interrupted(network: Any, check: Callable[[], None]) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return validate(network, check)

    loop.task = replace(loop.task, validate=interrupted)
    with StopRequest() as stop, pytest.raises(InterruptedRun):
        loop.run(stop)
    left = states.newest(loop.folder)
    assert (left.position.step, left.rows, left.begun.timed) == (0, [], False)
    assert all(torch.equal(left.model[name], tensor) for name, tensor in first.model.items())


def test_a_run_without_patience_left_ends_as_finished(make_loop: MakeLoop) -> None:
    watch = Notes()
    loop = make_loop(epochs=30, budget=Budget(patience=2), select="top1", watch=watch)
    loop.task = replace(loop.task, validate=lambda network, check: Validation({"val_loss": 1.0, "val_top1": 0.5}))
    with StopRequest() as stop:
        state = loop.run(stop)
    assert [row["epoch"] for row in state.rows] == [1, 2, 3]
    assert states.newest(loop.folder).begun.recipe["epochs"] == 3
    assert "ends after 3 of 30 epochs" in watch.said[0]
