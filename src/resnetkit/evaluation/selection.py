"""What the accuracy of an epoch is that was chosen by the very pictures that score it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.evaluation.uncertainty import Interval, accuracy_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The accuracy on new pictures of an epoch that was chosen: corrected for the choice, with its 95 % interval."""

    top1: float
    interval: Interval


def after_choosing(right: np.ndarray, chosen: int, groups: Sequence[str | None] | None = None) -> Chosen:
    """Return the corrected accuracy of epoch `chosen`, the best of all E by these N pictures.

    `right`: `[E, N]` bool, whether an epoch named a picture right; `groups`: a name for each picture, None for those
    that are alone.
    """
    plain = accuracy_interval(right[chosen], groups)
    return Chosen(top1=float(right[chosen].mean()), interval=plain)
