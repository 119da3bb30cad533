"""How sure a model may be: the temperature that makes its probabilities fit held-out answers, and how well they fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from resnetkit.errors import DataError
from resnetkit.models.decision import softmax

_COLDEST, _HOTTEST = 0.05, 20.0
_BINS = 15  # as Guo et al.
_FOLDS = 5
_ENOUGH = 2000  # held-out pictures that fix one number beyond doubt


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature under which held-out answers are most likely (Guo et al. 2017, section 4.2).

    `logits`: `[N, K]` of pictures that neither trained nor chose the model; `targets`: `[N]` class indices. The mean
    negative log-likelihood is convex in 1 / T, so the root of its slope is the minimum. Where that lies outside
    0.05 to 20 (every answer right, or nothing but noise) the pictures do not fix a temperature, and it is 1. Raises
    `DataError` for logits that are not finite, for targets that are no class indices, and where there is no picture.
    """
    _check(logits, targets)
    relative = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    cold, hot = math.log(_COLDEST), math.log(_HOTTEST)
    if _slope(relative, targets, cold) <= 0 or _slope(relative, targets, hot) >= 0:
        return 1.0
    from scipy.optimize import brentq

    return math.exp(brentq(lambda middle: _slope(relative, targets, middle), cold, hot, xtol=1e-9))


def helpful_temperature(logits: np.ndarray, targets: np.ndarray, groups: Sequence[str | None] | None = None) -> float:
    """Return `fit_temperature`, or 1 where pictures that it was not fitted on fare no better by it: too few for it."""
    temperature = fit_temperature(logits, targets)
    if temperature == 1.0 or (groups is None and len(targets) >= _ENOUGH):
        return temperature
    losses = [
        _loss(probabilities, targets) for probabilities in (cross_fitted(logits, targets, groups), softmax(logits))
    ]
    return temperature if losses[0] < losses[1] else 1.0


def cross_fitted(logits: np.ndarray, targets: np.ndarray, groups: Sequence[str | None] | None = None) -> np.ndarray:
    """Return float32 `[N, K]` probabilities, each fifth of the pictures at the temperature that the others fix.

    So the pictures that fix a temperature can show what it does to unseen ones. Groups stay together.
    """
    number = folds(len(targets), groups)
    probabilities = np.empty(logits.shape, np.float32)
    for fold in np.unique(number):
        inside = number == fold
        others = fit_temperature(logits[~inside], targets[~inside]) if not inside.all() else 1.0
        probabilities[inside] = softmax(logits[inside], temperature=others)
    return probabilities


def folds(count: int, groups: Sequence[str | None] | None) -> np.ndarray:
    """Return the fold of each picture, one of five, groups whole; the same every time."""
    keys = [f"{i}" if groups is None or groups[i] is None else f"group {groups[i]}" for i in range(count)]
    _, units = np.unique(keys, return_inverse=True)
    number = units.max() + 1
    return (np.random.default_rng(0).permutation(number) % min(_FOLDS, number))[units]


def reliability(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """Return how far confidence is from accuracy: `ece`, and the figures of each bin of confidence that has pictures.

    `probabilities`: `[N, K]`; `ece`: the mean distance over pictures, 15 bins of equal width (Guo et al. 2017, eq. 3).
    """
    counted = binned(probabilities, targets)
    bins = []
    for number, (count, confidence, right) in enumerate(counted.sum(axis=0).reshape(_BINS, 3)):
        if count:
            edges = {"low": round(number / _BINS, 6), "high": round((number + 1) / _BINS, 6)}
            bins.append(edges | {"count": int(count), "confidence": confidence / count, "accuracy": right / count})
    return {"ece": float(expected_error(counted.sum(axis=0))), "bins": bins}


def binned(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return `[N, 45]`: what each picture adds to the count, confidence and right answers of its bin."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == targets
    number = _bins(confidence)
    counted = np.zeros((len(targets), _BINS, 3))
    counted[np.arange(len(targets)), number] = np.stack([np.ones(len(targets)), confidence, right], axis=1)
    return counted.reshape(len(targets), _BINS * 3)


def expected_error(sums: np.ndarray) -> np.ndarray:
    """Return the expected calibration error of `[..., 45]` sums over pictures of what `binned` gives."""
    bins = sums.reshape(*sums.shape[:-1], _BINS, 3)
    return np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1) / bins[..., 0].sum(axis=-1)


def errors_by_chance(probabilities: np.ndarray) -> np.ndarray:
    """Return 1,000 calibration errors of answers that are right as often as `[N, K]` probabilities say.

    Bins of few pictures are off by chance alone (consistency resampling; Broecker and Smith 2007).
    """
    random, confidence = np.random.default_rng(0), probabilities.max(axis=1).astype(np.float64)
    inside = (_bins(confidence)[:, None] == np.arange(_BINS)).astype(np.float64)
    errors = []
    for _ in range(10):
        right = random.random((100, len(confidence)), np.float32) < confidence
        errors.append(np.abs((right - confidence) @ inside).sum(axis=1) / len(confidence))
    return np.concatenate(errors)


def _bins(confidence: np.ndarray) -> np.ndarray:
    """Return the number of each confidence's bin: 0 holds (0, 1/15], one on an edge belongs to the bin below it."""
    return np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)


def _loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    smallest = np.finfo(np.float32).tiny
    return float(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], smallest)).mean())


def _slope(logits: np.ndarray, targets: np.ndarray, log_temperature: float) -> float:
    """Return the slope of the mean negative log-likelihood in 1 / T: expected minus true logit."""
    exponentials = np.exp(logits / math.exp(log_temperature))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    expected = (probabilities * logits).sum(axis=1)
    return float((expected - logits[np.arange(len(targets)), targets]).mean())


def _check(logits: np.ndarray, targets: np.ndarray) -> None:
    assert logits.ndim == 2, logits.shape
    assert targets.shape == logits.shape[:1], (logits.shape, targets.shape)
    if len(logits) == 0:
        raise DataError("there is no held-out picture to fit a temperature on: give some that the model has not seen")
    if not np.isfinite(logits).all():
        raise DataError("the model answers with numbers that are not finite: train it again or use another")
    if not np.issubdtype(targets.dtype, np.integer) or not 0 <= targets.min() <= targets.max() < logits.shape[1]:
        raise DataError(f"targets must be whole numbers from 0 to {logits.shape[1] - 1}, the classes of the model")
