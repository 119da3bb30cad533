"""What the accuracy of an epoch is that was chosen by the very pictures that score it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from resnetkit.evaluation.metrics import clopper_pearson
from resnetkit.evaluation.uncertainty import Interval, accuracy_interval, keys, worth

DRAWS = 200
_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The accuracy on new pictures of an epoch that was chosen: corrected for the choice, with its 95 % interval."""

    top1: float
    interval: Interval


def after_choosing(right: np.ndarray, chosen: int, groups: Sequence[str | None] | None = None) -> Chosen:
    """Return the corrected accuracy of epoch `chosen`, the best of all E by these N pictures.

    `right`: `[E, N]` bool, whether an epoch named a picture right; `groups`: a name for each picture, None for those
    that are alone. The best of many is partly the luckiest. How lucky, choosing again tells: of pictures drawn anew
    the best epoch is chosen, and scored by those that were not drawn (Tsamardinos et al. 2018). Below, the interval is
    the plain one of what is left. Above, it is that of the share as it was seen, since choosing only makes that too
    high and the correction takes epochs for equal that are not; but of no more than a standard error above the
    corrected share, for what epochs that are equal were lucky by is far more. A single epoch was not chosen, and of a
    single picture or group nothing can be left out: these have the plain interval.
    """
    seen = float(right[chosen].mean())
    count = right.shape[1]
    units = np.arange(count) if groups is None else np.unique(keys(count, groups), return_inverse=True)[1]
    if len(right) == 1 or units.max() == 0:
        return Chosen(top1=seen, interval=accuracy_interval(right[chosen], groups))
    share, told = max(0.0, seen - luck(right, chosen, units)), worth(right[chosen], groups)
    most = min(seen, share + math.sqrt(share * (1 - share) / told))
    low, high = clopper_pearson(share * told, told)[0], clopper_pearson(most * told, told)[1]
    return Chosen(top1=share, interval=Interval(low, high))


def luck(right: np.ndarray, chosen: int, units: np.ndarray) -> float:
    """Return by how much epoch `chosen` looks better than it is; `units`: `[N]`, the number of what a picture is in.

    That is how much worse the winners of the draws do than it, on the pictures left out; epochs that tie in a draw
    share it by lot. The draws are the same every time.
    """
    times, lots = _draws(int(units.max()) + 1, len(right))
    drawn, answers = times[:, units], right.astype(np.float32)
    winners = (drawn @ answers.T + lots).argmax(axis=1)
    left = drawn == 0
    missed = (answers[chosen] - answers[winners])[left]
    return max(0.0, float(missed.mean()))


@lru_cache(maxsize=2)
def _draws(units: int, epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each unit is in a draw `[draws, units]`, never all, and lots below 1 `[draws, epochs]`."""
    random = np.random.default_rng(_SEED)
    times = random.multinomial(units, np.full(units, 1 / units), size=DRAWS).astype(np.float32)
    times = times[(times == 0).any(axis=1)]
    return times, random.random((len(times), epochs), np.float32) / 2
