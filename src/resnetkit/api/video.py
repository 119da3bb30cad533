"""What is made of videos beside rows: events, a picture of the whole time, a page, annotated videos."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit import files
from resnetkit.data.opening.video import Moving
from resnetkit.errors import UsageError
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.predictor import Predictor
from resnetkit.inference.video import event_rows
from resnetkit.inference.video.annotated import VideoWriter, container_of
from resnetkit.inference.video.events import Event, Events, Wanted
from resnetkit.inference.video.looking import Look, Looked
from resnetkit.inference.video.timeline import Timeline
from resnetkit.models.detection.sureness import Sureness

if TYPE_CHECKING:
    from resnetkit.report.drawing.frames import Annotator
    from resnetkit.report.timelines import Picture

_ROWS = (".csv", ".jsonl")
_SHOWN = (".png", ".html")  # pictures of the whole time: alone, or on a page


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """Which files are made: `events`, rows by suffix .csv or .jsonl, a picture .png, a page .html; `draw`, a video.

    Of several videos `draw` is a folder that gets one named after each. Raises `UsageError` for other suffixes, and for
    files that are there.
    """

    events: tuple[Path, ...] = ()
    draw: Path | None = None
    wanted: Wanted = field(default_factory=Wanted)

    def check(self, sources: Sequence[str]) -> None:
        """Raise `UsageError` for what cannot be made of these sources."""
        for path in self.events:
            if path.suffix.lower() not in (*_SHOWN, *_ROWS):
                known = ", ".join((*_ROWS, *_SHOWN))
                raise UsageError(f"--events {path}: the suffix sets the format and must be one of {known}")
            if path.suffix.lower() == ".png" and len(sources) > 1:
                raise UsageError(f"--events {path}: is the picture of one video; a page (.html) shows several")
            files.check_new(path, "--events")
        drawn = [] if self.draw is None else [self.drawn(source, sources) for source in sources]
        for number, path in enumerate(drawn):
            container_of(path)
            files.check_new(path, "--draw")
            if path in drawn[:number]:
                raise UsageError(f"--draw {self.draw}: two of the videos are called {path.stem}; name them one by one")

    def drawn(self, source: str, sources: Sequence[str]) -> Path:
        """Return where the annotated video of a source goes."""
        assert self.draw is not None, "which was asked"
        if len(sources) == 1:
            return self.draw
        return self.draw / f"{files.safe_name(Path(source).stem)}.mp4"


class Maker:
    """Makes these files while videos are looked at, one after the other; `notes` tells what was made.

    A context manager: files of events, pictures and the page appear whole when it ends well.
    """

    def __init__(self, made: Made, predictor: Predictor, sources: Sequence[str], *, smoothing: str) -> None:
        self._made, self._predictor, self._sources, self._smoothing = made, predictor, sources, smoothing
        self._stack = contextlib.ExitStack()
        self._writes: list[Callable[[Event], None]] = []
        self._shown: list[tuple[Picture, Sequence[Event]]] = []
        self.notes: list[str] = []

    def __enter__(self) -> Maker:
        for path in self._made.events:
            if path.suffix.lower() not in _SHOWN:
                self._writes.append(self._stack.enter_context(event_rows.to_file(path)))
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None and self._shown:
            self._show_times()
        self._stack.__exit__(*error)

    def of(self, video: Moving, look: Look, *, top_k: int) -> Generator[Prediction]:
        """Yield what is said of each frame of a video, and make what is asked for on the way."""
        source, made = video.about.source, self._made
        decision = self._predictor.decision
        scores = isinstance(decision, Sureness) and decision.platt is None
        events = Events(source, made.wanted, None if look.lag is None else look.lag.seconds, scores=scores)
        timeline = Timeline(self._predictor.classes)
        with contextlib.ExitStack() as stack:
            frames = stack.enter_context(contextlib.closing(look.frames(top_k=top_k)))
            drawing = None if made.draw is None else stack.enter_context(self._drawing(video, look))
            for one in frames:
                if made.events:
                    self._add(one, events, timeline)
                if drawing is not None:
                    drawing(one)
                yield one.said
            if made.events:
                self._tell(events.end(), timeline)
        if made.events:
            timeline.end()
            words = "" if self._smoothing == "none" else f"; {look.words}"
            words += f"; {look.lacks}" if look.lacks else ""
            self.notes.append(f"{os.path.basename(source)}: {events.words}{words}")
        if any(path.suffix.lower() in _SHOWN for path in made.events):
            from resnetkit.report import timelines

            lag = "" if look.lag is None else look.lag.words
            shown = timelines.picture(
                timeline, video=os.path.basename(source), smoothing=self._smoothing, lag=lag,
                sure="score" if scores else "probability",
            )  # fmt: skip
            self._shown.append((shown, timeline.events))

    def _add(self, one: Looked, events: Events, timeline: Timeline) -> None:
        moment = one.said.moment
        assert moment is not None, "a frame has a moment"
        if one.told is not None:
            timeline.add(moment.time, one.told)
        if one.tracked:
            self._tell([event for track in one.ended for event in events.of_track(track)], timeline)
        elif one.told is not None:
            answered = one.told.own is not None
            self._tell(events.add(moment.frame, moment.time, one.told.state, answered=answered), timeline)

    def _tell(self, events: Sequence[Event], timeline: Timeline) -> None:
        for event in events:
            timeline.add_event(event)
            for write in self._writes:
                write(event)

    @contextlib.contextmanager
    def _drawing(self, video: Moving, look: Look) -> Iterator[Callable[[Looked], None]]:
        """Yield the function that draws a frame into the annotated video, which appears when all are drawn."""
        from resnetkit.report.drawing.frames import Annotator

        about, path = video.about, self._made.drawn(video.about.source, self._sources)
        annotator = Annotator(self._predictor.classes)
        sound = about.source if os.path.isfile(about.source) else None
        with VideoWriter(path, source=sound, rate=look.rate) as writer:
            yield lambda one: _draw(one, annotator, writer)
        self.notes += [*writer.notes, *([annotator.warning] if annotator.warning else []), f"annotated video: {path}"]

    def _show_times(self) -> None:
        for path in self._made.events:
            if path.suffix.lower() == ".png":
                from resnetkit.report.drawing.timeline import draw

                self.notes += filter(None, [draw(self._shown[0][0], path)])
            elif path.suffix.lower() == ".html":
                from resnetkit.report.pages.video import write_video_page

                write_video_page(self._shown, path, model=self._predictor.name)


def _draw(one: Looked, annotator: Annotator, writer: VideoWriter) -> None:
    """Draw a frame with its state where there is one, else with what is said of it alone."""
    said, moment = one.said, one.said.moment
    if one.image is None or moment is None:
        return  # a frame that could not be read: the one before stays
    told: Sequence[tuple[str, float | None]]
    if said.objects is not None:
        told = ()
    elif moment.state is not None:
        told = moment.state or (() if said.labels is not None else (("not sure", None),))
    elif said.labels is not None:
        told = [pair for pair in said.top if pair[0] in said.labels]
    else:
        told = (
            [("not sure", None)]
            if said.label is None or said.status == "not_sure"
            else [(said.label, said.probability)]
        )
    writer.add(annotator.drawn(one.image, time=moment.time, said=told, objects=said.objects or ()), moment.time)
