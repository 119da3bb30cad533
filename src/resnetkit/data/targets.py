"""What is to be learnt of pictures, as numbers: the class of each, or which labels it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetkit.data.classes import unknown_class
from resnetkit.data.dataset import Item
from resnetkit.data.marks import Truth
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError

if TYPE_CHECKING:
    from resnetkit.data.decoded.survey import Survey


def class_targets(items: Sequence[Item], classes: Sequence[str], *, where: str) -> np.ndarray:
    """Return `[N]` int64 indices into `classes` by the name of each item's class.

    Raises `DataError` with the nearest name and the `--rename` that mends it for a class that is not among `classes`.
    """
    index = {name: position for position, name in enumerate(classes)}
    labels = [item.label for item in items]
    assert None not in labels, "a picture without a class cannot be scored"
    _check_known([label for label in labels if label is not None], classes, where=where)
    return np.array([index[label] for label in labels if label is not None], dtype=np.int64)


def label_targets(items: Sequence[Item], classes: Sequence[str], *, where: str) -> np.ndarray:
    """Return `[N, K]` float32: 1 for each label that a picture has, NaN where that is not known, else 0.

    Raises `DataError` as `class_targets` does.
    """
    index = {name: position for position, name in enumerate(classes)}
    _check_known([label for item in items for label in item.labels or ()], classes, where=where)
    targets = np.zeros((len(items), len(classes)), np.float32)
    for row, item in zip(targets, items, strict=True):
        row[[index[name] for name in item.unknown if name in index]] = np.nan
        row[[index[name] for name in item.labels or ()]] = 1
    return targets


def object_targets(items: Sequence[Item], classes: Sequence[str], *, where: str) -> np.ndarray:
    """Return `[N]` values `Truth`: the objects marked on each picture, none where it is background.

    Raises `DataError` as `class_targets` does.
    """
    _check_known([one.label for item in items for one in item.marks or ()], classes, where=where)
    targets = np.empty(len(items), object)
    for number, item in enumerate(items):
        targets[number] = Truth.of(item.marks or (), classes)
    return targets


def places(items: Sequence[Item], surveyed: Survey, preprocess: Preprocess) -> dict[str, Any]:
    """Return `sizes` and `views` of a part; raises `DataError` for a picture without a size."""
    for item in items:
        if item.source not in surveyed.contents:
            raise DataError(f"{item.source}: objects are marked on a picture that has no colours: save it as PNG")
    sizes = [surveyed.contents[item.source].size for item in items]
    return {"sizes": np.array(sizes, np.int64), "views": tuple(preprocess.view(*size) for size in sizes)}


def _check_known(labels: Sequence[str], classes: Sequence[str], *, where: str) -> None:
    known = set(classes)
    for label, count in Counter(label for label in labels if label not in known).items():
        raise unknown_class(label, classes, where=where, count=count)
