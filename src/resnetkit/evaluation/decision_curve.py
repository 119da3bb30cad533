"""Whether a model does more good than harm, at every trade of one for the other (Vickers and Elkin 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.errors import DataError, UsageError

_THRESHOLDS = tuple(percent / 100 for percent in range(1, 100))


@dataclass(frozen=True, slots=True)
class DecisionCurve:
    """Net benefit by threshold, `[T]` each: of acting on the model, and on everyone; that of acting on no one is 0."""

    thresholds: np.ndarray
    model: np.ndarray
    everyone: np.ndarray


def decision_curve(
    probabilities: np.ndarray,
    of_class: np.ndarray,
    *,
    thresholds: Sequence[float] = _THRESHOLDS,
    prevalence: float | None = None,
) -> DecisionCurve:
    """Return the net benefit of calibrated `probabilities` ([N]) of the class that `of_class` ([N] bool) tells.

    Who acts from a probability t on holds one picture found for worth (1 - t) / t false alarms: net benefit is the
    share of true less the share of false alarms times t / (1 - t). With a stated `prevalence` shares are weighted to
    it, and the probabilities should be `recalibrated` to it. Raises `DataError` where all pictures are of the class, or
    none, `UsageError` for a threshold that is not between 0 and 1.
    """
    if not of_class.any() or of_class.all():
        raise DataError("a decision curve needs pictures of the class and others: score a part that has both")
    at = np.asarray(thresholds, np.float64)
    if not ((at > 0) & (at < 1)).all():
        raise UsageError("thresholds of a decision curve are probabilities between 0 and 1")
    share = float(of_class.mean()) if prevalence is None else prevalence
    found, false = (_from(probabilities[chosen], at) for chosen in (of_class, ~of_class))
    price = at / (1 - at)
    return DecisionCurve(at, share * found - (1 - share) * false * price, share - (1 - share) * price)


def _from(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return the share of probabilities that are at least each threshold."""
    ranked = np.sort(probabilities.astype(np.float64))
    return 1 - np.searchsorted(ranked, thresholds, "left") / len(ranked)
