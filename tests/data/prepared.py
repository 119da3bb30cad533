"""Data ready for training or scoring, by keywords that tests change one at a time."""

import dataclasses
from typing import Any

from resnetkit.data.dataset import Dataset
from resnetkit.data.preflight import prepare_scoring, prepare_training
from resnetkit.data.prepared import Division, Prepared, Reading
from resnetkit.data.preprocess import Preprocess


def _fields(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def prepare(dataset: Dataset, *, preprocess: Preprocess, **how: Any) -> Prepared:
    """Prepare a data set: for scoring where `classes` and a `part` are given, else for training."""
    reading = Reading(**{name: how.pop(name) for name in _fields(Reading) & how.keys()})
    if "classes" in how:
        return prepare_scoring(dataset, preprocess=preprocess, reading=reading, **how)
    division = Division(**{name: how.pop(name) for name in _fields(Division) & how.keys()})
    return prepare_training(dataset, preprocess=preprocess, reading=reading, division=division, **how)
