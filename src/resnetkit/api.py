"""The calls users write: load, train, resume, evaluate, predict. They compose the rooms; torch is imported inside."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit import runtime as machine
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.sources import open_data, open_pictures
from resnetkit.errors import UsageError, near_miss
from resnetkit.inference.decision import Decision
from resnetkit.inference.engines import TorchEngine
from resnetkit.inference.predictor import Prediction, Predictor
from resnetkit.models import catalog
from resnetkit.models.checkpoint import Header
from resnetkit.runtime import Precision, Runtime
from resnetkit.training.plan import Origin, Plan, Request, decide, weights_wanted
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

    from resnetkit.data.preflight import Part, Prepared, Report
    from resnetkit.models.resnet import ResNet
    from resnetkit.models.spec import ResNetSpec
    from resnetkit.training.job import Job
    from resnetkit.training.run import RunFolder

Row = dict[str, Any]
RUNS = Path("runs")


class Model:
    """A network with its class names and preprocessing, ready to name pictures.

    >>> model = load("runs/pets")  # doctest: +SKIP
    >>> model.predict("cat.jpg")  # doctest: +SKIP
    Prediction('cat.jpg': cat 97.1 %, dog 2.9 %)
    """

    def __init__(self, network: ResNet, header: Header, *, name: str, runtime: Runtime) -> None:
        self.network, self.header, self.name, self.runtime = network, header, name, runtime

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.header.classes

    @cached_property
    def engine(self) -> TorchEngine:
        """What computes the logits."""
        self.runtime.apply()
        return TorchEngine(self.network, self.header.preprocess, self.runtime)

    @cached_property
    def predictor(self) -> Predictor:
        """The engine with names and decision."""
        return Predictor(
            self.engine,
            classes=self.classes,
            preprocess=self.header.preprocess,
            decision=self.decision,
            name=self.name,
        )

    @property
    def decision(self) -> Decision:
        """Temperature and threshold of the checkpoint."""
        return Decision.from_json(self.header.decision)

    def predict(self, picture: str | Path | Image.Image | np.ndarray, *, top_k: int = 5) -> Prediction:
        """Name one picture: a path, a PIL image or a uint8 array `[H, W]` or `[H, W, 3]`."""
        return self.predictor.predict(picture, top_k=top_k)

    def predict_many(
        self, sources: Sequence[str | Path], *, top_k: int = 5, batch_size: int | None = None
    ) -> Iterator[Prediction]:
        """Name every picture of files, folders, globs and archives, one after the other, in constant memory."""
        pictures = open_pictures(*sources)
        return self.predictor.predict_many(pictures, top_k=top_k, batch_size=batch_size, threads=self.runtime.threads)

    def features(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the named stages of the network for normalised images `[N, C, H, W]`, for other people's heads."""
        return self.network.features(images)

    def evaluate(self, *data: str | Path, **options: Any) -> Evaluation:
        """Score this model on labelled pictures; the options are those of `evaluate`."""
        return evaluate(*data, model=self, **options)

    def save(self, path: str | Path) -> None:
        """Write the self-describing checkpoint."""
        from resnetkit.models import checkpoint

        checkpoint.save(path, self.network, self.header)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {len(self.classes)} classes, {self.header.preprocess.size} pixels)"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The content of `metrics.json` and `predictions.csv`, and where they lie (None: nowhere)."""

    metrics: dict[str, Any]
    rows: list[dict[str, Any]]
    folder: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The figures in plain words."""
        return headline(self.metrics)

    def __repr__(self) -> str:
        return self.headline


class Run:
    """A finished or interrupted training run, by its folder."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @cached_property
    def model(self) -> Model:
        """The best model of the run."""
        return load(self.path)

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The final evaluation (`metrics.json`), or None where the run has not reached it."""
        return self.folder.metrics()

    @property
    def description(self) -> dict[str, Any]:
        """What was asked for and how far it is: data, epochs, epochs_done, started."""
        import json

        from resnetkit.training import state as states

        said = states.describe(self.folder.state)
        environment = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
        return {
            "data": said["request"]["request"]["data"],
            "epochs": said["request"]["recipe"]["epochs"],
            "epochs_done": said["position"]["epoch"],
            "started": environment["started"],
        }

    @property
    def history(self) -> list[dict[str, str]]:
        """The rows of `results.csv`, as text."""
        import csv

        with open(self.path / "results.csv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def evaluate(self, *data: str | Path, **options: Any) -> Evaluation:
        """Score the best model on other pictures; the options are those of `evaluate`."""
        return evaluate(*data, model=self.path, **options)

    def __repr__(self) -> str:
        figure = "" if self.metrics is None else f", {100 * self.metrics['top1']:.1f} % of {self.metrics['count']}"
        return f"Run({str(self.path)!r}{figure})"


def load(
    model: str | Path = "resnet18",
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Model:
    """Open a model: a catalog name (its published weights, downloaded once and verified), a run, or a weights file.

    `weights`: a file that holds the published weights of the network `model` names, for a computer without network.
    Raises `UsageError` for a name there is not, `NetworkError` where weights cannot be had, `DataError` for a file
    that is none.
    """
    network, header, name = _opened(str(model), weights=weights, watcher=watcher or Watcher())
    runtime = machine.resolve(device=device, precision=precision, threads=threads)
    return Model(network, header, name=name, runtime=runtime)


def _opened(text: str, *, weights: str | Path | None, watcher: Watcher) -> tuple[ResNet, Header, str]:
    """Resolve a MODEL given as text; the only place that does."""
    from resnetkit.models import checkpoint
    from resnetkit.models import weights as weights_files
    from resnetkit.training import run as runs

    path = Path(text).expanduser()
    if weights is not None:
        network, header = weights_files.open_weights(weights, arch=text.partition(".")[0])
        return network, header, f"{text} ({weights})"
    if path.is_file():
        network, header = weights_files.open_weights(path)
        return network, header, str(path)
    if path.is_dir() or (RUNS / text).is_dir():
        folder = runs.open_run(text, root=RUNS)
        if not folder.best.is_file():
            raise UsageError(f"{folder.path} has no finished epoch yet: go on with resnetkit resume {folder.path}")
        return *checkpoint.load(folder.best), folder.name
    record = _record_of(text)
    with watcher.counting(f"fetching {record.name}", " bytes") as progress:
        network, header = weights_files.published(record.name, progress=progress)
    return network, header, record.name


def _record_of(text: str) -> catalog.WeightsRecord:
    from resnetkit.training.run import all_runs

    if "." in text and "/" not in text:
        return catalog.record(text)
    try:
        record = catalog.default_record(text, purpose="accuracy")
    except UsageError:
        known = [*catalog.architectures(), *(run.name for run in all_runs(RUNS))]
        raise UsageError(
            f"no model {text!r}{near_miss(text, known)} It is a network (see resnetkit models), a run (see resnetkit "
            "runs) or a file"
        ) from None
    return record or catalog.record(text)


def train(
    *data: str | Path,
    name: str | None = None,
    output: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    watcher: Watcher | None = None,
    command: str | None = None,
    **options: Any,
) -> Run:
    """Train or fine-tune on pictures in class folders (or any other DATA) and return the run.

    `options` are the fields of `Request`: model, weights, recipe, epochs, batch_size, image_size, stem, seed,
    bad_images, group_by, rename, split_from, limit, settings. `on_epoch(row)` hears of each row of `results.csv`.
    Raises `DataError` for data that cannot be used (exit code 3), `UsageError` for contradictions, `InterruptedRun`
    after Ctrl-C, `DivergedError` for a loss that is not finite.
    """
    from resnetkit.training import job as jobs

    watcher = watcher or Watcher()
    request = Request(data=tuple(str(path) for path in data), **options)
    path = _run_path(name, output, data=request.data, model=request.architecture)
    plan, prepared, tensors, origin_spec, runtime = _prepare(
        request, device=device, threads=threads, watcher=watcher, command=command
    )
    job = jobs.begin(
        request,
        plan,
        prepared,
        weights=tensors,
        weights_spec=origin_spec,
        runtime=runtime,
        path=path,
        command=command or _python_call(),
        watch=watcher,
    )
    _draw_augmented(job, watcher)
    return _train(job, on_epoch=on_epoch, watcher=watcher)


def plan(
    *data: str | Path,
    device: str = "auto",
    threads: int | None = None,
    watcher: Watcher | None = None,
    command: str | None = None,
    **options: Any,
) -> tuple[Plan, Report]:
    """Decide what `train` would do, and read all the data, without training: the dry run."""
    request = Request(data=tuple(str(path) for path in data), **options)
    decided, prepared, *_ = _prepare(
        request, device=device, threads=threads, watcher=watcher or Watcher(), command=command
    )
    return decided, prepared.report


def _prepare(
    request: Request, *, device: str, threads: int | None, watcher: Watcher, command: str | None
) -> tuple[Plan, Prepared, Mapping[str, torch.Tensor] | None, Any, Runtime]:
    """Open data and weights, decide, and run the preflight; what was decided and found goes to `watcher`."""
    from resnetkit.data.preflight import survey
    from resnetkit.data.splits import read_split
    from resnetkit.training import job as jobs
    from resnetkit.training import run as runs

    dataset = jobs.open_request_data(request)
    with watcher.counting("reading pictures") as progress:
        surveyed = survey(dataset, threads=threads or machine.available_threads(), progress=progress)
    side = surveyed.median_short_side
    wanted = weights_wanted(request, median_side=side)
    origin, tensors = None, None
    if wanted is not None:
        network, header, origin_name = _opened(wanted, weights=None, watcher=watcher)
        origin = Origin(name=origin_name, spec=network.spec, preprocess=header.preprocess)
        tensors = network.state_dict()
    decided = decide(request, origin=origin, median_side=side, num_classes=max(2, len(dataset.classes)))
    watcher.note("\n".join(decided.reasons))
    runtime = machine.resolve(
        device=device,
        threads=threads,
        precision=decided.recipe.precision,
        channels_last=decided.recipe.channels_last,
    )
    rows = None
    if request.split_from is not None:
        rows = read_split(runs.open_run(request.split_from, root=RUNS).split)
    with watcher.counting("decoding pictures") as progress:
        prepared = jobs.prepare_data(
            request,
            dataset,
            decided,
            runtime=runtime,
            split_rows=rows,
            surveyed=surveyed,
            hint=_skip_hint(command),
            report_to=lambda report: watcher.note(str(report)),
            progress=progress,
        )
    if len(prepared.classes) != decided.spec.num_classes:
        decided = dataclasses.replace(decided, spec=decided.spec.changed(num_classes=len(prepared.classes)))
    return decided, prepared, tensors, None if origin is None else origin.spec, runtime


def resume(
    run: str | Path,
    *,
    epochs: int | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Go on with a run where it stopped, or on to `epochs`; data, recipe and place come from the run.

    The run ends with the same bits as one that was never interrupted. Going on to more epochs stretches the schedule:
    from there on the learning rate is what a run of the new length has at that place.
    """
    from resnetkit.training import job as jobs
    from resnetkit.training import run as runs

    watcher = watcher or Watcher()
    folder = runs.open_run(run, root=RUNS)
    with watcher.counting("reading pictures") as progress:
        job = jobs.take_up(folder, epochs=epochs, progress=progress)
    if Run(folder).description["epochs_done"] == job.recipe.epochs:
        watcher.note(f"{folder.name} has finished its {job.recipe.epochs} epochs; --epochs N goes on")
    return _train(job, on_epoch=on_epoch, watcher=watcher)


def _train(job: Job, *, on_epoch: Callable[[Row], None] | None, watcher: Watcher) -> Run:
    """Train, then score and draw; pictures of the course are drawn for an interrupted run too."""
    heard = watcher if on_epoch is None else _Also(watcher, on_epoch)
    rows: list[Row] = []
    try:
        rows = job.train(heard).rows
    finally:
        _draw_history(job, rows)
    part = next((split for split in ("test", "val") if split in job.prepared.parts), None)
    if part is None:
        watcher.note("nothing was held out, so nothing is scored: evaluate the run on other pictures")
        return Run(job.folder)
    model = load(job.folder.path, device=job.runtime.device, threads=job.runtime.threads)
    _score(model, job.prepared.parts[part], split=part, folder=job.folder.path, watcher=watcher)
    return Run(job.folder)


class _Also(Watcher):
    """A watcher that also tells a user's function of each epoch."""

    def __init__(self, watcher: Watcher, on_epoch: Callable[[Row], None]) -> None:
        self.watcher, self.on_epoch = watcher, on_epoch
        self.note, self.step, self.counting = watcher.note, watcher.step, watcher.counting  # type: ignore[method-assign]

    def epoch(self, row: Row) -> None:
        self.watcher.epoch(row)
        self.on_epoch(row)


def evaluate(
    *data: str | Path,
    model: str | Path | Model,
    split: str = "auto",
    output: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
    bad_images: str = "stop",
    limit: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Evaluation:
    """Score a model on labelled pictures: `split` is auto (test, else validation, else everything), train, val, test.

    Pictures that the model's run was trained on are recognised by its `split.csv` and left out unless `split="train"`
    asks for them. The files go to `output`; without it to `evaluations/` of the run, where the model is one.
    """
    from resnetkit.data.preflight import prepare
    from resnetkit.evaluation.evaluate import choose_split

    watcher = watcher or Watcher()
    folder = _run_of(model)
    if not isinstance(model, Model):
        model = load(model, device=device, threads=threads, watcher=watcher)
    dataset = open_data(*data, rename=rename, limit=limit)
    dataset, notes = _as_the_run_split_it(dataset, folder)
    chosen = choose_split(split, {item.split or "train" for item in dataset.items})  # type: ignore[arg-type]
    if chosen == "all":
        dataset = dataset.as_part("test")
    part_name = "test" if chosen == "all" else chosen
    with watcher.counting("reading pictures") as progress:
        prepared = prepare(
            dataset,
            preprocess=model.header.preprocess,
            whole_short_side=None,
            bad_images=bad_images,  # type: ignore[arg-type]
            val_share=0.0,
            seed=0,
            classes=model.classes,
            parts=(part_name,),
            threads=model.runtime.threads,
            progress=progress,
        )
    for note in notes:
        watcher.note(note)
    place = Path(output) if output is not None else None if folder is None else _evaluation_path(folder, data)
    result = _score(model, prepared.parts[part_name], split=chosen, folder=place, watcher=watcher)
    return dataclasses.replace(result, notes=tuple(notes))


def _score(model: Model, part: Part, *, split: str, folder: Path | None, watcher: Watcher) -> Evaluation:
    """Score a part, write the two files and the pictures."""
    from resnetkit.evaluation.evaluate import evaluate_part, write_evaluation
    from resnetkit.report import plots

    metrics, rows = evaluate_part(model.engine, part, classes=model.classes, decision=model.decision, split=split)  # type: ignore[arg-type]
    if folder is not None:
        write_evaluation(folder, metrics, rows)
        warnings = [plots.confusion(metrics, folder / "confusion_matrix.png")]
        warnings.append(_draw_predictions(part, rows, folder / "predictions.png"))
        for warning in sorted({warning for warning in warnings if warning}):
            watcher.note(warning)
    return Evaluation(metrics=metrics, rows=rows, folder=folder)


def _draw_predictions(part: Part, rows: list[dict[str, Any]], path: Path) -> str | None:
    """Draw up to 24 of the scored pictures, spread over the set, as they are (not normalised)."""
    import numpy as np

    from resnetkit.report import plots

    shown = np.unique(np.linspace(0, len(rows) - 1, 24).astype(int))
    right = sum(row["correct"] for row in rows)
    return plots.prediction_grid(
        part.pixels.take(shown),
        path,
        labels=[rows[i]["label"] for i in shown],
        predicted=[rows[i]["predicted"] for i in shown],
        probabilities=[rows[i]["probability"] for i in shown],
        title=f"{len(shown)} of {len(rows)} pictures; {right} of all are right",
    )


def _draw_history(job: Job, rows: list[Row]) -> None:
    from resnetkit.report import plots
    from resnetkit.training import state as states

    rows = rows or states.describe(job.folder.state)["rows"]
    if rows:
        best = states.describe(job.folder.state)["best_row"]
        plots.history(rows, job.folder.path / "results.png", best_epoch=best["epoch"])


def _draw_augmented(job: Job, watcher: Watcher) -> None:
    """Draw a few training pictures beside what augmentation makes of them."""
    import numpy as np
    import torch

    from resnetkit.data.augment import centre
    from resnetkit.data.batches import seeded
    from resnetkit.report import plots
    from resnetkit.training.augmenter import build_augmenter

    part = job.prepared.parts["train"]
    shown = np.unique(np.linspace(0, len(part.items) - 1, 5).astype(int))
    taken = [torch.from_numpy(picture) for picture in part.pixels.take(shown)]
    augment = build_augmenter(job.recipe.augment, job.preprocess)
    uniform = len({picture.shape for picture in taken}) == 1
    pictures = torch.stack(taken) if uniform else taken
    versions = [centre(taken, preprocess=job.preprocess)]
    versions += [augment(pictures, seeded(job.request.seed, variant)) for variant in range(6)]
    rows = [[version[i].numpy() for version in versions] for i in range(len(shown))]
    labels = [part.items[i].label or "" for i in shown]
    warning = plots.augmented(rows, job.folder.path / "augmented.png", labels=labels)
    if warning:
        watcher.note(warning)


def _as_the_run_split_it(dataset: Dataset, folder: RunFolder | None) -> tuple[Dataset, list[str]]:
    """Give pictures the part they had in the run that made the model, so that none it learnt from is scored unasked."""
    from resnetkit.data.splits import read_split

    if folder is None or not folder.split.is_file():
        return dataset, []
    start = _started_in(folder)
    parts = {os.path.normpath(start / source): part for source, part in read_split(folder.split).items()}
    known = [parts.get(os.path.abspath(item.source)) for item in dataset.items]
    trained_on = sum(part == "train" for part in known)
    if not trained_on:
        return dataset, []
    items: tuple[Item, ...] = tuple(
        dataclasses.replace(item, split=part or item.split or "val")
        for item, part in zip(dataset.items, known, strict=True)
    )
    note = f"{trained_on} of these pictures trained {folder.name}; they are scored only with --split train"
    return dataclasses.replace(dataset, items=items), [note]


def _started_in(folder: RunFolder) -> Path:
    from resnetkit.training import state as states

    return Path(states.describe(folder.state)["request"]["cwd"])


def _run_of(model: str | Path | Model) -> RunFolder | None:
    """Return the run that a MODEL is, or lies in."""
    from resnetkit.training.run import RunFolder

    if isinstance(model, Model):
        return None
    for path in (Path(model), RUNS / model, Path(model).parent):
        if (path / "state").is_dir():
            return RunFolder(path)
    return None


def _evaluation_path(folder: RunFolder, data: Sequence[str | Path]) -> Path:
    from resnetkit.training.run import free_path

    return free_path(folder.path / "evaluations", Path(str(data[0]).rstrip("/")).stem or "data")


def headline(metrics: Mapping[str, Any]) -> str:
    """Return the content of `metrics.json` in plain words."""
    from resnetkit.evaluation.metrics import headline as in_words

    return in_words(metrics)


def describe(model: str) -> tuple[ResNetSpec, Header | None]:
    """Return what a MODEL is, without its tensors and without torch: its spec and, for trained ones, its header."""
    from resnetkit.models.checkpoint import read_header

    path = Path(model)
    folder = _run_of(model) if path.is_dir() or (RUNS / model).is_dir() else None
    if folder is not None:
        header = read_header(folder.best)
        return header.spec, header
    if path.is_file():
        header = read_header(path)
        return header.spec, header
    if "." in model:
        record = catalog.record(model)
        return catalog.spec_of(record.arch), catalog.published_header(record)
    return catalog.spec_of(model), None


def predict(
    *sources: str | Path, model: str | Path | Model = "resnet18", top_k: int = 5, **options: Any
) -> Iterator[Prediction]:
    """Name pictures with a model; `options` are those of `load`."""
    opened = model if isinstance(model, Model) else load(model, **options)
    return opened.predict_many(sources, top_k=top_k)


def runs(root: str | Path = RUNS) -> list[Run]:
    """Return the runs of a folder, newest first."""
    from resnetkit.training.run import all_runs

    return [Run(folder) for folder in all_runs(Path(root))]


def _run_path(name: str | None, output: str | Path | None, *, data: Sequence[str], model: str) -> Path:
    from resnetkit.training import run as runs

    if name is not None and output is not None:
        raise UsageError("--name and --output contradict each other: --name NAME means runs/NAME, --output a folder")
    if name is None and output is None:
        return runs.free_path(RUNS, f"{Path(os.path.abspath(data[0])).stem}-{model}")
    path = Path(output) if output is not None else RUNS / str(name)
    if name is not None and (os.sep in name or name in (".", "..", "")):
        raise UsageError(f"--name {name!r} is a name, not a path; for a place of your own use --output DIR")
    if path.exists() and any(path.iterdir() if path.is_dir() else [path]):
        raise runs.taken(path)
    return path


def _skip_hint(command: str | None) -> str:
    """Return the exact line to type when unreadable pictures stopped a run."""
    line = f"{command} --bad-images skip" if command else 'the same call with bad_images="skip"'
    return f"mend them, or leave them out with: {line}"


def _python_call() -> str:
    return shlex.join(["python", *sys.argv])
