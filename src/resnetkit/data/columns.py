"""What a column says of pictures, as age, sex or scanner, and the few values that it is compared by."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

FEWEST = 10  # pictures of a value that figures are made of
MOST_VALUES = 20
_FEW_NUMBERS = 10  # different ones: they are names, as 1.5 and 3 tesla
_NUMERIC = 0.9  # of the values: the others are slips


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A value for each picture, `[N]`, None where nothing is known of it, and where bands of numbers begin.

    `edges` are None where nobody named them: quartiles are taken then where the values are many numbers.
    """

    name: str
    values: tuple[str | None, ...] = field(repr=False)
    edges: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A column as it is compared: `values`, `[N]`, are some of `order`, None for pictures of no or too few others.

    `order`: bands by their size, other values by how many pictures have them. `few`: value -> pictures, of those that
    are too few for figures. `edges`: where bands begin, without the first; `()` where there are none. `without`:
    pictures of which nothing is known, `no_number` those of which something else is.
    """

    name: str
    values: tuple[str | None, ...] = field(repr=False)
    order: tuple[str, ...]
    few: dict[str, int]
    edges: tuple[float, ...]
    without: int
    no_number: int


def compared(column: Column, *, fewest: int = FEWEST) -> Compared:
    """Return a column as bands or values with at least `fewest` pictures each.

    Numbers become bands at the edges of the column, or at their quartiles where more than ten different ones are nine
    of ten values. Rare values are one, `other, 7 values`, as are all beyond the 20 most frequent; bands that hold few
    pictures stay for themselves, as their neighbours do not stand for them.
    """
    numbers = [_number(value) for value in column.values]
    edges = column.edges if column.edges is not None else _quartiles(column.values, numbers)
    known = sum(value is not None for value in column.values)
    without, values, order = len(column.values) - known, list(column.values), []
    if edges:
        values = [None if number is None else _band(number, edges) for number in numbers]
        order = [name for name in _names(edges) if name in values]
    counts = Counter(value for value in values if value is not None)
    if not edges:
        values, order = _with_other(values, counts, fewest)
        counts = Counter(value for value in values if value is not None)
    few = {value: counts[value] for value in order if counts[value] < fewest}
    return Compared(
        name=column.name, values=tuple(None if value in few else value for value in values),
        order=tuple(value for value in order if value not in few), few=few, edges=tuple(edges), without=without,
        no_number=sum(number is None for number in numbers) - without if edges else 0,
    )  # fmt: skip


def _number(value: str | None) -> float | None:
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _quartiles(values: Sequence[str | None], numbers: Sequence[float | None]) -> tuple[float, ...]:
    """Return the quartiles of values that are many different numbers, to a thousandth of their range; else nothing."""
    known = np.array([number for number in numbers if number is not None])
    if len(np.unique(known)) <= _FEW_NUMBERS or len(known) < _NUMERIC * sum(value is not None for value in values):
        return ()
    step = 10 ** math.floor(math.log10(np.ptp(known) / 1000))
    edges = sorted({float(f"{round(edge / step) * step:.12g}") for edge in np.quantile(known, [0.25, 0.5, 0.75])})
    return tuple(edge for edge in edges if edge > known.min())


def _names(edges: Sequence[float]) -> list[str]:
    """Return the names of the bands.

    >>> _names([40, 60])
    ['<40', '40 to <60', '>=60']
    """
    told = [f"{edge:g}" if abs(edge) < 1e6 else f"{edge:.0f}" for edge in edges]
    between = [f"{low} to <{high}" for low, high in pairwise(told)]
    return [f"<{told[0]}", *between, f">={told[-1]}"]


def _band(number: float, edges: Sequence[float]) -> str:
    return _names(edges)[int(np.searchsorted(edges, number, side="right"))]


def _with_other(values: Sequence[str | None], counts: Counter[str], fewest: int) -> tuple[list[str | None], list[str]]:
    """Return values with all rare ones as one, and their order: the most frequent first, the others last."""
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    kept = [value for value in ordered if counts[value] >= fewest][:MOST_VALUES]
    rare = len(ordered) - len(kept)
    if not rare:
        return list(values), kept
    other = f"other, {rare} value{'' if rare == 1 else 's'}"
    return [value if value is None or value in kept else other for value in values], [*kept, other]
