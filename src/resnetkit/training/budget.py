"""How long a run may take: the epochs that fit into its minutes, and the end of its patience.

Nothing here raises the number of epochs. Each decision is a new number of epochs, which the run records. A run that is
given the number chosen before the first step, and no budget, ends with the same bits; a later decision ends or bends a
schedule that was planned longer.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnetkit.models.choice import FIGURES
from resnetkit.training.recipe import Recipe

# The number of epochs is lowered when the projected end is later than the minutes by more than this factor.
_TOLERANCE = 1.1
# The first steps are slower than those after them: memory is allocated, kernels are chosen.
_WARM_UP_STEPS = 2
_TIMED_STEPS = 5
# Epochs behind the run by which the speed of those ahead is judged: few, for a machine may become busy.
_RECENT = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Length:
    """The number of epochs that a run is to have, and why in a line for people."""

    epochs: int
    why: str


def seconds_per_epoch(
    step: Callable[[int], None], validate: Callable[[], object], *, steps: int,
    clock: Callable[[], float] = time.monotonic,
) -> float:  # fmt: skip
    """Time a few steps and one validation, and return what an epoch of `steps` steps will take, in seconds.

    `step(i)` does step i of the epoch and returns when it is done.
    """
    taken = []
    for number in range(_WARM_UP_STEPS + _TIMED_STEPS):
        begin = clock()
        step(number % steps)
        taken.append(clock() - begin)
    begin = clock()
    validate()
    return steps * statistics.median(taken[_WARM_UP_STEPS:]) + clock() - begin


def epochs_that_fit(
    recipe: Recipe, rows: Sequence[Mapping[str, Any]], *, each: float, storing: float = 0.0, compiled: bool = False
) -> Length:
    """Return how many of the recipe's epochs fit into its minutes, at least one, where an epoch takes `each` seconds.

    The first `views` of them take `storing` seconds more. Time that `rows` have used, such as that of the fitted head,
    is not there any more.
    """
    minutes = recipe.budget.minutes
    assert minutes is not None
    left = 60 * minutes - seconds_used(rows)
    while_storing = int(left / (each + storing))
    fit = while_storing if while_storing <= recipe.views else int((left - recipe.views * storing) / each)
    fit = max(1, min(recipe.epochs, fit))
    words = f"all {fit} epochs fit" if fit == recipe.epochs else f"{fit} of {recipe.epochs} epochs"
    again = f"--epochs {fit}{' --set compile=on' if compiled else ''} and no budget"
    return Length(epochs=fit, why=f"{minutes:g} minutes: {words}, {each:.3g} s each; the same bits again with {again}")


def seconds_used(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the time behind a run: training and validation, also that before it was interrupted."""
    return sum(row["seconds"] for row in rows)


def fewer_epochs(recipe: Recipe, rows: Sequence[Mapping[str, Any]], *, best: Mapping[str, Any] | None) -> Length | None:
    """Return the lower number of epochs where patience or the minutes ask for it after the last of `rows`, or None.

    `best`: the best of the rows.
    """
    assert best is not None
    if rows[-1]["epoch"] >= recipe.epochs:
        return None
    return _out_of_patience(recipe, rows[-1]["epoch"], best["epoch"]) or _out_of_time(recipe, rows)


def _out_of_patience(recipe: Recipe, done: int, best_epoch: int) -> Length | None:
    patience = recipe.budget.patience
    if not patience or done - best_epoch < patience:
        return None
    return Length(
        epochs=done,
        why=f"no better held-out {FIGURES[recipe.select]} for {patience} epochs, the best is that of epoch "
        f"{best_epoch}: the run ends after {done} of {recipe.epochs} epochs",
    )


def _out_of_time(recipe: Recipe, rows: Sequence[Mapping[str, Any]]) -> Length | None:
    if recipe.budget.minutes is None:
        return None
    allowed, used, done = 60 * recipe.budget.minutes, seconds_used(rows), rows[-1]["epoch"]
    recent = [row for row in rows[-_RECENT:] if row["epoch"] > 0]
    each = max(1e-3, statistics.mean(row["seconds"] - row.get("storing_seconds", 0.0) for row in recent))
    used += max(0, min(recipe.views, recipe.epochs) - done) * max(row.get("storing_seconds", 0.0) for row in rows)
    if used + (recipe.epochs - done) * each <= _TOLERANCE * allowed:
        return None
    one_more = used + each <= _TOLERANCE * allowed
    epochs = done + max(int((allowed - used) / each), int(one_more))
    ends = f"from here on the learning rate is that of a run of {epochs}"
    if epochs == done:
        ends = "the run ends here, before its learning rate has come down"
        ends += ", and its head is not fitted again" if recipe.head_last else ""
    return Length(
        epochs=epochs,
        why=f"slower than it was timed ({each:.3g} s an epoch): {epochs} epochs instead of {recipe.epochs}, for "
        f"{recipe.budget.minutes:g} minutes; {ends}",
    )
