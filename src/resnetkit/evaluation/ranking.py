"""How well probabilities put pictures in order: ROC, precision and recall, accuracy against coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_MOST_POINTS = 101
_MOST_CURVES = 20
_COVERAGES = 50


def ranking_figures(probabilities: np.ndarray, targets: np.ndarray, *, classes: Sequence[str]) -> dict[str, Any]:
    """Return `roc_auc`, `average_precision`, `curves` and `selective` of metrics.json.

    `probabilities`: `[N, K]`; each class against the rest, None for one without pictures or without others; `macro` is
    the mean of the rest. `curves` (up to 20 classes): `roc` as [false alarms, found] and `precision_recall` as [recall,
    precision], shares, at most 101 points.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    areas: dict[str, float | None] = {}
    precisions: dict[str, float | None] = {}
    curves = {}
    for index, name in enumerate(classes):
        of_class, scores = targets == index, probabilities[:, index]
        both = bool(of_class.any() and not of_class.all())
        areas[name] = float(roc_auc_score(of_class, scores)) if both else None
        precisions[name] = float(average_precision_score(of_class, scores)) if both else None
        if both and len(classes) <= _MOST_CURVES:
            curves[name] = _curves(of_class, scores)
    return {
        "roc_auc": {"macro": _mean(areas), "per_class": areas},
        "average_precision": {"macro": _mean(precisions), "per_class": precisions},
        "curves": curves,
        "selective": selective(probabilities, targets),
    }


def selective(probabilities: np.ndarray, targets: np.ndarray) -> list[dict[str, float]]:
    """Return the accuracy of the surest answers: for shares of the pictures, from the surest to all (El-Yaniv 2010).

    `threshold` is the probability of the least sure of them.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = np.cumsum((probabilities.argmax(axis=1) == targets)[order])
    counts = np.unique(np.ceil(np.linspace(1 / _COVERAGES, 1, _COVERAGES) * len(targets)).astype(int))
    return [
        {
            "coverage": int(count) / len(targets),
            "accuracy": int(right[count - 1]) / int(count),
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
    keep = np.unique(np.linspace(0, len(across) - 1, _MOST_POINTS).round().astype(int))
    return [[round(float(across[i]), 5), round(float(up[i]), 5)] for i in keep]


def _mean(figures: dict[str, float | None]) -> float | None:
    known = [figure for figure in figures.values() if figure is not None]
    return sum(known) / len(known) if known else None
