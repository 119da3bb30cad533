"""Whether today's pictures are still those that a model was made for: pictures, videos, streams, growing folders."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from resnetkit.api.model import Model, load
from resnetkit.api.references import feature_engine, reference_for
from resnetkit.checking.drift.chart import check_every
from resnetkit.checking.drift.lookout import ENOUGH, STILL, Alarm, Lookout, Sighting
from resnetkit.checking.drift.reference import MOST_PICTURES, Batch, spread
from resnetkit.data.dataset import Dataset
from resnetkit.data.frames import of_files
from resnetkit.data.opening.images import IMAGE_SUFFIXES
from resnetkit.data.opening.video import Thinned, is_stream, is_video, open_video
from resnetkit.data.opening.video_live import without_password
from resnetkit.data.sources import open_pictures
from resnetkit.data.sources.no_data import missing
from resnetkit.errors import DataError, ResNetKitError, UsageError, problem_line, signal_of
from resnetkit.exporting import folder as exports
from resnetkit.files import check_new, write_text
from resnetkit.inference.given import Picture, pictures_of
from resnetkit.inference.predictor import Predictor, Read
from resnetkit.inference.video.looking import every as thinned_by
from resnetkit.runtime import Precision
from resnetkit.watcher import Watcher
from resnetkit.words import counted

Order = Literal["name", "time"]
# Frames of a video that was given as reference stay on one side of a division where they are nearer than that.
_TOGETHER_S = 10.0
_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """What came of watching: `alarms`, how many pictures were `counted`, and how many were not and why.

    `level` and `limit`: where the chart stood at the end, and what it may not pass; `reference`: of what, in words;
    `every`: so many pictures lie between two false alarms, or more; `unread`: a line for each of the first ones;
    `signal`: that of Ctrl-C (2) or of whatever ended the watch before its sources did, 0 without.
    """

    model: str
    reference: str
    every: int
    counted: int
    copies: int
    unreadable: int
    level: float
    limit: float
    signal: int = 0
    alarms: tuple[Alarm, ...] = ()
    unread: tuple[str, ...] = field(default=(), repr=False)

    @property
    def words(self) -> str:
        """Say it: the alarms, or why there is none."""
        left = [f"{self.copies:,} {'copy' if self.copies == 1 else 'copies'} of their neighbours"] * bool(self.copies)
        left += [f"{self.unreadable:,} that cannot be read"] * bool(self.unreadable)
        besides = f" (and {' and '.join(left)}, which do not count)" if left else ""
        seen = f"{counted(self.counted, 'picture')}{besides}{', then interrupted' * bool(self.signal)}"
        if self.alarms:
            return f"{counted(len(self.alarms), 'alarm')} in {seen}"
        if self.counted < ENOUGH:
            return f"{seen}: too few to say anything, from {ENOUGH} on a plain change of all of them is seen"
        return (
            f"no alarm: {seen}, like the reference of {self.reference}, as far as can be seen; "
            f"the chart stands at {self.level / self.limit:.0%} of its limit"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "model": self.model, "reference": self.reference, "false_alarm_every": self.every,
            "counted": self.counted, "copies": self.copies, "unreadable": self.unreadable,
            "interrupted": bool(self.signal), "enough": self.counted >= ENOUGH,
            "level": self.level, "limit": self.limit,
            "alarms": [alarm.to_json() for alarm in self.alarms],
        }  # fmt: skip

    def __repr__(self) -> str:
        return self.words


def watch(
    *sources: str | Path,
    model: str | Path | Model,
    reference: str | Path | None = None,
    save_reference: str | Path | None = None,
    false_alarm_every: int = 10_000,
    every: str = "1s",
    order: Order = "name",
    follow: bool = False,
    keep_watching: bool = False,
    report: str | Path | None = None,
    on_alarm: Callable[[Alarm], None] = lambda alarm: None,
    device: str = "auto",
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Watched:
    """Hold pictures against the reference of a model, one after the other, until they are no longer like it.

    `sources` are pictures as `predict` takes them, in the `order` of their names or of the time at which they were
    written, and videos, streams and cameras, of which one frame in `every`
    is looked at, see `looking.every`. With `follow` they are one
    folder, whose new pictures are watched as they come. What is nearly the picture that counted last does not count.
    `reference` is a file `reference.npz` or pictures that the model did not learn from; without it the file beside the
    model. `save_reference` keeps it. An alarm is false once in `false_alarm_every` pictures like the reference,
    or less often; it ends the watch, or with `keep_watching` begins it anew. Pictures of an alarm go to the new folder
    `report`, and what was seen, at each alarm and however the watch ends. Ctrl-C ends it with what was seen; a video
    that breaks costs itself. Raises `UsageError` for a model without a reference and for what cannot be written,
    `DataError` for a reference that does not fit, `NetworkError` for a stream that is given up.
    """
    watcher = watcher or Watcher()
    check_every(false_alarm_every)
    thinned = thinned_by(every)
    _check(sources, follow=follow, order=order, report=report, save=save_reference)
    opened = model if isinstance(model, Model) else _load(model, device, threads, watcher)
    engine = feature_engine(opened)
    predictor = Predictor(
        engine, classes=(), preprocess=opened.header.preprocess, name=opened.name
    )  # fmt: skip
    looking = _Looking(
        predictor, thinned=thinned, order=order, threads=opened.runtime.threads, say=watcher.note
    )  # fmt: skip
    found = _followed(str(sources[0])) if follow else looking.pictures(sources)
    kept = reference_for(opened, engine, None if reference is None else str(reference), looking.of_reference)
    if save_reference is not None:
        kept.write(Path(save_reference))
    lookout = Lookout(kept, every=false_alarm_every)
    watcher.note(f"held against {kept.words}; a false alarm once in {false_alarm_every:,} pictures or less often")
    live = follow or any(is_stream(str(source)) for source in sources)
    alarms, unread, unreadable, signal = list[Alarm](), list[str](), 0, 0

    def so_far() -> Watched:
        watched = Watched(
            model=opened.name, reference=kept.words, every=false_alarm_every, counted=lookout.counted,
            copies=lookout.copies, unreadable=unreadable, level=lookout.chart.level, limit=lookout.chart.limit,
            signal=signal, alarms=tuple(alarms), unread=tuple(unread),
        )  # fmt: skip
        if report is not None:
            text = json.dumps(watched.to_json(), ensure_ascii=False, indent=1)
            write_text(Path(report) / "watch.json", text + "\n")
        return watched

    try:
        with watcher.counting("watching") as progress:
            for sighting, read, features in looking.at(found, live=live):
                progress(sighting.number, None)
                if read.pixels is None:
                    unreadable += 1
                    unread += [str(read.error)] * (unreadable <= 10)
                    continue
                if not np.isfinite(features).all():
                    raise DataError(predictor.not_finite(read.source))
                said = lookout.see(sighting, read.pixels, features)
                if lookout.still == STILL:
                    watcher.note(f"{sighting.words}: the picture stands still, {STILL} copies in a row")
                if said != "alarm":
                    continue
                alarms.append(lookout.alarm())
                _tell(alarms[-1], lookout, len(alarms), report=report)
                so_far()
                on_alarm(alarms[-1])
                if not keep_watching:
                    break
                lookout.restart()
    except KeyboardInterrupt as stopped:
        signal = signal_of(stopped)
    except ResNetKitError:
        watcher.note(so_far().words)
        raise
    return so_far()


def _check(
    sources: Sequence[str | Path], *, follow: bool, order: str, report: str | Path | None, save: str | Path | None
) -> None:
    if not sources:
        raise UsageError("watch needs a SOURCE: pictures, a folder, a video or a stream")
    if order not in ("name", "time"):
        raise UsageError(f"unknown order {order!r}: choose name, time")
    if follow and (len(sources) != 1 or not Path(sources[0]).is_dir()):
        raise UsageError("--follow watches one folder: name it alone")
    for source in map(str, sources):
        if is_video(source) and not is_stream(source) and not Path(source).exists():
            raise missing(source)
    if save is not None:
        check_new(Path(save), "--save-reference")
    if report is not None:
        if (Path(report) / "watch.json").exists():
            raise UsageError(f"--report {report}: has an earlier report in it (watch.json); name another folder")
        if Path(report).exists() and not Path(report).is_dir():
            raise UsageError(f"--report {report}: is a file; name a folder")
        check_new(Path(report) / "watch.json", "--report")


def _load(model: str | Path, device: str, threads: int | None, watcher: Watcher) -> Model:
    """Open a model in fp32, in which references are computed, or as its int8 export says."""
    path = Path(model)
    int8 = exports.is_export(path) and exports.read(path).precision == "int8"
    precision: Precision = "auto" if int8 else "fp32"
    return load(str(model), device=device, threads=threads, precision=precision, watcher=watcher)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """A picture that was found, not yet read."""

    picture: Picture
    time: float | None = None
    group: str | None = None


class _Looking:
    """Reads what there is to see, and has the network make features of it."""

    def __init__(
        self, predictor: Predictor, *, thinned: Thinned, order: Order, threads: int, say: Callable[[str], None]
    ) -> None:
        self.predictor, self.thinned, self.order, self.threads, self.say = predictor, thinned, order, threads, say

    def pictures(self, sources: Sequence[str | Path]) -> Iterator[_Found]:
        """Yield the pictures of sources in their order; what is missing is refused before the first is read."""
        parts: list[Iterator[_Found]] = []
        for video, some in itertools.groupby(map(str, sources), key=is_video):
            if video:
                parts += [self._frames_or_why(one) for one in some]
            else:
                parts.append(_of_dataset(self._ordered(open_pictures(*some)), self.predictor))
        return itertools.chain.from_iterable(parts)

    def of_reference(self, source: str) -> Iterator[Batch]:
        """Yield batches of pictures that are to be a reference, at most 2,000 of them, evenly among all."""
        if is_video(source):
            found: Iterator[_Found] = itertools.islice(self._frames(source), MOST_PICTURES)
        else:
            pictures = self._ordered(open_pictures(source))
            chosen = replace(pictures, items=tuple(pictures.items[number] for number in spread(len(pictures))))
            found = _of_dataset(chosen, self.predictor)
        for together, batch, features in self._batches(found):
            there = [number for number, read in enumerate(batch) if read.pixels is not None]
            if features is not None:
                pixels = np.stack([pixels for read in batch if (pixels := read.pixels) is not None])
                yield pixels, features, [together[number].group or batch[number].source for number in there]

    def at(self, found: Iterator[_Found], *, live: bool) -> Iterator[tuple[Sighting, Read, np.ndarray]]:
        """Yield each picture with its features `[C]`; of what is `live` as soon as it is there."""
        nothing, number = np.zeros(0, np.float32), 0
        for together, batch, features in self._one_by_one(found) if live else self._batches(found):
            rows = iter(() if features is None else features)
            for one, read in zip(together, batch, strict=True):
                number += 1
                yield Sighting(number, read.source, one.time), read, nothing if read.pixels is None else next(rows)

    def _batches(self, found: Iterator[_Found]) -> Generator[tuple[list[_Found], list[Read], np.ndarray | None]]:
        waiting: deque[_Found] = deque()

        def opened() -> Iterator[Picture]:
            for one in found:
                waiting.append(replace(one, picture=_CLOSED))
                yield one.picture

        with contextlib.closing(self.predictor.answered_of(opened(), threads=self.threads)) as answered:
            for batch, features in answered:
                yield [waiting.popleft() for _ in batch], batch, features

    def _one_by_one(self, found: Iterator[_Found]) -> Iterator[tuple[list[_Found], list[Read], np.ndarray | None]]:
        for one in found:
            with contextlib.closing(self.predictor.answered_of(iter([one.picture]), count=1, threads=1)) as answered:
                for batch, features in answered:
                    yield [one], batch, features

    def _frames(self, source: str) -> Iterator[_Found]:
        with open_video(source, say=self.say) as video:
            for frame in video.frames(self.thinned):
                name = f"{video.about.source}#{frame.number}"

                def opened(page: int, frame: Any = frame, name: str = name) -> Any:
                    if frame.image is None:
                        raise DataError(f"{name}: {frame.error}")
                    return frame.image

                block = f"{video.about.source} {math.floor(frame.time / _TOGETHER_S)}"
                yield _Found(picture=Picture(name, opened), time=frame.time, group=block)

    def _frames_or_why(self, source: str) -> Iterator[_Found]:
        """Yield frames, and of a video that breaks one more, which cannot be read."""
        try:
            yield from self._frames(source)
        except DataError as error:
            why = error

            def opened(page: int) -> Any:
                raise why

            yield _Found(picture=Picture(without_password(source), opened))

    def _ordered(self, pictures: Dataset) -> Dataset:
        if self.order == "name":
            return pictures
        try:
            written = {item.source: os.stat(item.source).st_mtime_ns for item in pictures.items}
        except OSError as error:
            raise UsageError(
                f"--order time: {problem_line(error, source=str(error.filename))}: pictures of archives and patients "
                "have no such time, leave it out"
            ) from error
        return replace(pictures, items=tuple(sorted(pictures.items, key=lambda item: written[item.source])))


def _closed(page: int) -> Any:
    raise AssertionError("read already")


_CLOSED = Picture("", _closed)


def _of_dataset(pictures: Dataset, predictor: Predictor) -> Iterator[_Found]:
    preprocess = predictor.preprocess
    pictures = of_files(pictures.on_page(preprocess.page), page=preprocess.page, frames=preprocess.frames)
    groups = [item.group for item in pictures.items]
    return (
        _Found(picture=picture, group=group)
        for picture, group in zip(pictures_of(pictures)[0], groups, strict=True)
    )  # fmt: skip


def _followed(folder: str) -> Iterator[_Found]:
    """Yield the pictures that a folder has and gets, for ever, in the order in which they were written.

    One counts when nothing has been written to it for a second; of one that is dated in the future that is seen by
    looking twice. Memory: a number for each name.
    """
    taken, before = set[int](), dict[str, tuple[float, int]]()
    while True:
        waited, pending = time.time() - _LOOK_AGAIN_S, dict[str, tuple[float, int]]()
        for written, path, size in sorted(_files(folder)):
            if hash(path) in taken:
                continue
            if written > waited and before.get(path) != (written, size):
                pending[path] = written, size
                continue
            taken.add(hash(path))
            yield from (_Found(picture=one) for one in pictures_of([path])[0])
        before = pending
        time.sleep(_LOOK_AGAIN_S)


def _files(folder: str) -> Iterator[tuple[float, str, int]]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                path = os.path.join(place, name)
                with contextlib.suppress(OSError):
                    about = os.stat(path)
                    yield about.st_mtime, path, about.st_size


def _tell(alarm: Alarm, lookout: Lookout, number: int, *, report: str | Path | None) -> None:
    """Draw an alarm."""
    if report is None:
        return
    from resnetkit.report.drawing.alarms import draw

    draw(alarm, lookout.levels, Path(report) / f"alarm-{number}.png")
