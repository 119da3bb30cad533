"""Areas under the curves of ROC and of precision and recall, and what each picture does to them.

A picture's influence is how far the area would move, times N, if pictures like it became a little more frequent: their
mean is 0 and their mean square over N the variance of the area, from one sort. Of the ROC's area it is that of
DeLong, DeLong and Clarke-Pearson (1988).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# [N] bool, of the class or not, and [N] scores -> the area and what each picture does to it ([N])
Measure = Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True, slots=True)
class Areas:
    """The area of each class against the rest, None without pictures of it or of others, and of their mean."""

    per_class: list[float | None]
    influence: np.ndarray  # [N], of the pictures on `macro`

    @property
    def known(self) -> list[float]:
        """The areas that are not None."""
        return [area for area in self.per_class if area is not None]

    @property
    def macro(self) -> float | None:
        """The mean over classes."""
        return sum(self.known) / len(self.known) if self.known else None


def areas(measure: Measure, probabilities: np.ndarray, targets: np.ndarray) -> Areas:
    """Return the areas by `measure` of `[N, K]` probabilities of pictures of the classes `targets`."""
    found: list[float | None] = []
    influence = np.zeros(len(targets))
    for index in range(probabilities.shape[1]):
        of_class = targets == index
        if of_class.any() and not of_class.all():
            area, moved = measure(of_class, probabilities[:, index])
            influence += moved
            found.append(area)
        else:
            found.append(None)
    return Areas(found, influence / max(1, len(found) - found.count(None)))


def under_roc(of_class: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Return how often a picture of the class scores higher than another, ties half, and each picture's influence.

    `of_class`: `[N]` bool with both; `scores`: `[N]`.
    """
    order, share = _Order(scores), of_class.mean()
    of_it = order.at_least(of_class) - order.tied(of_class) / 2
    of_others = order.at_least(~of_class) - order.tied(~of_class) / 2
    beaten = 1 - of_others / (~of_class).sum()
    beating = of_it / of_class.sum()
    area = float(beaten[of_class].mean())
    return area, np.where(of_class, (beaten - area) / share, (beating - area) / (1 - share))


def average_precision(of_class: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean over pictures of the class of the precision at their scores, and each picture's influence.

    `of_class`: `[N]` bool with both; `scores`: `[N]`. A picture counts by its own precision, where it is of the class,
    and by what it does to that of all pictures of the class that do not score higher.
    """
    order, share = _Order(scores), of_class.mean()
    above = order.at_least(np.ones(len(scores)))
    precision = order.at_least(of_class) / above
    area = float(precision[of_class].mean())
    per_answer, at_precision = of_class / above, of_class * precision / above
    moved = of_class * order.at_most(per_answer) - order.at_most(at_precision)
    return area, (of_class * (precision - area) + moved) / share


class _Order:
    """Sums over the pictures that score as high or higher, by one sort."""

    def __init__(self, scores: np.ndarray) -> None:
        self._tie = np.unique(-scores, return_inverse=True)[1]  # from the highest score on

    def tied(self, weights: np.ndarray) -> np.ndarray:
        """Return for each picture the sum of `weights` ([N]) of those with its own score, itself included."""
        return np.bincount(self._tie, weights)[self._tie]

    def at_least(self, weights: np.ndarray) -> np.ndarray:
        """Return for each picture the sum of `weights` of those with its score or a higher one."""
        return np.bincount(self._tie, weights).cumsum()[self._tie]

    def at_most(self, weights: np.ndarray) -> np.ndarray:
        """Return for each picture the sum of `weights` of those with its score or a lower one."""
        return np.bincount(self._tie, weights)[::-1].cumsum()[::-1][self._tie]
