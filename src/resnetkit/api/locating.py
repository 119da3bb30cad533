"""The one place where a MODEL given as text becomes a file of weights."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resnetkit.api.remembering import Memory, memory_of
from resnetkit.errors import UsageError
from resnetkit.exporting import folder as exports
from resnetkit.exporting.folder import Exported
from resnetkit.files import hidden
from resnetkit.inference import prepared
from resnetkit.models import catalog
from resnetkit.models.checkpoint import Header, is_checkpoint, load_arrays, read_header
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    import numpy as np

    from resnetkit.models.resnet import ResNet
    from resnetkit.models.spec import ResNetSpec
    from resnetkit.training.run import RunFolder

RUNS = Path("runs")


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

    def open_trunk(self, *, asked: ResNetSpec | None = None) -> tuple[ResNet, Header]:
        """Return what `open` does, and a trunk too, which has no classes; see `weights.open_weights` for `asked`."""
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
        return weights.open_weights(self.path, arch=self.arch, asked=asked)

    def memory(self, header: Header) -> Memory:
        """Return what the weights have seen, by their header or the run that they lie in."""
        return memory_of(header, path=self.path, run=run_of(self.path))

    def tensors(self) -> tuple[Header, dict[str, np.ndarray]]:
        """Return what is known about the network and its state dict; our own checkpoints need no torch for that."""
        if self.arch is None and is_checkpoint(self.path):
            return self._with_classes(read_header(self.path)), load_arrays(self.path)
        network, header = self.open()
        return header, {name: tensor.numpy() for name, tensor in network.state_dict().items()}

    @property
    def trunk(self) -> Header | None:
        """What a checkpoint without classes says of itself; None where the file is none."""
        header = read_header(self.path) if self.exported is None and is_checkpoint(self.path) else None
        return header if header is not None and not header.classes else None

    def check(self) -> None:
        """Raise `UsageError` for a checkpoint of a trunk, before anything is made of it."""
        if self.trunk is not None:
            raise names_nothing(self.name)

    def _with_classes(self, header: Header) -> Header:
        """Return the header; raises `UsageError` where it is that of a trunk."""
        if not header.classes:
            raise names_nothing(self.name)
        return header


def names_nothing(name: str) -> UsageError:
    """Return the error for a network without classes where classes are wanted."""
    return UsageError(
        f"{name}: a trunk without classes, which names nothing: fit a head to it with "
        f"resnetkit train DATA --weights {name}"
    )


def locate(
    text: str, *, weights: str | Path | None = None, watcher: Watcher, purpose: catalog.Purpose = "accuracy"
) -> Source:
    """Resolve a MODEL given as text, the only place that does; published weights are downloaded where they are not."""
    if (os.sep in text or len(text) > 99) and (error := hidden(text)) is not None:
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
