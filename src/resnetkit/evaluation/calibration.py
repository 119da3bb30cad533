"""How sure a model may be: the temperature that makes its probabilities fit held-out answers."""

from __future__ import annotations

import math

import numpy as np

from resnetkit.errors import DataError

_COLDEST, _HOTTEST = 0.05, 20.0
_HALVINGS = 60  # of an interval of 6 in log T: far below what a float64 tells apart


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
    for _ in range(_HALVINGS):
        middle = (cold + hot) / 2
        if _slope(relative, targets, middle) > 0:
            cold = middle
        else:
            hot = middle
    return math.exp((cold + hot) / 2)


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
