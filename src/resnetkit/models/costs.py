"""What errors cost, where one is worse than another: the class told is then the one that costs least on average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from resnetkit.errors import DataError, UsageError, near_miss

ANY = "*"
_HOW = "write it as TRUE:TOLD=NUMBER, as red:green=100, or * for any class"


@dataclass(frozen=True, slots=True)
class Costs:
    """Errors that cost another number than 1: `pairs` of a true class, the class told and the cost, by number.

    A right answer costs 0, and every other error 1. At the least expected cost a class is told that need not be the
    most probable one (Elkan 2001, "The foundations of cost-sensitive learning").

    >>> costs = Costs(((0, 1, 100.0),))
    >>> costs.told(np.array([[0.02, 0.98], [0.005, 0.995]])).tolist()
    [0, 1]
    """

    pairs: tuple[tuple[int, int, float], ...]

    def __post_init__(self) -> None:
        for pair in self.pairs:
            true, told, cost = pair
            if type(true) is not int or type(told) is not int or min(true, told) < 0 or true == told:
                raise UsageError(f"decision.costs: {pair!r:.60} names no error: two numbers of classes that differ")
            if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < math.inf:
                raise UsageError(f"decision.costs: a cost must be a number of at least 0, not {cost!r:.40}")

    def matrix(self, num_classes: int) -> np.ndarray:
        """Return `[K, K]` costs: rows are true classes, columns those told. Raises `DataError` for fewer classes."""
        costs = 1.0 - np.eye(num_classes)
        for true, told, cost in self.pairs:
            if max(true, told) >= num_classes:
                raise DataError(
                    f"its decision has costs of class {max(true, told) + 1} of {num_classes}: make it again"
                )
            costs[true, told] = cost
        return costs

    def expected(self, probabilities: np.ndarray) -> np.ndarray:
        """Return what telling each class costs on average, `[N, K]`, for `[N, K]` probabilities."""
        expected: np.ndarray = probabilities.astype(np.float64) @ self.matrix(probabilities.shape[1])
        return expected

    def told(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the class, `[N]`, that costs least on average; of several that do, the most probable."""
        costs = self.expected(probabilities)
        least = costs <= costs.min(axis=1, keepdims=True)
        told: np.ndarray = np.where(least, probabilities, -1.0).argmax(axis=1)
        return told

    def at(self, number: int) -> float | None:
        """Return the probability from which on one of two classes is told, None where no error costs anything."""
        matrix = self.matrix(2)
        missed, imagined = float(matrix[number, 1 - number]), float(matrix[1 - number, number])
        return imagined / (missed + imagined) if missed + imagined > 0 else None

    def words(self, classes: Sequence[str] = ()) -> str:
        """Return them as people write them; without names of `classes` by their number, counted from 1."""
        names = classes or [f"class {number + 1}" for number in range(1 + max(max(pair[:2]) for pair in self.pairs))]
        return ", ".join(f"{names[true]}:{names[told]}={cost:g}" for true, told, cost in self.pairs)

    def to_json(self) -> list[list[Any]]:
        """Return a list for a file."""
        return [list(pair) for pair in self.pairs]

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Read what `to_json` gives; raises `DataError` for anything else."""
        if not isinstance(values, list) or not values or not all(isinstance(v, list) and len(v) == 3 for v in values):
            raise DataError("the decision has costs of another kind: upgrade resnetkit")
        return cls(tuple((true, told, cost) for true, told, cost in values))


def costs_of(texts: Sequence[str], classes: Sequence[str]) -> Costs:
    """Return the costs that people wrote for errors between `classes`, each `TRUE:TOLD=NUMBER`.

    `*` is any class, and gives way to a class that is named. Names may hold `:` and `=`. Raises `UsageError` for what
    names no error, or one twice.

    >>> costs_of(["*:a=5", "b:a=9"], ["a", "b", "c"]).words(["a", "b", "c"])
    'b:a=9, c:a=5'
    """
    if isinstance(texts, str) or not texts:
        raise UsageError(f"--cost: a list of texts is wanted, not {texts!r:.40}: {_HOW}")
    said: dict[tuple[int, int], float] = {}
    by_star: dict[tuple[int, int], float] = {}
    for text in texts:
        pair, cost = _read(text, classes)
        into = by_star if ANY in pair and ANY not in classes else said
        for error in _meant(pair, classes):
            if into.setdefault(error, cost) != cost:
                raise UsageError(f"--cost {text}: another gives the same error {into[error]:g}; leave one of them out")
    both = by_star | said
    return Costs(tuple((*error, both[error]) for error in sorted(both)))


def _meant(pair: tuple[str, str], classes: Sequence[str]) -> list[tuple[int, int]]:
    """Return the errors that two names mean, by number."""
    true, told = (
        range(len(classes)) if name == ANY and ANY not in classes else [classes.index(name)] for name in pair
    )  # fmt: skip
    return [(i, j) for i in true for j in told if i != j]


def _read(text: str, classes: Sequence[str]) -> tuple[tuple[str, str], float]:
    names, equals, number = text.rpartition("=")
    try:
        cost = float(number)
    except ValueError:
        cost = math.nan
    if not equals or not 0 <= cost < math.inf:
        raise UsageError(f"--cost {text}: {_HOW}; a number of at least 0")
    known = {*classes, ANY}
    splits = [(names[:at], names[at + 1 :]) for at, letter in enumerate(names) if letter == ":"]
    found = [pair for pair in splits if known.issuperset(pair)]
    if not splits:
        raise UsageError(f"--cost {text}: {_HOW}")
    if not found:
        unknown = next(name for name in splits[0] if name not in known)
        raise UsageError(f"--cost {text}: there is no class {unknown!r}{near_miss(unknown, classes)}")
    if len(found) > 1:
        raise UsageError(f"--cost {text}: could be {' or '.join(map(str, found))}; rename a class (resnetkit rename)")
    [pair] = found
    if pair[0] == pair[1]:
        why = "every error costs 1 already, and only how they compare counts" if pair[0] == ANY else "that is no error"
        raise UsageError(f"--cost {text}: {why}; right answers cost 0")
    return pair, cost
