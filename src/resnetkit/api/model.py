"""A model ready to name pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from resnetkit import runtime as machine
from resnetkit.api.locating import NamesNothingError, Source, locate, run_of
from resnetkit.api.remembering import Memory, memory_of
from resnetkit.data.frames import of_files
from resnetkit.data.sources import Dataset, open_pictures
from resnetkit.errors import DataError, UsageError
from resnetkit.inference import bulk, cases, prepared
from resnetkit.inference.engines import Engine, EngineName, TorchEngine, choose
from resnetkit.inference.given import Given
from resnetkit.inference.openvino_engine import OpenVINOEngine, prepare, prepare_exported
from resnetkit.inference.openvino_library import core
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.predictor import Predictor
from resnetkit.models.checkpoint import MULTILABEL, Deciding, Header
from resnetkit.models.decision import GIVEN, Decision, Gives
from resnetkit.runtime import Precision, Runtime
from resnetkit.watcher import Count, Watcher

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from resnetkit.inference.prepared import Converted
    from resnetkit.models.building import Network
    from resnetkit.training.run import RunFolder


class Model:
    """A network with its class names and preprocessing, ready to name pictures.

    >>> model = load("runs/pets")  # doctest: +SKIP
    >>> model.predict("cat.jpg")  # doctest: +SKIP
    Prediction('cat.jpg': cat 97.1 %, dog 2.9 %)
    """

    def __init__(
        self,
        network: Network | Callable[[], Network],
        header: Header,
        *,
        name: str,
        runtime: Runtime,
        run: RunFolder | None = None,
        engine: Engine | None = None,
        computes: str = "",
        files: tuple[Path, ...] = (),
        beside: str = "",
    ) -> None:
        """Take a network, or what opens it where `engine` can do without.

        `computes` says in words what computes, `files` are those that the network was read from, `beside`
        what else those of a trunk hold.
        """
        self.files, self.beside = files, beside
        self._network, self._engine = network, engine
        self.header, self.name, self.runtime, self.run, self.computes = header, name, runtime, run, computes

    @cached_property
    def network(self) -> Network:
        """The `torch.nn.Module`, in evaluation mode."""
        from torch import nn

        return cast("Network", self._network) if isinstance(self._network, nn.Module) else self._network()

    def check_classes(self) -> None:
        """Raise `UsageError` for a trunk, which has features and no classes."""
        if not self.classes:
            raise NamesNothingError(self.name, self.beside)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.header.classes

    @cached_property
    def engine(self) -> Engine:
        """What computes the logits."""
        if self._engine is not None:
            return self._engine
        self.runtime.apply()
        return TorchEngine(self.network, self.header.preprocess, self.runtime)

    @cached_property
    def predictor(self) -> Predictor:
        """The engine with names and decision; raises `UsageError` for a trunk, which has no names."""
        self.check_classes()
        return Predictor(
            self.engine,
            classes=self.classes,
            preprocess=self.header.preprocess,
            decision=self.decision,
            name=self.name,
            trained_side=self.header.data.get("picture_side"),
        )

    @cached_property
    def memory(self) -> Memory:
        """What the weights and those they began from have seen."""
        return memory_of(self.header, path=self.files[0] if self.files else None, run=self.run)

    @property
    def several(self) -> bool:
        """Whether it gives a picture none, one or several labels, in place of one class."""
        return self.header.task == MULTILABEL

    @property
    def gives(self) -> Gives:
        """What it says of a picture: its class, its labels or the objects on it."""
        return self.decision.gives

    @property
    def decision(self) -> Deciding:
        """Temperature and threshold of the checkpoint."""
        return self.header.decision

    def costing(self, cost: Sequence[str], *, watcher: Watcher | None = None) -> Model:
        """Return the same model, deciding at the least expected cost: `cost` as in `load`."""
        header = _deciding(self.header, self.name, {"cost": tuple(cost)}, watcher or Watcher())
        return Model(
            self._network, header, name=self.name, runtime=self.runtime, run=self.run, engine=self.engine,
            computes=self.computes, files=self.files, beside=self.beside,
        )  # fmt: skip

    def predict(self, picture: Given, *, top_k: int = 5) -> Prediction:
        """Name one picture: a path, a PIL image, a uint8 array `[H, W]` or `[H, W, 3]`, bytes or an open file."""
        return self.predictor.predict(picture, top_k=top_k)

    def draw(self, picture: Given) -> Image.Image:
        """Return a picture with the objects that a detector finds on it: boxes, masks, names and scores."""
        from resnetkit.api.making import drawing_of

        return drawing_of(picture, self.predictor)

    def predict_many(
        self, sources: Given | Iterable[Given], *, top_k: int = 5, batch_size: int | None = None
    ) -> Iterator[Prediction]:
        """Name every picture of files, folders, globs and archives, or of whatever `predict` takes, mixed.

        One after the other, in constant memory: a generator is asked for two batches more than was answered.
        """
        return self.predictor.predict_many(sources, top_k=top_k, batch_size=batch_size, threads=self.runtime.threads)

    def predict_cases(
        self, sources: str | Path | Sequence[str | Path], *, group_by: str, aggregate: str = "mean", top_k: int = 5,
        batch_size: int | None = None,
    ) -> Iterator[Prediction]:  # fmt: skip
        """Give each patient, study or series of files, folders and archives one answer, from those for its pictures.

        `group_by` is a tag of DICOM files, whose values become hashes, `folder`, a column or a pattern, see
        `grouping.grouped`; `aggregate` is `mean`, `max` or `top 3`, see `aggregation.asked`. Pictures without an answer
        are `unread`, and those that are in no group are cases of their own.
        """
        self.check_classes()
        given = [sources] if isinstance(sources, (str, Path)) else sources
        return cases.predict_cases(
            self.predictor, open_pictures(*given, group_by=group_by), how=aggregate, top_k=top_k, batch_size=batch_size,
            threads=self.runtime.threads,
        )  # fmt: skip

    def predict_case(
        self, pictures: Given | Iterable[Given], *, aggregate: str = "mean", name: str = "<case>", top_k: int = 5
    ) -> Prediction:
        """Give all of some pictures one answer, as of one series: whatever `predict_many` takes."""
        return cases.predict_case(
            self.predictor, pictures, how=aggregate, name=name, top_k=top_k, threads=self.runtime.threads
        )

    def predict_video(
        self, source: str | Path, *, every: str | None = None, smooth: str | None = None, track: bool = False,
        top_k: int = 5, batch_size: int | None = None,
    ) -> Generator[Prediction]:  # fmt: skip
        """Yield a prediction for each frame of a video, whose `moment` has its number and time.

        `every`: fifth frame (`5`) or half a second (`0.5s`); `smooth`: how the state of the moment is made steady, as
        `median 1s`; `track`: whether objects are joined into tracks. Memory does not grow with the frames.
        """
        from resnetkit.data.opening.video import open_video
        from resnetkit.inference.video import looking, smoothing

        how = looking.Looking(
            thinned=looking.every(every), smoothing=None if smooth is None else smoothing.asked(smooth), track=track,
            batch_size=batch_size, threads=self.runtime.threads,
        )  # fmt: skip
        with open_video(os.fspath(source)) as video:
            for one in looking.Look(self.predictor, video, how).frames(top_k=top_k):
                yield one.said

    @property
    def made_with(self) -> dict[str, Any]:
        """What its outputs depend on: its files, and how it computes."""
        files = [[str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns] for path in self.files]
        return {"model": files, "precision": self.runtime.dtype}

    def predict_into(
        self, folder: str | Path, sources: str | Path | Sequence[str | Path] | Dataset, *, top_k: int = 5,
        shard: bulk.Shard | None = None, batch_size: int | None = None, progress: Count = lambda done, total: None,
    ) -> bulk.Summary:  # fmt: skip
        """Name every picture of millions into a folder of parts; the same call again goes on where it stopped.

        `rows/` gets CSV, `rows.jsonl/` JSON lines, `rows.parquet/` Parquet; `shard` is which of several processes this
        is. Raises `UsageError` for a folder of other pictures or another model, `InterruptedRun` on Ctrl-C and SIGTERM.
        """
        sources = [sources] if isinstance(sources, (str, Path)) else sources
        pictures = sources if isinstance(sources, Dataset) else open_pictures(*sources)
        self.check_classes()
        pictures = of_files(pictures, page=self.header.preprocess.page, frames=self.header.preprocess.frames)
        if not self.files:
            raise UsageError(f"{self.name} lies in no file yet: save() it and load() that, so that parts can name it")
        folder = Path(folder)
        record = bulk.record_of(
            pictures, self.predictor, files=self.files, precision=self.runtime.dtype, top_k=top_k,
            format=bulk.format_of(folder),
        )  # fmt: skip
        rows = bulk.open_folder(folder, record)
        rows.make(
            self.predictor, pictures, shard=shard, batch_size=batch_size, threads=self.runtime.threads,
            progress=progress,
        )  # fmt: skip
        return rows.summary(shard)

    def features(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the named stages of the network for normalised images `[N, C, H, W]`, for other people's heads."""
        return self.network.features(images)

    def save(self, path: str | Path) -> None:
        """Write the self-describing checkpoint."""
        from resnetkit.models import checkpoint

        checkpoint.save(path, self.network, replace(self.header, trained_on=self.memory.tells))

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickles carry: tensors or graph, so that answers need no file; files by their whole paths."""
        state = {name: value for name, value in self.__dict__.items() if name not in ("network", "engine", "predictor")}
        state["files"] = tuple(path.absolute() for path in self.files)
        state["run"] = None if self.run is None else replace(self.run, path=self.run.path.absolute())
        source = getattr(self._network, "__self__", None)
        return state | ({"_network": source.placed().trunk_network} if isinstance(source, Source) else {})

    def __repr__(self) -> str:
        classes = f"{len(self.classes)} classes" if self.classes else "a trunk"
        return f"Model({self.name!r}, {classes}, {self.header.preprocess.sides} pixels)"


def load(
    model: str | os.PathLike[str] = "resnet18",
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    engine: EngineName = "auto",
    threads: int | None = None,
    reject: float | None = None,
    coverage: float | None = None,
    prevalence: float | None = None,
    cost: Sequence[str] = (),
    watcher: Watcher | None = None,
) -> Model:
    """Open a model: a catalog name (its published weights, downloaded once and verified), a run, or a weights file.

    `weights`: a file that holds the published weights of the network `model` names, for a computer without network.
    `engine` auto is OpenVINO on the processor and PyTorch on a GPU; `precision` auto is bf16 where the hardware has it
    and fp32 elsewhere. A model is prepared for OpenVINO once and kept in the cache; PyTorch is then not loaded.
    `reject`: the answer is "not sure" where so few right ones are that this share of them is lost (0.01, 0.02, 0.05,
    0.1, 0.2); `coverage`: as many classes are given as hold the true one that often (0.8, 0.9, 0.95, 0.99). Both are
    for models that were held against pictures they did not learn from. `prevalence`: how frequent the class is that the
    model looks for; probabilities are then those of such pictures. `cost`: what errors cost, as "red:green=100" (true,
    told; any other 1): the class told is the one that costs least on average. A trunk without classes gives `features`
    alone.
    Raises `UsageError` for a name there is not,
    `NetworkError` where weights cannot be had, `DataError` for a file that is none.
    """
    watcher = watcher or Watcher()
    model = os.fspath(model)
    source = locate(model, weights=weights, watcher=watcher)
    if (header := source.trunk) is not None:
        runtime = machine.resolve(device=device, precision=precision, threads=threads)
        return Model(source.trunk_network, header, name=source.name, runtime=runtime, files=source.files)
    try:
        asked = {"reject": reject, "coverage": coverage, "prevalence": prevalence, "cost": tuple(cost) or None}
        return _with_classes(source, model, device, engine, precision, threads, asked, watcher)
    except NamesNothingError as error:  # other programs' files have to be read for that
        runtime = machine.resolve(device=device, precision=precision, threads=threads)
        opened = source.open_trunk()
        return Model(
            opened.network, opened.header, name=source.name, runtime=runtime, files=source.files, beside=error.beside
        )  # fmt: skip


def _with_classes(
    source: Source, model: str, device: str, engine: EngineName, precision: Precision, threads: int | None,
    asked: Mapping[str, Any], watcher: Watcher,
) -> Model:  # fmt: skip
    """Return a model that names classes; raises `NamesNothingError` for a trunk."""
    stored = None if source.exported is None else source.exported.precision
    chosen = choose(engine=engine, precision=precision, device=device, threads=threads, stored=stored)
    if chosen.engine == "torch":
        network, header = source.open()
        source.tell(header, watcher)
        header = _deciding(header, source.name, asked, watcher)
        return Model(
            network, header, name=source.name, runtime=chosen.runtime, run=run_of(model), computes=chosen.why,
            files=source.files,
        )  # fmt: skip
    found = prepared_model(source, watcher)
    source.tell(found.header, watcher)
    header = _deciding(found.header, source.name, asked, watcher)
    return Model(
        source.network, header, name=source.name, runtime=chosen.runtime, run=run_of(model),
        computes=chosen.why,
        engine=OpenVINOEngine(found, chosen.runtime, instead=partial(_in_pytorch, source.placed(), chosen.runtime)),
        files=source.files,
    )  # fmt: skip


def _in_pytorch(source: Source, runtime: Runtime) -> Engine:
    """Return the engine that answers in a forked process, where OpenVINO cannot; an export for it alone raises."""
    if source.exported is not None and source.exported.format != "torchvision":
        core()  # says why it cannot
    network, header = source.open()
    runtime.apply()
    return TorchEngine(network, header.preprocess, runtime)


def _deciding(header: Header, name: str, asked: Mapping[str, Any], watcher: Watcher) -> Header:
    """Return the header with the thresholds or costs that were asked for; what little they promise is told."""
    given = {option: value for option, value in asked.items() if value is not None}
    if not given:
        return header
    if not isinstance(header.decision, Decision):
        gives = GIVEN[header.decision.gives]
        raise UsageError(f"--{next(iter(given))}: is for models of one class per picture, and {name} gives {gives}")
    costs, decision = given.pop("cost", None), header.decision
    if costs is not None:
        if given:
            raise UsageError(f"--cost contradicts --{next(iter(given))}: leave one of them out")
        decision = decision.costing(costs, header.classes, name=name)
        if decision.fitted_on is None:
            watcher.note(
                f"--cost: {name} was never held against pictures that it did not learn from, so its probabilities may "
                "be too sure to weigh costs by; resnetkit evaluate DATA --cost ... --calibrated FILE makes one that was"
            )
    decision, reject, coverage = decision.asked(**given, name=name), given.get("reject"), given.get("coverage")
    few = f"the {decision.fitted_on} pictures that {name} was held against are too few to promise that:"
    if reject is not None and decision.threshold == 0:
        watcher.note(f"--reject {reject:g}: {few} every picture gets an answer")
    if coverage is not None and decision.least == 0:
        watcher.note(f"--coverage {coverage:g}: {few} every class is named")
    return replace(header, decision=decision)


def prepared_model(source: Source, watcher: Watcher) -> Converted:
    """Return the model as OpenVINO reads it, converted now where no earlier process did."""
    key = source.key
    found = prepared.find(key)
    if found is not None:
        return found
    preparing = f"preparing {source.name} for this processor, once"
    if source.exported is not None and source.exported.format != "torchvision":
        watcher.note(preparing)
        return prepare_exported(key, source.name, source.exported.header, source.path)
    header, tensors = source.tensors()
    watcher.note(preparing)
    try:
        return prepare(key, source.name, header, tensors)
    except DataError as error:
        raise DataError(f"{source.path}: {error}") from error


def predict(
    *sources: Given, model: str | Path | Model = "resnet18", top_k: int = 5, **options: Any
) -> Iterator[Prediction]:
    """Name pictures with a model; `options` are those of `load`."""
    opened = model if isinstance(model, Model) else load(model, **options)
    opened.check_classes()
    return opened.predict_many(sources, top_k=top_k)
