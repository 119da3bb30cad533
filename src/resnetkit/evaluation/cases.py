"""One answer for each patient, study or series from those for its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.errors import DataError, UsageError


@dataclass(frozen=True, slots=True)
class Cases:
    """The answers for C cases, in the order in which they come first.

    `names`: their groups, None for a picture that is alone; `members`: the numbers of each one's pictures;
    `probabilities`: `[C, K]`; `targets`: `[C]` classes.
    """

    names: list[str | None]
    members: list[np.ndarray]
    probabilities: np.ndarray
    targets: np.ndarray


def by_case(
    probabilities: np.ndarray,
    targets: np.ndarray,
    groups: Sequence[str | None],
    *,
    how: str = "mean",
    of_class: int | None = None,
) -> Cases:
    """Return one row for each group from pictures' `[N, K]` probabilities and `[N]` classes.

    `how`: `mean` of all pictures, or of those that are surest of class `of_class`: `max`, the first of them, or
    `top 3`, the first three. Without a class in question each class has its own surest, scaled to sum to 1. A group of
    fewer pictures gives all of them. Raises `DataError` for a group whose pictures are of several classes, `UsageError`
    for another `how`.
    """
    most = _most_of(how)
    by_name: dict[str | tuple[int], list[int]] = {}
    for number, group in enumerate(groups):
        by_name.setdefault((number,) if group is None else group, []).append(number)
    members = [np.array(numbers) for numbers in by_name.values()]
    names = [name if isinstance(name, str) else None for name in by_name]
    for name, numbers in zip(names, members, strict=True):
        if len(np.unique(targets[numbers])) > 1:
            raise DataError(
                f"group {name!r}: its {len(numbers)} pictures are of {len(np.unique(targets[numbers]))} classes, so it "
                "has no one answer: group by what has one class (a study, a lesion), or score pictures"
            )
    rows = [_joined(probabilities[numbers].astype(np.float64), most, of_class) for numbers in members]
    return Cases(names, members, np.stack(rows), targets[[numbers[0] for numbers in members]])


def _most_of(how: str) -> int | None:
    """Return how many pictures of a case are asked, None for all."""
    if how in ("mean", "max"):
        return None if how == "mean" else 1
    name, _, number = how.partition(" ")
    if name != "top" or not number.isdecimal() or int(number) < 1:
        raise UsageError(f"one answer for several pictures by {how!r}: choose mean, max or 'top 3'")
    return int(number)


def _joined(rows: np.ndarray, most: int | None, of_class: int | None) -> np.ndarray:
    """Return the answer, `[K]`, from those of a case's pictures, `[n, K]`."""
    if most is None or most >= len(rows):
        return rows.mean(axis=0)
    if of_class is not None:
        return rows[np.argsort(-rows[:, of_class], kind="stable")[:most]].mean(axis=0)
    surest = np.sort(rows, axis=0)[-most:].mean(axis=0)
    return surest / surest.sum()
