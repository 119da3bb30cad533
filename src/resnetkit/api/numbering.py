"""Which file it is that outputs name by a number."""

from __future__ import annotations

from pathlib import Path

from resnetkit.data.sources import listed_pictures
from resnetkit.data.sources.by_number import in_order
from resnetkit.errors import UsageError


def path_of(number: int, *data: str | Path) -> str:
    """Return the path of the picture of DATA that outputs call by this number, as `file-0007.dcm` by 7.

    Raises `UsageError` for a number that there is not.

    >>> path_of(7, "scans")  # doctest: +SKIP
    'scans/ward/000017.dcm'
    """
    paths = in_order(listed_pictures(*data))
    if not 1 <= number <= len(paths):
        raise UsageError(f"there are {len(paths):,} pictures: no number {number}")
    return paths[number - 1]
