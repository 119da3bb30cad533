"""What stays on one side of a split: pictures of one group, of one content, or of contents that are alike."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from resnetkit.data.dataset import Item


@dataclass(kw_only=True, slots=True)
class Unit:
    """Pictures that stay on one side: of one group, or with identical content. `height` in [0, 1) decides which.

    `members` are their positions, `labels` how many of them have each label. One of them may have trained what the
    weights begin as: then they are not `free` and train.
    """

    members: list[int]
    free: bool
    labels: Counter[str]
    height: float
    held_out: bool = False


def units_of(
    items: Sequence[Item], digests: Sequence[str], part: Sequence[int], alike: Iterable[tuple[str, str]], *,
    trained: Collection[str], seed: int, below: Callable[[str], str] = str,
) -> list[Unit]:  # fmt: skip
    """Return the units of the items at the positions `part`; `alike` are pairs of digests, `trained` sources.

    `below`: what a group is called wherever the data lie (`Dataset.below`): that decides its height.
    """
    root = _joined(items, digests, part, alike)
    members: dict[str, list[int]] = defaultdict(list)
    for index in part:
        members[root(f"content {digests[index]}")].append(index)
    units = []
    for indices in members.values():
        groups = sorted(map(below, {str(items[index].group) for index in indices if items[index].group is not None}))
        key = f"group {groups[0]}" if groups else f"content {min(digests[index] for index in indices)}"
        labels = Counter(label for index in indices for label in items[index].labels or ())
        free = all(items[index].source not in trained for index in indices)
        units.append(Unit(members=indices, free=free, labels=labels, height=height_of(key, seed=seed)))
    return units


def height_of(key: str, *, seed: int) -> float:
    """Return a number in [0, 1) that is drawn for the group or content `key` under `seed`, the same every time."""
    value = hashlib.blake2b(f"{seed}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(value, "big") / 2**64


def _joined(
    items: Sequence[Item], digests: Sequence[str], part: Sequence[int], alike: Iterable[tuple[str, str]]
) -> Callable[[str], str]:
    """Return what leads from a content to the representative of its unit (union-find)."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for index in part:
        if items[index].group is not None:
            parent[root(f"content {digests[index]}")] = root(f"group {items[index].group}")
    for one, other in alike:
        parent[root(f"content {one}")] = root(f"content {other}")
    return root
