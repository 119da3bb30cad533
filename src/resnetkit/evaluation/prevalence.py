"""What a test is worth where the class is rarer, or more frequent, than among the scored pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.evaluation.screening import UNDEFINED, Estimate, likelihood_ratio
from resnetkit.evaluation.uncertainty import Interval
from resnetkit.models.point import odds_of


@dataclass(frozen=True, kw_only=True, slots=True)
class AtPrevalence:
    """The predictive values where a share `prevalence` is of the class."""

    prevalence: float
    ppv: Estimate
    npv: Estimate


def at_prevalence(
    said: np.ndarray, of_class: np.ndarray, *, prevalence: float, groups: Sequence[str | None] | None = None
) -> AtPrevalence:
    """Return the predictive values at a stated prevalence of pictures `said` ([N] bool) to be of the class.

    The odds of the class among pictures that are called so are those of the prevalence times the likelihood ratio, so
    its interval makes theirs: even on the log-odds (Mercaldo, Lau and Zhou 2007). Sensitivity and specificity must be
    the same there as here, which other patients may belie. Raises `UsageError` unless 0 < prevalence < 1.
    """
    odds = odds_of(prevalence)
    positive, negative = (likelihood_ratio(named, of_class, groups) for named in (said, ~said))
    ppv = [_probability(odds * ratio) for ratio in positive]
    value, low, high = (1 - _probability(odds * ratio) for ratio in negative)
    return AtPrevalence(prevalence=prevalence, ppv=_known(*ppv), npv=_known(value, high, low))


def _probability(odds: float) -> float:
    return 1.0 if math.isinf(odds) else odds / (1 + odds)


def _known(value: float, low: float, high: float) -> Estimate:
    return UNDEFINED if math.isnan(value) else Estimate(value, Interval(low, high))
