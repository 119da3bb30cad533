"""One object that was found on a picture, as people and programs are told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from resnetkit.data.marks import Box, Mask


@dataclass(frozen=True, slots=True)
class Detected:
    """What an object is, how sure that is, and where: `box` in pixels of the upright original, (0, 0) its outer corner.

    `box`: left, top, right, bottom; `mask`: its pixels, of networks that find them; `track`: the number that it has
    through its video, where frames were joined. `score` is what the network says, `probability` how probably the box
    is right (`Platt`), None where no held-out pictures fitted that.
    """

    label: str
    score: float
    box: Box
    mask: Mask | None = field(default=None, repr=False)
    track: int | None = None
    probability: float | None = None

    @property
    def sure(self) -> float:
        """What people are told of how sure it is: its probability, where that is known, else its score."""
        return self.score if self.probability is None else self.probability

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict: scores to 6 decimals, the box to 2, a mask as COCO's compressed run lengths."""
        told: dict[str, Any] = {"label": self.label, "score": round(self.score, 6)}
        told |= {} if self.probability is None else {"probability": round(self.probability, 6)}
        told["box"] = [round(edge, 2) for edge in self.box]
        track = {} if self.track is None else {"track": self.track}
        return told | track | ({} if self.mask is None else {"mask": self.mask.to_json()})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Detected:
        """Read what `to_json` wrote."""
        left, top, right, bottom = values["box"]
        mask = Mask.from_json(values["mask"]) if "mask" in values else None
        return cls(
            values["label"], values["score"], (left, top, right, bottom), mask, values.get("track"),
            values.get("probability"),
        )  # fmt: skip


def counts_of(labels: Iterable[str]) -> str:
    """Return how many of each there are, the most first.

    >>> counts_of(["RBC", "WBC", "RBC"]), counts_of([])
    ('2 RBC, 1 WBC', 'nothing')
    """
    return ", ".join(f"{count:,} {label}" for label, count in Counter(labels).most_common()) or "nothing"
