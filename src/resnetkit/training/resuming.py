"""Taking up a run where its newest state left it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from resnetkit.data.dataset import NUMBERED, Dataset
from resnetkit.data.prepared import Prepared, Reading
from resnetkit.data.sources import asked
from resnetkit.data.sources.arrays import GIVEN
from resnetkit.data.sources.moved import found_again, seen_from
from resnetkit.data.splits import read_folds, read_items, read_split
from resnetkit.errors import DataError, UsageError
from resnetkit.runtime import Runtime, resolve
from resnetkit.training import run as runs
from resnetkit.training import state as states
from resnetkit.training.begun import Begun
from resnetkit.training.job import Job, contents, open_request_data, prepare_data
from resnetkit.training.lineage import lineage_of
from resnetkit.training.planning.checks import check_batches, check_ranks
from resnetkit.training.planning.compiled import check_compiler
from resnetkit.training.planning.plan import Plan
from resnetkit.training.recipe import Budget, Recipe
from resnetkit.training.request import Request
from resnetkit.training.run import RunFolder
from resnetkit.training.state import State
from resnetkit.training.task import Task
from resnetkit.training.together.ranks import Ranks
from resnetkit.watcher import Watcher


def take_up(
    folder: RunFolder, *, ranks: Ranks, epochs: int | None = None, data: Sequence[Any] = (), watch: Watcher,
    task_called: Callable[[str], Task], progress: Callable[[int, int], None] | None = None,
) -> Job:  # fmt: skip
    """Take up a run where its newest state left it, or on to `epochs`; data, recipe and place come from the run.

    Where its pictures lie elsewhere now, `data` says where, and they are found by content.
    Raises `DataError` where the pictures are no longer those it was trained on, and `UsageError` where `epochs` lies
    behind, or where this machine lacks the device or the processes that the run's bits depend on.
    """
    if folder.whole != folder:
        whole = folder.whole.path
        raise UsageError(f"{folder.path} is a fold of {whole}, and goes on with it: resnetkit resume {whole}")
    state = ranks.by_first(lambda: states.newest(folder.state))
    begun, recipe = state.begun, _longer(folder, state, epochs)
    trains_on = state.position.epoch < recipe.epochs
    _check_machine(begun.runtime, ranks, recipe)
    runtime = begun.runtime
    if trains_on:
        _check_views(folder, begun)
        runtime = _among(ranks, runtime, folder, recipe, watch)
    rows, task = read_split(folder.split), task_called(begun.task)
    request = _from_here(begun, task)
    moved_to = tuple(os.path.abspath(name) for name in data if isinstance(name, (str, os.PathLike)))
    dataset = _pictures(folder, begun, request, data=data, moved_to=moved_to, watch=watch, progress=progress)
    if dataset.hidden is not None or NUMBERED in request.data:
        moved_to = (NUMBERED,)
    fold_rows = read_folds(folder.split) if request.folds else None
    reading = Reading(
        threads=runtime.threads, bad_images=request.bad_images, hint="put them back as they were", progress=progress
    )
    plan = Plan(spec=begun.spec, preprocess=begun.preprocess, recipe=recipe, weights=begun.weights, reasons=())
    prepared = prepare_data(request, dataset, plan, reading=reading, split_rows=rows, fold_rows=fold_rows)
    if contents(prepared) != begun.fingerprint or prepared.classes != begun.classes:
        raise DataError(_what_changed(folder, prepared))
    if trains_on:
        check_batches(plan, len(prepared.parts["train"]), runtime=runtime, ranks=ranks)
    return Job(
        folder=folder, prepared=prepared, spec=plan.spec, recipe=recipe, runtime=runtime, request=request, ranks=ranks,
        lineage=lineage_of(folder), task=task, moved_to=moved_to,
    )  # fmt: skip


def _check_machine(runtime: Runtime, ranks: Ranks, recipe: Recipe) -> None:
    """Refuse a machine that lacks what the run's bits depend on."""
    resolve(device=runtime.device)
    runtime.check_threads()
    check_ranks(ranks, recipe, runtime)
    if runtime.compiled:
        check_compiler(runtime.device)


def _from_here(begun: Begun, task: Task) -> Request:
    """Return what was asked for, its task known and its paths as they are seen from the folder we are in."""
    request, start = dataclasses.replace(begun.request, task=asked(task.name)), Path(begun.cwd)
    if start == Path.cwd():
        return request
    return dataclasses.replace(request, data=tuple(seen_from(start, name) for name in request.data))


def _pictures(
    folder: RunFolder, begun: Begun, request: Request, *, data: Sequence[Any], moved_to: tuple[str, ...],
    watch: Watcher, progress: Callable[[int, int], None] | None,
) -> Dataset:  # fmt: skip
    """Open the run's data where they were, or find them by their content in `data`, else where they moved to before.

    `moved_to`: what of `data` is a path.
    """
    if not data and NUMBERED in (begun.moved_to or request.data):
        raise UsageError(
            f"{folder.name} names its pictures by number and keeps no path: resnetkit resume {folder.path} --data DATA"
        )
    if not data and not begun.moved_to:
        try:
            return open_request_data(request)
        except UsageError as error:
            if request.data == (GIVEN,):
                raise
            raise UsageError(f"{error}; if they moved: resnetkit resume {folder.path} --data DATA") from error
    if request.task == "detection":  # whose marks lie in files beside the pictures
        return open_request_data(dataclasses.replace(request, data=moved_to or begun.moved_to))
    several = request.task == "multilabel"
    dataset = found_again(
        data or begun.moved_to, runs.read_contents(folder), read_items(folder.split, several=several),
        run=folder.name, several=begun.classes if several else (), page=begun.preprocess.page,
        frames=begun.preprocess.frames,
        in_order=begun.contents_in_order, threads=begun.runtime.threads, rename=request.rename, progress=progress,
    )  # fmt: skip
    for note in dataset.notes:
        watch.note(note)
    return dataset


def _among(ranks: Ranks, runtime: Runtime, folder: RunFolder, recipe: Recipe, watch: Watcher) -> Runtime:
    """Return the run's runtime for as many ranks as there are now: another number is for torchrun alone.

    A job whose machines come and go must be able to go on; a person who forgot torchrun is told.
    """
    before = runtime.world_size
    if ranks.size == before:
        return runtime
    if not ranks.place.launched:
        raise UsageError(
            f"{folder.name} is trained by {before} processes, and the same bits need as many: torchrun "
            f"--nproc-per-node {before} -m resnetkit resume {folder.path} (or another number, under torchrun)"
        )
    watch.note(
        f"{folder.name} was trained by {before} process{'es'[: 2 * (before > 1)]} so far and is by {ranks.size} now: "
        f"the batch stays {recipe.batch_size}, the bits will differ"
    )
    return dataclasses.replace(runtime, world_size=ranks.size)


def _check_views(folder: RunFolder, begun: Begun) -> None:
    """Refuse a run of an older version whose random parts were not those of this one."""
    crop, recipe = begun.preprocess.crop, begun.recipe
    if "keep_together" not in recipe and crop != "center" and recipe["augment"]["crop"] != "none":
        raise UsageError(
            f"{folder.name} was begun by an older version, whose training pictures were not seen as preprocess.crop="
            f"{crop} scores them: begin it anew under another --name"
        )


def _what_changed(folder: RunFolder, prepared: Prepared) -> str:
    """Say which pictures are not those that the run was trained on, by their content."""
    before = dict(runs.read_contents(folder))
    now = {record[1]: record[0] for record in prepared.records}
    gone = [source for digest, source in before.items() if digest not in now]
    new = [source for digest, source in now.items() if digest not in before]
    names = ", ".join([*gone[:3], *new[:3]]) or "classes or parts"
    return (
        f"{folder.name} was trained on other pictures: {names} changed "
        f"({len(gone)} are gone, {len(new)} are new); put them back, start a new run, or say where they lie now: "
        f"resnetkit resume {folder.path} --data DATA"
    )


def _longer(folder: RunFolder, state: State, epochs: int | None) -> Recipe:
    """Return the run's recipe, with another last epoch where one is asked for."""
    recipe = Recipe.from_json(state.begun.recipe)
    done = state.position.epoch
    if epochs is None or epochs == recipe.epochs:
        return recipe
    if state.begun.request.folds and done < recipe.epochs:
        raise UsageError(
            f"{folder.name} is not through its folds and its last fit: resnetkit resume {folder.path} finishes them, "
            "and then --epochs goes on with all"
        )
    if epochs < done or (epochs == done and state.position.step):
        raise UsageError(f"{folder.name} has {done} epochs behind it: --epochs must be more than that")
    # Who names a number wants those epochs: minutes that are used up, or patience at its end, no longer count.
    return recipe.changed(epochs=epochs, budget=Budget())
