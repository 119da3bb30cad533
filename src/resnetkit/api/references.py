"""The reference of a model: written when a run is scored, carried into exports, found, or made of pictures."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resnetkit.checking.drift import reference as drift
from resnetkit.checking.drift.reference import FILE, Batch, Reference
from resnetkit.errors import UsageError
from resnetkit.inference.engines import Engine, TorchEngine
from resnetkit.inference.openvino_engine import OpenVINOEngine
from resnetkit.models.checkpoint import DETECTION

if TYPE_CHECKING:
    from resnetkit.api.locating import Source
    from resnetkit.api.model import Model
    from resnetkit.data.dataset import Split
    from resnetkit.data.prepared import Part
    from resnetkit.exporting.folder import Exported

_AT_ONCE = 64


def feature_engine(model: Model) -> Engine:
    """Return what computes what the head reads, `[N, features]`: of a detector the pooled last stage of its backbone.

    Raises `UsageError` for an export of a detector, whose graph has no such place.
    """

    def in_pytorch() -> Engine:
        from resnetkit.models.surgery import Headless

        model.runtime.apply()
        return TorchEngine(Headless(model.network.body), model.header.preprocess, model.runtime)

    if isinstance(model.engine, OpenVINOEngine) and model.header.task != DETECTION:
        return model.engine.without_head(instead=in_pytorch)
    return in_pytorch()


class HeldOut:
    """What the network makes of held-out pictures while they are scored: the reference of a run.

    Of its validation and test pictures at most 2,000, evenly among them.
    """

    def __init__(self, model: Model, parts: Mapping[Split, Part]) -> None:
        self._model = model
        self._parts: dict[Split, Part] = {split: part for split, part in parts.items() if split in ("val", "test")}
        ends = np.cumsum([0, *map(len, self._parts.values())])
        chosen = drift.spread(int(ends[-1]))
        self._rows: dict[Split, np.ndarray] = {
            split: chosen[(chosen >= first) & (chosen < first + len(self._parts[split]))] - first
            for split, first in zip(self._parts, ends, strict=False)
        }
        self._read: dict[Split, np.ndarray] = {}

    @contextlib.contextmanager
    def scoring(self, split: Split, *, views: str = "none") -> Iterator[None]:
        """Keep features while a part passes the network, picture by picture in its order; not of several views."""
        from resnetkit.models.resnet import ResNet
        from resnetkit.models.surgery import keeping_features

        network = self._model.network
        if views != "none" or not isinstance(network, ResNet):
            yield
            return
        with keeping_features(network, np.isin(np.arange(len(self._parts[split])), self._rows[split])) as kept:
            yield
        self._read[split] = np.concatenate(kept)

    def reference(self) -> Reference:
        """Return the reference; parts that were not kept pass the network once more."""
        engine, preprocess = feature_engine(self._model), self._model.header.preprocess
        counts = {str(split): len(rows) for split, rows in self._rows.items()}
        return drift.gathered(self._batches(engine), engine=engine, preprocess=preprocess, counts=counts)

    def _batches(self, engine: Engine) -> Iterator[Batch]:
        for split, part in self._parts.items():
            rows, read = self._rows[split], self._read.get(split)
            for start in range(0, len(rows), _AT_ONCE):
                taken = rows[start : start + _AT_ONCE]
                pixels = part.pixels.take(taken)
                assert isinstance(pixels, np.ndarray), "pictures to score are made uniform by Preprocess.pixels"
                features = engine.logits(pixels) if read is None else read[start : start + _AT_ONCE]
                yield pixels, features, [part.items[row].group or f"{split} {row}" for row in taken]


def carry(source: Source, made: Exported, *, dicom: bool) -> None:
    """Copy the reference beside a model, where there is one, into its export.

    Not that of patients' pictures, and not into int8, which gives other features.
    """
    there = source.path.parent / FILE
    if there.is_file() and not dicom and made.precision == "fp32":
        shutil.copyfile(there, made.folder / FILE)


def reference_for(model: Model, engine: Engine, asked: str | None, seen: Callable[[str], Iterable[Batch]]) -> Reference:
    """Return what pictures of a model are held against: of the file or the pictures that were asked for, else its own.

    `engine` gives its features, `seen` reads pictures by their path. Raises `UsageError` where there is none,
    `DataError` where it does not fit.
    """
    preprocess = model.header.preprocess
    if asked is not None and not drift.is_reference(Path(asked)):
        return drift.gathered(seen(asked), engine=engine, preprocess=preprocess)
    file = Path(asked) if asked is not None else model.files[0].parent / FILE if model.files else None
    if file is None or not file.is_file():
        why = "beside it"
        if model.header.metrics.get("split") == "folds":  # other networks than the one that answers were scored
            why = "because by folds it has learnt from every picture of its data"
        raise UsageError(
            f"{model.name} has no {FILE} {why}: give pictures like those it was trained on, which it did not "
            "learn from, with --reference DATA"
        )
    found = drift.read(file)
    found.check_fits(engine, preprocess, name=model.name, file=str(file))
    return found
