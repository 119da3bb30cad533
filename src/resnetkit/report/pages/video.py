"""The page of a video: its time in a picture, its events in a table, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    videos = [(picture, _table(events)) for picture, events in shown]
    return page_templates().get_template("video.html").render(videos=videos, model=model, version=version("resnetkit"))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    """What is told of events: a `caption`, the names of `columns`, and `rows` of them."""

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def _table(events: Sequence[Event]) -> _Table:
    tracks = any(event.track is not None for event in events)
    # States have probabilities always, tracks where the detector is calibrated for them.
    sure = "score" if any(event.probability is None for event in events) else "probability"
    which = f", the {MOST_EVENTS} longest" * (len(events) == MOST_EVENTS)
    if not tracks:
        caption = f"Events{which}; the {sure} is the mean of the smoothed ones"
    elif sure == "score":
        caption = f"Tracks{which}; the score is the mean of those of their boxes, and is not calibrated"
    else:
        caption = f"Tracks{which}; the probability is that their boxes are right"
    longest = max((event.end for event in events), default=0.0)
    return _Table(
        caption=caption, columns=("label", *["track"] * tracks, "from", "to", "long", "frames", sure),
        rows=[_cells(event, longest, tracks=tracks, sure=sure) for event in events],
    )  # fmt: skip


def _cells(event: Event, longest: float, *, tracks: bool, sure: str) -> tuple[str, ...]:
    start, end = (clock(round(time, 1), longest) for time in (event.start, event.end))
    frames = f"{event.first_frame:,} to {event.last_frame:,}"
    figure = event.score if sure == "score" else event.probability
    known = "" if figure is None else percent(figure)
    return event.label, *[f"#{event.track}"] * tracks, start, end, duration(event.seconds), frames, known
