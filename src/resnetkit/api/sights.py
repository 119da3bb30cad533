"""The pictures of a watch and their features, one after the other: of folders, videos, streams, growing folders."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from resnetkit.checking.drift.alarm import Sighting
from resnetkit.checking.drift.reference import MOST_PICTURES, Batch, spread
from resnetkit.data.dataset import Dataset
from resnetkit.data.frames import of_files
from resnetkit.data.opening.images import IMAGE_SUFFIXES
from resnetkit.data.opening.video import Thinned, is_video, open_video
from resnetkit.data.opening.video_live import without_password
from resnetkit.data.sources import open_pictures
from resnetkit.errors import DataError, UsageError, problem_line
from resnetkit.inference.given import Picture, pictures_of
from resnetkit.inference.predictor import Predictor, Read
from resnetkit.words import counted, duration

Order = Literal["name", "time"]
# Frames of a video that was given as reference stay on one side of a division where they are nearer than that.
_TOGETHER_S = 10.0
_LOOK_AGAIN_S = 1.0
_LONG_S = 600.0  # without a picture, and whoever follows a folder should know


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A picture that was found, not yet read."""

    picture: Picture
    time: float | None = None
    group: str | None = None


class Sights:
    """Reads what there is to see, and has the network make features of it."""

    def __init__(
        self, predictor: Predictor, *, thinned: Thinned, order: Order, threads: int, say: Callable[[str], None]
    ) -> None:
        self.predictor, self.thinned, self.order, self.threads, self.say = predictor, thinned, order, threads, say

    def pictures(self, sources: Sequence[str | Path]) -> Iterator[Found]:
        """Yield the pictures of sources in their order; what is missing is refused before the first is read."""
        parts: list[Iterator[Found]] = []
        for video, some in itertools.groupby(map(str, sources), key=is_video):
            if video:
                parts += [self._frames_or_why(one) for one in some]
            else:
                parts.append(_of_dataset(self._ordered(open_pictures(*some)), self.predictor))
        return itertools.chain.from_iterable(parts)

    def of_reference(self, source: str) -> Iterator[Batch]:
        """Yield batches of pictures that are to be a reference, at most 2,000 of them, evenly among all."""
        if is_video(source):
            found: Iterator[Found] = itertools.islice(self._frames(source), MOST_PICTURES)
        else:
            pictures = self._ordered(open_pictures(source))
            chosen = replace(pictures, items=tuple(pictures.items[number] for number in spread(len(pictures))))
            found = _of_dataset(chosen, self.predictor)
        unread = 0
        for together, batch, features in self._batches(found):
            there = [number for number, read in enumerate(batch) if read.pixels is not None]
            unread += len(batch) - len(there)
            if features is not None:
                pixels = np.stack([pixels for read in batch if (pixels := read.pixels) is not None])
                yield pixels, features, [together[number].group or batch[number].source for number in there]
        if unread:
            self.say(f"{counted(unread, 'picture')} of the reference cannot be read")

    def at(self, found: Iterator[Found], *, live: bool) -> Iterator[tuple[Sighting, Read, np.ndarray]]:
        """Yield each picture with its features `[C]`; of what is `live` as soon as it is there."""
        nothing, number = np.zeros(0, np.float32), 0
        for together, batch, features in self._one_by_one(found) if live else self._batches(found):
            rows = iter(() if features is None else features)
            for one, read in zip(together, batch, strict=True):
                number += 1
                yield Sighting(number, read.source, one.time), read, nothing if read.pixels is None else next(rows)

    def _batches(self, found: Iterator[Found]) -> Generator[tuple[list[Found], list[Read], np.ndarray | None]]:
        waiting: deque[Found] = deque()

        def opened() -> Iterator[Picture]:
            for one in found:
                waiting.append(replace(one, picture=_CLOSED))
                yield one.picture

        with contextlib.closing(self.predictor.answered_of(opened(), threads=self.threads)) as answered:
            for batch, features in answered:
                yield [waiting.popleft() for _ in batch], batch, features

    def _one_by_one(self, found: Iterator[Found]) -> Iterator[tuple[list[Found], list[Read], np.ndarray | None]]:
        for one in found:
            with contextlib.closing(self.predictor.answered_of(iter([one.picture]), count=1, threads=1)) as answered:
                for batch, features in answered:
                    yield [one], batch, features

    def _frames(self, source: str) -> Iterator[Found]:
        with open_video(source, say=self.say) as video:
            for frame in video.frames(self.thinned):
                name = f"{video.about.source}#{frame.number}"

                def opened(page: int, frame: Any = frame, name: str = name) -> Any:
                    if frame.image is None:
                        raise DataError(f"{name}: {frame.error}")
                    return frame.image

                block = f"{video.about.source} {math.floor(frame.time / _TOGETHER_S)}"
                yield Found(picture=Picture(name, opened), time=frame.time, group=block)

    def _frames_or_why(self, source: str) -> Iterator[Found]:
        """Yield frames, and of a video that breaks one more, which cannot be read."""
        try:
            yield from self._frames(source)
        except DataError as error:
            yield Found(picture=_unread(without_password(source), error))

    def _ordered(self, pictures: Dataset) -> Dataset:
        if self.order == "name":
            return pictures
        try:
            written = {item.source: os.stat(item.source).st_mtime_ns for item in pictures.items}
        except OSError as error:
            raise UsageError(
                f"--order time: {problem_line(error, source=str(error.filename))}: frames and pictures of "
                "archives and patients have no such time, leave it out"
            ) from error
        return replace(pictures, items=tuple(sorted(pictures.items, key=lambda item: written[item.source])))


def _unread(source: str, why: DataError) -> Picture:
    """Return a picture of which nothing is known but why it cannot be read."""

    def opened(page: int) -> Any:
        raise why

    return Picture(source, opened)


def _closed(page: int) -> Any:
    raise AssertionError("read already")


_CLOSED = Picture("", _closed)


def _of_dataset(pictures: Dataset, predictor: Predictor) -> Iterator[Found]:
    preprocess = predictor.preprocess
    pictures = of_files(pictures.on_page(preprocess.page), page=preprocess.page, frames=preprocess.frames)
    groups = [item.group for item in pictures.items]
    return (
        Found(picture=picture, group=group)
        for picture, group in zip(pictures_of(pictures)[0], groups, strict=True)
    )  # fmt: skip


def followed(folder: str, *, say: Callable[[str], None]) -> Iterator[Found]:
    """Yield the pictures that a folder has and gets, for ever, in the order in which they were written.

    One counts when nothing has been written to it for a second; of one that is dated in the future that is seen by
    looking twice. One that is written anew counts again. Memory: two numbers for each name. Where none comes for ten
    minutes, that is said once, and when they come again. Raises `DataError` where the folder is there no more.
    """
    silence = _Silence(folder, say)
    taken, before = dict[int, int](), dict[str, tuple[float, int]]()
    while True:
        if not os.path.isdir(folder):
            raise DataError(f"{folder}: the folder that is followed is there no more")
        waited, pending = time.time() - _LOOK_AGAIN_S, dict[str, tuple[float, int]]()
        for written, path, size in sorted(_files(folder)):
            if taken.get(hash(path)) == hash((written, size)):
                continue
            if written > waited and before.get(path) != (written, size):
                pending[path] = written, size
                continue
            taken[hash(path)] = hash((written, size))
            silence.ends()
            try:
                pictures = pictures_of([path])[0]
            except UsageError as error:  # it is gone already, or is no file
                why = str(error) if os.path.exists(path) else f"{path}: cannot be read any more"
                pictures = iter([_unread(path, DataError(why))])
            yield from (Found(picture=one) for one in pictures)
        before = pending
        silence.goes_on()
        time.sleep(_LOOK_AGAIN_S)


class _Silence:
    """The time in which no picture comes into a folder."""

    def __init__(self, folder: str, say: Callable[[str], None]) -> None:
        self._folder, self._say, self._since, self._told = folder, say, time.monotonic(), False

    def goes_on(self) -> None:
        """Say it once, where it is long."""
        if not self._told and time.monotonic() - self._since >= _LONG_S:
            self._told = True
            self._say(f"{self._folder}: it stalls, no picture for {_LONG_S / 60:g} min: waiting on")

    def ends(self) -> None:
        """Begin anew with a picture, and say how long it was where it was said to be long."""
        now = time.monotonic()
        if self._told:
            self._say(f"{self._folder}: pictures come again, after {duration(now - self._since)}")
        self._since, self._told = now, False


def _files(folder: str) -> Iterator[tuple[float, str, int]]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                path = os.path.join(place, name)
                with contextlib.suppress(OSError):
                    about = os.stat(path)
                    yield about.st_mtime, path, about.st_size
