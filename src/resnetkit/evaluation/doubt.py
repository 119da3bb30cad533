"""What `metrics.json` says beyond counts: intervals, calibration, ranking, and what thresholds would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resnetkit.evaluation.areas import Areas, areas, average_precision, under_roc
from resnetkit.evaluation.calibration import (
    as_for_new_pictures,
    binned,
    errors_by_chance,
    expected_error,
    reliability,
)
from resnetkit.evaluation.guarantees import cross_kept, kept
from resnetkit.evaluation.metrics import ranks
from resnetkit.evaluation.ranking import area_figures, curves, selective
from resnetkit.evaluation.uncertainty import (
    Interval,
    accuracy_interval,
    area_interval,
    balanced_interval,
    bootstrap,
    distance_interval,
)
from resnetkit.models.decision import Decision


def doubts(
    logits: np.ndarray,
    targets: np.ndarray,
    groups: Sequence[str | None],
    metrics: Mapping[str, Any],
    *,
    decision: Decision,
    own: bool,
) -> dict[str, Any]:
    """Return more figures of `[N, K]` logits whose classes are `targets`, beside those in `metrics`.

    `top1_interval` takes the place of the one for independent pictures where some come in groups, and `grouped` says
    so. `intervals`: 95 %, of the figures they are named after. `calibration`: how far confidence is from accuracy
    `before` (the network's own) and `after`: at the decision's temperature where that was fitted on others, not `own`,
    `fitted_on` "val", else at one that these pictures fix for each other, "crossfit", where it helps.
    `rejects` and `sets`: what each threshold of the decision does, cross-fitted likewise.
    """
    grouped = any(group is not None for group in groups)
    of_pictures = list(groups) if grouped else None
    probabilities = decision.probabilities(logits)
    elsewhere = decision.fitted_on is not None and not own
    after = probabilities if elsewhere else as_for_new_pictures(logits, targets, of_pictures)
    ranked = rankings(probabilities, targets)
    return {
        "top1_interval": _plain(accuracy_interval(probabilities.argmax(axis=1) == targets, of_pictures)),
        "grouped": grouped,
        "intervals": intervals(probabilities, targets, of_pictures, after=after, ranked=ranked),
        "calibration": {
            "temperature": decision.temperature,
            "fitted_on": "val" if elsewhere else "crossfit",
            "before": reliability(Decision().probabilities(logits), targets),
            "after": reliability(after, targets),
        },
        **{name: area_figures(found, metrics["classes"]) for name, found in ranked.items()},
        "curves": curves(probabilities, targets, metrics["classes"]),
        "selective": selective(probabilities, targets),
        **(kept(probabilities, targets, decision) if elsewhere else cross_kept(logits, targets, decision, of_pictures)),
    }


def rankings(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, Areas]:
    """Return the areas under the curves of each class, `roc_auc` and `average_precision`."""
    return {
        "roc_auc": areas(under_roc, probabilities, targets),
        "average_precision": areas(average_precision, probabilities, targets),
    }


def intervals(
    probabilities: np.ndarray,
    targets: np.ndarray,
    groups: Sequence[str | None] | None = None,
    *,
    after: np.ndarray,
    ranked: Mapping[str, Areas],
) -> dict[str, list[float]]:
    """Return the 95 % intervals of balanced accuracy, loss, calibration error, mean areas and, of many classes, top-5.

    `[N, K]` probabilities of pictures of the classes `targets`, those `after` calibration, for its error, and the areas
    of `rankings`. There is no interval of areas that no class has, of top-5 among five classes, nor of loss and
    calibration error of a single picture or group.
    """
    found = probabilities.argmax(axis=1) == targets
    smallest = np.finfo(np.float32).tiny
    of_truth = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    losses = np.stack([-np.log(np.maximum(of_truth, smallest)), np.ones(len(targets))], axis=1)
    bounds = {
        "balanced_accuracy": balanced_interval(found, targets, groups),
        "loss": bootstrap(losses, lambda sums: sums[..., 0] / sums[..., 1], groups=groups, least=0.0),
        "ece": distance_interval(binned(after, targets), expected_error, errors_by_chance(after), groups),
    }
    for name, areas_found in ranked.items():
        if areas_found.macro is not None:
            bounds[name] = area_interval(areas_found, targets, groups)
    if probabilities.shape[1] > 5:
        bounds["top5"] = accuracy_interval(ranks(probabilities, targets) < 5, groups)
    return {name: _plain(interval) for name, interval in bounds.items() if interval is not None}


def _plain(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
