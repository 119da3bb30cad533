"""The one place where a MODEL given as text becomes a file of weights."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
from resnetkit.models.class_names import numbered
from resnetkit.models.spec import ResNetSpec
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from resnetkit.models.building import Network
    from resnetkit.models.weights import Opened
    from resnetkit.training.run import RunFolder

RUNS = Path("runs")
# What is said of a file before it, `resnet20=FILE` or `stride=v1,activation=gelu=FILE`: what its tensors do not tell.
_FIELD = r"(?:shortcut|stride|activation)=[\w.]+"
_SAID = re.compile(
    rf"(?P<fields>{_FIELD}(?:,{_FIELD})*)=(?P<of_fields>.+)|(?P<arch>[\w.-]+)=(?P<of_arch>.+)", re.DOTALL
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The file of weights that a MODEL given as text means, and what people call it.

    `arch` is the network whose weights the file is said to hold, `fields` what else is said of it, `part` which of
    several networks in it is meant; `record` the published weights that it is, `exported` the export folder it lies in.
    """

    path: Path
    name: str
    arch: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    part: str | None = None
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
        said = "" if not self._said else f"{self.arch} {sorted(self.fields.items())} {self.part}"
        return prepared.key_of(*self.files, *record, arch=said or None)

    @property
    def _said(self) -> bool:
        return bool(self.arch or self.fields or self.part)

    def open(self) -> tuple[Network, Header]:
        """Return the network, in evaluation mode, and what is known about it."""
        opened = self.open_trunk()
        return opened.network, self._with_classes(opened.header, opened.beside)

    def open_trunk(self, *, asked: ResNetSpec | None = None) -> Opened:
        """Return what `open` does, and a trunk too, which has no classes; see `weights.open_weights` for `asked`."""
        from resnetkit.models import weights

        if self.record is not None:
            return weights.Opened(*weights.open_published(self.record, self.path))
        if self.exported is not None and self.exported.format == "torchvision":
            return weights.Opened(*weights.open_described(self.path, self.exported.header))
        if self.exported is not None:
            raise UsageError(
                f"{self.exported.folder}: holds a graph for {self.exported.format}, no PyTorch network: "
                "use the run or checkpoint it was exported from"
            )
        return weights.open_weights(self.path, arch=self.arch, fields=self.fields, part=self.part, asked=asked)

    def network(self) -> Network:
        """Return the network of `open` alone."""
        return self.open()[0]

    def trunk_network(self) -> Network:
        """Return the network of `open_trunk` alone."""
        return self.open_trunk().network

    def memory(self, header: Header) -> Memory:
        """Return what the weights have seen, by their header or the run that they lie in."""
        return memory_of(header, path=self.path, run=run_of(self.path))

    def tensors(self) -> tuple[Header, dict[str, np.ndarray]]:
        """Return what is known about the network and its state dict; our own checkpoints need no torch for that."""
        if not self._said and is_checkpoint(self.path):
            return self._with_classes(read_header(self.path)), load_arrays(self.path)
        network, header = self.open()
        return header, {name: tensor.numpy() for name, tensor in network.state_dict().items()}

    @property
    def trunk(self) -> Header | None:
        """What a checkpoint without classes says of itself; None where the file is none."""
        header = read_header(self.path) if self.exported is None and is_checkpoint(self.path) else None
        return header if header is not None and not header.classes else None

    def as_checkpoint(self) -> tuple[Header, dict[str, Tensor] | None]:
        """Return header and tensors for a checkpoint of it, None for the tensors of a file that is one, as they are."""
        if not is_checkpoint(self.path):
            from resnetkit.models import weights

            header, state, beside = weights.as_checkpoint(self.path, arch=self.arch, fields=self.fields, part=self.part)
            return self._with_classes(header, beside), state
        if self._said:
            self.open_trunk()  # refuses what contradicts the file
        return self._with_classes(read_header(self.path)), None

    def check(self) -> None:
        """Raise `UsageError` for a trunk, before anything is made of it."""
        if self.trunk is not None:
            raise NamesNothingError(self.name)
        if self.record is None and self.exported is None and not is_checkpoint(self.path):
            self.open()

    def _with_classes(self, header: Header, beside: str = "") -> Header:
        """Return the header; raises `UsageError` where it is that of a trunk."""
        if not header.classes:
            raise NamesNothingError(self.name if self._said or self.record is not None else str(self.path), beside)
        return header

    def tell(self, header: Header, watcher: Watcher) -> None:
        """Say so where the file has no names for the classes, with the way out, and where it reads no first pages."""
        if (page := header.preprocess.page) > 1:
            watcher.note(f"{self.name} reads page {page} of every file")
        if (frames := header.preprocess.frames) != "one":
            watcher.note(f"{self.name} reads several frames of every file ({frames}), each as a picture")
        if self.record is None and self.exported is None and are_unnamed(header) and not is_checkpoint(self.path):
            watcher.note(f"{self.name} lists no names for its {len(header.classes)} classes: {how_to_name(self.name)}")


def are_unnamed(header: Header) -> bool:
    """Tell whether the classes are called as those that nobody named."""
    return bool(header.classes) and header.classes == numbered(len(header.classes))


def how_to_name(model: str) -> str:
    """Return the command that gives names to the classes of a file that has none."""
    return f"resnetkit rename {shlex.quote(model)} 0=NAME 1=NAME ... --output FILE.safetensors"


class NamesNothingError(UsageError):
    """A network without classes where classes are wanted; `beside` is what else its file has."""

    def __init__(self, name: str, beside: str = "") -> None:
        self.beside = beside
        left = f" (beside it the file has {beside})" if beside else ""
        super().__init__(
            f"{name}: a trunk without classes, which names nothing{left}: fit a head to it with "
            f"resnetkit train DATA --weights {shlex.quote(name)}"
        )


def locate(
    text: str, *, weights: str | Path | None = None, watcher: Watcher, purpose: catalog.Purpose = "accuracy"
) -> Source:
    """Resolve a MODEL given as text, the only place that does; published weights are downloaded where they are not.

    What exists under that name comes first, then `NAME=FILE`, `FIELD=VALUE=FILE` and `FILE::PART`, then the catalog.
    """
    if (os.sep in text or len(text) > 99) and (error := hidden(text)) is not None:
        raise error
    path = Path(text).expanduser()
    folder = run_of(text) if path.is_dir() or (RUNS / text).is_dir() else None
    said = said_of(text) if folder is None and not path.exists() and copied(text) is None else None
    if weights is not None and (folder is not None or path.is_file() or said is not None):
        raise UsageError(f"{text} has its weights in it, so --weights {weights} contradicts it: leave one of them out")
    if weights is not None:
        arch = text.partition(".")[0]
        catalog.spec_of(arch)
        file, part = _part_of(str(weights))
        return Source(path=file, name=f"{text} ({weights})", arch=arch, part=part)
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
    if said is not None:
        return said
    from resnetkit.models.hub import fetch_weights

    record = _record_of(text, purpose)
    with watcher.counting(f"fetching {record.name}", " bytes") as progress:
        return Source(path=fetch_weights(record, progress, purpose=purpose), name=record.name, record=record)


def said_of(text: str) -> Source | None:
    """Return what `NAME=FILE`, `FIELD=VALUE=FILE` and `FILE::PART` mean, None for a text that is none of them."""
    file, part = _part_of(text)
    if part is not None:
        return Source(path=file, name=text, part=part)
    found = _SAID.fullmatch(text)
    if found is None:
        return None
    file, part = _part_of(found["of_fields"] or found["of_arch"])
    if not (found["fields"] or _is_network(found["arch"]) or file.exists()):
        return None
    if file.is_dir():
        raise UsageError(f"{file}: a folder says itself what its network is: give {file} alone")
    if found["arch"]:
        catalog.spec_of(found["arch"])
        return Source(path=file, name=text, arch=found["arch"], part=part)
    pairs = [pair.split("=") for pair in found["fields"].split(",")]
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise UsageError(f"{text}: says one thing of the network twice")
    ResNetSpec(**fields)  # type: ignore[arg-type]
    return Source(path=file, name=text, fields=fields, part=part)


def _is_network(name: str) -> bool:
    try:
        return catalog.spec_of(name.partition(".")[0]) is not None
    except UsageError:
        return False


def _part_of(text: str) -> tuple[Path, str | None]:
    """Return the file, and the network in it that is meant, of `FILE::PART`; a file of that very name comes first."""
    whole = Path(text).expanduser()
    file, colons, part = text.rpartition("::")
    if whole.exists() or not colons or not Path(file).expanduser().is_file():
        return whole, None
    return Path(file).expanduser(), part


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
