"""Figures by the values of columns, as age, sex or scanner: what `metrics.json` says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from resnetkit.data.columns import Column, Compared, compared
from resnetkit.evaluation.subgroups import Answers, Subgroup, subgroups
from resnetkit.evaluation.two_classes import plain


def by_column(
    probabilities: np.ndarray, said: np.ndarray, targets: np.ndarray, classes: Sequence[str],
    columns: Sequence[Column], groups: Sequence[str | None] | None, *, test: Mapping[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Return `by` of metrics.json: `[N, K]` probabilities of pictures of the classes `targets`, `[N]`, by each column.

    `said`: `[N]` classes that are told. As a `test`, the `screening` of metrics.json, there are for its `finding` and
    of each value `auc`, `sensitivity`, `specificity` and `accuracy`; without one the accuracy alone. `columns` has by
    name `values` (value, count, positives, figures; without `figures` where it has too few pictures), `edges` of bands,
    and how many pictures are `without` a value or have one that is `no_number`. `contrasts`: whether a figure differs
    between the values of a column, with p-values for all of them together (Holm); `warnings` says the real ones.
    """
    told = [compared(column) for column in columns]
    if test:
        finding = list(classes).index(test["finding"])
        answers = Answers.of_test(said == finding, probabilities[:, finding], targets == finding)
    else:
        answers = Answers.of_names(said == targets)
    table = subgroups(answers, {one.name: one.values for one in told}, groups=groups)
    return {
        "by": {
            **({"finding": test["finding"], "threshold": test["threshold"]} if test else {}),
            "columns": {one.name: _column(one, table.columns[one.name]) for one in told},
            "contrasts": [asdict(contrast) | {"is_real": contrast.is_real} for contrast in table.contrasts],
            "warnings": table.warnings,
        }
    }


def _column(column: Compared, found: Sequence[Subgroup]) -> dict[str, Any]:
    by_value = {one.value: one for one in found}
    values: list[dict[str, Any]] = [_value(by_value[value]) for value in column.order]
    values += [{"value": value, "count": count} for value, count in column.few.items()]
    return {
        "values": values, "edges": list(column.edges), "without": column.without, "no_number": column.no_number,
    }  # fmt: skip


def _value(one: Subgroup) -> dict[str, Any]:
    known = {} if one.positives is None else {"positives": one.positives}
    figures = {name: plain(estimate) for name, estimate in one.figures.items()}
    return {"value": one.value, "count": one.count, **known, "figures": figures}
