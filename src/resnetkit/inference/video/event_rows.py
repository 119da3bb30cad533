"""Events as rows of CSV or JSON lines, on a stream or in a file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

from resnetkit.errors import UsageError, near_miss
from resnetkit.files import csv_writer, replacing
from resnetkit.inference.output.rows import without_surrogates
from resnetkit.inference.video.events import Event

Format = Literal["csv", "jsonl"]
COLUMNS = (
    "video", "label", "start", "end", "seconds", "first_frame", "last_frame", "frames", "unanswered", "probability",
    "greatest", "score", "lag", "track",
)  # fmt: skip
_FORMATS: tuple[Format, ...] = get_args(Format)


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix asks for; raises `UsageError` for any other."""
    known: dict[str, Format] = {f".{name}": name for name in _FORMATS}
    suffix = path.suffix.lower()
    if suffix not in known:
        names = " or ".join(known)
        raise UsageError(
            f"--events {path.name}: the suffix sets the format and must be {names}{near_miss(suffix, known)}"
        )
    return known[suffix]


@contextlib.contextmanager
def to_file(path: Path) -> Iterator[Callable[[Event], None]]:
    """Yield the function that adds an event to `path`; the file appears, whole, when the block ends well."""
    format = format_of(path)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        yield to_stream(stream, format=format)


def to_stream(stream: TextIO, *, format: Format) -> Callable[[Event], None]:
    """Return the function that writes an event to `stream` at once, as a row under `COLUMNS` or a JSON object."""
    if format == "jsonl":
        return lambda event: print(
            without_surrogates(json.dumps(plain(event), ensure_ascii=False)), file=stream, flush=True
        )
    writer = csv_writer(stream)
    writer.writerow(COLUMNS)

    def write(event: Event) -> None:
        cells = (plain(event)[name] for name in COLUMNS)
        writer.writerow(["" if cell is None else without_surrogates(str(cell)) for cell in cells])
        stream.flush()

    return write


def plain(event: Event) -> dict[str, Any]:
    """Return an event as it is written: times in seconds with 3 decimals, probabilities with 6."""
    return {
        "video": event.video, "label": event.label, "start": round(event.start, 3), "end": round(event.end, 3),
        "seconds": round(event.seconds, 3), "first_frame": event.first_frame, "last_frame": event.last_frame,
        "frames": event.frames, "unanswered": event.unanswered, "probability": _rounded(event.probability, 6),
        "greatest": _rounded(event.greatest, 6), "score": _rounded(event.score, 6),
        "lag": _rounded(event.lag, 3), "track": event.track,
    }  # fmt: skip


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
