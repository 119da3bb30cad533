"""Groups from tags of DICOM files: whom or what pictures are of, as hashes that only this installation can make."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from resnetkit import runtime
from resnetkit.data.dataset import Item
from resnetkit.data.groups import NoGroupsError
from resnetkit.data.opening import dicom_header, signatures
from resnetkit.errors import DataError, ResourceError, UsageError

TAGS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "AccessionNumber")
_BYTES = 32  # of the key


def grouped(
    items: tuple[Item, ...], tag: str, read: Callable[[Item], bytes | np.ndarray]
) -> tuple[tuple[Item, ...], list[str]]:
    """Give each item the group that a tag of its file names, hashed, and say how many have none.

    `read` returns the bytes of a file, or the pixels of an array; a file that it cannot read has no group. The value
    itself goes nowhere. Raises `NoGroupsError` where no file has the tag, `DataError` where none can be read,
    `UsageError` without pydicom, `ResourceError` where the key cannot be kept.
    """
    own, unread = key(), list[DataError]()

    def group(item: Item) -> str | None:
        try:
            data = read(item)
        except DataError as error:
            unread.append(error)  # whoever opens the picture says so
            return None
        if isinstance(data, np.ndarray) or not signatures.is_dicom(data):
            return None
        value = dicom_header.text(data, tag)
        return hashed(value, tag=tag, key=own) if value else None

    found = tuple(replace(item, group=group(item)) for item in items)
    without = [item.source for item in found if item.group is None]
    if unread and len(unread) == len(items):
        raise unread[0]
    if len(without) == len(items):
        raise NoGroupsError(f"--group-by {tag}: no picture is a DICOM file that has this tag")
    notes = [f"{len({item.group for item in found} - {None}):,} groups by {tag}, whose values are kept as hashes"]
    if without:
        notes.append(f"{len(without):,} of {len(items):,} images are in no group (no DICOM, or no {tag} in it)")
    return found, notes


def hashed(value: str, *, tag: str, key: bytes) -> str:
    """Return what stands for a tag's value: 16 hexadecimal digits, of which nobody without the key can try values.

    >>> hashed("A1", tag="PatientID", key=bytes(32)) == hashed("A1", tag="PatientID", key=bytes(32))
    True
    """
    return hashlib.blake2b(value.encode("utf-8"), key=key, person=tag.encode()[:16], digest_size=8).hexdigest()


def key() -> bytes:
    """Return the key of this installation, made the first time: the same values get the same hashes from then on."""
    path = runtime.settings_folder() / "key-of-groups"
    try:
        if not path.exists():
            _make(path)
        found = bytes.fromhex(path.read_text(encoding="ascii"))
    except OSError as error:
        raise ResourceError(
            f"{path}: the key that hides what tags say cannot be kept there ({error.strerror or error}); set "
            "RESNETKIT_CONFIG to a folder that can be written to"
        ) from error
    except ValueError:
        found = b""
    if len(found) != _BYTES:
        raise UsageError(f"{path}: is no key; bring it back, or delete it: groups then have other names from now on")
    return found


def _make(path: Path) -> None:
    """Write a key that only this user may read; of several processes one wins, and all read that one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)  # for this user alone
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_BYTES))
        if not path.exists():
            os.link(name, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(name)
