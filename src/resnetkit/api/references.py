"""The reference of a model: written when a run is scored, carried into exports, found, or made of pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resnetkit.checking.drift import reference as drift
from resnetkit.checking.drift.reference import FILE, Batch, Reference
from resnetkit.errors import UsageError

if TYPE_CHECKING:
    from resnetkit.api.locating import Source
    from resnetkit.api.model import Model
    from resnetkit.data.dataset import Split
    from resnetkit.data.prepared import Part
    from resnetkit.exporting.folder import Exported

_AT_ONCE = 64


def of_held_out(model: Model, parts: Mapping[Split, Part]) -> Reference:
    """Return the reference of a run: its validation and test pictures, at most 2,000, evenly among them.

    They pass the network once more for it: what one more validation costs, or less.
    """
    held_out = {split: part for split, part in parts.items() if split in ("val", "test")}
    ends = np.cumsum([0, *map(len, held_out.values())])
    chosen = drift.spread(int(ends[-1]))
    rows = {
        split: chosen[(chosen >= first) & (chosen < first + len(held_out[split]))] - first
        for split, first in zip(held_out, ends, strict=False)
    }
    engine = model.feature_engine

    def batches() -> Iterator[Batch]:
        for split, part in held_out.items():
            for start in range(0, len(rows[split]), _AT_ONCE):
                taken = rows[split][start : start + _AT_ONCE]
                pixels = part.pixels.take(taken)
                assert isinstance(pixels, np.ndarray), "pictures to score are made uniform by Preprocess.pixels"
                yield pixels, engine.logits(pixels), [part.items[row].group or f"{split} {row}" for row in taken]

    counts = {str(split): len(taken) for split, taken in rows.items()}
    return drift.gathered(batches(), engine=engine, preprocess=model.header.preprocess, counts=counts)


def carry(source: Source, made: Exported, *, dicom: bool) -> None:
    """Copy the reference beside a model, where there is one, into its export.

    Not that of patients' pictures, and not into int8, which gives other features.
    """
    there = source.path.parent / FILE
    if there.is_file() and not dicom and made.precision == "fp32":
        shutil.copyfile(there, made.folder / FILE)


def reference_for(model: Model, asked: str | None, seen: Callable[[str], Iterable[Batch]]) -> Reference:
    """Return what pictures of a model are held against: of the file or the pictures that were asked for, else its own.

    `seen` reads pictures by their path. Raises `UsageError` where there is none, `DataError` where it does not fit.
    """
    preprocess, engine = model.header.preprocess, model.feature_engine
    if asked is not None and not drift.is_reference(Path(asked)):
        return drift.gathered(seen(asked), engine=engine, preprocess=preprocess)
    file = Path(asked) if asked is not None else model.files[0].parent / FILE if model.files else None
    if file is None or not file.is_file():
        raise UsageError(
            f"{model.name} has no {FILE} beside it: give pictures like those it was trained on, which it did not "
            "learn from, with --reference DATA"
        )
    found = drift.read(file)
    found.check_fits(engine, preprocess, name=model.name, file=str(file))
    return found
