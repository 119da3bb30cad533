"""`resnetkit predict` where its sources are videos."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetkit.cli.progress import ConsoleWatcher
from resnetkit.data.opening.video import is_stream, is_video
from resnetkit.errors import InterruptedRun, signal_of

if TYPE_CHECKING:
    from resnetkit.api import Model
    from resnetkit.api.video import Looking
    from resnetkit.inference.output.rows import RowOf
    from resnetkit.inference.prediction import Prediction


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a person asks of videos, as typed."""

    every: str | None
    smooth: str | None
    track: bool
    aggregate: str | None

    def refuse_without_videos(self) -> None:
        """Raise `UsageError` for what only videos have."""
        for option, value in {"--every": self.every, "--smooth": self.smooth, "--track": self.track or None}.items():
            if value is not None:
                raise click.UsageError(f"{option} is for videos, and SOURCE names none")


def are_videos(sources: Sequence[str]) -> bool:
    """Tell whether sources are videos; raises `UsageError` where only some are."""
    videos = [source for source in sources if is_video(source)]
    if videos and len(videos) < len(sources):
        other = next(source for source in sources if source not in videos)
        raise click.UsageError(f"{videos[0]} is a video and {other} is not: name them in two commands")
    return bool(videos)


def refuse_of_pictures(given: dict[str, Any]) -> None:
    """Raise `UsageError` for options that pictures alone have."""
    for option, value in given.items():
        if value is not None:
            raise click.UsageError(f"{option} is for pictures, and SOURCE is a video: leave it out")


def predict_videos(
    opened: Model, sources: Sequence[str], asked: Asked, console: ConsoleWatcher, *, top_k: int,
    batch_size: int | None, output: str | None, form: str,
) -> int:  # fmt: skip
    """Write a row for each frame, or one for each video, to stdout or to a file, and return the exit code."""
    from resnetkit.api import video
    from resnetkit.inference import output as outputs
    from resnetkit.inference.video import smoothing

    looking = video.Looking(
        thinned=video.every(asked.every), smoothing=None if asked.smooth is None else smoothing.asked(asked.smooth),
        track=asked.track, batch_size=batch_size, say=console.note,
    )  # fmt: skip
    keeping = output is not None and not any(map(is_stream, sources))
    kept = [Path(f"{output}.seen{number or ''}") for number in range(len(sources))] if keeping else []
    gives: RowOf = opened.gives if asked.aggregate is None else "cases"
    of_frames = gives != "cases"
    tally = outputs.Tally(gives, of_frames)
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(
            _writer(output, form, top_k=top_k, gives=gives, classes=opened.classes, video=of_frames)
        )
        show = stack.enter_context(console.counting("naming frames"))
        try:
            for number, source in enumerate(sources):
                place = replace(looking, kept=kept[number] if keeping else None)
                for prediction in _answers(opened, source, place, asked, top_k=top_k):
                    write(prediction)
                    tally.add(prediction)
                    show(tally.total, None)
        except KeyboardInterrupt as stopped:
            if keeping:
                raise InterruptedRun(
                    f"stopped after {tally.total:,} frames, which {kept[0]} keeps: the same command goes on",
                    signal_number=signal_of(stopped),
                ) from None
            raise
    for path in kept:
        path.unlink(missing_ok=True)
    if output is not None or tally.errors or tally.unread:
        console.note(f"{tally}" + (f"; rows in {output}" if output else ""))
    return tally.exit_code


def _answers(opened: Model, source: str, looking: Looking, asked: Asked, *, top_k: int) -> Iterator[Prediction]:
    from resnetkit.api import video

    if asked.aggregate is not None:
        yield video.predict_clip(opened, source, looking, how=asked.aggregate, top_k=top_k)
        return
    with contextlib.closing(video.predict_video(opened, source, looking, top_k=top_k)) as answers:
        yield from answers


def _writer(output: str | None, form: str, **what: Any) -> contextlib.AbstractContextManager[Callable[[Any], None]]:
    from resnetkit.inference import output as outputs

    if output is not None:
        return outputs.to_file(Path(output), **what)
    del what["classes"]
    return outputs.to_stream(sys.stdout, format=form, **what)  # type: ignore[arg-type]
