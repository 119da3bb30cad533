"""What a page of a run shows, as plain values, and what each task says on it where others say other things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnetkit.models.choice import Choice
from resnetkit.report.pages.thumbnails import Album

if TYPE_CHECKING:
    from PIL import Image

# A row of predictions.csv with its numbers and truths as such, and what `Sections.told` adds.
Answer = Mapping[str, Any]
# A row to its whole picture, at least as large as asked; raises `ResNetKitError` where it cannot be had.
Opener = Callable[..., "Image.Image"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatOnError:
    """A wrong row with the heat maps of what was said and what it is.

    `picture` and the `uri` of each of `maps` are data addresses; a map has label, probability, verdict, deletion and
    random (deletion of random maps).
    """

    row: Answer
    picture: str
    maps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a run's files say, as plain values; None or empty where a run lacks it.

    `counts`: class -> part -> pictures, each under all of its labels; `pictures`: part -> pictures. `findings`: what
    the pass over the data found, None where it was not kept. `album`: None without photos. `notes`: sentences about
    pictures, `heat_note` why there are no heat maps. `by_column`: figures by the values of columns, with the name of
    the evaluation that asked for them. `facts` has pairs for the lists `training`, `machine`, `size`, `speed`,
    `versions`.
    """

    name: str
    version: str
    metrics: Mapping[str, Any] | None
    rows: Sequence[Answer]
    history: Sequence[Mapping[str, Any]]
    choice: Choice | None
    counts: Mapping[str, Mapping[str, int]]
    findings: Sequence[str] | None
    facts: Mapping[str, Sequence[tuple[str, str]]]
    commands: Sequence[str]
    pictures: Mapping[str, int]
    album: Album | None
    notes: Sequence[str] = ()
    heat: Sequence[HeatOnError] = ()
    heat_note: str = ""
    picture_side: int = 224
    by_column: Sequence[tuple[str, Mapping[str, Any]]] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sections:
    """What a task says on the page of a run.

    `unit`: what it tells apart, as a word for several. `headline(metrics, choice=)` and `tiles(metrics)` are the
    figures at the top, `values(content)` what the template shows of the scored pictures. `told(row)` is what a row of
    predictions.csv says beyond its text, `album(rows, opener, metrics=, seconds=)` the pictures that the page shows.
    `explained`: whether heat maps say what speaks for an answer.
    """

    unit: str
    headline: Callable[..., dict[str, Any]]
    tiles: Callable[[Mapping[str, Any]], list[dict[str, str]]]
    values: Callable[[Content], dict[str, Any]]
    told: Callable[[Mapping[str, str]], dict[str, Any]]
    album: Callable[..., Album]
    explained: bool
