"""Whether the class can be told without what the picture is about: from its border alone, or from a column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from resnetkit.checking.features import Described, in_large_classes
from resnetkit.checking.probe import Probe, probe
from resnetkit.data.columns import Column, compared
from resnetkit.data.dataset import Item
from resnetkit.evaluation.pairs import adjusted, is_real

MOST = 1000  # pictures
BORDER_SHARE = 0.1
_LEAST = 40  # groups or single pictures, as for the forecast
_FAR = 0.6  # an area whose interval lies above it is worth a look
_LARGE = 0.75  # of what the whole picture has above chance
_EXAMPLES = 4
_SEED = 0

BORDER, WHOLE = "the outer tenth of the picture", "the whole picture"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """How well the class is told from one thing: `probe`'s figures, and whether that is worth a look.

    `column`: whether it is a column of the list or a tag; its `p_value` is adjusted for all columns.
    """

    name: str
    column: bool
    area: float
    low: float
    high: float
    by_chance: float
    p_value: float
    is_suspect: bool

    @property
    def words(self) -> str:
        """Return what it reaches in words."""
        return f"{self.area:.3f} ({self.low:.3f} to {self.high:.3f}), shuffled labels up to {self.by_chance:.3f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortcuts:
    """What tells the classes of `count` pictures, the whole picture by the features of `network` first.

    `network` is empty where only columns were looked at. `examples`: by the name of what is suspect, the pictures of
    which it is surest, one of a class.
    """

    network: str
    count: int
    sources: tuple[Source, ...]
    examples: dict[str, tuple[Item, ...]] = field(default_factory=dict, repr=False)

    @property
    def suspects(self) -> tuple[Source, ...]:
        """Return those worth a look."""
        return tuple(one for one in self.sources if one.is_suspect)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return it in words."""
        by = f" and features of {self.network}" if self.network else ""
        said = [f"how well the class is told by a linear probe{by}, ROC-AUC on {self.count:,} pictures:"]
        said += [f"  from {one.name}{' alone' * (one.name != WHOLE)}: {one.words}" for one in self.sources]
        return (*said, *map(self.why, self.suspects))

    def why(self, source: Source) -> str:
        """Return why a source is worth a look."""
        if source.column:
            return (
                f"{source.name} alone tells the class with an area of {source.area:.2f}: a model may learn it in place "
                "of what is to be seen, and fails where the two do not go together"
            )
        whole = next(one.area for one in self.sources if one.name == WHOLE)
        return (
            f"the border alone tells the class with an area of {source.area:.2f}, the whole picture {whole:.2f}: "
            "marks, frames or scanners may do that; a background that belongs to the class is no shortcut"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything but the examples, which are in the findings, as plain values."""
        names = ("name", "column", "area", "low", "high", "by_chance", "p_value", "is_suspect")
        sources = [{name: getattr(one, name) for name in names} for one in self.sources]
        return {"network": self.network, "count": self.count, "sources": sources}


def shortcuts(
    items: Sequence[Item], groups: Sequence[str], columns: Sequence[Column], *, described: Described | None = None,
    border: Callable[[Sequence[Item]], np.ndarray] | None = None,
) -> tuple[Shortcuts | None, tuple[str, ...]]:  # fmt: skip
    """Return what tells the classes of at most 1,000 of the pictures, or None, and why something was left out.

    `groups`: alike for pictures that stay together; `columns`: of all pictures. With the features of the pictures
    `described`, and `border`, which computes those of the outer tenths of some, that is asked too.
    """
    notes: tuple[str, ...] = ()
    if described is not None and described.learnt.any():
        notes = (f"shortcuts: nothing is said of the border, for {described.network} was trained on these images",)
        described = None
    numbers = _chosen(items, groups, described)
    names = sorted({items[number].written for number in numbers})
    if not columns and described is None:
        return None, notes
    if len({groups[number] for number in numbers}) < _LEAST or len(names) < 2:
        return None, (*notes, f"shortcuts: cannot tell from fewer than {_LEAST} groups or single images, or one class")
    chosen = [items[number] for number in numbers]
    targets = np.array([names.index(item.written) for item in chosen])
    together = [groups[number] for number in numbers]
    probes: list[tuple[str, bool, Probe]] = []
    if described is not None and border is not None:
        row = {item.source: number for number, item in enumerate(described.items)}
        whole = described.features[[row[item.source] for item in chosen]]
        probes = [
            (WHOLE, False, probe(whole, targets, together)), (BORDER, False, probe(border(chosen), targets, together)),
        ]  # fmt: skip
    for column in columns:
        values = [column.values[number] for number in numbers]
        told = _as_numbers(Column(name=column.name, values=tuple(values), edges=column.edges))
        if told is None:
            notes = (*notes, f"shortcuts: {column.name} is the same for all, or for all but a few")
        else:
            probes.append((column.name, True, probe(told, targets, together)))
    sources, surest = _sources(probes), {name: _surest(found, targets, chosen) for name, _, found in probes}
    network = "" if described is None else described.network
    examples = {one.name: surest[one.name] for one in sources if one.is_suspect}
    return Shortcuts(network=network, count=len(chosen), sources=sources, examples=examples), notes


def _chosen(items: Sequence[Item], groups: Sequence[str], described: Described | None) -> list[int]:
    """Return the numbers of the pictures that are asked: whole groups at random, classes that all folds have."""
    known = None if described is None else {item.source for item in described.items}
    there = [number for number, item in enumerate(items) if known is None or item.source in known]
    units = np.unique([groups[number] for number in there], return_inverse=True)[1] if there else np.zeros(0, int)
    rank = np.random.default_rng(_SEED).permutation(int(units.max(initial=-1)) + 1)[units]
    kept = sorted(np.argsort(rank, kind="stable")[:MOST].tolist())
    numbers = [there[place] for place in kept]
    enough = in_large_classes([items[number] for number in numbers], [groups[number] for number in numbers])
    return [numbers[place] for place in enough]


def _as_numbers(column: Column) -> np.ndarray | None:
    """Return which value each picture has, `[N, values]` of 0 and 1, "not known" being one; None of a single one."""
    values = compared(column).values
    names = sorted({str(value) for value in values})
    if len(names) < 2:
        return None
    return np.array([[str(value) == name for name in names] for value in values], np.float64)


def _sources(probes: Sequence[tuple[str, bool, Probe]]) -> tuple[Source, ...]:
    corrected = iter(adjusted([found.p_value for _, column, found in probes if column]))
    whole = next((found.area for name, _, found in probes if name == WHOLE), None)
    sources = []
    for name, column, found in probes:
        p_value = next(corrected) if column else found.p_value
        far = found.low > _FAR and is_real(p_value)
        share = 1.0 if whole is None or column else (found.area - 0.5) / max(1e-9, whole - 0.5)
        sources.append(
            Source(
                name=name, column=column, area=found.area, low=found.low, high=found.high, by_chance=found.by_chance,
                p_value=p_value, is_suspect=name != WHOLE and far and share >= _LARGE,
            )
        )  # fmt: skip
    return tuple(sources)


def _surest(found: Probe, targets: np.ndarray, items: Sequence[Item]) -> tuple[Item, ...]:
    """Return the picture of each class that is told most plainly, four at most."""
    own = found.scores[np.arange(len(targets)), targets]
    others = np.where(np.eye(found.scores.shape[1], dtype=bool)[targets], -np.inf, found.scores).max(axis=1)
    places = [np.flatnonzero(targets == name) for name in np.unique(targets)[:_EXAMPLES]]
    return tuple(items[int(members[(own - others)[members].argmax()])] for members in places)
