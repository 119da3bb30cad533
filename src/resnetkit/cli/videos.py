"""`resnetkit predict` where its sources are videos."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetkit.cli.progress import ConsoleWatcher
from resnetkit.data.opening.video import ALL, Frame, Live, Moving, Thinned, is_stream, is_video
from resnetkit.data.opening.video_live import without_password
from resnetkit.errors import DataError, InterruptedRun, NetworkError, Terminated, signal_of
from resnetkit.files import left_behind
from resnetkit.words import counted

if TYPE_CHECKING:
    from resnetkit.api import Model
    from resnetkit.api.video import Made, Maker
    from resnetkit.inference.output.rows import RowOf
    from resnetkit.inference.prediction import Prediction
    from resnetkit.inference.video.looking import Looking
    from resnetkit.models.decision import Gives


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a person asks of videos, as typed."""

    rate: float | None
    every: str | None
    smooth: str | None
    track: bool
    events: tuple[str, ...]
    min_event: float | None
    draw: str | None
    aggregate: str | None

    def refuse_without_videos(self, sources: Sequence[str]) -> None:
        """Raise `UsageError` for what only videos have."""
        lists = [source for source in sources if source.lower().endswith(".csv")]
        instead = (
            f"{lists[0]} is a list of single pictures, or of intervals: name the videos themselves"
            if lists
            else "SOURCE names none; name those of a folder (FOLDER/*.mp4), of frames how many a second (--rate 25)"
        )
        only = {
            "--every": self.every, "--smooth": self.smooth, "--track": self.track, "--events": self.events,
            "--min-event": self.min_event,
        }  # fmt: skip
        for option, value in only.items():
            if value:
                raise click.UsageError(f"{option} is for videos, and {instead}")

    def refuse_for_clips(self) -> None:
        """Raise `UsageError` for what has no meaning where a video gets one answer."""
        if self.aggregate is None:
            return
        for option in ("smooth", "track", "events", "draw"):
            if getattr(self, option):
                raise click.UsageError(f"--{option} is of frames, and --aggregate answers for videos: give one of them")


def are_videos(sources: Sequence[str], *, rate: float | None) -> bool:
    """Tell whether sources are videos, folders with a `rate` among them.

    Raises `UsageError` where only some are, and for a rate of what has its own.
    """
    videos = [source for source in sources if is_video(source) or (rate is not None and Path(source).is_dir())]
    if videos and len(videos) < len(sources):
        other = next(source for source in sources if source not in videos)
        raise click.UsageError(f"{videos[0]} is a video and {other} is not: name them in two commands")
    if rate is not None and not videos:
        raise click.UsageError("--rate is of folders of frames, and SOURCE names none")
    if timed := [source for source in videos if rate is not None and not Path(source).is_dir()]:
        raise click.UsageError(
            f"{timed[0]} has time stamps of its own, and --rate is for folders of frames: leave it out"
        )
    return bool(videos)


def refuse_of_pictures(given: dict[str, Any]) -> None:
    """Raise `UsageError` for options that pictures alone have."""
    for option, value in given.items():
        if value is not None:
            raise click.UsageError(f"{option} is for pictures, and SOURCE is a video: leave it out")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What was asked, checked before a model is opened."""

    sources: Sequence[str]
    asked: Asked
    made: Made
    looking: Looking
    smoothing: str
    kept: Sequence[Path]  # where what is seen of each source is kept meanwhile


def checked(sources: Sequence[str], asked: Asked, *, output: str | None, gives: Gives | None) -> Checked:
    """Return what is asked of a model that `gives` something, None where that is not known yet.

    Raises `UsageError` for what has no meaning, for paths that are not there, and for what another command is making.
    """
    from resnetkit.api.video import Made
    from resnetkit.inference.video.events import Wanted
    from resnetkit.inference.video.kept import refuse_taken
    from resnetkit.inference.video.looking import Looking, every
    from resnetkit.inference.video.smoothing import asked as smoothing
    from resnetkit.models.decision import GIVEN

    asked.refuse_for_clips()
    if asked.track and gives not in ("objects", None):
        raise click.UsageError(f"--track joins objects, and the model gives {GIVEN[gives]}: leave it out")
    sources = list(dict.fromkeys(sources))
    for source in sources:
        if not is_stream(source) and not Path(source).exists():
            raise click.UsageError(f"{source}: no such file")
        if not (is_stream(source) or Path(source).is_file() or Path(source).is_dir()):
            raise click.UsageError(f"{source}: is neither a file nor a folder")
    written = [Path(path).absolute() for path in (output, asked.draw, *asked.events) if path is not None]
    if twice := next((path for number, path in enumerate(written) if path in written[:number]), None):
        raise click.UsageError(f"{twice.name} is to hold two things: name a file for each")
    if asked.min_event is not None and not asked.events:
        raise click.UsageError("--min-event is of events: add --events FILE")
    made = Made(
        events=tuple(map(Path, asked.events)), draw=None if asked.draw is None else Path(asked.draw),
        wanted=Wanted(least=asked.min_event or 0.0),
    )  # fmt: skip
    made.check(sources)
    steady = asked.smooth or ("none" if asked.events else "")
    looking = Looking(
        thinned=every(asked.every), smoothing=smoothing(steady) if steady else None, track=asked.track,
        images=asked.draw is not None,
    )  # fmt: skip
    live, place = any(map(is_stream, sources)), output or next(iter(asked.events), asked.draw)
    kept = [Path(f"{place}.seen{number or ''}") for number in range(len(sources)) if place is not None and not live]
    for path in kept:
        refuse_taken(path)
    return Checked(sources=sources, asked=asked, made=made, looking=looking, smoothing=steady, kept=kept)


def predict_videos(
    opened: Model, wanted: Checked, console: ConsoleWatcher, *, top_k: int, batch_size: int | None,
    output: str | None, form: str,
) -> int:  # fmt: skip
    """Write a row for each frame, or one for each video, to stdout or to a file, and return the exit code."""
    from resnetkit.api.video import Maker
    from resnetkit.inference import output as outputs

    sources, asked, made, kept = wanted.sources, wanted.asked, wanted.made, wanted.kept
    looking = replace(
        wanted.looking, batch_size=batch_size, threads=opened.runtime.threads, made_with=opened.made_with,
        say=console.note,
    )  # fmt: skip
    drawn = [made.drawn(source, sources) for source in sources if made.draw is not None]
    written = [*map(Path, [output] if output else []), *made.events, *drawn]
    _of_killed_ones(written, again=any(map(Path.exists, kept)), say=console.note)
    gives: RowOf = opened.gives if asked.aggregate is None else "cases"
    tally, stopped, lost = outputs.Tally(gives, gives != "cases"), None, None
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(
            _writer(output, form, top_k=top_k, gives=gives, classes=opened.classes, video=gives != "cases")
        )
        maker = stack.enter_context(Maker(made, opened.predictor, sources, smoothing=wanted.smoothing))
        show = stack.enter_context(console.counting("naming frames"))
        try:
            for number, source in enumerate(sources):
                here = replace(looking, kept=kept[number] if kept else None)
                with contextlib.closing(_answers(opened, source, here, asked, maker, top_k=top_k)) as answers:
                    for prediction in answers if len(sources) == 1 else _or_an_error(answers, source, asked):
                        write(prediction)
                        tally.add(prediction)
                        show(tally.total, None)
        except KeyboardInterrupt as interrupt:
            if kept:
                raise InterruptedRun(
                    f"stopped; what was seen is kept in {kept[0]}: the same command goes on"
                    + (", and writes the annotated video from its beginning" if drawn else ""),
                    signal_number=signal_of(interrupt),
                ) from None
            stopped = signal_of(interrupt)  # a stream has no end but this: what came is written
            if not tally.total:
                raise InterruptedRun(
                    "stopped before the first frame: no file is written", signal_number=stopped
                ) from None
        except NetworkError as error:
            if not tally.total:
                raise
            lost = error  # what came before is written
    for path in kept:
        path.unlink(missing_ok=True)
    for note in maker.notes:
        console.note(note)
    if output is not None or tally.errors or tally.unread or stopped or lost:
        console.note(f"{tally}" + (f"; rows in {output}" if output else ""))
    if lost is not None:
        raise lost
    return tally.exit_code if stopped is None else 128 + stopped


def _of_killed_ones(written: Sequence[Path], *, again: bool, say: Callable[[str], None]) -> None:
    """Say what killed commands left half-written; where all is made `again`, remove that, but no rows.

    These may be of a stream, which does not come again. What is another's is left to its owner.
    """
    for path in written:
        for left in left_behind(path):
            try:
                rows, size = _rows(left, path.suffix.lower()), left.stat().st_size
                if again and not rows:
                    left.unlink(missing_ok=True)
                    continue
            except OSError:
                continue
            held = f"{size / 1e6:.1f} MB" if rows is None else counted(rows, "row")
            if size:
                say(f"{path}: a command that was killed left {held} in {left}: look at it, or take it away")


def _rows(left: Path, suffix: str) -> int | None:
    """Return how many rows a file that was to have a `suffix` holds, None where it was to hold none."""
    if suffix not in (".csv", ".jsonl"):
        return None
    with open(left, "rb") as file:
        return max(0, sum(1 for _ in file) - (suffix == ".csv"))


def _or_an_error(answers: Generator[Prediction], source: str, asked: Asked) -> Generator[Prediction]:
    """Yield the answers for a video among several, and one that says why where it cannot be read."""
    from resnetkit.inference.prediction import Moment, Prediction

    try:
        yield from answers
    except DataError as error:
        of_frame = asked.aggregate is None
        yield Prediction(
            source=without_password(source), status="error", error=str(error),
            moment=Moment(frame=0, time=0.0) if of_frame else None, pictures=None if of_frame else 0,
        )  # fmt: skip


def _answers(
    opened: Model, source: str, looking: Looking, asked: Asked, maker: Maker, *, top_k: int
) -> Generator[Prediction]:
    from resnetkit.data.opening.video import open_video
    from resnetkit.inference.video.looking import Look, look_at_whole

    with open_video(source, rate=asked.rate, say=looking.say) as opened_video, _ended_well(opened_video) as video:
        if asked.aggregate is not None:
            yield look_at_whole(opened.predictor, video, looking, how=asked.aggregate, top_k=top_k)
            return
        look = Look(opened.predictor, video, looking)
        if look.lag is not None and asked.smooth is not None:
            looking.say(look.lag.words)
        with contextlib.closing(maker.of(video, look, top_k=top_k)) as said:
            yield from said


class _Ending:
    """A stream whose frames end where it is stopped or given up: what is made of them is then finished as of a file."""

    def __init__(self, live: Live) -> None:
        self._live, self.about = live, live.about
        self.why: BaseException | None = None  # it ended

    def __enter__(self) -> _Ending:
        return self

    def __exit__(self, *error: object) -> None:
        pass  # whoever opened the stream closes it

    def frames(self, thinned: Thinned = ALL, *, after: int = -1) -> Generator[Frame]:
        try:
            yield from self._live.frames(thinned, after=after)
        except NetworkError as error:
            self.why = error

    def stop(self, number: int, _: object) -> None:
        """End the frames by a signal."""
        self.why = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        self._live.stop()


@contextlib.contextmanager
def _ended_well(video: Moving) -> Iterator[Moving]:
    """Yield a video; where it is a stream, one that Ctrl-C or SIGTERM ends, and raise why it ended when all is done.

    A second signal interrupts as it does elsewhere.
    """
    if not isinstance(video, Live):
        yield video
        return
    ending, before = _Ending(video), dict[int, Any]()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: object) -> None:
        restore()
        ending.stop(number, frame)

    if threading.current_thread() is threading.main_thread():  # others cannot be told
        before.update({number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)})
    try:
        yield ending
    finally:
        restore()
    if ending.why is not None:
        raise ending.why


def _writer(output: str | None, form: str, **what: Any) -> contextlib.AbstractContextManager[Callable[[Any], None]]:
    from resnetkit.inference import output as outputs

    if output is not None:
        return outputs.to_file(Path(output), **what)
    del what["classes"]
    return outputs.to_stream(sys.stdout, format=form, **what)  # type: ignore[arg-type]
