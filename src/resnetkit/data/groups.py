"""Groups of pictures, as of one patient: what is in several parts makes figures too good."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from resnetkit.data.dataset import SPLITS, Item
from resnetkit.errors import DataError, UsageError
from resnetkit.words import counted


class NoGroupsError(UsageError):
    """What groups were asked by finds none in these pictures, or is nothing that could."""


def apart(items: Iterable[Item]) -> dict[str, list[Item]]:
    """Return group -> its pictures, of the groups that lie in several parts."""
    by_group: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.group is not None:
            by_group[item.group].append(item)
    return {group: members for group, members in by_group.items() if len({item.split for item in members} - {None}) > 1}


def check_whole(items: Iterable[Item]) -> None:
    """Raise `DataError` where a group lies in several parts, with the pictures of the first of them."""
    found = apart(items)
    if not found:
        return
    group, members = next(iter(found.items()))
    parts = Counter(item.split for item in members)
    there = ", ".join(f"{parts[part]} in {part}" for part in SPLITS if parts[part])
    pictures = sum(map(len, found.values()))
    raise DataError(
        f"{counted(len(found), 'group')} of {counted(pictures, 'picture')} lie in several parts, as {group} ({there}): "
        "what was trained on would be scored; put each group into one part, or leave the parts out and have them drawn"
    )
