"""The class that is looked for: from which probability on it is told, and how frequent it is stated to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import numpy as np

from resnetkit.errors import DataError, UsageError
from resnetkit.models.goals import screening_goal_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """The class number `finding` is told from the probability `at` on, whatever the others have.

    It was chosen for a `goal`, `youden`, `sensitivity 0.95` or `specificity 0.9`, on held-out pictures of which the
    part `share` is of the class; `met` is false where only all or none of them reach that. With a stated `prevalence`
    probabilities and `at` are those of pictures of which this part is of the class.
    """

    finding: int
    at: float
    goal: str
    share: float
    met: bool = True
    prevalence: float | None = None

    def __post_init__(self) -> None:
        if type(self.finding) is not int or self.finding < 0:
            raise UsageError(f"decision.point.finding must be the number of a class, not {self.finding!r:.40}")
        for name in ("at", "share"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
                raise UsageError(f"decision.point.{name} must be a number between 0 and 1, not {value!r:.40}")
        odds_of(self.share)
        if not isinstance(self.goal, str):
            raise UsageError(f"decision.point.goal must be a text, not {self.goal!r:.40}")
        screening_goal_of(self.goal)
        if self.prevalence is not None:
            odds_of(self.prevalence)

    def stated(self, prevalence: float) -> Point:
        """Return the same point where the class is so frequent: the same pictures are told to be of it."""
        at = recalibrated(np.array([self.at]), seen=self.prevalence or self.share, prevalence=prevalence)
        return replace(self, at=float(at[0]), prevalence=prevalence)

    def restated(self, probabilities: np.ndarray) -> np.ndarray:
        """Return `[N, K]` probabilities, which fit pictures of which `share` is of the class, at the prevalence.

        They are doubles then: what is told must not depend on how few digits there are near 1.
        """
        if self.prevalence is None:
            return probabilities
        given = probabilities.astype(np.float64)
        of_class = given[:, self.finding].copy()
        there = recalibrated(of_class, seen=self.share, prevalence=self.prevalence)
        given *= np.divide(1 - there, 1 - of_class, out=np.zeros_like(there), where=of_class < 1)[:, None]
        given[:, self.finding] = there
        return given

    def told(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the class, `[N]`, that `[N, K]` probabilities tell: this one from `at` on, else the best of others."""
        if self.finding >= probabilities.shape[1]:
            raise DataError(
                f"its decision looks for class {self.finding + 1} of {probabilities.shape[1]}: make it again"
            )
        others = probabilities.astype(np.float64)
        said = others[:, self.finding] >= self.at
        others[:, self.finding] = -1
        best: np.ndarray = np.where(said, self.finding, others.argmax(axis=1))
        return best

    def to_json(self) -> dict[str, Any]:
        """Return what differs from the defaults, and what has none."""
        return {name: value for name, value in asdict(self).items() if value is not None and value is not True}

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Read what `to_json` gives; raises `DataError` for anything else."""
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or set(values) - names or {"finding", "at", "goal", "share"} - set(values):
            raise DataError("the decision has an operating point of another kind: upgrade resnetkit")
        return cls(**values)


def recalibrated(probabilities: np.ndarray, *, seen: float, prevalence: float) -> np.ndarray:
    """Return probabilities of the class ([N] float64) as they are where a share `prevalence` is of it, not `seen`.

    `seen`: the share among the pictures that the probabilities fit. Their odds change as the odds of the class do
    (Saerens, Latinne and Decaestecker 2002, equation 2.4). Raises `UsageError` unless both shares are between 0 and 1.

    >>> recalibrated(np.array([0.0, 0.5, 0.9, 1.0]), seen=0.5, prevalence=0.1).round(4).tolist()
    [0.0, 0.1, 0.5, 1.0]
    """
    times = odds_of(prevalence) / odds_of(seen)
    given = probabilities.astype(np.float64)
    return given * times / (given * times + 1 - given)


def odds_of(share: float) -> float:
    """Return the odds of a share; raises `UsageError` unless it is between 0 and 1."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise UsageError(f"a prevalence of {share!r:.40}: give a share between 0 and 1, as 0.02 for one in fifty")
    return share / (1 - share)
