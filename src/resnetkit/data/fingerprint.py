"""Telling whether data are those that a run began with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnetkit.data.dataset import Item
    from resnetkit.data.decoded.survey import Survey

Record = tuple[str, str, str, str]  # source, digest of the content, label, split
Digests = tuple[str, ...]  # the digests of one picture, in hexadecimal digits: of its file and of its pixels


def fingerprint(records: Iterable[Record]) -> str:
    """Return 32 hexadecimal digits that change when a picture, its name, class or part changes."""
    hashed = hashlib.blake2b(digest_size=16)
    for record in sorted(records):
        hashed.update("\0".join(record).encode("utf-8") + b"\n")
    return hashed.hexdigest()


def digests_of(items: Iterable[Item], surveyed: Survey) -> tuple[Digests, ...]:
    """Return what each picture is known by; nothing for one that cannot be read."""
    tables = surveyed.digests, surveyed.pixels
    return tuple(tuple(table[item.source] for table in tables if table.get(item.source)) for item in items)


def content_of(digests: Iterable[str]) -> str:
    """Return 32 hexadecimal digits of the pictures with these digests, in whatever order."""
    return hashlib.blake2b("\n".join(sorted(digests)).encode("ascii"), digest_size=16).hexdigest()
