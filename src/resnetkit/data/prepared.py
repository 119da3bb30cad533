"""Data ready for training or scoring, and how they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from resnetkit.data import splits
from resnetkit.data.columns import Column
from resnetkit.data.dataset import SPLITS, Dataset, Item, Marked, Split
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.findings import Report
from resnetkit.data.fingerprint import Digests, Record
from resnetkit.data.folds import Folds
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.view import View
from resnetkit.watcher import Progress

Pair = tuple[Item, Item]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The decoded pictures of train, val or test: item i has `targets[i]` and pixels i.

    Targets are classes, `[N]` int64, or where pictures have several labels `[N, K]` float32 (`data.targets`).
    `content` is the same for the same files, whatever they are called; `contents` are the digests of each picture.
    Where objects are marked, targets are `[N]` values `data.marks.Truth`; `sizes`, `[N, 2]`, are the (width, height) of
    the upright pictures that their boxes lie on, and `views` tell where `Preprocess.pixels` shows them. `columns` are
    what else is said of the pictures, by which figures are wanted.
    """

    items: tuple[Item, ...] = field(repr=False)
    targets: np.ndarray = field(repr=False)
    pixels: Pixels = field(repr=False)
    content: str | None = field(default=None, repr=False)
    contents: tuple[Digests, ...] = field(default=(), repr=False)
    sizes: np.ndarray | None = field(default=None, repr=False)
    views: tuple[View, ...] = field(default=(), repr=False)
    columns: tuple[Column, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @property
    def groups(self) -> list[str | None] | None:
        """The group of each picture, None where no picture has one."""
        groups = [item.group for item in self.items]
        return groups if any(groups) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Data ready for training or evaluation. `records` is what `fingerprint` was made of.

    `left_out`: pictures of val and test that trained what the weights begin as; `folds`: None where a part is held out;
    `several`: pictures may have none, one or several labels; `objects`: how these are marked; `dicom`: some were DICOM
    files.
    """

    classes: tuple[str, ...]
    parts: dict[Split, Part]
    report: Report
    fingerprint: str
    preprocess: Preprocess
    records: tuple[Record, ...] = field(repr=False)
    left_out: tuple[Item, ...] = field(default=(), repr=False)
    folds: Folds | None = None
    several: bool = False
    objects: Marked = "none"
    dicom: bool = False

    @property
    def fold_of(self) -> dict[str, int] | None:
        """Return source -> fold of the training pictures, None where there are no folds."""
        if self.folds is None:
            return None
        items = self.parts["train"].items
        return {item.source: int(number) for item, number in zip(items, self.folds.numbers, strict=True)}

    @property
    def items(self) -> tuple[Item, ...]:
        """Return the items of all parts and those left out, each with its split, as `splits.write_split` takes them."""
        return (*(item for part in self.parts.values() for item in part.items), *self.left_out)


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """How training data are divided.

    Without a val part a `val_share` of train is held out (`splits.hold_out`), unless `holds_out` is False; where these
    are many and the run `selects` by them, half of them become test (`splits.halve`). `rows`: the parts of an earlier
    run, which then hold. With `folds` the training part is also divided into so many (`splits.into_folds`), or as
    `fold_rows` say. `keep_together`: what stays on one side when it is drawn. `trained` are sources that the starting
    weights learnt from: they train, and are left out of other parts that are given.
    """

    val_share: float = splits.DEFAULT_VAL_SHARE
    holds_out: bool = True
    selects: bool = False
    seed: int = 0
    rows: Mapping[str, Split] | None = field(default=None, repr=False)
    folds: int = 0
    fold_rows: Mapping[str, int] | None = field(default=None, repr=False)
    keep_together: splits.KeepTogether = "copies"
    trained: Collection[str] = field(default=(), repr=False)

    @property
    def parts(self) -> tuple[Split, ...]:
        """The parts that are wanted."""
        return SPLITS if self.holds_out else ("train", "test")

    def share_of(self, dataset: Dataset, chosen: Dataset) -> float | None:
        """Return the share of train to hold out, None where nothing is drawn: all is given, or known to the weights."""
        given = any(item.split == "val" for item in dataset.items)
        free = any(item.split == "train" and item.source not in self.trained for item in chosen.items)
        return self.val_share if self.rows is None and self.holds_out and free and not given else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How pictures are read: by how many `threads`, and what happens with those that cannot be.

    `report_to` gets the report before anything stops the run; `hint` is what the error then advises.
    """

    threads: int
    bad_images: Literal["stop", "skip"] = "stop"
    hint: str = "add --bad-images skip to leave them out"
    report_to: Callable[[Report], None] | None = None
    progress: Progress | None = None
