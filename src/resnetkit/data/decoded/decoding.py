"""Each picture decoded once: into memory where it is small, into files that later runs share where it is a photo."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import features

from resnetkit import runtime
from resnetkit.data import preprocess, splits
from resnetkit.data.dataset import Dataset, Item, Split, decoded
from resnetkit.data.decoded import cache_files
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.decoded.survey import TOO_SMALL_FOR_THREADS, Survey, reason
from resnetkit.data.opening import (
    bands,
    bit_depth,
    dicom,
    dicom_header,
    dicom_packing,
    images,
    many_bands,
    measured,
    pages,
    windows,
)
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.threads import ordered
from resnetkit.errors import DataError, ResNetKitError, ResourceError
from resnetkit.watcher import Progress

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache

Decoded = tuple[tuple[Item, ...], Pixels]  # the pictures that could be decoded, and theirs

_PHOTO = 96  # pixels: from here on a picture takes longer to decode than to read again from a file
_MOST_MEMORY = 0.7  # of what is free; the network, its activations and the system need the rest
_FEW, _MANY = 4, 32  # pictures that a thread decodes at once: photos are large, and each takes its time
_MOST_DISK = 0.9  # of what is free; the sizes are estimated from some of the pictures


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How pictures are decoded: `Preprocess.pixels`, or `Preprocess.whole` where `short_side` is given.

    `short_side` is for training pictures alone: those of JPEG files are then decoded near that size (`images.decode`),
    which changes their pixels a little.
    """

    preprocess: Preprocess
    short_side: int | None = None

    @property
    def side(self) -> int:
        """The shorter side of what comes out, in pixels, where the picture is no smaller."""
        return self.short_side or self.preprocess.size

    @property
    def what(self) -> str:
        """What comes out, in words."""
        if self.short_side is not None:
            frame = "x".join(map(str, self.preprocess.scaled(self.short_side)))
            return f"whole, short side {self.short_side}" if self.preprocess.width is None else f"whole, for {frame}"
        return "x".join(map(str, self.preprocess.frame))

    def pixels(self, data: bytes | np.ndarray, *, name: str) -> np.ndarray:
        """Return `[h, w, channels]` uint8 of what a reader gave; raises `DataError` naming it."""
        if isinstance(data, np.ndarray) and self._leaves(data):
            return data if data.ndim == 3 else data[..., None]
        at_least = None if self.short_side is None else max(self.preprocess.scaled(self.short_side))
        image = decoded(data, name=name, at_least=at_least)
        if self.short_side is None:
            return self.preprocess.pixels(image)
        return self.preprocess.whole(image, side=self.short_side)

    def _leaves(self, picture: np.ndarray) -> bool:
        """Tell whether `[H, W]` or `[H, W, 3]` uint8 comes out as it is: what has the size already, or is no larger."""
        height, width, channels = *picture.shape[:2], 1 if picture.ndim == 2 else picture.shape[2]
        if channels != self.preprocess.channels or self.preprocess.windows or picture.dtype != np.uint8:
            return False
        if self.short_side is not None:
            return self.preprocess.whole_size((width, height), side=self.short_side) == (width, height)
        fits = self.preprocess.crop != "center" or self.preprocess.resize == self.preprocess.size
        return (height, width) == self.preprocess.frame and fits

    def bytes_each(self, surveyed: Survey) -> float:
        """Return the mean bytes of a decoded picture."""
        if self.short_side is None or not surveyed.sizes:
            return math.prod(self.preprocess.frame) * self.preprocess.channels
        sizes = [self.preprocess.whole_size(size, side=self.short_side) for size in surveyed.sizes]
        return self.preprocess.channels * sum(width * height for width, height in sizes) / len(sizes)

    def folder(self) -> Path:
        """Return where pictures decoded like this are kept: another folder for all that could change a pixel."""
        rules = {k: v for k, v in self.preprocess.to_json().items() if k not in ("mean", "std")}
        if self.short_side is not None:
            of = ("size", "width") if self.preprocess.width is not None else ()
            rules = {k: rules[k] for k in ("crop", "interpolation", "antialias", "channels", "depth", *of)}
            rules |= {"windows": list(self.preprocess.windows)} if self.preprocess.windows else {}
        windowed = _versions(measured, windows) if self.preprocess.windows else []
        said = json.dumps([rules, self.short_side, _decoders() + windowed], sort_keys=True)
        key = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
        shape = "whole" if self.short_side is not None else "cut"
        return cache_files.pixels_folder() / f"{shape}-{self.side}-{key}"


def _versions(*modules: Any) -> list[str]:
    return [f"{module.__name__} {module.VERSION}" for module in modules]


@cache
def _decoders() -> list[str]:
    """Return what decodes besides the settings: the versions of our code and of the libraries under it."""
    ours = _versions(images, bands, many_bands, bit_depth, pages, preprocess)
    versions = [*ours, f"decoding {VERSION}"]
    try:
        heif = metadata.version("pillow-heif")
    except metadata.PackageNotFoundError:
        heif = "none"
    try:  # an installation without it has the key that it had before there was DICOM
        versions += [*_versions(dicom, dicom_header, dicom_packing, measured, windows), metadata.version("pydicom")]
    except metadata.PackageNotFoundError:
        pass
    return [*versions, PIL.__version__, heif, *(str(features.version(name)) for name in ("jpg", "webp", "avif"))]


def decode_parts(
    dataset: Dataset, by_part: Mapping[Split, Sequence[Item]], forms: Mapping[Split, Form], surveyed: Survey, *,
    failed: dict[str, str], threads: int, progress: Progress,
) -> tuple[dict[Split, Decoded], tuple[str, ...]]:  # fmt: skip
    """Decode each picture of the parts once, in order, and return them with what a person should know of it.

    Photos are looked for in, and kept in, `cache_files`; smaller pictures stay in memory as long as they fit. Where
    they lie changes no pixel. Pictures that cannot be decoded are entered in `failed` (source -> reason). Raises
    `ResourceError` before anything is decoded where neither memory nor disk has the room.
    """
    if surveyed.sizes and surveyed.median_short_side < TOO_SMALL_FOR_THREADS:
        threads = 1
    decoders = {
        part: _Decoder(dataset, items, forms[part], surveyed, failed, threads, progress)
        for part, items in by_part.items()
    }
    wanted_later: set[str] = set()
    for part in reversed(list(by_part)):
        decoders[part].wanted_later = frozenset(wanted_later)
        wanted_later |= {item.source for item in by_part[part]}
    each = {part: forms[part].bytes_each(surveyed) for part in by_part}
    in_files, notes = _in_files(decoders, each)
    pixels = {part: one.from_files() if in_files else one.into_memory() for part, one in decoders.items()}
    read = {
        part: (tuple(item for item in items if item.source not in failed), pixels[part])
        for part, items in by_part.items()
    }
    surveyed.kept.clear()
    again = sum(one.read_again for one in decoders.values())
    if again:
        notes += (f"{again:,} images were read twice: no more than {surveyed.kept.most / 1e9:.2g} GB wait in memory.",)
    written = sum(one.bytes_written for one in decoders.values())
    if written:
        notes += (f"Decoded pictures are kept for the next run: {written / 1e9:.2f} GB; see resnetkit cache.",)
    return read, notes


def _in_files(decoders: Mapping[Split, _Decoder], each: Mapping[Split, float]) -> tuple[bool, tuple[str, ...]]:
    """Tell whether the pictures go into files or into memory, and what is to be said about it.

    `each`: the bytes of a decoded picture. Sizes decide, never a timing.
    """
    needed = sum(len(one.items) * each[part] for part, one in decoders.items())
    free = runtime.available_memory()
    fits = free is None or needed <= _MOST_MEMORY * free
    if fits and not any(one.form.side >= _PHOTO for one in decoders.values()):
        return False, ()
    missing = sum(len(one.missing()) * each[part] for part, one in decoders.items())
    disk, why_not = _room(missing, {one.form.folder() for one in decoders.values()})
    if why_not is None:
        return True, ()
    if fits:
        return False, (f"Decoded pictures stay in memory, for this run alone: {why_not}.",)
    share = max(_MOST_MEMORY * (free or 0) / needed, _MOST_DISK * disk / missing)
    preprocess = next(iter(decoders.values())).form.preprocess
    smaller = "x".join(f"{max(8, int(side * share**0.5) // 4 * 4)}" for side in dict.fromkeys(preprocess.frame))
    count = sum(len(one.items) for one in decoders.values())
    raise ResourceError(
        f"decoded, {count:,} images take {needed / 1e9:.1f} GB, {(free or 0) / 1e9:.1f} GB of memory are free and "
        f"{why_not}: add --image-size {smaller} (now {preprocess.sides}), or "
        f"--limit {int(count * share)}, or set RESNETKIT_CACHE to a folder with more room"
    )


def _room(num_bytes: float, folders: Iterable[Path]) -> tuple[int, str | None]:
    """Return how many bytes are free for decoded pictures, and why `num_bytes` cannot be written to `folders`."""
    folder = cache_files.pixels_folder()
    if not num_bytes:
        return 0, None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=cache_files.OWNER_ONLY)
        for needed in (folder, *(there for there in folders if there.exists())):
            if not os.access(needed, os.W_OK | os.X_OK):
                folder = needed
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return 0, f"{folder} cannot be written to ({error.strerror or error})"
    if num_bytes > _MOST_DISK * free:
        return free, f"{folder} has {free / 1e6:,.0f} MB free for the {num_bytes / 1e6:,.0f} MB to add"
    return free, None


@dataclass(slots=True)
class _Decoder:
    """The decoding of one part; what is `wanted_later`, in another form, goes on waiting in memory."""

    dataset: Dataset
    items: Sequence[Item]
    form: Form
    surveyed: Survey
    failed: dict[str, str]
    threads: int
    progress: Progress
    wanted_later: frozenset[str] = frozenset()
    bytes_written: int = 0
    read_again: int = 0

    @property
    def digests(self) -> Mapping[str, str]:
        """What each picture holds, by source."""
        return self.surveyed.digests

    def into_memory(self) -> Pixels:
        return Pixels.collect((pixels for _, pixels in self._good(self.items)), count=len(self.items))

    def missing(self) -> tuple[str, ...]:
        """Return the digests of the pictures that no file has."""
        return self._find().missing

    def _find(self) -> cache_files.Found:
        return cache_files.find(self.form.folder(), [self.digests[item.source] for item in self.items])

    def from_files(self) -> Pixels:
        """Return the pictures from files, after decoding into files those that no file has."""
        found = self._find()
        if found.missing:
            self._decode_into_files()
            found = self._find()
        else:
            self.progress(len(self.items), len(self.items))
        missing = set(found.missing)
        if any(self.digests[item.source] in missing and item.source not in self.failed for item in self.items):
            raise ResourceError(f"{self.form.folder()}: decoded pictures were removed meanwhile; run the command again")
        there = [digest for item in self.items if (digest := self.digests[item.source]) not in missing]
        return Pixels(found.mapped(there, channels=self.form.preprocess.channels))

    def _decode_into_files(self) -> None:
        """Decode what no file has; a picture that lies in several files of the data is decoded once."""
        folder = self.form.folder()
        about = {"data": self.dataset.name, "what": self.form.what, "channels": self.form.preprocess.channels}
        alike: dict[str, Item] = {}
        for item in self.items:
            alike.setdefault(self.digests[item.source], item)
        try:
            with cache_files.writing(folder, self.dataset.name):
                missing = set(self._find().missing)  # another process may have decoded some while this one waited
                items = [item for digest, item in alike.items() if digest in missing]
                pictures = ((self.digests[item.source], pixels) for item, pixels in self._good(items))
                for path in cache_files.write(folder, pictures, about=about):
                    self.bytes_written += path.stat().st_size
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what_to_do = "free some space, or set" if full else "set"
            raise ResourceError(
                f"{folder}: decoded pictures cannot be kept ({error.strerror or error}): {what_to_do} "
                "RESNETKIT_CACHE to a folder that can be written to"
            ) from error
        for item in self.items:
            why = self.failed.get(alike[self.digests[item.source]].source)
            if why is not None:
                self.failed[item.source] = why

    def _good(self, items: Sequence[Item]) -> Iterator[tuple[Item, np.ndarray]]:
        """Decode in order; those that cannot be decoded are entered in `failed` instead."""
        before, total = len(self.items) - len(items), len(self.items)
        chunk = _FEW if self.form.side >= _PHOTO else _MANY

        def follow(done: int, _: int) -> None:
            self.progress(before + done, total)

        for item, pixels in zip(
            items, ordered(self._one, items, threads=self.threads, chunk=chunk, progress=follow), strict=True
        ):
            if isinstance(pixels, str):
                self.failed[item.source] = pixels
            else:
                yield item, pixels

    def _one(self, item: Item) -> np.ndarray | str:
        try:
            kept = self.surveyed.kept
            give = kept.look if item.source in self.wanted_later else kept.take
            data = give(item.source, at_least=self.form.short_side)
            if data is not None:
                return self.form.pixels(data, name=item.source)
            self.read_again += 1
            data = self.dataset.read(item)
            if splits.digest(data) != self.digests[item.source]:
                raise DataError(f"{item.source}: was changed after the first look at it; run the command again")
            return self.form.pixels(data, name=item.source)
        except ResNetKitError as error:
            return reason(error, item)
