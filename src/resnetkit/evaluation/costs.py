"""What a model's errors cost, beside what its most probable classes would, and one answer for all pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnetkit.evaluation.uncertainty import Interval, accuracy_interval, groups_where
from resnetkit.models.decision import Decision


def cost_figures(
    probabilities: np.ndarray, targets: np.ndarray, told: np.ndarray, classes: Sequence[str],
    groups: Sequence[str | None] | None, *, decision: Decision,
) -> dict[str, Any]:  # fmt: skip
    """Return `cost` of metrics.json, where the `decision` has costs: of a picture, on average, each with an `interval`.

    `probabilities`: `[N, K]`, `targets` and `told`: `[N]` classes. `most_probable`: what telling the most probable
    class would cost, `constant`: the one class that costs least told of all of these pictures, which takes no network.
    `changed`: pictures of which another class is told than the most probable one. `errors`: for each error that has a
    cost of its own `count` of the pictures `of` the true class, with the `interval` of that share. `tempered`: whether
    the temperature was fitted, without which probabilities are no weights.
    """
    if decision.costs is None:
        return {}
    costs, likeliest = decision.costs.matrix(len(classes)), probabilities.argmax(axis=1)
    each = {"by cost": costs[targets, told], "most probable": costs[targets, likeliest]}
    levels = np.unique(costs[~np.eye(len(classes), dtype=bool)])
    found = {name: _mean(values, levels, groups) for name, values in each.items()}
    always = np.bincount(targets, minlength=len(classes)) @ costs / len(targets)
    return {
        "cost": {
            **found["by cost"],
            "most_probable": found["most probable"],
            "constant": {"label": classes[int(always.argmin())], "mean": float(always.min())},
            "changed": int((told != likeliest).sum()),
            "errors": [
                _error(targets, told, true, said, groups)
                | {"true": classes[true], "told": classes[said], "cost": float(cost)}
                for true, said, cost in decision.costs.pairs
            ],
            "tempered": decision.fitted_on is not None,
        }
    }


def cost_interval(each: np.ndarray, levels: np.ndarray, groups: Sequence[str | None] | None = None) -> Interval:
    """Return the interval of the mean of costs, `[N]`, each of which is 0 or one of `levels`.

    It adds up Clopper and Pearson's of how many cost at least so much, level by level. Simulated with costs of 1 and
    100 and 100 to 2,000 pictures it held the truth in 95.6 to 99.4 %, the bootstrap in 9 to 99 %: drawing pictures anew
    says nothing of a costly error that was not seen.
    """
    low = high = before = 0.0
    for level in np.unique(levels[levels > 0]).tolist():
        share = accuracy_interval(each >= level, groups)
        low, high, before = low + (level - before) * share.low, high + (level - before) * share.high, level
    return Interval(low, high)


def _mean(each: np.ndarray, levels: np.ndarray, groups: Sequence[str | None] | None) -> dict[str, Any]:
    interval = cost_interval(each, levels, groups)
    return {"mean": float(each.mean()), "interval": [interval.low, interval.high]}


def _error(
    targets: np.ndarray, told: np.ndarray, true: int, said: int, groups: Sequence[str | None] | None
) -> dict[str, Any]:
    of = targets == true
    if not of.any():
        return {"count": 0, "of": 0, "interval": None}
    wrong = told[of] == said
    interval = accuracy_interval(wrong, groups_where(of, groups))
    return {"count": int(wrong.sum()), "of": int(of.sum()), "interval": [interval.low, interval.high]}
