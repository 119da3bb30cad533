"""A DICOMDIR: the list of DICOM files that lies on a disc of a hospital, beside the folders that hold them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from resnetkit.data.opening import dicom_header, signatures
from resnetkit.data.opening.silence import libraries_silenced
from resnetkit.errors import DataError

_HEAD = 4096  # bytes that hold the elements before the data set, which say what it is
_DIRECTORY = b"1.2.840.10008.1.3.10"  # Media Storage Directory Storage
_NOT_IN_USE = 0
_RECORDS, _UNTIL_A_MARK = b"\x04\0\x20\x12SQ\0\0", 0xFFFFFFFF  # what its list begins with, and its length


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """The pictures that a DICOMDIR lists, by their paths, and how many of its files are none."""

    paths: tuple[str, ...]
    others: int


def is_dicomdir(path: str) -> bool:
    """Tell by the first bytes of a file, whatever it is called, whether it is a DICOMDIR."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    at = head.find(_DIRECTORY)
    after = head[at + len(_DIRECTORY) : at + len(_DIRECTORY) + 1]
    return signatures.is_dicom(head) and at > 0 and not (after and after in b".0123456789")


def read(path: str) -> Listed:
    """Return the files of the records of images (PS3.3 F.3), below the folder that the DICOMDIR lies in.

    Names that differ from those on the disc in upper and lower case alone are found. Files that are not there are
    listed all the same: whoever opens one says so. Raises `DataError` for a broken one, one that lists no picture, or
    files outside of its folder, and where none of them is there; `UsageError` without pydicom.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        with (
            libraries_silenced(),
            dicom_header.told("broken or cut-off DICOMDIR; copy it again, or name the folders beside it"),
        ):
            _check_whole(data)
            records = dicom_header.tags(data, "DirectoryRecordSequence").get("DirectoryRecordSequence") or ()
            files = [_file(record) for record in records if "ReferencedFileID" in record and _in_use(record)]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    folder, here = os.path.dirname(path), _Folders()
    paths = tuple(here.found(folder, names) for kind, names in files if kind == "IMAGE")
    if not paths:
        raise DataError(f"{path}: lists no pictures; name the folders beside it")
    if not any(map(os.path.isfile, paths)):
        raise DataError(
            f"{path}: none of the {len(paths):,} pictures that it lists is there, as {paths[0]}: "
            "copy the folders that lie beside it on the disc"
        )
    return Listed(paths=tuple(dict.fromkeys(paths)), others=len(files) - len(paths))


def _check_whole(data: bytes) -> None:
    """Refuse a list that ends too early, of which pydicom reads the beginning."""
    at = data.find(_RECORDS)
    length = int.from_bytes(data[at + len(_RECORDS) :][:4], "little") if at > 0 else _UNTIL_A_MARK
    if length != _UNTIL_A_MARK and at + len(_RECORDS) + 4 + length > len(data):
        raise DataError("is cut off: the end of its list is missing; copy it again, or name the folders beside it")


def _in_use(record: object) -> bool:
    return getattr(record, "RecordInUseFlag", None) != _NOT_IN_USE


def _file(record: object) -> tuple[str, tuple[str, ...]]:
    """Return the kind of a record, and the folders and the name of its file."""
    said = record.ReferencedFileID  # type: ignore[attr-defined]
    names = tuple(str(name).strip() for name in ([said] if isinstance(said, str) else said))
    if not names or any(name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name for name in names):
        raise DataError("lists a file that is not below its folder; name the folders beside it")
    return str(record.DirectoryRecordType).strip(), names  # type: ignore[attr-defined]


class _Folders:
    """Folders that names are looked for in, each listed once."""

    def __init__(self) -> None:
        self._listed: dict[str, dict[str, str]] = {}

    def found(self, folder: str, names: tuple[str, ...]) -> str:
        """Return the path of a file below a folder, in the letters that it has on the disc."""
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.exists(path):
                path = os.path.join(folder, self._by_folded(folder).get(name.casefold(), name))
            folder = path
        return folder

    def _by_folded(self, folder: str) -> dict[str, str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = {name.casefold(): name for name in os.listdir(folder or ".")}
            except OSError:
                self._listed[folder] = {}
        return self._listed[folder]
