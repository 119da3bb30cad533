"""A model ready to name pictures, and the one place where a MODEL given as text is resolved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit.api.remembering import Memory, memory_of
from resnetkit.data.sources import Dataset, open_pictures
from resnetkit.errors import DataError, UsageError
from resnetkit.exporting import folder as exports
from resnetkit.exporting.folder import Exported
from resnetkit.files import hidden
from resnetkit.inference import bulk, prepared
from resnetkit.inference.engines import Engine, EngineName, TorchEngine, choose
from resnetkit.inference.given import Given
from resnetkit.inference.openvino_engine import OpenVINOEngine, prepare, prepare_exported
from resnetkit.inference.openvino_library import core
from resnetkit.inference.predictor import Prediction, Predictor
from resnetkit.models import catalog
from resnetkit.models.checkpoint import (
    Header,
    is_checkpoint,
    load_arrays,
    read_header,
)
from resnetkit.models.decision import Decision
from resnetkit.runtime import Precision, Runtime
from resnetkit.watcher import Count, Watcher

if TYPE_CHECKING:
    import numpy as np
    import torch

    from resnetkit.inference.prepared import Prepared
    from resnetkit.models.resnet import ResNet
    from resnetkit.training.run import RunFolder

RUNS = Path("runs")


class Model:
    """A network with its class names and preprocessing, ready to name pictures.

    >>> model = load("runs/pets")  # doctest: +SKIP
    >>> model.predict("cat.jpg")  # doctest: +SKIP
    Prediction('cat.jpg': cat 97.1 %, dog 2.9 %)
    """

    def __init__(
        self,
        network: ResNet | Callable[[], tuple[ResNet, Header]],
        header: Header,
        *,
        name: str,
        runtime: Runtime,
        run: RunFolder | None = None,
        engine: Engine | None = None,
        computes: str = "",
        files: tuple[Path, ...] = (),
    ) -> None:
        """Take a network, or what opens it where `engine` can do without.

        `computes` says in words what computes, `files` are those that the network was read from.
        """
        self.files = files
        self._network, self._engine = network, engine
        self.header, self.name, self.runtime, self.run, self.computes = header, name, runtime, run, computes

    @cached_property
    def network(self) -> ResNet:
        """The `torch.nn.Module`, in evaluation mode."""
        from resnetkit.models.resnet import ResNet

        return self._network if isinstance(self._network, ResNet) else self._network()[0]

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
        """The engine with names and decision."""
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
    def decision(self) -> Decision:
        """Temperature and threshold of the checkpoint."""
        return self.header.decision

    def predict(self, picture: Given, *, top_k: int = 5) -> Prediction:
        """Name one picture: a path, a PIL image, a uint8 array `[H, W]` or `[H, W, 3]`, bytes or an open file."""
        return self.predictor.predict(picture, top_k=top_k)

    def predict_many(
        self, sources: Given | Iterable[Given], *, top_k: int = 5, batch_size: int | None = None
    ) -> Iterator[Prediction]:
        """Name every picture of files, folders, globs and archives, or of whatever `predict` takes, mixed.

        One after the other, in constant memory: a generator is asked for two batches more than was answered.
        """
        return self.predictor.predict_many(sources, top_k=top_k, batch_size=batch_size, threads=self.runtime.threads)

    def predict_into(
        self, folder: str | Path, sources: str | Path | Sequence[str | Path] | Dataset, *, top_k: int = 5,
        shard: bulk.Shard | None = None, batch_size: int | None = None, progress: Count = lambda done, total: None,
    ) -> bulk.Summary:  # fmt: skip
        """Name every picture of millions into a folder of parts; the same call again goes on where it stopped.

        `rows/` gets CSV, `rows.jsonl/` JSON lines, `rows.parquet/` Parquet; `shard` is which of several processes this
        is. Raises `UsageError` for a folder of other pictures or another model, `InterruptedRun` on Ctrl-C and SIGTERM.
        """
        pictures = sources if isinstance(sources, Dataset) else _opened(sources)
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
        return state | ({"_network": source.placed().open} if isinstance(source, Source) else {})

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {len(self.classes)} classes, {self.header.preprocess.size} pixels)"


def _opened(sources: str | Path | Sequence[str | Path]) -> Dataset:
    return open_pictures(*([sources] if isinstance(sources, (str, Path)) else sources))


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
    watcher: Watcher | None = None,
) -> Model:
    """Open a model: a catalog name (its published weights, downloaded once and verified), a run, or a weights file.

    `weights`: a file that holds the published weights of the network `model` names, for a computer without network.
    `engine` auto is OpenVINO on the processor and PyTorch on a GPU; `precision` auto is bf16 where the hardware has it
    and fp32 elsewhere. A model is prepared for OpenVINO once and kept in the cache; PyTorch is then not loaded.
    `reject`: the answer is "not sure" where so few right ones are that this share of them is lost (0.01, 0.02, 0.05,
    0.1, 0.2); `coverage`: as many classes are given as hold the true one that often (0.8, 0.9, 0.95, 0.99). Both are
    for models that were held against pictures they did not learn from. Raises `UsageError` for a name there is not,
    `NetworkError` where weights cannot be had, `DataError` for a file that is none.
    """
    watcher = watcher or Watcher()
    model = os.fspath(model)
    source = locate(model, weights=weights, watcher=watcher)
    source.check()
    stored = None if source.exported is None else source.exported.precision
    chosen = choose(engine=engine, precision=precision, device=device, threads=threads, stored=stored)
    if chosen.engine == "torch":
        network, header = source.open()
        header = _deciding(header, source.name, reject, coverage, watcher)
        return Model(
            network, header, name=source.name, runtime=chosen.runtime, run=run_of(model), computes=chosen.why,
            files=source.files,
        )  # fmt: skip
    found = prepared_model(source, watcher)
    header = _deciding(found.header, source.name, reject, coverage, watcher)
    return Model(
        source.open, header, name=source.name, runtime=chosen.runtime, run=run_of(model), computes=chosen.why,
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


def _deciding(
    header: Header, name: str, reject: float | None, coverage: float | None, watcher: Watcher
) -> Header:  # fmt: skip
    """Return the header with the thresholds that were asked for; one that too few pictures fixed is told."""
    if reject is None and coverage is None:
        return header
    decision = header.decision.asked(reject=reject, coverage=coverage, name=name)
    few = f"the {decision.fitted_on} pictures that {name} was held against are too few to promise that:"
    if reject is not None and decision.threshold == 0:
        watcher.note(f"--reject {reject:g}: {few} every picture gets an answer")
    if coverage is not None and decision.least == 0:
        watcher.note(f"--coverage {coverage:g}: {few} every class is named")
    return replace(header, decision=decision)


def prepared_model(source: Source, watcher: Watcher) -> Prepared:
    """Return the model as OpenVINO reads it, converted now where no earlier process did."""
    key = source.key
    found = prepared.find(key)
    if found is not None:
        return found
    watcher.note(f"preparing {source.name} for this processor, once")
    if source.exported is not None and source.exported.format != "torchvision":
        return prepare_exported(key, source.name, source.exported.header, source.path)
    header, tensors = source.tensors()
    try:
        return prepare(key, source.name, header, tensors)
    except DataError as error:
        raise DataError(f"{source.path}: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The file of weights that a MODEL given as text means, and what people call it.

    `arch` is the network whose weights the file is said to hold, `record` the published weights that it is, `exported`
    the export folder it lies in.
    """

    path: Path
    name: str
    arch: str | None = None
    record: catalog.WeightsRecord | None = None
    exported: Exported | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All that makes the network what it is; the weights of an OpenVINO graph lie beside it."""
        beside = self.exported is not None and self.exported.format == "openvino"
        return (self.path, self.path.with_suffix(".bin")) if beside else (self.path,)

    def placed(self) -> Source:
        """Return the same by its whole path."""
        exported = self.exported and replace(self.exported, folder=self.exported.folder.absolute())
        return replace(self, path=self.path.absolute(), exported=exported)

    @property
    def key(self) -> str:
        """The key of the prepared model; the record of an export is part of it, since it names the classes."""
        record = () if self.exported is None else (self.exported.record,)
        return prepared.key_of(*self.files, *record, arch=self.arch)

    def open(self) -> tuple[ResNet, Header]:
        """Return the network, in evaluation mode, and what is known about it."""
        network, header = self.open_trunk()
        return network, self._with_classes(header)

    def open_trunk(self) -> tuple[ResNet, Header]:
        """Return what `open` does, and a trunk too, which has no classes."""
        from resnetkit.models import weights

        if self.record is not None:
            return weights.open_published(self.record, self.path)
        if self.exported is not None and self.exported.format == "torchvision":
            return weights.open_described(self.path, self.exported.header)
        if self.exported is not None:
            raise UsageError(
                f"{self.exported.folder}: holds a graph for {self.exported.format}, no PyTorch network: "
                "use the run or checkpoint it was exported from"
            )
        return weights.open_weights(self.path, arch=self.arch)

    def memory(self, header: Header) -> Memory:
        """Return what the weights have seen, by their header or the run that they lie in."""
        return memory_of(header, path=self.path, run=run_of(self.path))

    def tensors(self) -> tuple[Header, dict[str, np.ndarray]]:
        """Return what is known about the network and its state dict; our own checkpoints need no torch for that."""
        if self.arch is None and is_checkpoint(self.path):
            return self._with_classes(read_header(self.path)), load_arrays(self.path)
        network, header = self.open()
        return header, {name: tensor.numpy() for name, tensor in network.state_dict().items()}

    def check(self) -> None:
        """Raise `UsageError` for a checkpoint of a trunk, before anything is made of it."""
        if self.record is None and self.exported is None and is_checkpoint(self.path):
            self._with_classes(read_header(self.path))

    def _with_classes(self, header: Header) -> Header:
        """Return the header; raises `UsageError` where it is that of a trunk."""
        if not header.classes:
            raise UsageError(
                f"{self.path}: a trunk without classes, which names nothing: fit a head to it with "
                f"resnetkit train DATA --weights {self.path}"
            )
        return header


def locate(
    text: str, *, weights: str | Path | None = None, watcher: Watcher, purpose: catalog.Purpose = "accuracy"
) -> Source:
    """Resolve a MODEL given as text, the only place that does; published weights are downloaded where they are not."""
    if os.sep in text and (error := hidden(text)) is not None:
        raise error
    path = Path(text).expanduser()
    folder = run_of(text) if path.is_dir() or (RUNS / text).is_dir() else None
    if weights is not None and (folder is not None or path.is_file()):
        raise UsageError(f"{text} has its weights in it, so --weights {weights} contradicts it: leave one of them out")
    if weights is not None:
        catalog.spec_of(text.partition(".")[0])
        return Source(path=Path(weights), name=f"{text} ({weights})", arch=text.partition(".")[0])
    if path.is_file() and not exports.is_described(path.parent, path):
        return Source(path=path, name=str(path))
    if path.is_file():
        path = path.parent
    if exports.is_export(path):
        exported = exports.read(path)
        return Source(path=exported.model, name=exported.name, exported=exported)
    if folder is not None:
        return Source(path=finished(folder), name=folder.name)
    if (found := copied(text)) is not None:
        return Source(path=found.best, name=found.name)
    from resnetkit.models.hub import fetch_weights

    record = _record_of(text, purpose)
    with watcher.counting(f"fetching {record.name}", " bytes") as progress:
        return Source(path=fetch_weights(record, progress, purpose=purpose), name=record.name, record=record)


def copied(text: str) -> RunFolder | None:
    """Return the run that was copied without its state/: its model answers all the same."""
    from resnetkit.training.run import RunFolder

    folders = (RunFolder(path) for path in (Path(text), RUNS / text))
    return next((folder for folder in folders if folder.best.is_file()), None)


def finished(folder: RunFolder) -> Path:
    """Return the best checkpoint of a run; raises `UsageError` where no epoch is done."""
    if not folder.best.is_file():
        raise UsageError(f"{folder.path} has no finished epoch yet: go on with resnetkit resume {folder.path}")
    return folder.best


def _record_of(text: str, purpose: catalog.Purpose) -> catalog.WeightsRecord:
    from resnetkit.training.run import all_runs

    if Path(text).suffix in (".safetensors", ".pth", ".pt") or "/" in text:
        raise UsageError(f"{text}: no such file or run")
    if "." in text:
        return catalog.record(text)
    try:
        record = catalog.default_record(text, purpose=purpose)
    except UsageError:
        hint = catalog.nearest(text, also=[run.name for run in all_runs(RUNS)])
        raise UsageError(
            f"no model {text!r}{hint or '.'} "
            "A model is a network (see resnetkit models), a run (see resnetkit runs) or a file"
        ) from None
    return record or catalog.record(text)


def run_of(model: str | Path) -> RunFolder | None:
    """Return the run that a MODEL given as text is, or lies in."""
    from resnetkit.training.run import RunFolder

    for path in (Path(model), RUNS / model, Path(model).parent):
        if (path / "state").is_dir():
            return RunFolder(path)
    return None


def predict(
    *sources: Given, model: str | Path | Model = "resnet18", top_k: int = 5, **options: Any
) -> Iterator[Prediction]:
    """Name pictures with a model; `options` are those of `load`."""
    opened = model if isinstance(model, Model) else load(model, **options)
    return opened.predict_many(sources, top_k=top_k)
