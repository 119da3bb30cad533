"""Finished figures of found objects, gone into again: predictions.csv and metrics.json back as matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnetkit.evaluation.detection.least_scores import cross_fitted
from resnetkit.evaluation.detection.matching import Matches, matched
from resnetkit.evaluation.detection.mistakes import Mistake, mistakes_of
from resnetkit.evaluation.detection.rows import Read, read_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Reread:
    """What was found on the pictures of some rows, and from which score on each says it (`at`, `[N, K]`)."""

    read: Read
    matches: Matches
    at: np.ndarray
    classes: tuple[str, ...]

    @property
    def mistakes(self) -> list[Mistake]:
        """All mistakes where people work, by kind and the worst of each first."""
        return mistakes_of(self.matches, self.read.truths, self.read.founds, self.at)

    def only(self, numbers: Sequence[int]) -> Reread:
        """Return the same of some pictures, by the numbers of their rows and in this order."""
        truths, founds = [self.read.truths[n] for n in numbers], [self.read.founds[n] for n in numbers]
        matches = matched(truths, founds, num_classes=len(self.classes))
        read = Read(truths=truths, founds=founds)
        return Reread(read=read, matches=matches, at=self.at[list(numbers)], classes=self.classes)


def reread(
    rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], *, classes: Sequence[str] | None = None
) -> Reread:
    """Return what all rows of predictions.csv tell beside their metrics.json; `classes` in another order than there.

    Where these pictures fitted the scores that objects are said from, each is judged by those that the others fit, as
    it was scored. Raises `DataError` for a class that the figures do not know.
    """
    classes = tuple(metrics["classes"] if classes is None else classes)
    read = read_rows(rows, classes)
    matches = matched(read.truths, read.founds, num_classes=len(classes))
    fitted = metrics.get("thresholds") or {}
    if fitted.get("cross_fitted"):
        groups = [row.get("group") or None for row in rows]
        at = cross_fitted(matches, groups if any(groups) else None, goal=fitted["goal"])
    else:
        at = np.tile([metrics["per_class"][name]["threshold"] for name in classes], (len(rows), 1))
    return Reread(read=read, matches=matches, at=at, classes=classes)
