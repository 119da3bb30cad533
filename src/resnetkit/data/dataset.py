"""A set of pictures: what each is called, which class and part it belongs to, and how to read it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np

from resnetkit.data.marks import Fault, Object
from resnetkit.data.opening import images
from resnetkit.errors import DataError

# `seen`: what weights to start from were trained on, and a part that selects or scores had: it is left out.
Split = Literal["train", "val", "test", "seen"]
Marked = Literal["none", "boxes", "masks"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


# What stands for DATA, and for the name of a data set, where files are named by number.
NUMBERED = "<numbered>"


class Reader(Protocol):
    """Where pictures come from: a folder, an archive, arrays. Readers may be used from several threads at once."""

    def read(self, key: str) -> bytes | np.ndarray:
        """Return a file's bytes, or pixels `[H, W]` or `[H, W, 3]` uint8, or values `[H, W]` of another type.

        Raises `OSError` or `DataError`.
        """


@dataclass(frozen=True, slots=True)
class Item:
    """One picture: its path as given, what it is, its part of the data and the group it must stay with.

    `labels` are the names that people gave it: none of them is `()`, and None says that nobody looked. `unknown` are
    names of which nobody knows whether it has them, where a picture may have several. Both are in the order of classes.
    `marks` are the objects that people marked on it, where they did: `labels` are then what these are.
    """

    source: str
    labels: tuple[str, ...] | None = None
    split: Split | None = None
    group: str | None = None
    unknown: tuple[str, ...] = ()
    marks: tuple[Object, ...] | None = None

    @property
    def label(self) -> str | None:
        """The class of a picture that has one; None where nobody gave it one."""
        assert self.labels is None or len(self.labels) == 1, f"{self.source} has {len(self.labels or ())} labels"
        return None if self.labels is None else self.labels[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes that it has, and those that it may have."""
        return (*(self.labels or ()), *self.unknown)

    @property
    def written(self) -> str:
        """Its labels as the cell of a table: `cat`, `cat;dog`, `cat;dog?` with an unknown one, empty for none."""
        return ";".join([*(self.labels or ()), *(f"{name}?" for name in self.unknown)])

    @property
    def said(self) -> str:
        """All that people said of it, as text: its labels as written, and a digest of its marks where it has some."""
        if not self.marks:
            return self.written
        return f"{self.written} {hashlib.blake2b(repr(self.marks).encode(), digest_size=8).hexdigest()}"


def labels_written(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the labels and the unknown ones of an `Item.written`, of a picture that may have several.

    >>> labels_written("cat;dog?"), labels_written("")
    ((('cat',), ('dog',)), ((), ()))
    """
    names = text.split(";") if text else []
    known = tuple(name for name in names if not name.endswith("?"))
    return known, tuple(name[:-1] for name in names if name.endswith("?"))


@dataclass(frozen=True, slots=True)
class Hidden:
    """Why pictures are named by number: their paths tell who is pictured. `tells` says so of a text, `words` of these.

    `token` stands for the paths: a hash that nobody without the key of this installation can try paths with.
    """

    token: str
    words: str
    tells: Callable[[str], bool] = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """The pictures found in a data source, and what was found beside them.

    `classes` are Unicode NFC, in natural order. `ignored` are files that are no pictures, `outside` pictures that lie
    in no class folder, `empty` class folders without pictures, `unreadable` folders (name, reason) that could not be
    listed, `notes` sentences that a person should read, `roots` the folders given, `bases` what paths begin with that
    says where the data lie and not what they are, `limit` how many pictures of each part were taken at most. Where
    `several`, a picture may have no label, one or several, else each has one; where it `unites`, files of one content
    are one picture with the labels of all. `columns` are labels that a list has a column for: of others it says
    nothing. `objects`: whether these are marked, by `boxes` or by `masks`; such pictures have `several` labels. `page`:
    which one of files of several is read; `frames`: whether frames of files are pictures of their own (`data.frames`).
    `faults` are what was left out of annotations. `dicom`: how many are DICOM files, whose tags were read. `hidden`:
    where sources are numbers. `tells` says of a text whether identifying tags of DICOM files say it, None without such
    files. `origins` tells for each source, also those `outside`, who reads it, under which key.
    """

    name: str
    items: tuple[Item, ...] = field(repr=False)
    classes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = field(default=(), repr=False)
    outside: tuple[str, ...] = field(default=(), repr=False)
    empty: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    roots: tuple[str, ...] = field(default=(), repr=False)
    bases: tuple[str, ...] = field(default=(), repr=False)
    limit: int | None = None
    several: bool = False
    objects: Marked = "none"
    unites: bool = False
    columns: tuple[str, ...] = ()
    page: int = 1
    frames: str = "one"
    faults: tuple[Fault, ...] = field(default=(), repr=False)
    dicom: int = 0
    hidden: Hidden | None = None
    tells: Callable[[str], bool] | None = field(default=None, repr=False, compare=False)
    origins: Mapping[str, tuple[Reader, str]] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.items)

    def read(self, item: Item) -> bytes | np.ndarray:
        """Return the file's bytes, those of its `page` alone, or the pixels where the source holds arrays.

        Raises `DataError` naming it.
        """
        reader, key = self.origins[item.source]
        try:
            data = reader.read(key)
        except OSError as error:
            raise DataError(f"{item.source}: cannot be read ({error.strerror or error})") from error
        return data if isinstance(data, np.ndarray) else images.of_page(data, name=item.source, page=self.page)

    def open(self, item: Item) -> images.Opened:
        """Return the decoded picture; raises `DataError` naming the source."""
        return decoded(self.read(item), name=item.source)

    def below(self, path: str) -> str:
        """Return a path, or the name of a group that is one, as it is wherever the data lie and however that is typed.

        Other names come back as they are.
        """
        for base in sorted(self.bases, key=len, reverse=True):
            if base and path.startswith(base) and path[len(base) : len(base) + 1] in ("", "/", os.sep, ":"):
                return path[len(base) :].replace(os.sep, "/").lstrip("/") or "."
        return path

    def shown(self, path: str) -> str:
        """Return a path as it may be told: as it is, or that it is not told where files are named by number."""
        return path if self.hidden is None else NUMBERED

    def on_page(self, page: int) -> Dataset:
        """Return the same pictures, of files of several that page, counted from 1."""
        return self if page == self.page else replace(self, page=page)

    def as_part(self, split: Split) -> Dataset:
        """Return the same pictures with all of them in one part, to evaluate on everything there is."""
        return replace(self, items=tuple(replace(item, split=split) for item in self.items))


def decoded(data: bytes | np.ndarray, *, name: str, at_least: int | None = None) -> images.Opened:
    """Return the picture in what a reader gave; `at_least` as in `images.decode`. Raises `DataError` naming it."""
    if isinstance(data, np.ndarray):
        return images.of_array(data, name=name)
    return images.decode(data, name=name, at_least=at_least)
