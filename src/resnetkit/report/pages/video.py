"""The page of a video: its time in a picture, its events in a table, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from resnetkit import files
from resnetkit.inference.video.events import Event
from resnetkit.inference.video.timeline import MOST_EVENTS
from resnetkit.report.pages.page import page_templates
from resnetkit.report.timelines import Picture, clock
from resnetkit.words import duration, percent


def write_video_page(shown: Sequence[tuple[Picture, Sequence[Event]]], path: Path, *, model: str) -> None:
    """Write the page of one video or several to `path`: the picture of each, and its longest events."""
    files.write_text(path, render(shown, model=model))


def render(shown: Sequence[tuple[Picture, Sequence[Event]]], *, model: str) -> str:
    """Return the page as HTML; names from outside are escaped."""
    videos = [
        (picture, [_cells(event, max(one.end for one in events)) for event in events]) for picture, events in shown
    ]
    return (
        page_templates()
        .get_template("video.html")
        .render(videos=videos, model=model, version=version("resnetkit"), most=MOST_EVENTS)
    )


def _cells(event: Event, longest: float) -> tuple[str, ...]:
    start, end = (clock(round(time, 1), longest) for time in (event.start, event.end))
    frames = f"{event.first_frame:,} to {event.last_frame:,}"
    return event.label, start, end, duration(event.seconds), frames, _sure(event)


def _sure(event: Event) -> str:
    return f"score {percent(event.score)}" if event.probability is None else percent(event.probability)
