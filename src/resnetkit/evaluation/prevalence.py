"""What a test is worth where the class is rarer, or more frequent, than among the pictures that scored it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.errors import UsageError
from resnetkit.evaluation.screening import UNDEFINED, Estimate, called, likelihood_ratio
from resnetkit.evaluation.uncertainty import Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class AtPrevalence:
    """The predictive values at a threshold where a share `prevalence` is of the class."""

    prevalence: float
    ppv: Estimate
    npv: Estimate


def at_prevalence(
    scores: np.ndarray,
    of_class: np.ndarray,
    *,
    threshold: float,
    prevalence: float,
    groups: Sequence[str | None] | None = None,
) -> AtPrevalence:
    """Return the predictive values of a threshold at a stated prevalence: scores `[N]`, `of_class` `[N]` bool.

    The odds of the class among pictures that are called so are those of the prevalence times the likelihood ratio, so
    its interval makes theirs: even on the log-odds (Mercaldo, Lau and Zhou 2007). Sensitivity and specificity must be
    the same there as here, which other patients may belie. Raises `UsageError` unless 0 < prevalence < 1.
    """
    odds, said = _odds(prevalence), called(scores, threshold)
    positive, negative = (likelihood_ratio(named, of_class, groups) for named in (said, ~said))
    ppv = [_probability(odds * ratio) for ratio in positive]
    value, low, high = (1 - _probability(odds * ratio) for ratio in negative)
    return AtPrevalence(prevalence=prevalence, ppv=_known(*ppv), npv=_known(value, high, low))


def recalibrated(probabilities: np.ndarray, *, seen: float, prevalence: float) -> np.ndarray:
    """Return probabilities of the class ([N] float64) as they are where a share `prevalence` is of it, not `seen`.

    `seen`: the share among the pictures that the probabilities fit. Their odds change as the odds of the class do
    (Saerens, Latinne and Decaestecker 2002, equation 2.4). Raises `UsageError` unless both shares are between 0 and 1.

    >>> recalibrated(np.array([0.0, 0.5, 0.9, 1.0]), seen=0.5, prevalence=0.1).round(4).tolist()
    [0.0, 0.1, 0.5, 1.0]
    """
    times = _odds(prevalence) / _odds(seen)
    given = probabilities.astype(np.float64)
    return given * times / (given * times + 1 - given)


def _odds(share: float) -> float:
    if not 0 < share < 1:
        raise UsageError(f"a prevalence of {share:g}: give a share between 0 and 1, as 0.02 for one in fifty")
    return share / (1 - share)


def _probability(odds: float) -> float:
    return 1.0 if math.isinf(odds) else odds / (1 + odds)


def _known(value: float, low: float, high: float) -> Estimate:
    return UNDEFINED if math.isnan(value) else Estimate(value, Interval(low, high))
