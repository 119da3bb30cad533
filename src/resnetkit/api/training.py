"""Training: what is decided and read before it, begun afresh or resumed."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit import runtime as machine
from resnetkit.api.finishing import finish
from resnetkit.api.folding import train_folds
from resnetkit.api.locating import RUNS, locate
from resnetkit.api.pictures import draw_augmented
from resnetkit.api.progress import listening
from resnetkit.api.remembering import of_training, trained_among, unknown
from resnetkit.api.tasks import task_called
from resnetkit.data.sources.arrays import GIVEN, fetch_cifar10, pair_of, paths_of
from resnetkit.errors import UsageError, near_miss
from resnetkit.files import safe_name
from resnetkit.models.catalog import name_of
from resnetkit.models.checkpoint import CLASSIFICATION
from resnetkit.runtime import Runtime
from resnetkit.training.compiled import repays
from resnetkit.training.plan import (
    Origin,
    Plan,
    Request,
    decide,
    may_be_near,
    mirrors,
    precision_of,
    unmirrored,
    weights_wanted,
)
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    import torch

    from resnetkit.data.findings import Report
    from resnetkit.data.preflight import Prepared
    from resnetkit.training.job import Job
    from resnetkit.training.lineage import Lineage
    from resnetkit.training.ranks import Ranks
    from resnetkit.training.run import RunFolder
    from resnetkit.training.state import Row


from resnetkit.api.run import Run


def train(
    *data: Any,
    name: str | None = None,
    output: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    watcher: Watcher | None = None,
    quiet: bool = False,
    command: str | None = None,
    **options: Any,
) -> Run:
    """Train or fine-tune on pictures in class folders (or any other DATA) and return the run.

    DATA may be one pair of arrays: `train((images, labels))`, images `[N, H, W]` or `[N, H, W, 3]` uint8, labels whole
    numbers or names. At a terminal or in a notebook the findings and the progress are shown, but for `quiet`.
    `options` are the fields of `Request`: model, weights, recipe, epochs, batch_size, image_size, stem, seed,
    bad_images, group_by, rename, split_from, folds, limit, settings. `on_epoch(row)` hears of each row of
    `results.csv`, those of folds with `fold` in them.
    Under torchrun the processes train together; the first of them hears of the epochs and writes.
    Raises `DataError` for data that cannot be used (exit code 3), `UsageError` for contradictions, `InterruptedRun`
    after Ctrl-C, `DivergedError` for a loss that is not finite.
    """
    request = _request(data, options)
    from resnetkit.training import job as jobs
    from resnetkit.training.ranks import joined

    device = machine.resolve(device=device).device  # one that is not there is told before any picture is read
    with listening(watcher, quiet=quiet) as watcher, joined() as ranks:
        watcher, on_epoch = (watcher, on_epoch) if ranks.first else (Watcher(), None)
        if (begun := ranks.by_first(lambda: _begun_before_restart(ranks))) is not None:
            return _resumed(begun, ranks=ranks, on_epoch=on_epoch, watcher=watcher)
        path_of = partial(_run_path, name, output, data=request.data)
        ranks.by_first(lambda: path_of(model=request.architecture))  # a place that cannot be is told before any picture
        plan, prepared, tensors, origin_spec, runtime, lineage = _prepare(
            request, data, device=device, threads=threads, watcher=watcher, command=command, ranks=ranks
        )
        path = ranks.by_first(lambda: path_of(model=_network_of(request, plan)))
        job = jobs.begin(
            request,
            plan,
            prepared,
            weights=tensors,
            weights_spec=origin_spec,
            lineage=lineage,
            runtime=runtime,
            path=path,
            named=(name or output) is not None,
            command=command or _python_call(),
            watch=watcher,
            ranks=ranks,
            learning=task_called(CLASSIFICATION).learning,
        )
        if ranks.first:
            draw_augmented(job, watcher)
        return _train(job, on_epoch=on_epoch, watcher=watcher)


def plan(
    *data: Any,
    device: str = "auto",
    threads: int | None = None,
    watcher: Watcher | None = None,
    quiet: bool = False,
    command: str | None = None,
    **options: Any,
) -> tuple[Plan, Report]:
    """Decide what `train` would do, and read all the data, without training: the dry run."""
    from resnetkit.training.ranks import Ranks

    request = _request(data, options)
    device = machine.resolve(device=device).device
    with listening(watcher, quiet=quiet) as watcher:
        decided, prepared, *_ = _prepare(
            request, data, device=device, threads=threads, watcher=watcher, command=command, ranks=Ranks()
        )
    return decided, prepared.report


def _request(data: Sequence[Any], options: Mapping[str, Any]) -> Request:
    """Return the request; raises `UsageError` for an option there is not, with the nearest."""
    known = [field.name for field in dataclasses.fields(Request) if field.name != "data"]
    for name in options:
        if name not in known:
            raise UsageError(f"train has no option {name!r}{near_miss(name, known) or ': ' + ', '.join(known)}")
    if pair_of(data) is not None:
        return Request(data=(GIVEN,), **options)
    paths = tuple(paths_of(data))
    if "cifar10" in paths and not os.path.exists("cifar10"):
        fetch_cifar10()  # before torch is loaded: who has no network hears of it within seconds
    return Request(data=paths, **options)


def _prepare(
    request: Request,
    data: Sequence[Any],
    *,
    device: str,
    threads: int | None,
    watcher: Watcher,
    command: str | None,
    ranks: Ranks,
) -> tuple[Plan, Prepared, Mapping[str, torch.Tensor] | None, Any, Runtime, Lineage]:
    """Open data and weights, decide, and run the preflight; what was decided and found goes to `watcher`."""
    from resnetkit.data.preflight import Reading, survey
    from resnetkit.data.splits import read_split
    from resnetkit.training import job as jobs
    from resnetkit.training import run as runs
    from resnetkit.training.checks import check_batches, check_plan
    from resnetkit.training.duration import with_length
    from resnetkit.training.folds import check_folds
    from resnetkit.training.lineage import lineage
    from resnetkit.training.mirrored import mirror_images, words_of
    from resnetkit.training.nearness import distance

    dataset = jobs.open_request_data(request, data if request.data == (GIVEN,) else ())
    with watcher.counting("reading pictures") as progress:
        surveyed = survey(dataset, threads=threads or machine.available_threads(), progress=progress)
    # Where no picture can be opened the preflight names each of them, so any size and no weights will do until then.
    side = surveyed.median_short_side if surveyed.sizes else 224
    num_pictures = sum(item.split in (None, "train") for item in dataset.items)
    wanted = weights_wanted(request, median_side=side, num_pictures=num_pictures) if surveyed.sizes else None
    origin, tensors, memory, license = None, None, None, None
    if wanted is not None:
        with ranks.one_first_on_each_machine():
            source = locate(wanted, watcher=watcher, purpose="transfer")
            network, header, beside = source.open_trunk(asked=request.spec)
            memory = source.memory(header)
        license = header.license
        if license is not None and source.record is not None:
            license = f"begun from {source.record.name}: {license}"
        origin = Origin(name=source.name, spec=network.spec, preprocess=header.preprocess, beside=beside)
        tensors = network.state_dict()
    deciding = partial(
        decide, request if surveyed.sizes else dataclasses.replace(request, recipe=None), origin=origin,
        median_side=side, num_classes=max(2, len(dataset.classes)), sizes=surveyed.sizes, num_pictures=num_pictures,
    )  # fmt: skip
    decided = deciding()
    if origin is not None and may_be_near(request, origin, num_pictures=num_pictures):
        looking = machine.resolve(device=device, threads=threads)
        looking.apply()
        with watcher.counting("comparing pictures with those of the weights") as progress:
            measure = partial(distance, network, dataset, surveyed, preprocess=origin.preprocess, runtime=looking)
            decided = deciding(distance=ranks.by_first(lambda: measure(progress=progress)))
    watcher.note("\n".join(decided.reasons))
    runtime = machine.resolve(
        device=device,
        threads=threads,
        precision=precision_of(decided, device=device),
        channels_last=decided.recipe.channels_last,
    )
    runtime = ranks.by_first(lambda: dataclasses.replace(runtime, world_size=ranks.size))
    runtime.check_threads()
    if decided.recipe.precision == "bf16" and runtime.dtype == "fp32":
        watcher.note("precision fp32, not bf16: the network shrinks its pictures to one pixel before its last stage")
    rows = None
    if request.split_from is not None:
        rows = read_split(runs.open_run(request.split_from, root=RUNS).split)
    trained = frozenset() if memory is None else trained_among(memory.known, dataset.items, surveyed)
    if request.folds is not None:
        check_folds(request.folds, decided.recipe, ranks.place)
    holds_out = request.folds is None and jobs.holds_out(dataset, decided, rows, trained)
    check_plan(decided, holds_out=holds_out, runtime=runtime, ranks=ranks)
    with watcher.counting("decoding pictures") as progress:
        prepared = jobs.prepare_data(
            request,
            dataset,
            decided,
            reading=Reading(
                threads=runtime.threads,
                bad_images=request.bad_images,
                hint=_skip_hint(command),
                report_to=lambda report: watcher.note(str(report)),
                progress=progress,
            ),
            split_rows=rows,
            surveyed=surveyed,
            trained=trained,
        )
    folds = prepared.folds
    if trained and origin is not None:
        watcher.note(_not_new(origin.name, prepared, trained))
    if memory is not None and source.record is None:  # of published weights the documentation says so
        for note in unknown(memory.known, source.name):
            watcher.note(note)
    if len(prepared.classes) != decided.spec.num_classes:
        decided = dataclasses.replace(decided, spec=decided.spec.changed(num_classes=len(prepared.classes)))
    ranks.check_alike(jobs.contents(prepared), what="other pictures, classes or parts")
    if mirrors(decided, request):
        of_origin = None if origin is None else origin.spec
        pairs = ranks.by_first(lambda: mirror_images(prepared, tensors, of_origin, runtime=runtime))
        if pairs:
            decided = unmirrored(decided, request, words_of(pairs))
            watcher.note(decided.reasons[-1])
    for count in {len(prepared.parts["train"]) - held_out for held_out in (0, *(folds.sizes if folds else ()))}:
        check_batches(decided, count, runtime=runtime, ranks=ranks)
    share = ranks.longest_share(len(prepared.parts["train"]))
    compiled = ranks.by_first(
        lambda: repays(
            decided.recipe, decided.spec, size=decided.preprocess.size, num_images=share, device=runtime.device
        )
    )
    runtime = dataclasses.replace(runtime, compiled=compiled)
    if compiled:
        watcher.note("compiled: the first steps take longer, and the run is long enough to repay it")
    decided = with_length(decided, prepared, runtime, ranks=ranks.size)
    watcher.note("\n".join(decided.reasons[-1 - bool(folds) :]))
    came = lineage(prepared, before=None if memory is None else memory.tells, license=license)
    return decided, prepared, tensors, None if origin is None else origin.spec, runtime, came


def _not_new(name: str, prepared: Prepared, trained: Collection[str]) -> str:
    """Say how many pictures the weights `name` know, once the parts are made."""
    held_out = len(prepared.folds.held_out if prepared.folds is not None else prepared.parts.get("val", ()))
    return of_training(
        name, trained=sum(item.source in trained for item in prepared.parts["train"].items),
        left_out=len(prepared.left_out), held_out=held_out, total=len(prepared.items),
    )  # fmt: skip


def _begun_before_restart(ranks: Ranks) -> RunFolder | None:
    """Return the run that this very job made before torchrun restarted its processes."""
    from resnetkit.training.run import RunFolder

    path = ranks.remembered("run")
    return RunFolder(Path(path)) if path is not None and (Path(path) / "state").is_dir() else None


def resume(
    run: str | Path | Run,
    *,
    epochs: int | None = None,
    data: Any = (),
    on_epoch: Callable[[Row], None] | None = None,
    watcher: Watcher | None = None,
    quiet: bool = False,
) -> Run:
    """Go on with a run where it stopped, or on to `epochs`; data, recipe and place come from the run.

    `data`: where the pictures lie now, if they moved (a path, several in a list, or arrays `(images, labels)`): they
    are found by their content, and the next time there.
    The run ends with the same bits as one that was never interrupted. Going on to more epochs stretches the schedule:
    from there on the learning rate is what a run of the new length has at that place.
    """
    from resnetkit.training import run as runs
    from resnetkit.training.ranks import joined

    given = (data,) if pair_of((data,)) else tuple(paths_of([data]))
    with listening(watcher, quiet=quiet) as watcher, joined() as ranks:
        watcher, on_epoch = (watcher, on_epoch) if ranks.first else (Watcher(), None)
        folder = ranks.by_first(lambda: runs.open_run(run, root=RUNS))
        return _resumed(folder, epochs=epochs, data=given, ranks=ranks, on_epoch=on_epoch, watcher=watcher)


def _resumed(
    folder: RunFolder,
    *,
    epochs: int | None = None,
    data: Sequence[Any] = (),
    ranks: Ranks,
    on_epoch: Callable[[Row], None] | None,
    watcher: Watcher,
) -> Run:
    """Take up a run and train what is left of it."""
    from resnetkit.training.folds import check_folds
    from resnetkit.training.resuming import take_up

    with watcher.counting("reading pictures") as progress:
        job = take_up(
            folder, ranks=ranks, epochs=epochs, data=data, watch=watcher, progress=progress,
            learning=task_called(CLASSIFICATION).learning,
        )  # fmt: skip
    if job.request.folds is not None:
        check_folds(job.request.folds, job.recipe, ranks.place)
    elif Run(folder).description["epochs_done"] == job.recipe.epochs:
        what = "it is scored now" if folder.metrics() is None else "--epochs N goes on"
        done = f"finished its {job.recipe.epochs} epochs" if job.recipe.epochs else "its head fitted, and no epochs"
        watcher.note(f"{folder.name} has {done}; {what}")
    return _train(job, on_epoch=on_epoch, watcher=watcher)


def _train(job: Job, *, on_epoch: Callable[[Row], None] | None, watcher: Watcher) -> Run:
    """Train, then score and draw."""
    if job.prepared.folds is not None:
        train_folds(job, on_epoch=on_epoch, watcher=watcher)
    state = job.train(watcher if on_epoch is None else _Also(watcher, on_epoch))
    job.ranks.by_first(lambda: finish(job, state, watcher))
    return Run(job.folder)


class _Also(Watcher):
    """A watcher that also tells a user's function of each epoch."""

    def __init__(self, watcher: Watcher, on_epoch: Callable[[Row], None]) -> None:
        self.watcher, self.on_epoch = watcher, on_epoch
        self.note, self.step, self.counting = watcher.note, watcher.step, watcher.counting  # type: ignore[method-assign]

    def epoch(self, row: Row) -> None:
        self.watcher.epoch(row)
        self.on_epoch(row)


def _network_of(request: Request, plan: Plan) -> str:
    """Return the network that a run is called after: the one that was named, else that of its weights."""
    if request.named or plan.weights is None:
        return request.architecture
    return name_of(plan.spec) or f"resnet_{'_'.join(map(str, plan.spec.blocks))}"


def _run_path(name: str | None, output: str | Path | None, *, data: Sequence[str], model: str) -> Path:
    """Return where the run will lie; raises `UsageError` where it cannot."""
    from resnetkit.training import run as runs

    if name is not None and output is not None:
        raise UsageError("--name and --output contradict each other: --name NAME means runs/NAME, --output a folder")
    if name is not None and (name != safe_name(name) or name.startswith(".") or len(name) > 100):
        raise UsageError(f"--name {name!r} is no plain name for a folder; for a place of your own use --output DIR")
    if output is not None and not str(output).strip():
        raise UsageError("--output is empty: name a folder")
    if name is None and output is None:
        path = runs.free_path(RUNS, f"{Path(os.path.abspath(data[0].strip('<>'))).stem[:99]}-{model}")
    else:
        path = Path(output) if output is not None else RUNS / str(name)
    for given in data:
        if os.path.isdir(given) and path.resolve().is_relative_to(Path(given).resolve()):
            raise UsageError(f"the run {path} would lie inside its own data, {given}: choose a place with --output DIR")
    if path.exists() and any(path.iterdir() if path.is_dir() else [path]):
        raise runs.taken(path)
    return path


def _skip_hint(command: str | None) -> str:
    """Return the exact line to type when unreadable pictures stopped a run."""
    line = f"{command} --bad-images skip" if command else 'the same call with bad_images="skip"'
    return f"mend them, or leave them out with: {line}"


def _python_call() -> str:
    return shlex.join(["python", *sys.argv])
