"""Which epoch is the model, and what is said of that."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resnetkit.errors import InterruptedRun
from resnetkit.models.choice import Choice, choice_in
from resnetkit.training import state as states
from resnetkit.training.choosing import below_its_head, better, choice, keep_answers, kept_answers, with_choice
from resnetkit.training.loop import Loop
from resnetkit.training.recipe import Recipe
from resnetkit.training.state import State
from resnetkit.training.stopping import StopRequest
from tests.training.conftest import BEGUN
from tests.training.test_loop import Interrupting, assert_same_bits

MakeLoop = Callable[..., Loop]
ROWS = [{"epoch": e, "lr": 0.1 * (4 - e), "val_loss": 1.0, "val_top1": v} for e, v in ((1, 0.5), (2, 0.9), (3, 0.7))]


def recipe(**changes: Any) -> dict[str, Any]:
    return Recipe(epochs=3).changed(**changes).to_json() | {"optim": {"lr": 0.3}}


def test_the_last_epoch_is_the_model_and_training_is_the_same_whatever_chooses(
    make_loop: MakeLoop, tmp_path: Path
) -> None:
    ends = {}
    for select in ("last", "top1", "balanced_accuracy", "loss"):
        with StopRequest() as stop:
            ends[select] = make_loop(epochs=4, select=select, folder=tmp_path / select).run(stop)
    last = ends["last"]
    assert last.best_row == last.rows[-1]
    assert all(torch.equal(last.best[name], tensor) for name, tensor in last.model.items())
    assert last.right == {}
    for select, state in ends.items():
        assert all(torch.equal(last.model[name], tensor) for name, tensor in state.model.items())
        assert [row["val_top1"] for row in state.rows] == [row["val_top1"] for row in last.rows]
        if select != "last":
            answers = kept_answers(state, 20)
            assert answers is not None
            assert answers.mean(axis=1).tolist() == pytest.approx([row["val_top1"] for row in state.rows])
            assert not better(state.rows[-1], state.best_row or {}, select)


def test_answers_outlive_a_stop(make_loop: MakeLoop, tmp_path: Path) -> None:
    with StopRequest() as stop:
        whole = make_loop(select="loss", folder=tmp_path / "whole").run(stop)
    folder = tmp_path / "stopped"
    with StopRequest() as stop, pytest.raises(InterruptedRun):
        make_loop(select="loss", folder=folder, watch=Interrupting(7)).run(stop)
    assert set(states.newest(folder).right) == {"1"}
    with StopRequest() as stop:
        assert_same_bits(whole, make_loop(select="loss", folder=folder, fresh=False).run(stop))


def test_answers_are_kept_as_bits_and_missing_ones_are_not_made_up(tmp_path: Path) -> None:
    state = State(begun=BEGUN, rows=[{"epoch": 0}, {"epoch": 1}])
    right = np.random.default_rng(0).random((2, 29)) < 0.5
    keep_answers(state, 0, torch.from_numpy(right[0]))
    assert kept_answers(state, 29) is None
    keep_answers(state, 1, torch.from_numpy(right[1]))
    assert sum(bits.numel() for bits in state.right.values()) == 8
    kept = kept_answers(State.load(state.save(tmp_path)), 29)
    assert kept is not None
    np.testing.assert_array_equal(kept, right)


def test_a_choice_says_which_epoch_by_what_and_among_how_many() -> None:
    last, best = choice(ROWS[-1], ROWS, recipe(), on=29), choice(ROWS[1], ROWS, recipe(select="top1"), on=29)
    assert (last.selected, last.short) == (False, "last epoch (3)")
    assert last.words.startswith(
        "the last epoch, 3, whose learning rate had not come down (33 % of the full one)"
    )  # a rate that did not come down
    assert best == Choice(by="top1", epoch=2, done=3, of=3, looks=3, on=29, rate=pytest.approx(0.666667))
    assert best.words == "epoch 2 of 3, chosen by accuracy among 3 on 29 held-out pictures"
    assert choice_in(best.to_json() | {"of a later version": 1}) == best
    assert choice_in({}) is None
    calm = [*ROWS[:-1], ROWS[-1] | {"lr": 1e-4}]
    assert choice(calm[-1], calm, recipe(), on=29).words == "the last epoch, 3; no picture chose it"
    alone = choice(ROWS[0], ROWS[:1], recipe(select="top1", epochs=1), on=29)
    assert not alone.selected  # there was nothing to choose among


def test_an_unfinished_schedule_is_told() -> None:
    stopped = choice(ROWS[-1], ROWS, recipe(epochs=40), on=29)
    assert stopped.words == "the last epoch, 3; its schedule is not finished, 3 of 40 epochs; no picture chose it"
    assert stopped.short == "epoch 3 of 40"
    chosen = choice(ROWS[1], ROWS, recipe(select="loss", epochs=40), on=29)
    assert chosen.words.endswith("among 3 on 29 held-out pictures; its schedule is not finished, 3 of 40 epochs")


def test_without_held_out_pictures_nothing_chose() -> None:
    rows = [row | {"val_loss": None, "val_top1": None} for row in ROWS]
    assert choice(rows[-1], rows, recipe(select="top1"), on=0).by == "last"


def test_a_run_of_an_older_version_chose_by_accuracy() -> None:
    older = choice(ROWS[1], ROWS, {"epochs": 3, "optim": {"lr": 0.3}, "select": "top1"}, on=29)
    metrics = with_choice({"split": "val", "top1": 0.9}, older)
    assert metrics is not None
    assert "top1" in metrics["optimistic"]
    assert metrics["chosen"]["looks"] == 3
    scored = with_choice({"split": "test", "top1": 0.9}, older)
    assert scored is not None
    assert scored["optimistic"] == []
    assert with_choice({"split": "val", "chosen": {}}, older) == {"split": "val", "chosen": {}}


@pytest.mark.parametrize(("head", "last", "told"), [(0.9, 0.7, True), (0.7, 0.7, False), (0.5, 0.7, False)])
def test_a_last_epoch_below_the_fitted_head_is_told_with_both_figures(head: float, last: float, told: bool) -> None:
    rows = [{"epoch": 0, "val_top1": head}, {"epoch": 1, "val_top1": 0.1}, {"epoch": 2, "val_top1": last}]
    for given in (rows, [{name: str(value) for name, value in row.items()} for row in rows]):
        said = below_its_head(given)
        assert bool(said) is told
        assert not told or ("70.0 %" in said and "90.0 %" in said and "--recipe probe" in said)
    assert below_its_head(rows[1:]) == below_its_head(rows[:1]) == below_its_head([]) == ""
    assert below_its_head([{"epoch": "0", "val_top1": ""}, {"epoch": "1", "val_top1": ""}]) == ""
