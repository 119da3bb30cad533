"""Sides of a split that are alike in each of several labels a picture, rare ones first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from resnetkit.data.units import Unit


def stratified(units: Sequence[Unit], shares: Sequence[float], *, given: Mapping[int, int] | None = None) -> list[int]:
    """Return the side of each unit, 0 to `len(shares)` - 1, so that each has its share of the pictures of every label.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", 2011): of
    the label with fewest pictures left, one unit after another goes to the side that lacks most of that label, of those
    that lack as much to the one that lacks most pictures, and then as the unit's height says. Units without a label
    fill the sides up. Larger units go first, those of one size by height: the order of `units` does not matter.

    A label of two units or more is kept on two sides or more: the last of them goes where the others are not. Where
    that leaves no side, as labels that share pictures can bring about, a label is missed rather on another side than
    on side 0, and one that could still be on two sides by moving a unit has one moved.

    `given` are units, by position, whose side is settled; a side of share 0 gets these alone.
    """
    sides = _Sides(units, shares)
    for index, side in (given or {}).items():
        sides.put(index, side)
    free = sorted(
        (index for index in range(len(units)) if index not in sides.of),
        key=lambda index: (-len(units[index].members), units[index].height),
    )
    having: dict[str, list[int]] = defaultdict(list)
    left: Counter[str] = Counter()
    for index in free:
        left.update(units[index].labels)
        for label in units[index].labels:
            having[label].append(index)
    while left:
        rarest = min(left, key=lambda label: (left[label], label))
        for index in sorted(having[rarest], key=lambda index: -units[index].labels[rarest]):
            if index not in sides.of:
                sides.put(index, sides.lacking_most(rarest, index))
                left.subtract(units[index].labels)
        del left[rarest]
    for index in free:
        if index not in sides.of:
            sides.put(index, sides.lacking_most(None, index))
    for label in sorted(having):
        _spread(sides, label, having[label])
    return [sides.of[index] for index in range(len(units))]


def _spread(sides: _Sides, label: str, free: Sequence[int]) -> None:
    """Move one of the free units of a label, the one that fits best, if all units of it are on one side.

    No move leaves another label on one side.
    """
    if sides.num_units[label] < 2 or sides.num_units[label] not in (own[label] for own in sides.units_on):
        return
    moves = [
        (index, side) for index in free for side in sides.open if side not in (sides.of[index], *sides.full(index))
    ]
    if moves:
        sides.put(*min(moves, key=lambda move: (sides.cost(*move), sides.units[move[0]].height, move[1])))


class _Sides:
    """Which unit is on which side, and how many pictures and units of each label are there; of all, under None."""

    def __init__(self, units: Sequence[Unit], shares: Sequence[float]) -> None:
        self.units, self.shares = units, shares
        self.open = [side for side, share in enumerate(shares) if share > 0]
        self.pictures: list[Counter[str | None]] = [
            Counter(dict([(None, len(unit.members)), *unit.labels.items()])) for unit in units
        ]
        self.num_pictures: Counter[str | None] = Counter()
        self.num_units: Counter[str | None] = Counter()
        for counts in self.pictures:
            self.num_pictures.update(counts)
            self.num_units.update(list(counts))
        self.pictures_on: list[Counter[str | None]] = [Counter() for _ in shares]
        self.units_on: list[Counter[str | None]] = [Counter() for _ in shares]
        self.of: dict[int, int] = {}

    def put(self, index: int, side: int) -> None:
        """Place a unit, or move it."""
        counts = self.pictures[index]
        if index in self.of:
            self.pictures_on[self.of[index]].subtract(counts)
            self.units_on[self.of[index]].subtract(list(counts))
        self.pictures_on[side].update(counts)
        self.units_on[side].update(list(counts))
        self.of[index] = side

    def lack(self, label: str | None, side: int) -> float:
        """Return how many pictures of a label the side wants yet; counted anew, so that equal ones are equal."""
        return self.shares[side] * self.num_pictures[label] - self.pictures_on[side][label]

    def full(self, index: int) -> set[int]:
        """Return the sides that hold all other units of a label that this one has: there it would be missed elsewhere.

        Said of a unit that is not placed yet, or is on another side.
        """
        labels = [label for label in self.pictures[index] if self.num_units[label] > 1]
        return {s for s, own in enumerate(self.units_on) if any(own[x] == self.num_units[x] - 1 for x in labels)}

    def lacking_most(self, label: str | None, index: int) -> int:
        """Return the side for a unit: of those that lack most of a label, then most pictures, the one by its height."""
        full = self.full(index)
        able = [side for side in self.open if side not in full] or ([0] if 0 in self.open else self.open)
        lacks = {side: (self.lack(label, side), self.lack(None, side)) for side in able}
        most = max(lacks.values())
        equal = [side for side in able if lacks[side] == most]
        return equal[int(self.units[index].height * len(equal))]

    def cost(self, index: int, side: int) -> float:
        """Return by how much moving a unit adds to the squares of what is lacking, over a label's pictures."""
        before = self.of[index]
        return sum(
            count * (count - self.lack(label, side) + self.lack(label, before)) / self.num_pictures[label]
            for label, count in self.pictures[index].items()
        )
