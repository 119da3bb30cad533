"""What a run begins with: data and weights are opened, all is decided and read before the first step."""

from __future__ import annotations

import dataclasses
import math
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from resnetkit import runtime as machine
from resnetkit.api.locating import RUNS, Source, locate
from resnetkit.api.remembering import Memory, of_training, trained_among, unknown
from resnetkit.api.tasks import task_called
from resnetkit.data.dataset import NUMBERED
from resnetkit.data.frames import of_files
from resnetkit.data.several import unite
from resnetkit.data.sources.arrays import GIVEN
from resnetkit.errors import UsageError
from resnetkit.models.checkpoint import CLASSIFICATION, DETECTION, MULTILABEL
from resnetkit.models.costs import costs_of
from resnetkit.runtime import Runtime
from resnetkit.training.pathless import pathless, pathless_command
from resnetkit.training.planning.compiled import repays
from resnetkit.training.planning.plan import (
    Origin,
    Plan,
    may_be_near,
    mirrors,
    num_to_train,
    precision_of,
    unmirrored,
)
from resnetkit.training.request import Request
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    from resnetkit.data.dataset import Dataset, Split
    from resnetkit.data.decoded.survey import Survey
    from resnetkit.data.prepared import Prepared
    from resnetkit.models.building import Network
    from resnetkit.models.checkpoint import Header
    from resnetkit.training.job import Start
    from resnetkit.training.run import RunFolder
    from resnetkit.training.task import Task
    from resnetkit.training.together.ranks import Ranks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asking:
    """Who begins a run and where: `data` holds arrays that were given, `command` what was typed."""

    request: Request
    data: Sequence[Any]
    device: str
    threads: int | None
    watcher: Watcher
    command: str | None
    ranks: Ranks


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Beginning:
    """The weights that a run begins with, and what they have seen."""

    source: Source
    network: Network
    header: Header
    memory: Memory
    origin: Origin

    @property
    def license(self) -> str | None:
        """What is known about their licence, with where they come from."""
        said = self.header.license
        record = self.source.record
        return said if said is None or record is None else f"begun from {record.name}: {said}"


def start_of(asking: Asking) -> Start:
    """Open data and weights, decide, and run the preflight; what was decided and found goes to the watcher."""
    from resnetkit.data.decoded.survey import survey
    from resnetkit.training import job as jobs
    from resnetkit.training.lineage import lineage
    from resnetkit.training.planning.duration import with_length
    from resnetkit.training.task import Weights
    from resnetkit.training.together.ranks import Ranks

    request, watcher, ranks = asking.request, asking.watcher, asking.ranks
    opened = jobs.open_request_data(request, asking.data if request.data == (GIVEN,) else ())
    dataset = of_files(opened, page=request.page, frames=request.frames)
    asking = _telling_nothing(asking, dataset)
    _check_named(request, dataset)
    if dataset.page > 1 and dataset.items and not isinstance(dataset.read(dataset.items[0]), bytes):
        raise UsageError(f"{dataset.name} holds arrays, which have no pages: leave preprocess.page out")
    with watcher.counting("reading pictures") as progress:
        surveyed = survey(dataset, threads=asking.threads or machine.available_threads(), progress=progress)
    dataset = unite(dataset, surveyed.digests)
    begun = _weights(asking, dataset, surveyed)
    decided = _decided(asking, dataset, surveyed, begun)
    watcher.note("\n".join(decided.reasons))
    runtime = _runtime(asking, decided)
    prepared = _prepared(asking, dataset, surveyed, decided, begun, runtime)
    if len(prepared.classes) != decided.spec.num_classes:
        decided = dataclasses.replace(decided, spec=decided.spec.changed(num_classes=len(prepared.classes)))
    ranks.check_alike(jobs.contents(prepared), what="other pictures, classes or parts")
    _check_costs(request, dataset, prepared)
    weights = None if begun is None else Weights(tensors=begun.network.state_dict(), spec=begun.network.spec.body)
    decided = _mirroring(asking, decided, prepared, weights, runtime)
    runtime = _compiling(asking, decided, prepared, runtime)
    task = _task_of(dataset)
    learning = task.learning(decided.recipe, prepared, runtime=runtime, ranks=Ranks())
    decided = with_length(decided, prepared, runtime, learning=learning, ranks=ranks.size)
    watcher.note("\n".join(decided.reasons[-1 - bool(prepared.folds) :]))
    before, license = (None, None) if begun is None else (begun.memory.tells, begun.license)
    kept, typed = request, asking.command or shlex.join(["python", *sys.argv])
    if dataset.hidden is not None:
        tells = dataset.hidden.tells
        kept, typed = pathless(request, tells), pathless_command(typed, request.data, tells)
    return jobs.Start(
        request=kept, command=typed, hidden=dataset.hidden, plan=decided, prepared=prepared, runtime=runtime,
        ranks=ranks, weights=weights,
        lineage=lineage(prepared, before=before, license=license), task=task,
    )  # fmt: skip


def _telling_nothing(asking: Asking, dataset: Dataset) -> Asking:
    """Return who begins, with a command that tells no path where paths tell who is pictured."""
    if dataset.hidden is None or asking.command is None:
        return asking
    command = pathless_command(asking.command, asking.request.data, dataset.hidden.tells)
    return dataclasses.replace(asking, command=command)


def _task_of(dataset: Dataset) -> Task:
    """Return what is to be learnt of pictures, as their labels say it."""
    if dataset.objects != "none":
        return task_called(DETECTION)
    return task_called(MULTILABEL if dataset.several else CLASSIFICATION)


def _check_named(request: Request, dataset: Dataset) -> None:
    """Refuse a detector for pictures on which nothing is marked, or whose objects are taken as labels."""
    if request.detector is not None and dataset.objects == "none":
        asked = request.task not in ("auto", DETECTION)
        why = f"--task {request.task} finds none" if asked else f"nothing is marked on the pictures of {dataset.name}"
        raise UsageError(
            f"--model {request.named} finds objects, and {why}: "
            f"{'leave --task out' if asked else 'give annotated pictures'}, or use --model {request.architecture}"
        )


def _check_costs(request: Request, dataset: Dataset, prepared: Prepared) -> None:
    """Refuse costs of errors that are none between these classes."""
    if request.cost and (dataset.several or dataset.objects != "none"):
        have = "objects" if dataset.objects != "none" else "several labels"
        raise UsageError(f"--cost: is for one class per picture, and these pictures have {have}: leave it out")
    if request.cost and request.folds is not None:
        raise UsageError("--cost: folds are scored by the most probable class; train without it, and predict with it")
    if request.cost:
        costs_of(request.cost, prepared.classes)


def _weights(asking: Asking, dataset: Dataset, surveyed: Survey) -> _Beginning | None:
    """Open the weights that the run begins with, where it does with any."""
    if not surveyed.sizes:
        return None
    request = asking.request
    wanted = _task_of(dataset).weights_wanted(request, dataset, surveyed)
    if wanted is None:
        return None
    with asking.ranks.one_first_on_each_machine():
        source = locate(wanted, watcher=asking.watcher, purpose="transfer")
        network, header, beside = source.open_trunk(asked=request.spec)
        memory = source.memory(header)
    origin = Origin(name=source.name, spec=network.spec.body, preprocess=header.preprocess, beside=beside)
    return _Beginning(source=source, network=network, header=header, memory=memory, origin=origin)


def _decided(asking: Asking, dataset: Dataset, surveyed: Survey, begun: _Beginning | None) -> Plan:
    """Decide what the request leaves open; how near the pictures are to those of the weights is measured for it."""
    from resnetkit.training.planning.nearness import distance

    origin, task = None if begun is None else begun.origin, _task_of(dataset)
    deciding = partial(task.decide, asking.request, dataset, surveyed, origin=origin)
    decided = deciding()
    count = num_to_train(dataset)
    if begun is None or not task.nearness or not may_be_near(asking.request, begun.origin, num_pictures=count):
        return decided
    looking = machine.resolve(device=asking.device, threads=asking.threads)
    looking.apply()
    with asking.watcher.counting("comparing pictures with those of the weights") as progress:
        measure = partial(
            distance, begun.network.body, dataset, surveyed, preprocess=begun.origin.preprocess, runtime=looking
        )
        return deciding(distance=asking.ranks.by_first(lambda: measure(progress=progress)))


def _runtime(asking: Asking, decided: Plan) -> Runtime:
    """Return how the run will compute, alike on all ranks."""
    runtime = machine.resolve(
        device=asking.device, threads=asking.threads, precision=precision_of(decided, device=asking.device),
        channels_last=decided.recipe.channels_last,
    )  # fmt: skip
    runtime = asking.ranks.by_first(lambda: dataclasses.replace(runtime, world_size=asking.ranks.size))
    runtime.check_threads()
    if decided.recipe.precision == "bf16" and runtime.dtype == "fp32":
        asking.watcher.note(
            "precision fp32, not bf16: the network shrinks its pictures to one pixel before its last stage"
        )
    return runtime


def _prepared(
    asking: Asking, dataset: Dataset, surveyed: Survey, decided: Plan, begun: _Beginning | None, runtime: Runtime
) -> Prepared:
    """Divide and decode the pictures, and say what the weights know of them."""
    from resnetkit.data.prepared import Reading
    from resnetkit.training import job as jobs
    from resnetkit.training import run as runs
    from resnetkit.training.folds import check_folds
    from resnetkit.training.planning.checks import check_plan

    request, watcher = asking.request, asking.watcher
    rows = None
    if request.split_from is not None:
        rows = _parts_of(runs.open_run(request.split_from, root=RUNS), dataset, surveyed)
    trained = frozenset() if begun is None else trained_among(begun.memory.known, dataset.items, surveyed)
    if request.folds is not None:
        check_folds(request.folds, decided.recipe, asking.ranks.place)
    holds_out = request.folds is None and jobs.holds_out(dataset, decided, rows, trained)
    check_plan(decided, holds_out=holds_out, runtime=runtime, ranks=asking.ranks)
    with watcher.counting("decoding pictures") as progress:
        reading = Reading(
            threads=runtime.threads, bad_images=request.bad_images, hint=_skip_hint(asking.command),
            report_to=lambda report: watcher.note(str(report)), progress=progress,
        )  # fmt: skip
        prepared = jobs.prepare_data(
            request, dataset, decided, reading=reading, split_rows=rows, surveyed=surveyed, trained=trained
        )
    if begun is not None:
        if trained:
            watcher.note(_not_new(begun.origin.name, prepared, trained))
        if begun.source.record is None:  # of published weights the documentation says so
            for note in unknown(begun.memory.known, begun.source.name):
                watcher.note(note)
    return prepared


def _parts_of(run: RunFolder, dataset: Dataset, surveyed: Survey) -> Mapping[str, Split]:
    """Return source -> part in an earlier run; pictures that are named by number in either are known by content."""
    from resnetkit.data.splits import read_split
    from resnetkit.training import run as runs
    from resnetkit.training import state as states

    rows = read_split(run.split)
    described = states.describe(run.state)["request"]["request"] if states.saved(run.state) else {"data": []}
    if dataset.hidden is None and described["data"] != [NUMBERED]:
        return rows
    parts = {digest: rows[source] for digest, source in runs.read_contents(run) if source in rows}
    return {source: parts[digest] for source, digest in surveyed.digests.items() if digest in parts}


def _mirroring(
    asking: Asking, decided: Plan, prepared: Prepared, weights: Any, runtime: Runtime
) -> Plan:  # fmt: skip
    """Return the plan without mirroring where two classes are each other's mirror image."""
    from resnetkit.training.planning.mirrored import mirror_images, words_of

    if prepared.several or not mirrors(decided, asking.request):
        return decided
    tensors, spec = (None, None) if weights is None else (weights.tensors, weights.spec)
    pairs = asking.ranks.by_first(lambda: mirror_images(prepared, tensors, spec, runtime=runtime))
    if not pairs:
        return decided
    decided = unmirrored(decided, asking.request, words_of(pairs))
    asking.watcher.note(decided.reasons[-1])
    return decided


def _compiling(asking: Asking, decided: Plan, prepared: Prepared, runtime: Runtime) -> Runtime:
    """Check that there are pictures enough for a batch, and return whether the step is compiled with the rest."""
    from resnetkit.training.planning.checks import check_batches

    ranks, folds, total = asking.ranks, prepared.folds, len(prepared.parts["train"])
    for count in {total - held_out for held_out in (0, *(folds.sizes if folds else ()))}:
        check_batches(decided, count, runtime=runtime, ranks=ranks)
    compiled = ranks.by_first(
        lambda: repays(
            decided.recipe, decided.spec.body, pixels=math.prod(decided.preprocess.frame),
            num_images=ranks.longest_share(total), device=runtime.device,
        )
    )  # fmt: skip
    if compiled:
        asking.watcher.note("compiled: the first steps take longer, and the run is long enough to repay it")
    return dataclasses.replace(runtime, compiled=compiled)


def _not_new(name: str, prepared: Prepared, trained: Collection[str]) -> str:
    """Say how many pictures the weights `name` know, once the parts are made."""
    held_out = len(prepared.folds.held_out if prepared.folds is not None else prepared.parts.get("val", ()))
    return of_training(
        name, trained=sum(item.source in trained for item in prepared.parts["train"].items),
        left_out=len(prepared.left_out), held_out=held_out, total=len(prepared.items),
    )  # fmt: skip


def _skip_hint(command: str | None) -> str:
    """Return the exact line to type when unreadable pictures stopped a run."""
    line = f"{command} --bad-images skip" if command else 'the same call with bad_images="skip"'
    return f"mend them, or leave them out with: {line}"
