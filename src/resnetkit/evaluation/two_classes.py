"""A model of two classes taken as a test for one of them: what `metrics.json` says, by picture and by case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from resnetkit.errors import DataError
from resnetkit.evaluation.cases import by_case
from resnetkit.evaluation.screening import Estimate, at_threshold, roc_auc

_HALF = 0.5


def screening(
    probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str], groups: Sequence[str | None] | None
) -> dict[str, Any]:
    """Return `screening` of metrics.json for two classes, nothing for more: each class as what is looked for.

    `probabilities`: `[N, 2]`, `targets`: `[N]` classes; a class is told from one half on. For each class: `tp`, `fp`,
    `tn`, `fn`, and `sensitivity`, `specificity`, `ppv`, `npv`, `lr_positive`, `lr_negative` and `roc_auc`, each with
    `value` and `interval`, both None where there is none; intervals are by group where there are groups. Then `cases`
    has the same of the `count` groups, the mean of a group's pictures being its answer; `mixed` says why not.
    """
    if len(classes) != 2:
        return {}
    found: dict[str, Any] = {"pictures": _by_class(probabilities, targets, classes, groups)}
    if groups is not None:
        try:
            cases = by_case(probabilities, targets, groups)
        except DataError as error:
            found["mixed"] = str(error)
        else:
            found["cases"] = _by_class(cases.probabilities, cases.targets, classes, None)
            found["count"] = len(cases.names)
    return {"screening": found}


def _by_class(
    probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str], groups: Sequence[str | None] | None
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for index, name in enumerate(classes):
        scores, of_class = probabilities[:, index], targets == index
        said = at_threshold(scores, of_class, threshold=_HALF, groups=groups)
        values = {one.name: getattr(said, one.name) for one in fields(said)} | {
            "roc_auc": roc_auc(scores, of_class, groups)
        }
        figures[name] = {key: _plain(value) if isinstance(value, Estimate) else value for key, value in values.items()}
    return figures


def _plain(estimate: Estimate) -> dict[str, Any]:
    interval = estimate.interval
    return {"value": estimate.value, "interval": None if interval is None else [interval.low, interval.high]}
