"""Whether today's pictures are still those that a model was made for: the watch, its alarms and how it ends."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resnetkit.api.model import Model, load
from resnetkit.api.references import feature_engine, reference_for
from resnetkit.api.sights import Order, Sights, followed
from resnetkit.checking.drift.alarm import Alarm, Sighting
from resnetkit.checking.drift.chart import check_every
from resnetkit.checking.drift.lookout import ENOUGH, Lookout
from resnetkit.checking.drift.still import asked as still_asked
from resnetkit.data.opening.video import is_stream, is_video
from resnetkit.data.sources.no_data import missing
from resnetkit.errors import DataError, ResNetKitError, UsageError, signal_of
from resnetkit.exporting import folder as exports
from resnetkit.files import check_new, write_text
from resnetkit.inference.predictor import Predictor, Read
from resnetkit.inference.video.looking import every as thinned_by
from resnetkit.runtime import Precision
from resnetkit.watcher import Watcher
from resnetkit.words import counted

_EVERY = "1s"


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """What came of watching: `alarms`, how many pictures were `counted`, and how many were not and why.

    `known`: how many of those counted are pictures of the reference itself, which say nothing about today.
    `level` and `limit`: where the chart stood at the end, and what it may not pass; `reference`: of what, in words;
    `every`: so many pictures lie between two false alarms, or more; `unread`: a line for each of the first ones;
    `signal`: that of Ctrl-C (2) or of whatever ended the watch before its sources did, 0 without.
    """

    model: str
    reference: str
    every: int
    counted: int
    copies: int
    known: int
    unreadable: int
    level: float
    limit: float
    signal: int = 0
    alarms: tuple[Alarm, ...] = ()
    unread: tuple[str, ...] = field(default=(), repr=False)

    @property
    def words(self) -> str:
        """Say it: the alarms, or why there is none."""
        if self.alarms:
            return self._told
        left = [self._copies] * bool(self.copies)
        left += [f"{self.unreadable:,} that cannot be read"] * bool(self.unreadable)
        besides = f" (and {' and '.join(left)}, which do not count)" if left else ""
        known = f", {self.known:,} of them in the reference itself" if self.known else ""
        seen = f"{counted(self.counted, 'picture')}{known}{besides}{', then interrupted' * bool(self.signal)}"
        if self.counted < ENOUGH:
            return f"{seen}: too few to say anything, from {ENOUGH} on a plain change of all of them is seen"
        return (
            f"no alarm: {seen}, like the reference of {self.reference}, as far as can be seen; "
            f"the chart stands at {self.level / self.limit:.0%} of its limit"
        )

    @property
    def _copies(self) -> str:
        return f"{self.copies:,} {'copy' if self.copies == 1 else 'copies'} of their neighbours"

    @property
    def _told(self) -> str:
        """Say how many alarms of which kind there are, in how many pictures: all of them, as alarms number them."""
        kinds = Counter(alarm.kind for alarm in self.alarms)
        told = f"{counted(len(self.alarms), 'alarm')} ({', '.join(f'{kind} {kinds[kind]:,}' for kind in kinds)})"
        among = [self._copies] * bool(self.copies)
        among += [f"{self.known:,} in the reference itself"] * bool(self.known)
        among += [f"{self.unreadable:,} that cannot be read"] * bool(self.unreadable)
        seen = counted(self.counted + self.copies + self.unreadable, "picture")
        of_them = f", among them {' and '.join(among)}" * bool(among)
        return f"{told} in {seen}{of_them}{', then interrupted' * bool(self.signal)}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "model": self.model, "reference": self.reference, "false_alarm_every": self.every,
            "counted": self.counted, "copies": self.copies, "known": self.known, "unreadable": self.unreadable,
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
    still: str = "10m",
    every: str | None = None,
    order: Order | None = None,
    follow: bool = False,
    keep_watching: bool = False,
    report: str | Path | None = None,
    on_alarm: Callable[[Alarm], None] = lambda alarm: None,
    device: str = "auto",
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Watched:
    """Hold pictures against the reference of a model, one after the other, until they are no longer like it.

    `sources` are pictures as `predict` takes them, in the `order` of their names, or with `time` of the time at which
    they were written, and videos, streams and cameras, of which one frame in `every` is looked at, see `looking.every`;
    `1s` where it is not said. With `follow` they are one folder, whose new pictures are watched as they come. What
    is nearly the picture that counted last is a copy and does not count; copies in a row are an alarm of their own kind
    after `still`: `600` of them, `10m`, or `none`.
    `reference` is a file `reference.npz` or pictures that the model did not learn from; without it the file beside the
    model. `save_reference` keeps it. An alarm of drift is false once in `false_alarm_every` pictures like the
    reference, or less often; an alarm ends the watch, or with `keep_watching` it goes on. Pictures of an alarm go to
    the new folder `report`, and what was seen, at each alarm and however the watch ends. Ctrl-C ends it with what was
    seen; a video that breaks costs itself. Raises `UsageError` for a model without a reference and for what cannot be
    written, `DataError` for a reference that does not fit, `NetworkError` for a stream that is given up.
    """
    watcher = watcher or Watcher()
    check_every(false_alarm_every)
    thinned, longest = thinned_by(every or _EVERY), still_asked(still)
    _check(sources, follow=follow, order=order, every=every, reference=reference, report=report, save=save_reference)
    opened = model if isinstance(model, Model) else _load(model, device, threads, watcher)
    engine = feature_engine(opened)
    predictor = Predictor(engine, classes=(), preprocess=opened.header.preprocess, name=opened.name)
    sights = Sights(predictor, thinned=thinned, order=order or "name", threads=opened.runtime.threads, say=watcher.note)
    found = followed(str(sources[0]), say=watcher.note) if follow else sights.pictures(sources)
    kept = reference_for(opened, engine, None if reference is None else str(reference), sights.of_reference)
    if save_reference is not None:
        kept.write(Path(save_reference))
    lookout = Lookout(kept, every=false_alarm_every, still=longest)
    watcher.note(f"held against {kept.words}; a false alarm once in {false_alarm_every:,} pictures or less often")
    live = follow or any(is_stream(str(source)) for source in sources)
    begun = _Watch(
        lookout, predictor, report=report, on_alarm=on_alarm, keep_watching=keep_watching, live=live,
        say=watcher.note,
    )  # fmt: skip
    return begun.through(sights.at(found, live=live), watcher)


class _Watch:
    """A watch that goes on: what it has seen, and what it does at an alarm."""

    def __init__(
        self, lookout: Lookout, predictor: Predictor, *, report: str | Path | None,
        on_alarm: Callable[[Alarm], None], keep_watching: bool, live: bool, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._say, self._live = say, live
        self._lookout, self._predictor, self._on_alarm, self._goes_on = lookout, predictor, on_alarm, keep_watching
        self._report = None if report is None else Path(report)
        self._alarms, self._unread, self._unreadable, self._signal = list[Alarm](), list[str](), 0, 0

    def through(self, seen: Iterable[tuple[Sighting, Read, np.ndarray]], watcher: Watcher) -> Watched:
        """Take all pictures, or those up to an alarm or Ctrl-C, and return what came of it."""
        try:
            with watcher.counting("watching") as progress:
                for sighting, read, features in seen:
                    progress(sighting.number, None)
                    alarm = self._take(sighting, read, features)
                    if alarm is not None:
                        self._tell(alarm)
                        if not self._goes_on:
                            break
        except KeyboardInterrupt as stopped:
            self._signal = signal_of(stopped)
        except ResNetKitError:
            watcher.note(self._so_far().words)
            raise
        return self._so_far()

    def _take(self, sighting: Sighting, read: Read, features: np.ndarray) -> Alarm | None:
        if read.pixels is None:
            self._unreadable += 1
            self._unread += [str(read.error)] * (self._unreadable <= 10)
            if self._live and self._unreadable == 1:  # the end, where the others are told, may never come
                self._say(f"{read.error}: what cannot be read does not count")
            return None
        if not np.isfinite(features).all():
            raise DataError(self._predictor.not_finite(read.source))
        return self._lookout.see(sighting, read.pixels, features)

    def _tell(self, alarm: Alarm) -> None:
        self._alarms.append(alarm)
        try:
            with self._reporting() as folder:
                if folder is not None:
                    from resnetkit.report.drawing.alarms import draw

                    draw(alarm, self._lookout.levels, folder / f"alarm-{len(self._alarms)}.png")
            self._so_far()
        finally:  # whatever ends the watch here, the alarm is told
            self._on_alarm(alarm)

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[Path | None]:
        """Yield the folder of the report; where it takes no more, that is said once, and the watch goes on."""
        try:
            yield self._report
        except OSError as error:
            self._say(f"--report {self._report}: {error.strerror}: nothing more is written to it")
            self._report = None

    def _so_far(self) -> Watched:
        """Return what was seen, and write it to the report."""
        lookout = self._lookout
        watched = Watched(
            model=self._predictor.name, reference=lookout.reference.words, every=lookout.every,
            counted=lookout.counted, copies=lookout.copies, known=lookout.known, unreadable=self._unreadable,
            level=lookout.chart.level, limit=lookout.chart.limit, signal=self._signal, alarms=tuple(self._alarms),
            unread=tuple(self._unread),
        )  # fmt: skip
        with self._reporting() as folder:
            if folder is not None:
                write_text(folder / "watch.json", json.dumps(watched.to_json(), ensure_ascii=False, indent=1) + "\n")
        return watched


def _check(
    sources: Sequence[str | Path], *, follow: bool, order: str | None, every: str | None, reference: str | Path | None,
    report: str | Path | None, save: str | Path | None,
) -> None:  # fmt: skip
    if not sources:
        raise UsageError("watch needs a SOURCE: pictures, a folder, a video or a stream")
    if order not in (None, "name", "time"):
        raise UsageError(f"unknown order {order!r}: choose name, time")
    if follow and (len(sources) != 1 or not Path(sources[0]).is_dir()):
        raise UsageError("--follow watches one folder: name it alone")
    videos = [is_video(str(source)) for source in sources]
    if every is not None and not any(videos) and not (reference is not None and is_video(str(reference))):
        raise UsageError("--every: is for videos and streams that are named themselves, and none is; leave it out")
    if order is not None and (follow or all(videos)):
        why = "--follow takes pictures as they come" if follow else "only videos are named, which have their own"
        raise UsageError(f"--order: {why}; leave it out")
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
