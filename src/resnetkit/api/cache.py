"""What is kept to be quick the next time: decoded photos and prepared models."""

from __future__ import annotations

from resnetkit.data import cache_files
from resnetkit.data.cache_files import Cleared, Entry
from resnetkit.inference import prepared


def cached() -> list[Entry]:
    """Return what is kept, last used first."""
    return sorted([*cache_files.entries(), *prepared.entries()], key=lambda entry: -entry.last_used)


def clear_cache() -> Cleared:
    """Remove all of it except decoded photos that a running process uses."""
    photos, models = cache_files.clear(), prepared.clear()
    return Cleared(
        files=photos.files + models.files,
        bytes=photos.bytes + models.bytes,
        kept=photos.kept,
        failed=photos.failed + models.failed,
    )
