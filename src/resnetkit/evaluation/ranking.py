"""How well probabilities put pictures in order: ROC, precision and recall, accuracy against coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnetkit.evaluation.areas import Areas

_MOST_POINTS = 101
_MOST_CURVES = 20
_COVERAGES = 50


def area_figures(found: Areas, classes: Sequence[str]) -> dict[str, Any]:
    """Return `roc_auc` or `average_precision` of metrics.json: by class, None where there is none, and their mean."""
    return {"macro": found.macro, "per_class": dict(zip(classes, found.per_class, strict=True))}


def curves(probabilities: np.ndarray, targets: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Return the curves of each class against the rest, of up to 20 classes.

    `probabilities`: `[N, K]`. `roc` as [false alarms, found] and `precision_recall` as [recall, precision], shares, at
    most 101 points; no entry for a class without pictures or without others.
    """
    if len(classes) > _MOST_CURVES:
        return {}
    return {
        name: _curves(targets == index, probabilities[:, index])
        for index, name in enumerate(classes)
        if 0 < (targets == index).sum() < len(targets)
    }


def selective(probabilities: np.ndarray, targets: np.ndarray) -> list[dict[str, float]]:
    """Return the accuracy of the surest answers: for shares of the pictures, from the surest to all (El-Yaniv 2010).

    `threshold` is the probability of the least sure of them. Answers that are equally sure count by their mean.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    _, tie, alike = np.unique(confidence, return_inverse=True, return_counts=True)
    right = np.cumsum((np.bincount(tie, probabilities.argmax(axis=1) == targets) / alike)[tie][order])
    counts = np.unique(np.ceil(np.linspace(1 / _COVERAGES, 1, _COVERAGES) * len(targets)).astype(int))
    return [
        {
            "coverage": int(count) / len(targets),
            "accuracy": float(right[count - 1]) / int(count),
            "threshold": float(confidence[order[count - 1]]),
        }
        for count in counts
    ]


def _curves(of_class: np.ndarray, scores: np.ndarray) -> dict[str, list[list[float]]]:
    from sklearn.metrics import precision_recall_curve, roc_curve

    alarms, found, _ = roc_curve(of_class, scores)
    precision, recall, _ = precision_recall_curve(of_class, scores)
    return {"roc": _thinned(alarms, found), "precision_recall": _thinned(recall[::-1], precision[::-1])}


def _thinned(across: np.ndarray, up: np.ndarray) -> list[list[float]]:
    """Return points that lie evenly along the curve; by number, those of a rare class would all be at its end."""
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(across)) + np.abs(np.diff(up)))])
    keep = np.unique(
        np.searchsorted(along, np.linspace(0, along[-1], _MOST_POINTS - 1), "left").clip(0, len(along) - 1)
    )
    keep = np.unique(np.append(keep, len(along) - 1))
    return [[round(float(across[i]), 5), round(float(up[i]), 5)] for i in keep]
