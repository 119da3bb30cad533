"""Weights into networks: published ones and those of other programs, with a full diff."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import torch
from torch import Tensor

from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources.fetch import sha256_of
from resnetkit.errors import DataError, ResNetKitError, UsageError
from resnetkit.models import catalog, checkpoint
from resnetkit.models.building import without_values
from resnetkit.models.catalog import WeightsRecord
from resnetkit.models.checkpoint import Header
from resnetkit.models.class_names import numbered
from resnetkit.models.detection.foreign import detector_in, infer_detector, read_detector
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.foreign import (
    Foreign,
    State,
    clean,
    infer_spec,
    num_classes_of,
    read_foreign,
    read_state,
    tutorial_note,
)
from resnetkit.models.hub import fetch_weights
from resnetkit.models.parts import Shape, words_of
from resnetkit.models.spec import ResNetSpec
from resnetkit.watcher import Count

if TYPE_CHECKING:
    from resnetkit.models.building import Network
    from resnetkit.models.detection.network import Detector

HEAD = "fc."


@dataclass(frozen=True, kw_only=True, slots=True)
class Mismatch:
    """How a state dict differs from a network: names and shapes, in the network's and the file's own order."""

    missing: Mapping[str, Shape]
    unexpected: Mapping[str, Shape]
    reshaped: Mapping[str, tuple[Shape, Shape]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.reshaped)

    def describe(self) -> str:
        """Return all differing keys with their shapes, grouped, one a line."""
        reshaped = {key: f"{_text(theirs)}, network {_text(ours)}" for key, (theirs, ours) in self.reshaped.items()}
        groups = {
            "missing in the file": {key: _text(shape) for key, shape in self.missing.items()},
            "unexpected in the file": {key: _text(shape) for key, shape in self.unexpected.items()},
            "differently shaped, in the file": reshaped,
        }
        return "\n".join(
            line
            for title, keys in groups.items()
            if keys
            for line in (f"  {title} ({len(keys)}):", *(f"    {key} {text}" for key, text in keys.items()))
        )


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "one number"


def load_weights(
    network: Network,
    source: str | Path | Mapping[str, Tensor],
    *,
    head: Literal["strict", "replace"] = "strict",
) -> tuple[str, ...]:
    """Load a file (torchvision, timm, ours) or a state dict into `network`; return the names that were left out.

    Of a detector all must fit: `detection.trunk.trunk_into` takes the trunk alone.

    `head="replace"` keeps the classifier of `network`, leaves the file's out, and the rest must fit. Raises
    `DataError` with the full difference and what would mend it, before any weight of `network` has changed.
    """
    if isinstance(network.spec, DetectorSpec):
        name = "the state dict" if isinstance(source, Mapping) else str(source)
        state = detector_in(source) if isinstance(source, Mapping) else read_detector(source)
        return _load(network, {} if state is None else state, name=name, head="strict")
    if isinstance(source, Mapping):
        return _load(network, clean(source, name="the state dict"), name="the state dict", head=head)
    return _load(network, read_state(source), name=str(source), head=head)


def _load(network: Network, state: Mapping[str, Tensor], *, name: str, head: str) -> tuple[str, ...]:
    left_out = tuple(key for key in state if head == "replace" and key.startswith(HEAD))
    kept = {key: value for key, value in state.items() if key not in left_out}
    difference = compare(network, kept, ignoring=HEAD if head == "replace" else None)
    if difference:
        raise DataError(_mismatch(name, network.spec, state, difference))
    for key, value in network.state_dict().items():
        if value.is_floating_point() and key in kept and not kept[key].is_floating_point():
            raise DataError(f"{name}: {key} holds {kept[key].dtype}: floating-point weights are wanted")
        # Statistics saved before PyTorch 0.4.1 lack the counter; it changes nothing where momentum is a number.
        if key.endswith("num_batches_tracked"):
            kept.setdefault(key, torch.zeros_like(value))
    network.load_state_dict(kept, strict=head == "strict")
    return left_out


def compare(network: Network, state: Mapping[str, Tensor], *, ignoring: str | None = None) -> Mismatch:
    """Return how the names and shapes of `state` differ from those of `network`, names that begin so ignored."""
    ours = {
        key: tuple(value.shape)
        for key, value in network.state_dict().items()
        if ignoring is None or not key.startswith(ignoring)
    }
    theirs = {key: tuple(value.shape) for key, value in state.items()}
    return Mismatch(
        missing={k: v for k, v in ours.items() if k not in theirs and not k.endswith("num_batches_tracked")},
        unexpected={k: v for k, v in theirs.items() if k not in ours},
        reshaped={k: (theirs[k], v) for k, v in ours.items() if k in theirs and theirs[k] != v},
    )


def _mismatch(name: str, spec: ResNetSpec | DetectorSpec, state: Mapping[str, Tensor], difference: Mismatch) -> str:
    fixes = [f"  {line}" for line in _fixes(spec, state)]
    return "\n".join([f"{name}: these weights do not fit the network", difference.describe(), *fixes])


def _fixes(spec: ResNetSpec | DetectorSpec, state: Mapping[str, Tensor]) -> list[str]:
    """Say what would make the weights fit; one line per thing that differs."""
    if isinstance(spec, DetectorSpec):
        return _detector_fixes(spec, state)
    note = tutorial_note(state)
    if note:
        return [f"why: {note}"]
    if "fc.weight" not in state and spec.num_classes:
        return ['why: the file has no head `fc.weight`; keep the network\'s own with head="replace" (fine-tuning does)']
    try:
        theirs = infer_spec(state, without_projections=spec.shortcut)
    except ResNetKitError as error:
        return [f"why: {error}"]
    body = ("block", "blocks", "width", "widening")
    if any(getattr(theirs, field) != getattr(spec, field) for field in body):
        return [f"to fix it: these are the weights of {catalog.called(theirs)}; choose that network"]
    return _small_fixes(spec, theirs)


def _detector_fixes(spec: DetectorSpec, state: Mapping[str, Tensor]) -> list[str]:
    if detector_in(state) is None:
        return ["why: these are no weights of a Faster R-CNN or Mask R-CNN"]
    try:
        theirs = infer_detector(state)
    except ResNetKitError as error:
        return [f"why: {error}"]
    if catalog.called(theirs) == catalog.called(spec):
        return [f"to fix it: build the network with num_classes={theirs.num_classes}"]
    return [f"to fix it: these are the weights of {catalog.called(theirs)}; choose that network"]


def _small_fixes(ours: ResNetSpec, theirs: ResNetSpec) -> list[str]:
    fixes = []
    if ours.num_classes != theirs.num_classes:
        fixes.append(
            f"to fix it: build the network with num_classes={theirs.num_classes}, or keep its own new head for "
            f'{ours.num_classes} classes with head="replace" (what fine-tuning does)'
        )
    for field in ("stem", "in_channels", "shortcut"):
        if getattr(ours, field) != getattr(theirs, field):
            value = getattr(theirs, field)
            fixes.append(f"to fix it: build the network with {field}={value!r} (--set model.{field}={value})")
    return fixes


def open_published(record: WeightsRecord, path: Path) -> tuple[Network, Header]:
    """Return the network with the published weights that lie at `path`, in evaluation mode."""
    if record.path is not None:
        return checkpoint.load(path)
    header = catalog.published_header(record)
    return _filled(header, read_detector(path) if isinstance(header.spec, DetectorSpec) else read_state(path), path)


def open_detector(path: str | Path) -> tuple[Detector, Header]:
    """Return the detector in a file, in evaluation mode, and the header that a checkpoint of it has.

    That is a checkpoint of ours, a file of published weights, or another state dict of torchvision's networks, whose
    classes are then `class 1`, ... Raises `DataError` for any other file.
    """
    path = Path(path)
    if checkpoint.is_checkpoint(path):
        network, header = checkpoint.load(path)
        if not isinstance(header.spec, DetectorSpec):
            raise DataError(f"{path}: names pictures and finds no objects; as a backbone it works: --weights {path}")
        return cast("Detector", network), header
    state, record = read_detector(path), _record_of(path, catalog.detectors())
    try:
        header = catalog.bare_detector(infer_detector(state)) if record is None else catalog.published_header(record)
    except ResNetKitError as error:
        raise DataError(f"{path}: {error}") from error
    return cast("tuple[Detector, Header]", _filled(header, state, path))


def open_described(path: Path, header: Header) -> tuple[Network, Header]:
    """Return the network that `header` describes with the weights at `path`, in evaluation mode."""
    state = read_detector(path) if isinstance(header.spec, DetectorSpec) else read_state(path)
    return _filled(header, state, path)


def published(name: str, progress: Count | None = None) -> tuple[Network, Header]:
    """Return the network with the published weights `ARCH.TAG` (a bare ARCH: its most accurate), in evaluation mode.

    Raises `UsageError` where none are published under that name, `NetworkError` where they cannot be had.
    """
    record = catalog.default_record(name, purpose="accuracy") if "." not in name else None
    record = record or catalog.record(name)
    return open_published(record, fetch_weights(record, progress))


class Opened(NamedTuple):
    """A network in evaluation mode, its header, and in words what its file holds beside the trunk ("": nothing more).

    That is said of other programs' files alone.
    """

    network: Network
    header: Header
    beside: str = ""


def open_weights(
    path: str | Path,
    *,
    arch: str | None = None,
    fields: Mapping[str, str] | None = None,
    part: str | None = None,
    asked: ResNetSpec | None = None,
) -> Opened:
    """Open any file of weights as a network in evaluation mode and the header a checkpoint of it would have.

    Our checkpoints and files of published weights bring their own; for others the network is that of `arch` (with the
    file's number of classes, channels and stem) or worked out from the shapes with `fields`, such as `{"stride": "v1"}`
    (where they are not given, those of `asked`). Classes are those that the file names, or `class 0`, ...;
    preprocessing is the usual one for the stem. `part`: which of several networks. A head that is not `fc`, one layer
    and alone, is left out: that is a trunk, without classes. Raises `DataError` for files that are no weights, fit no
    network or say that they are those of another network than `arch`, `UsageError` for a `part` that is not there.
    """
    path = Path(path)
    if checkpoint.is_checkpoint(path):
        _check_said(path, checkpoint.read_header(path).spec, arch=arch, fields=fields, part=part)
        return Opened(*checkpoint.load(path))
    header, foreign = _read(path, arch=arch, fields=fields, part=part, asked=asked)
    return Opened(*_filled(header, foreign.state, path), words_of(foreign.beside, foreign.others))


def as_checkpoint(
    path: Path, *, arch: str | None = None, fields: Mapping[str, str] | None = None, part: str | None = None
) -> tuple[Header, State, str]:
    """Return header and tensors that a checkpoint of another program's file has, and in words what lies beside them.

    The tensors are in the numbers that the file has. Raises as `open_weights` does.
    """
    header, foreign = _read(path, arch=arch, fields=fields, part=part, asked=None)
    network, _ = _filled(header, foreign.state, path)
    state = {}
    for key, own in network.state_dict().items():
        counts = key.endswith("num_batches_tracked")
        state[key] = (own if counts else foreign.state[key]).clone()
    return header, state, words_of(foreign.beside, foreign.others)


def _read(
    path: Path, *, arch: str | None, fields: Mapping[str, str] | None, part: str | None, asked: ResNetSpec | None
) -> tuple[Header, Foreign]:
    """Return the header and the tensors of a file that is no checkpoint of ours."""
    foreign, record = read_foreign(path, part=part), _record_of(path, catalog.records())
    if record is not None:
        header = catalog.published_header(record)
        _check_said(path, header.spec, arch=arch, fields=fields, part=part)
        return header, replace(foreign, beside={})
    foreign, named = foreign.without_odd_head(), None if arch is None else catalog.spec_of(arch)
    try:
        spec = _told(foreign.state, asked, fields or {}) if named is None else _adapted(named, foreign.state)
        return _bare_header(spec, foreign.classes), foreign
    except ResNetKitError as error:
        raise DataError(f"{path}: {error}") from error


def _told(state: Mapping[str, Tensor], asked: ResNetSpec | None, fields: Mapping[str, str]) -> ResNetSpec:
    """Return the network that a state dict tells; what it does not tell is in `fields`, else as it is `asked` for."""
    without_projections = None if asked is None or asked.shortcut == "B" else asked.shortcut
    told = infer_spec(state, without_projections=fields.get("shortcut", without_projections))  # type: ignore[arg-type]
    untold = {} if asked is None else {"stride": asked.stride, "activation": asked.activation}
    said = untold | dict(fields)
    if told.shortcut != said.get("shortcut", told.shortcut):
        raise DataError(f"shortcut={said['shortcut']} is not what its tensors say: shortcut {told.shortcut}")
    return told.changed(**said)


def _check_said(
    path: Path,
    theirs: ResNetSpec | DetectorSpec,
    *,
    arch: str | None,
    fields: Mapping[str, str] | None,
    part: str | None,
) -> None:
    """Refuse to open a file that describes itself as another network than the one that was named."""
    if part is not None:
        raise UsageError(f"{path}: describes its one network itself: leave ::{part} out")
    if arch is not None and (isinstance(theirs, DetectorSpec) or not catalog.alike(catalog.spec_of(arch), theirs)):
        raise DataError(
            f"{path}: these are the weights of {catalog.called(theirs)}, not of {arch}: name that network, or give the "
            "file alone"
        )
    for name, value in (fields or {}).items():
        said = getattr(theirs.backbone if isinstance(theirs, DetectorSpec) else theirs, name)
        if said != value:
            raise DataError(f"{path}: says itself that its {name} is {said}: leave {name}= out")


def _bare_header(spec: ResNetSpec, names: tuple[str, ...]) -> Header:
    size = 224 if spec.stem == "imagenet" else 32
    return Header(
        spec=spec,
        classes=names if len(names) == spec.num_classes else numbered(spec.num_classes),
        preprocess=Preprocess.for_size(size, channels=spec.in_channels),
    )


def _record_of(path: Path, records: Iterable[WeightsRecord]) -> WeightsRecord | None:
    """Return which of published records a file is, by its digest."""
    digest = f"sha256:{sha256_of(path)}"
    return next((each for each in records if each.checksum and digest.startswith(each.checksum)), None)


def _adapted(spec: ResNetSpec, state: Mapping[str, Tensor]) -> ResNetSpec:
    stem, head = state.get("conv1.weight"), state.get("fc.weight")
    if head is None or head.ndim == 2:
        spec = spec.changed(num_classes=num_classes_of(state))
    if stem is not None and stem.ndim == 4 and stem.shape[-1] in (3, 7):
        spec = spec.changed(in_channels=stem.shape[1], stem="imagenet" if stem.shape[-1] == 7 else "cifar")
    return spec


def _filled(header: Header, state: Mapping[str, Tensor], path: Path) -> tuple[Network, Header]:
    network = without_values(header.spec)
    _load(network, state, name=str(path), head="strict")
    return network.eval(), header
