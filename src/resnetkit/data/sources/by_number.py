"""Files whose paths tell who is pictured, named by number: in every table, page, picture, cache and error from then on.

That is so where the path of a DICOM file, below DATA or above it, or the working folder, holds what an identifying tag
of it says. Then all files of the data set have numbers: those of the sorted order of their paths.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np

from resnetkit.data.classes import in_order as in_order_of_classes
from resnetkit.data.dataset import NUMBERED, Dataset, Hidden, Item, Reader
from resnetkit.data.opening.dicom_identity import Identity, identity
from resnetkit.data.opening.images import IMAGE_SUFFIXES
from resnetkit.data.opening.video import parted
from resnetkit.data.sources import grouping, patients
from resnetkit.data.sources.arrays import Arrays
from resnetkit.data.sources.folders import FolderReader
from resnetkit.data.sources.telling import telling, together
from resnetkit.errors import DataError, ResNetKitError, UsageError

_DICOM = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """How many files of a data set are DICOM, and whether paths tell what their tags say.

    `names`: path -> what a file is called, where paths tell who is pictured. `tells` says of a text whether it does,
    None without DICOM files.
    """

    dicom: int = 0
    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    hidden: Hidden | None = None
    tells: Callable[[str], bool] | None = field(default=None, repr=False)

    def name(self, path: str) -> str:
        """Return what a file is called."""
        return self.names.get(path, path)


def may_be_dicom(path: str) -> bool:
    """Tell by its name whether a file may be DICOM: by its suffix, or as it has none of another kind of picture."""
    suffix = os.path.splitext(path)[1].lower()
    return suffix in _DICOM or (suffix not in IMAGE_SUFFIXES and parted(path) is None)


def look(dataset: Dataset, sources: Sequence[str]) -> Looked:
    """Read the identifying tags of the DICOM files among the pictures, once; and whether paths tell them.

    `sources`: DATA as given. Other pictures are not opened; a DICOM file takes 2.3 ms (CT of pydicom's files, one core
    of an AMD EPYC, n = 500). Raises `UsageError` without pydicom, `ResourceError` where
    the key cannot be kept.
    """
    found: dict[str, Identity] = {}
    for source in in_order(dataset):
        if not may_be_dicom(source) or isinstance(dataset.origins[source][0], Arrays):
            continue
        if (one := _identity(*dataset.origins[source])) is not None:
            found[source] = one
    if not found:
        return Looked()
    above = _above(sources)
    tells = {source: telling(one.said) for source, one in found.items()}
    telling_paths = {source for source, one in tells.items() if one.stands_in(f"{_whole(source)}/{above}")}
    everything = together(set(tells.values()))
    beside = [*(item.source for item in dataset.items), *dataset.outside, *dataset.ignored, *dataset.empty]
    beside += [folder for folder, _ in dataset.unreadable]
    telling_paths |= {path for path in beside if path not in telling_paths and everything.is_word_of(path)}
    if everything.stands_in(_working_folder()):  # a run keeps it, to find its pictures again
        telling_paths |= found.keys()
    if not telling_paths:
        return Looked(dicom=len(found), tells=everything.stands_in)
    pictures = in_order(dataset)
    hidden = Hidden(_token(pictures), _words(len(telling_paths), len(pictures)), everything.stands_in)
    return Looked(dicom=len(found), names=_numbered(pictures), hidden=hidden, tells=everything.stands_in)


def in_order(dataset: Dataset) -> list[str]:
    """Return the paths of all pictures that were found, in the order that their numbers have."""
    return sorted({*(item.source for item in dataset.items), *dataset.outside})


def by_number(dataset: Dataset, looked: Looked, *, hashed: bool = False, of_paths: bool = False) -> Dataset:
    """Return the data set with its files named by number, where a path of it tells who is pictured.

    Groups become hashes, all of them, where a tag says one, whether paths tell or not, and where they are `of_paths`
    that tell; those of tags are such (`hashed`). Notes that would tell it are left out.

    Raises `DataError` for annotated pictures, whose files name them.
    """
    dataset = replace(dataset, dicom=looked.dicom, tells=looked.tells)
    if not hashed and (_telling_groups(dataset) or (of_paths and looked.hidden is not None)):
        dataset = replace(dataset, items=tuple(map(_hashed, dataset.items)))
    if looked.hidden is None:
        return dataset
    if dataset.objects != "none" or dataset.faults:
        raise DataError(
            f"{NUMBERED}: paths hold what identifying tags of DICOM files say, and annotations name files by their "
            "paths: rename them first"
        )
    others = {path: f"other {number}" for number, path in enumerate(dataset.ignored, start=1)}
    folders = [*dataset.empty, *(folder for folder, _ in dataset.unreadable)]
    places = {path: f"folder {number}" for number, path in enumerate(dict.fromkeys(folders), start=1)}
    return replace(
        dataset,
        name=NUMBERED,
        items=tuple(replace(item, source=looked.name(item.source)) for item in dataset.items),
        origins={
            looked.name(source): (_Nameless(reader, source, looked.hidden), key)
            for source, (reader, key) in dataset.origins.items()
        },
        outside=tuple(map(looked.name, dataset.outside)),
        ignored=tuple(others[path] for path in dataset.ignored),
        empty=tuple(places[path] for path in dataset.empty),
        unreadable=tuple((places[path], why) for path, why in dataset.unreadable),
        notes=(*_untelling(dataset, looked.hidden), looked.hidden.words),
        hidden=looked.hidden,
    )  # fmt: skip


def _untelling(dataset: Dataset, hidden: Hidden) -> Iterator[str]:
    """Yield the notes of a data set without what would tell who is pictured, as a path in them."""
    for note in dataset.notes:
        words = (NUMBERED if os.sep in word or hidden.tells(word) else word for word in note.split(" "))
        yield " ".join(words)


def named(dataset: Dataset, sources: Sequence[str], group_by: str | None, *, columns: Sequence[str]) -> Dataset:
    """Return a data set in its groups, and by number where paths tell who is pictured.

    `sources`: DATA as given; `group_by` and `columns` as `grouping.grouped` takes them.
    """
    looked = look(dataset, sources)
    if group_by:
        items, notes = grouping.grouped(dataset.items, group_by, tuple(columns), dataset.read, shown=looked.name)
        dataset = replace(dataset, items=items, notes=(*dataset.notes, *notes))
    dataset = replace(dataset, items=grouping.of_videos(dataset.items))
    by_tag = group_by in patients.TAGS and group_by not in columns
    if by_tag:  # whose files are opened whatever their names
        looked = replace(looked, dicom=max(looked.dicom, sum(item.group is not None for item in dataset.items)))
    return by_number(dataset, looked, hashed=by_tag, of_paths=group_by is not None and group_by not in columns)


def check_classes(dataset: Dataset, names: Iterable[str]) -> None:
    """Raise `DataError` where a class is called as an identifying tag says: classes stand in every output."""
    if dataset.tells is None:
        return
    ordered = in_order_of_classes(names)
    told = [number for number, name in enumerate(ordered, start=1) if dataset.tells(name)]
    if told:
        which = ", ".join(map(str, told[:5]))
        raise DataError(
            f"{len(told)} of {len(ordered)} classes are called as an identifying tag of these DICOM files says "
            f"(number {which} in their order), and classes stand in every output: rename the folder, or --rename"
        )


def _words(telling_paths: int, files: int) -> str:
    hold = "1 path holds" if telling_paths == 1 else f"{telling_paths:,} paths hold"
    are = "the file is" if files == 1 else f"all {files:,} files are"
    return (
        f"{hold} what identifying tags of DICOM files say: {are} named by number and no path is kept; "
        "resnetkit.path_of(NUMBER, DATA) tells which it is"
    )


def _telling_groups(dataset: Dataset) -> bool:
    return dataset.tells is not None and any(map(dataset.tells, {item.group for item in dataset.items if item.group}))


def _hashed(item: Item) -> Item:
    """Return an item whose group, which may stand in its path, is a hash."""
    if item.group is None:
        return item
    return replace(item, group=patients.hashed(item.group, tag="group", key=patients.key()))


def _identity(reader: Reader, key: str) -> Identity | None:
    def opened() -> BinaryIO:
        if isinstance(reader, FolderReader):
            return reader.opened(key)
        data = reader.read(key)
        return io.BytesIO(b"" if isinstance(data, np.ndarray) else data)

    try:
        return identity(opened)
    except UsageError:
        raise
    except (OSError, ResNetKitError):
        return None  # whoever reads the picture says so


def _whole(source: str) -> str:
    return os.path.abspath(source)


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _above(sources: Sequence[str]) -> str:
    """Return what DATA is really called where it is a link."""
    return "/".join(os.path.realpath(source) for source in sources if os.path.exists(source))


def _token(paths: Sequence[str]) -> str:
    listed = hashlib.blake2b("\0".join(map(_whole, paths)).encode("utf-8", "surrogatepass")).hexdigest()
    return patients.hashed(listed, tag="paths", key=patients.key())


def numbered(path: str, number: int, *, among: int = 0) -> str:
    """Return what a file is called by its number.

    >>> numbered("scans/doe_john.dcm", 7)
    'file-0007.dcm'
    """
    return f"file-{number:0{max(4, len(str(among)))}d}{_suffix(path)}"


def tells(path: str, data: bytes) -> bool:
    """Tell whether the path of a file, with this content, tells who is pictured."""
    found = identity(lambda: io.BytesIO(data))
    return found is not None and telling(found.said).stands_in(_whole(path))


def _numbered(paths: Sequence[str]) -> dict[str, str]:
    return {path: numbered(path, number, among=len(paths)) for number, path in enumerate(paths, start=1)}


def _suffix(path: str) -> str:
    suffix = os.path.splitext(path)[1].lower()
    return suffix if suffix in IMAGE_SUFFIXES else ""


class _Nameless:
    """Reads what another reader does; what cannot be read is told without its path."""

    def __init__(self, reader: Reader, source: str, hidden: Hidden) -> None:
        self._reader, self._source, self._hidden = reader, source, hidden

    def read(self, key: str) -> bytes | np.ndarray:
        """Return what the reader does; raises `OSError` and `DataError` that name nothing."""
        try:
            return self._reader.read(key)
        except OSError as error:
            raise OSError(error.errno, error.strerror or "cannot be read") from None
        except ResNetKitError as error:
            why = str(error).rpartition(": ")[2]
            named = [name for name in re.split(r"[/\\]|::", self._source) if len(name) > 2]
            if os.sep in why or any(name in why for name in named) or self._hidden.tells(why):
                why = "cannot be read from where it lies; look at it there"
            raise DataError(why) from None
