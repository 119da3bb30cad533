"""Telling whether data are those that a run began with, and if not, what changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

Record = tuple[str, str, str, str]  # source, digest of the content, label, split


def fingerprint(records: Iterable[Record]) -> str:
    """Return 32 hexadecimal digits that change when a picture, its name, class or part changes."""
    hashed = hashlib.blake2b(digest_size=16)
    for record in sorted(records):
        hashed.update("\0".join(record).encode("utf-8") + b"\n")
    return hashed.hexdigest()


def changes(before: Iterable[Record], after: Iterable[Record]) -> tuple[str, ...]:
    """Return one line for each picture that differs between two preparations, to say why a run cannot go on.

    >>> changes([("a.jpg", "1", "cat", "train")], [("a.jpg", "2", "cat", "train")])
    ('a.jpg: other content',)
    """
    old, new = ({record[0]: record[1:] for record in records} for records in (before, after))
    what = ("other content", "class {} became {}", "moved from {} to {}")
    lines = []
    for source in sorted(old.keys() | new.keys()):
        if source not in new or source not in old:
            lines.append(f"{source}: {'gone' if source in old else 'new'}")
            continue
        pairs = zip(what, old[source], new[source], strict=True)
        lines += [f"{source}: {text.format(one, other)}" for text, one, other in pairs if one != other]
    return tuple(lines)
