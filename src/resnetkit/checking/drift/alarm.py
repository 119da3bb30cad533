"""What a watch says: which picture, since when, of which kind the alarm is, and the pictures that speak for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from resnetkit.checking.drift.looks import Difference
from resnetkit.words import duration

Kind = Literal["drift", "still"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A picture of today: its number among all, from 1, what it is called, and in a video its time in seconds."""

    number: int
    source: str
    time: float | None = None

    @property
    def words(self) -> str:
        """Say which it is."""
        return f"picture {self.number:,} ({self.source})"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"picture": self.number, "source": self.source, "time": self.time}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A picture that speaks for an alarm: `share` of what all say together, `[h, w, C] uint8` `pixels`, made small."""

    sighting: Sighting
    share: float
    pixels: np.ndarray = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """Pictures differ from the reference (`drift`), or are one and the same (`still`), `since` when, told `at`.

    `pictures`: how many it rests on, of drift those that count and differ, of a still picture its copies in a row;
    `seconds`: how long it stands still, by the time of frames, None without. `or_before`: drift began before what is
    remembered. `level`: where the chart stood, and its `limit`; `looks`: what differs to the eye; `shown`: of drift
    those of the last 256 that say it most, of a still picture its first and its last.
    """

    kind: Kind
    at: Sighting
    since: Sighting
    pictures: int
    seconds: float | None = None
    or_before: bool = False
    level: float
    limit: float
    looks: tuple[Difference, ...]
    shown: tuple[Shown, ...] = field(repr=False)

    @property
    def title(self) -> str:
        """Say it in a few words."""
        what = "the pictures differ" if self.kind == "drift" else "the picture stands still"
        return f"since picture {self.since.number:,} {what}"

    @property
    def plain(self) -> str:
        """Say what differs to the eye, empty where nothing does."""
        return "; ".join(look.words for look in self.looks)

    @property
    def why(self) -> str:
        """Say what is seen: of drift how pictures differ, of a still picture what that may be."""
        if self.kind == "still":
            return "a frozen stream, a covered lens or a scene at rest"
        return self.plain or "what the network sees, nothing plain to the eye"

    @property
    def lasts(self) -> str:
        """Say how long it lasts: `for 20 s, 20 copies in a row`."""
        time = "" if self.seconds is None else f"for {duration(self.seconds)}, "
        return time + f"{self.pictures:,} {'that count' if self.kind == 'drift' else 'copies in a row'}"

    @property
    def words(self) -> str:
        """Say it in a line."""
        if self.kind == "drift":
            before = " or before" if self.or_before else ""
            return (
                f"since {self.since.words}{before} the pictures differ from the reference: {self.why}; told at "
                f"{self.at.words}, after {self.lasts}"
            )
        unlike = f" ({self.plain})" if self.looks else ""
        return f"the picture stands still since {self.since.words}, {self.lasts}{unlike}: {self.why}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "kind": self.kind, "at": self.at.to_json(), "since": self.since.to_json(), "or_before": self.or_before,
            "pictures": self.pictures, "seconds": self.seconds, "level": self.level, "limit": self.limit,
            "looks": {
                look.name: {"now": look.now, "reference": look.reference, "deviations": look.deviations}
                for look in self.looks
            },
            "shown": [one.sighting.to_json() for one in self.shown],
        }  # fmt: skip
