"""Cross-validation: a network for each fold, trained as any run is, and what all of them together name right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from resnetkit.api.evaluation import Evaluation, asking, fitted, score
from resnetkit.api.model import Model, load
from resnetkit.errors import DataError, InterruptedRun, signal_of
from resnetkit.watcher import Step, Watcher

if TYPE_CHECKING:
    from pathlib import Path

    from resnetkit.training.job import Job
    from resnetkit.training.run import RunFolder
    from resnetkit.watcher import Row


def train_folds(job: Job, *, on_epoch: Callable[[Row], None] | None, watcher: Watcher) -> None:
    """Train what is left of the networks of all folds, each an ordinary run in `folds/`, before the last fit.

    `on_epoch` hears of their epochs too, with `fold` in the row.
    """
    from resnetkit.training import run as runs

    folds = job.prepared.folds
    assert folds is not None, "this run has no folds"
    try:
        with runs.held(job.folder):
            job.going_on()
            for number in range(1, folds.count + 1):
                if not _is_through(fold_folder(job.folder, number), job.recipe.epochs):
                    watcher.note(f"fold {number} of {folds.count}: {folds.sizes[number - 1]:,} held out")
                listener = _OneOfSeveral(watcher, on_epoch, fold=number, to_come=folds.count + 1 - number)
                _job_of_fold(job, number, watcher).train(listener)
            job.forget_start()
            if not _is_through(job.folder, job.recipe.epochs):
                watcher.note(f"the model that ships: all {len(folds.numbers):,} pictures")
    except KeyboardInterrupt as stopped:
        raise InterruptedRun(
            f"stopped between two epochs; state saved; {job.way_on}", signal_number=signal_of(stopped)
        ) from None


def _is_through(folder: RunFolder, epochs: int) -> bool:
    """Tell whether a run has its epochs behind it."""
    from resnetkit.training import state as states

    return folder.state.is_dir() and states.describe(folder.state)["position"]["epoch"] >= epochs


def _job_of_fold(job: Job, number: int, watcher: Watcher) -> Job:
    """Take up the run of a fold, or begin it with what the whole run began with."""
    from resnetkit.training import job as jobs
    from resnetkit.training import state as states
    from resnetkit.training.folds import without_fold
    from resnetkit.training.lineage import lineage, lineage_of
    from resnetkit.training.planning.checks import check_batches
    from resnetkit.training.planning.plan import Plan
    from resnetkit.training.task import Weights

    folder, prepared = fold_folder(job.folder, number), without_fold(job.prepared, number)
    request = dataclasses.replace(job.request, folds=None)
    if folder.state.is_dir():
        if states.describe(folder.state)["request"]["fingerprint"] != jobs.contents(prepared):
            raise DataError(f"{folder.path}: is of other pictures than the run around it; copy the run again")
        return dataclasses.replace(
            job, folder=folder, prepared=prepared, request=request, lineage=lineage_of(folder), moved_to=()
        )
    start = states.newest(job.folder.state)
    plan = Plan(
        spec=job.spec, preprocess=prepared.preprocess, recipe=job.recipe, weights=start.begun.weights, reasons=()
    )
    check_batches(plan, len(prepared.parts["train"]), runtime=job.runtime, ranks=job.ranks)
    folder.path.parent.mkdir(exist_ok=True)
    weights = None
    if start.begun.start_spec is not None and start.start:
        weights = Weights(tensors=start.start, spec=start.begun.start_spec)
    command = (job.folder.path / "command.txt").read_text(encoding="utf-8").strip()
    beginning = jobs.Start(
        request=request, command=command, plan=plan, prepared=prepared, runtime=job.runtime, ranks=job.ranks,
        weights=weights,
        lineage=lineage(prepared, before=job.lineage.before, license=job.lineage.license), task=job.task,
    )  # fmt: skip
    return jobs.begin(beginning, folder.path, watch=watcher)


def fold_folder(folder: RunFolder, number: int) -> RunFolder:
    """Return the run of one fold of a run."""
    return dataclasses.replace(folder, path=folder.folds / str(number))


class _OneOfSeveral(Watcher):
    """A watcher of one training of several, whose time left is that of all of them."""

    def __init__(self, watcher: Watcher, on_epoch: Callable[[Row], None] | None, *, fold: int, to_come: int) -> None:
        self.watcher, self.on_epoch, self.fold, self.to_come = watcher, on_epoch, fold, to_come
        self.note, self.counting = watcher.note, watcher.counting  # type: ignore[method-assign]

    def step(self, step: Step) -> None:
        every = step.epochs * step.steps
        left = max(1, every - (step.epoch - 1) * step.steps - step.step)
        more = self.to_come * every * step.seconds_left / left
        self.watcher.step(dataclasses.replace(step, seconds_left=step.seconds_left + more))

    def epoch(self, row: Row) -> None:
        self.watcher.epoch(row)
        if self.on_epoch is not None:
            self.on_epoch(row | {"fold": self.fold})


def score_folds(job: Job, model: Model, *, folder: Path, watcher: Watcher) -> tuple[Model, Evaluation]:
    """Score every picture by the network that did not train on it; the files go to `folder`.

    Returns `model`, which trained on all of them, with the temperature and thresholds that these answers allow: no
    others of its kind are honest ones.
    """
    from resnetkit.training.folds import held_out

    part, numbers = held_out(job.prepared)
    logits = _logits(job, numbers)
    more = job.task.fold(logits[0], part, numbers)
    seen = model.header.trained_on.and_calibrated(job.lineage.held_out)

    def ask(asked: Sequence[int], pixels_of: Callable[[int], np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        for fold in np.unique(numbers[list(asked)]).tolist():
            yield from asking(_network_of(job, fold))([one for one in asked if numbers[one] == fold], pixels_of)

    decision = fitted(logits[0], part, model, split="folds", ask=ask, watcher=watcher)
    model.header = dataclasses.replace(model.header, decision=decision, trained_on=seen)
    folder.mkdir(exist_ok=True)
    result = score(
        model, part, split="folds", tta=job.recipe.tta, folder=folder, watcher=watcher, logits=logits, more=more,
        folds=numbers.tolist(),
    )  # fmt: skip
    return model, result


def _network_of(job: Job, fold: int) -> Model:
    return load(
        fold_folder(job.folder, fold).path, device=job.runtime.device, threads=job.runtime.threads, engine="torch",
        precision="fp32",
    )  # fmt: skip


def _logits(job: Job, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what networks say of the pictures that their folds hold out, `[N, ...]` float32, plain and averaged."""
    from resnetkit.evaluation.evaluate import part_logits
    from resnetkit.training.folds import without_fold

    found: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    order = []
    for fold in np.unique(numbers).tolist():
        model = _network_of(job, fold)
        order.append(np.flatnonzero(numbers == fold))
        held_out = without_fold(job.prepared, fold).parts["val"]
        for into, logits in zip(found, part_logits(model.engine, held_out, tta=job.recipe.tta), strict=True):
            into.append(logits)
    back = np.argsort(np.concatenate(order))
    plain, averaged = (np.concatenate(each)[back] for each in found)
    return plain, averaged
