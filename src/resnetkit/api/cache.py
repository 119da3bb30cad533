"""What is kept to be quick the next time: decoded photos, near-copies that were found, prepared models."""

from __future__ import annotations

from resnetkit.data import copies
from resnetkit.data.decoded import cache_files
from resnetkit.data.decoded.cache_entries import Cleared, Entry
from resnetkit.inference import prepared


def cached() -> list[Entry]:
    """Return what is kept, last used first."""
    return sorted([*cache_files.entries(), *copies.entries(), *prepared.entries()], key=lambda entry: -entry.last_used)


def clear_cache() -> Cleared:
    """Remove all of it except decoded photos that a running process uses."""
    cleared = (cache_files.clear(), copies.clear(), prepared.clear())
    return Cleared(
        files=sum(one.files for one in cleared),
        bytes=sum(one.bytes for one in cleared),
        kept=sum(one.kept for one in cleared),
        failed=sum(one.failed for one in cleared),
    )
