"""What a cache tells of itself: its entries, and what clearing it removed."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Decoded pictures of one data set, decoded in one way. `last_used` is in seconds since 1970."""

    data: str
    what: str
    pictures: int
    bytes: int
    last_used: float
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleared:
    """What `clear` did: files removed and their bytes, those kept as a process may use them, those it could not."""

    files: int
    bytes: int
    kept: int
    failed: int
