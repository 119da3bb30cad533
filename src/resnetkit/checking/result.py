"""What a check found, as values: findings by kind, in words, as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from resnetkit.checking.forecast import Forecast
from resnetkit.checking.shortcuts import Shortcuts
from resnetkit.data.dataset import Item
from resnetkit.data.findings import Report
from resnetkit.data.marks import Object

# In the order in which they matter.
KINDS = {
    "annotation": "faults in the annotations: what they are of is left out",
    "unreadable": "cannot be read",
    "damaged": "the JPEG's data is damaged, though it decodes",
    "identical across": "identical pictures in two parts",
    "two labels": "identical pictures in two classes",
    "marked differently": "identical pictures with other objects",
    "near across": "the same picture, saved again or resized, in two parts",
    "group across": "pictures of one group in two parts",
    "label": "the label may be wrong",
    "shortcut": "the class can be told from the border or a column alone",
    "near, two labels": "the same picture, saved again or resized, in two classes",
    "identical": "identical pictures",
    "near": "the same picture, saved again or resized",
    "marked twice": "two boxes of one class, nearly the same: one object marked twice?",
    "two names": "two boxes of two classes, nearly the same",
    "odd size": "objects much larger or smaller than others of their class",
    "giant object": "objects that fill their picture",
    "cut ones missing": "no object ends at the border, where by the other pictures some would: are cut ones left out?",
    "doubtful": "perhaps one photo, cut or mirrored; perhaps two that are alike",
    "burnt-in text": "text in the pixels of DICOM files, which may tell who is pictured: nothing here removes it",
    "blank": "nothing to be seen",
    "dark": "over-dark",
    "blurred": "less sharp than the others",
    "tiny": "much smaller than the others",
    "extreme shape": "much longer than wide",
    "wrong suffix": "the suffix says another format",
    "rotated": "turned by EXIF alone",
    "odd mode": "neither RGB nor grey",
    "several pages": "files of several pages or frames, of which one is used",
    "same name": "names that differ by case alone",
    "few images": "far fewer images than the largest class",
    "few objects": "far fewer objects than the largest class",
    "tiny object": "objects too small to be seen well by the light detector",
    "crowded": "more objects than a detector returns",
    "no object": "nothing is marked: taken as background",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something wrong with `sources` (one picture, or those that belong together), in words.

    `score`: how sure it is, for copies the similarity of details, for labels the probability that the given one is
    right (small: it is wrong), for boxes how much they overlap, for objects missing at the border how likely that is by
    chance; None where it is certain. `marks`: the objects that it is about, of one picture.
    """

    kind: str
    sources: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    why: str
    score: float | None = None
    marks: tuple[Object, ...] = ()

    @classmethod
    def of(
        cls, kind: str, items: Sequence[Item], why: str, score: float | None = None, *, marks: Sequence[Object] = ()
    ) -> Finding:
        """Return what is found of pictures."""
        return cls(
            kind=kind, sources=tuple(item.source for item in items), labels=tuple(item.written for item in items),
            splits=tuple(str(item.split) for item in items), why=why, score=score, marks=tuple(marks),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, with the boxes of its objects where it is about some."""
        values = {
            "kind": self.kind, "sources": self.sources, "labels": self.labels, "splits": self.splits, "why": self.why,
            "score": self.score,
        }  # fmt: skip
        objects = [{"label": mark.label, "box": [round(side, 2) for side in mark.box]} for mark in self.marks]
        return values | ({"objects": objects} if objects else {})

    def __post_init__(self) -> None:
        assert self.kind in KINDS
        assert len(self.sources) == len(self.labels) == len(self.splits)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """The findings of a check, the most serious kinds first.

    `report`: what is said of the set as a whole. `notes`: what was not looked for, and why. `groups`: source -> a name
    shared by pictures that have to stay on one side of a split. `left_out`: source -> why the clean list lacks it.
    `forecast`: what twice as many pictures would bring, `shortcuts`: what tells the class; None where `notes` says
    why, or nobody asked.
    """

    name: str
    items: tuple[Item, ...] = field(repr=False)
    report: Report = field(repr=False)
    findings: tuple[Finding, ...] = field(repr=False)
    notes: tuple[str, ...] = ()
    groups: dict[str, str] = field(default_factory=dict, repr=False)
    left_out: dict[str, str] = field(default_factory=dict, repr=False)
    forecast: Forecast | None = field(default=None, repr=False)
    shortcuts: Shortcuts | None = field(default=None, repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """Return kind -> number of findings, the most serious first; kinds without any are absent."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        assert kind in KINDS
        return tuple(finding for finding in self.findings if finding.kind == kind)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values: the content of check.json."""
        return {
            "data": self.name, "count": len(self.items), "counts": self.counts,
            "findings": [finding.to_json() for finding in self.findings], "sentences": list(self.report.sentences),
            "report": self.report.to_json(), "notes": list(self.notes), "left_out": self.left_out,
            "forecast": None if self.forecast is None else self.forecast.to_json(),
            "shortcuts": None if self.shortcuts is None else self.shortcuts.to_json(),
        }  # fmt: skip

    def __repr__(self) -> str:
        found = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items())
        return f"{self.name}: {len(self.items):,} images; {found or 'nothing found'}"
