"""Training: what is decided and read before it, begun afresh or resumed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit import runtime as machine
from resnetkit.api.beginning import Asking, start_of
from resnetkit.api.finishing import finish
from resnetkit.api.folding import train_folds
from resnetkit.api.locating import RUNS
from resnetkit.api.pictures import draw_augmented
from resnetkit.api.progress import listening
from resnetkit.api.tasks import task_called
from resnetkit.data.dataset import NUMBERED
from resnetkit.data.sources.arrays import GIVEN, fetch_cifar10, pair_of, paths_of
from resnetkit.errors import UsageError, near_miss
from resnetkit.files import check_place, safe_name
from resnetkit.models.catalog import name_of
from resnetkit.training.planning.plan import Plan
from resnetkit.training.request import Request
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    from resnetkit.data.findings import Report
    from resnetkit.training.job import Job
    from resnetkit.training.run import RunFolder
    from resnetkit.training.together.ranks import Ranks
    from resnetkit.watcher import Row


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
    bad_images, group_by, rename, split_from, folds, limit, task, settings, cost. `on_epoch(row)` hears of each row of
    `results.csv`, those of folds with `fold` in them.
    Under torchrun the processes train together; the first of them hears of the epochs and writes.
    Raises `DataError` for data that cannot be used (exit code 3), `UsageError` for contradictions, `InterruptedRun`
    after Ctrl-C, `DivergedError` for a loss that is not finite.
    """
    request = _request(data, options)
    from resnetkit.training import job as jobs
    from resnetkit.training.together.ranks import joined

    device = machine.resolve(device=device).device  # one that is not there is told before any picture is read
    with listening(watcher, quiet=quiet) as watcher, joined() as ranks:
        watcher, on_epoch = (watcher, on_epoch) if ranks.first else (Watcher(), None)
        if (begun := ranks.by_first(lambda: _begun_before_restart(ranks))) is not None:
            return _resumed(begun, data=_nowhere_else(begun, data), ranks=ranks, on_epoch=on_epoch, watcher=watcher)
        path_of = partial(_run_path, name, output, data=request.data)
        ranks.by_first(lambda: path_of(model=request.architecture))  # a place that cannot be is told before any picture
        asking = Asking(
            request=request, data=data, device=device, threads=threads, watcher=watcher, command=command, ranks=ranks
        )
        start = start_of(asking)
        path_of = partial(_run_path, name, output, data=start.request.data)
        path = ranks.by_first(lambda: path_of(model=_network_of(request, start.plan)))
        if start.hidden is not None and start.hidden.tells(str(path)):
            raise UsageError(
                "the name or place of the run holds what an identifying tag of these DICOM files says: choose another "
                "--name, or an --output below the folder you are in"
            )
        job = jobs.begin(start, path, named=(name or output) is not None, watch=watcher)
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
    from resnetkit.training.together.ranks import Ranks

    request = _request(data, options)
    device = machine.resolve(device=device).device
    with listening(watcher, quiet=quiet) as watcher:
        asking = Asking(
            request=request, data=data, device=device, threads=threads, watcher=watcher, command=command, ranks=Ranks()
        )
        start = start_of(asking)
    return start.plan, start.prepared.report


def _request(data: Sequence[Any], options: Mapping[str, Any]) -> Request:
    """Return the request; raises `UsageError` for an option there is not, with the nearest."""
    known = [field.name for field in dataclasses.fields(Request) if field.name != "data"]
    for name in options:
        if name not in known:
            now = ": it is task now" if name == "labels" else ""
            raise UsageError(f"train has no option {name!r}{now or near_miss(name, known) or ': ' + ', '.join(known)}")
    if pair_of(data) is not None:
        return Request(data=(GIVEN,), **options)
    paths = tuple(paths_of(data))
    if "cifar10" in paths and not os.path.exists("cifar10"):
        fetch_cifar10()  # before torch is loaded: who has no network hears of it within seconds
    return Request(data=paths, **options)


def _nowhere_else(folder: RunFolder, data: Sequence[Any]) -> Sequence[Any]:
    """Return the data of a run that keeps no path, none of others, which know them."""
    from resnetkit.training import state as states

    return paths_of(data) if states.describe(folder.state)["request"]["request"]["data"] == [NUMBERED] else ()


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
    from resnetkit.training.together.ranks import joined

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
            task_called=task_called,
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
        return request.named or request.architecture
    body = plan.spec.body
    return name_of(plan.spec) or f"resnet_{'_'.join(map(str, body.blocks))}"


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
    if os.path.lexists(path) and not path.is_dir():
        raise UsageError(f"the run {path}: there is something that is no folder; name another place")
    check_place(path, "--output" if output is not None else "the run")
    for given in data:
        if os.path.isdir(given) and path.resolve().is_relative_to(Path(given).resolve()):
            raise UsageError(f"the run {path} would lie inside its own data, {given}: choose a place with --output DIR")
    if path.exists() and any(path.iterdir()):
        raise runs.taken(path)
    return path
