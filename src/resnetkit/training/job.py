"""One training run from its request to its last state: what is read for it, how it begins, what it writes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from resnetkit.data import groups
from resnetkit.data.batches import Batches, Placer
from resnetkit.data.dataset import NUMBERED, Dataset, Hidden
from resnetkit.data.decoded.survey import Survey
from resnetkit.data.fingerprint import fingerprint
from resnetkit.data.preflight import prepare_training
from resnetkit.data.prepared import Division, Prepared, Reading
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data
from resnetkit.data.sources.arrays import GIVEN
from resnetkit.data.splits import write_split
from resnetkit.errors import DataError, InterruptedRun, LostRankError, UsageError
from resnetkit.models import checkpoint
from resnetkit.models.building import build
from resnetkit.models.checkpoint import Header, Spec
from resnetkit.models.choice import Choice
from resnetkit.models.costs import Costs, costs_of
from resnetkit.models.seen import LEFT_OUT, Seen
from resnetkit.runtime import Runtime
from resnetkit.training import run as runs
from resnetkit.training import state as states
from resnetkit.training.begun import Begun
from resnetkit.training.choosing import choice, keep_answers, stopped_by_patience
from resnetkit.training.learning import Learning
from resnetkit.training.lineage import Lineage
from resnetkit.training.loop import Loop
from resnetkit.training.planning.plan import Plan
from resnetkit.training.recipe import Recipe
from resnetkit.training.request import Request
from resnetkit.training.run import RunFolder
from resnetkit.training.state import State
from resnetkit.training.steps.augmenter import build_augmenter, build_mixer
from resnetkit.training.steps.head import first_row, words_of
from resnetkit.training.steps.stored import stored
from resnetkit.training.stopping import StopRequest
from resnetkit.training.task import Task, Weights
from resnetkit.training.together.ranks import Ranks
from resnetkit.watcher import Watcher

# Whole training pictures are kept this much larger than the network's input, for random crops.
_WHOLE = 1.15


@dataclass(frozen=True, kw_only=True)
class Start:
    """Everything that is decided and read before a run begins, and the `command` that asked for it.

    `hidden`: why the run keeps no path.
    """

    request: Request
    command: str
    plan: Plan
    prepared: Prepared
    runtime: Runtime
    ranks: Ranks
    lineage: Lineage
    task: Task
    weights: Weights | None
    hidden: Hidden | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything decided: the data in memory, the folder (the first rank's to write), and what the state carries.

    `moved_to`: where the run's pictures lie now, if no longer where the request says.
    """

    folder: RunFolder
    prepared: Prepared
    spec: Spec
    recipe: Recipe
    runtime: Runtime
    request: Request
    ranks: Ranks
    lineage: Lineage
    task: Task
    moved_to: tuple[str, ...] = ()

    @property
    def preprocess(self) -> Preprocess:
        """How the run's pictures become pixels."""
        return self.prepared.preprocess

    @property
    def costs(self) -> Costs | None:
        """What errors cost where the finished model decides by that."""
        return costs_of(self.request.cost, self.prepared.classes) if self.request.cost else None

    def train(self, watch: Watcher) -> State:
        """Train to the last epoch, where that is not done; what `Loop.run` raises comes through.

        Raises `UsageError` where another process is training this run.
        """
        try:
            held = runs.held(self.folder) if self.ranks.first else nullcontext()
            with held, StopRequest(launched=self.ranks.place.launched) as stop:
                state = self._loop(watch).run(stop)
                if stop.signal_number and self.folder.whole != self.folder:  # of several trainings this one is over
                    raise InterruptedRun("stopped after the last epoch of a fold", signal_number=stop.signal_number)
                return state
        except InterruptedRun as stopped:
            raise stopped.with_hint(self.way_on) from None
        except LostRankError as lost:
            raise LostRankError(f"{lost}; the last save is kept, {self.way_on}", exit_code=lost.exit_code) from lost

    @property
    def way_on(self) -> str:
        """What to type to go on with an interrupted run; a fold goes on with the run that it belongs to."""
        return f"go on with: {self.ranks.place.command('resume', str(self.folder.whole.path))}"

    def _loop(self, watch: Watcher) -> Loop:
        self.runtime.apply()
        network = build(self.spec)
        network = network.to(device=self.runtime.device, memory_format=self.runtime.memory_format())  # type: ignore[call-overload]
        if self.recipe.batchnorm == "sync" and self.ranks.size > 1:
            network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        task = self.learning(self.ranks)
        return Loop(
            network, state=self.ranks.by_first(self.going_on),
            batches=stored(self.batches(task.place), network, recipe=self.recipe, watch=watch), task=task,
            recipe=self.recipe, runtime=self.runtime, folder=self.folder.state, watch=watch, on_saved=self.write,
            ranks=self.ranks,
        )  # fmt: skip

    def batches(self, place: Placer | None = None) -> Batches:
        """Return the training pictures as the network gets them, with targets where they lie then."""
        augment, device = self.recipe.augment, self.runtime.device
        return Batches(
            self.prepared.parts["train"], preprocess=self.preprocess,
            augment=build_augmenter(augment, self.preprocess, device=device),
            mix=build_mixer(augment, num_classes=self.spec.num_classes), place=place, batch_size=self.recipe.batch_size,
            seed=self.request.seed, runtime=self.runtime, views=self.recipe.views,
            sampling=self.recipe.sampling,
        )  # fmt: skip

    def learning(self, ranks: Ranks) -> Learning:
        """Return what is learnt of the run's pictures, and their scores, shared among `ranks`."""
        return self.task.learning(self.recipe, self.prepared, runtime=self.runtime, ranks=ranks)

    def going_on(self) -> State:
        """Return the newest state under the recipe and runtime of this job, and write again what lies beside it.

        Where the recipe has more epochs than before, what the run was scored is void.
        """
        state = states.newest(self.folder.state)
        # An older recipe lacks settings that are newer, which changes nothing.
        before = dataclasses.replace(state.begun, recipe=Recipe.from_json(state.begun.recipe).to_json())
        state.begun = dataclasses.replace(
            before, recipe=self.recipe.to_json(), runtime=self.runtime, moved_to=self.moved_to or before.moved_to
        )
        if state.begun != before:
            state.save(self.folder.state)
        if state.begun != dataclasses.replace(before, moved_to=state.begun.moved_to):
            runs.remove_scores(self.folder)
        self.write(state)
        return state

    def forget_start(self) -> None:
        """Keep the weights that folds began with no longer."""
        state = states.newest(self.folder.state)
        if state.start:
            state.start = {}
            state.save(self.folder.state)

    def write(self, state: State) -> None:
        """Write again from the state: recipe, `results.csv`, and the checkpoints once an epoch is done."""
        runs.write_recipe(self.folder.path, state.begun.page)
        runs.write_results(self.folder, state.rows, figures=self.task.figures)
        if state.rows:
            recipe, last = state.begun.recipe, state.rows[-1]
            newest = choice(last, state.rows, {**recipe, "select": "last"}, on=0)
            if stopped_by_patience(last, state.best_row, recipe):
                newest = dataclasses.replace(self.choice(state), by="patience", epoch=last["epoch"], rate=newest.rate)
            checkpoint.save(self.folder.last, state.ema or state.model, self._header(last, recipe, newest))
            checkpoint.save(
                self.folder.best, state.best, self._header(state.best_row or {}, recipe, self.choice(state))
            )

    def choice(self, state: State) -> Choice:
        """Return which epoch ships, and what chose it, once one is done."""
        assert state.best_row is not None, "no epoch is done"
        on = len(self.prepared.parts.get("val", ()))
        return choice(state.best_row, state.rows, state.begun.recipe, on=on)

    def _header(self, row: Mapping[str, Any], recipe: Mapping[str, Any], chosen: Choice) -> Header:
        figures = {k: v for k, v in row.items() if k not in runs.TIMING_COLUMNS and v is not None}
        counts = {split: len(part.items) for split, part in self.prepared.parts.items()}
        return Header(
            spec=self.spec, classes=self.prepared.classes, preprocess=self.preprocess, task=self.task.name,
            metrics=figures, decision=self.task.undecided,
            recipe={**recipe, "seed": self.request.seed},
            data={"sources": list(self.request.data), "counts": counts, "fingerprint": contents(self.prepared)},
            trained_on=self._seen(chosen), license=self.lineage.license, version=version("resnetkit"),
            chosen=chosen.to_json(),
        )  # fmt: skip

    def _seen(self, chosen: Choice) -> Seen:
        """Return what a checkpoint says that it has seen; the run knows it also where that shall not travel."""
        return (
            self.lineage.of_model(selected=chosen.selected)
            if self.recipe.remember
            else Seen(why=LEFT_OUT, dicom=self.lineage.seen.dicom)
        )


def contents(prepared: Prepared) -> str:
    """Return the fingerprint of what the pictures are, wherever they lie: digests, classes and parts."""
    return fingerprint(sorted(("", *record[1:]) for record in prepared.records))


def open_request_data(request: Request, given: Sequence[Any] = ()) -> Dataset:
    """Open the data a request names, or `given` arrays; raises `DataError` where no picture lies in a class folder."""
    if request.data == (GIVEN,) and not given:
        raise UsageError(
            "the pictures are arrays that were given from Python and lie in no file: give them again, as in "
            "resnetkit.resume(run, data=(images, labels))"
        )
    dataset = open_data(
        *(given or request.data), group_by=request.group_by, rename=request.rename, limit=request.limit,
        task=request.task, faulty=request.bad_images,
    )  # fmt: skip
    if not dataset.items:
        beside = f"{len(dataset.outside)} pictures lie beside them" if dataset.outside else "there are none at all"
        raise DataError(
            f"{', '.join(map(dataset.shown, request.data))}: no pictures in class folders ({beside}); "
            "put the pictures of each class into a folder of its own: DATA/<class>/*.jpg"
        )
    if dataset.objects == "masks" and request.detector is not None and not request.detector.masks:
        dataset = dataclasses.replace(dataset, objects="boxes")
    if request.folds is not None:  # which hold out everything in turn, but for what only scores
        items = (dataclasses.replace(item, split="train") if item.split == "val" else item for item in dataset.items)
        dataset = dataclasses.replace(dataset, items=tuple(items))
    groups.check_whole(dataset.items)
    return dataset


def holds_out(
    dataset: Dataset, plan: Plan, split_rows: Mapping[str, Any] | None, trained: Collection[str] = ()
) -> bool:
    """Tell whether some of the pictures will be a validation part; those that are `trained` on already never are."""
    new = [item for item in dataset.items if item.source not in trained]
    if any(item.split == "val" for item in dataset.items):
        return any(item.split == "val" for item in new)
    return any(item.split != "test" for item in new) and (plan.recipe.val_share > 0 or split_rows is not None)


def prepare_data(
    request: Request, dataset: Dataset, plan: Plan, *, reading: Reading, split_rows: Mapping[str, Any] | None,
    fold_rows: Mapping[str, int] | None = None, surveyed: Survey | None = None, trained: Collection[str] = (),
) -> Prepared:  # fmt: skip
    """Split and decode the data as the plan wants it; see `preflight.prepare_training` for what it raises."""
    recipe = plan.recipe
    division = Division(
        val_share=recipe.val_share, holds_out=not request.folds and holds_out(dataset, plan, split_rows, trained),
        selects=recipe.select != "last", seed=request.seed, rows=split_rows, folds=request.folds or 0,
        fold_rows=fold_rows, keep_together=recipe.keep_together, trained=trained,
    )  # fmt: skip
    whole = recipe.augment.crop == "random_resized"
    return prepare_training(
        dataset, preprocess=plan.preprocess, division=division, reading=reading, surveyed=surveyed,
        whole_short_side=round(_WHOLE * plan.preprocess.size) if whole else None,
    )  # fmt: skip


def begin(start: Start, path: Path, *, named: bool = True, watch: Watcher) -> Job:
    """Build the network, fit the head where the recipe says so, and make the run folder.

    A `path` that nobody `named` gives way to the next number where another training took it meanwhile.
    """
    start.runtime.apply()
    job = Job(
        folder=RunFolder(path), prepared=start.prepared, spec=start.plan.spec, recipe=start.plan.recipe,
        runtime=start.runtime, request=start.request, ranks=start.ranks, lineage=start.lineage, task=start.task,
    )  # fmt: skip
    make = partial(_create, job, start, named=named, watch=watch)
    return dataclasses.replace(job, folder=start.ranks.by_first(make))


def _create(job: Job, start: Start, *, named: bool, watch: Watcher) -> RunFolder:
    """Make the run folder with the first state in it, and return it."""
    plan, weights = start.plan, start.weights
    request, prepared, runtime = job.request, job.prepared, job.runtime
    network, said = start.task.first_network(plan, weights, prepared, seed=request.seed)
    if said:
        watch.note(said)
    network = network.to(device=torch.device(runtime.device), memory_format=runtime.memory_format())  # type: ignore[call-overload]
    state = State(
        begun=Begun(
            request=request, cwd="" if NUMBERED in request.data else os.getcwd(), spec=plan.spec,
            preprocess=prepared.preprocess, classes=prepared.classes,
            recipe=plan.recipe.to_json(), runtime=runtime, weights=plan.weights, fingerprint=contents(prepared),
            task=start.task.name,
        ),
        micro_batch=plan.recipe.micro_batch,
    )  # fmt: skip
    if plan.recipe.head_first:
        row, right = first_row(network, job.learning(Ranks()), count=len(prepared.parts["train"]))
        watch.note(words_of(row))
        # Without a validation part no figure of this one could be compared with a later epoch's.
        if "val" in prepared.parts or not plan.recipe.epochs:
            state.rows, state.best_row, state.best = [row], row, states.network_tensors(network)
            if right is not None and plan.recipe.select != "last":
                keep_answers(state, 0, right)
    state.model = states.network_tensors(network)
    if request.folds is not None and weights is not None:
        state.start, state.begun = dict(weights.tensors), dataclasses.replace(state.begun, start_spec=weights.spec)
    folder = runs.create(
        job.folder.path, named=named, recipe=state.begun.page, command=start.command,
        environment=runs.environment(), state=state, contents=_contents(prepared),
        write_split=lambda file: write_split(file, prepared.items, prepared.fold_of),
        lineage=job.lineage.to_text(),
    )  # fmt: skip
    if folder != job.folder:
        watch.note(f"{job.folder.path} was taken by another training meanwhile: this one is {folder.path}")
    job.ranks.remember("run", str(folder.path.resolve()))
    return folder


def _contents(prepared: Prepared) -> list[tuple[str, str]]:
    """Return (digest, source) of every picture in the order of the data, those that are trained on last."""
    digests = {source: digest for source, digest, _, _ in prepared.records}
    parts = sorted(prepared.parts, key=lambda part: part == "train")
    return [(digests[item.source], item.source) for part in parts for item in prepared.parts[part].items]
