"""Pictures that are one picture: which of a set stay on one side when it is divided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from resnetkit.data import copies
from resnetkit.data.copies import sequences
from resnetkit.data.dataset import Dataset, Item, Split
from resnetkit.data.decoded.survey import Survey
from resnetkit.data.prepared import Division, Pair


@dataclass(frozen=True, kw_only=True, slots=True)
class Alike:
    """Pairs that are one picture: `near` saved again or resized, `identical` of one content; and neighbours in `clips`.

    `notes`: what to say of them.
    """

    near: copies.Pairs
    identical: copies.Pairs
    clips: copies.Pairs
    notes: tuple[str, ...]

    @property
    def pairs(self) -> copies.Pairs:
        """All of them."""
        return *self.near, *self.identical, *self.clips

    def near_in(self, by_part: Mapping[Split, Sequence[Item]]) -> list[Pair]:
        """Return the pairs saved again or resized, with the parts that their pictures came to."""
        items = {item.source: item for members in by_part.values() for item in members}
        return [(items[one.source], items[two.source]) for one, two in self.near]


def alike_in(dataset: Dataset, surveyed: Survey, division: Division, *, draws: bool) -> Alike:
    """Return the pictures of a set that are one picture, as far as `division` wants them kept together.

    `draws`: whether it is yet to be divided. Then all pairs that are saved again or resized count, else those of two
    parts. Then, too, the frames of a clip stay together.
    """
    near, notes = (), ()  # type: tuple[copies.Pairs, tuple[str, ...]]
    clips = list[list[Item]]()
    if division.rows is None and division.keep_together == "copies":
        near, notes = _near(dataset, surveyed, draws=draws)
        clips = _clips(dataset, surveyed) if draws else []
    identities = surveyed.digests if division.keep_together == "files" else surveyed.identities
    if draws and division.rows is None:
        notes += _kept_together(dataset, identities, near)
    neighbours = tuple(pair for members in clips for pair in sequences.pairs(members))
    notes += sequences.said(clips)
    return Alike(near=near, identical=tuple(_identical(dataset, identities)), clips=neighbours, notes=notes)


def _clips(dataset: Dataset, surveyed: Survey) -> list[list[Item]]:
    train = [item for item in dataset.items if item.split == "train"]
    return sequences.clips_in(train, {source: content.bright for source, content in surveyed.contents.items()})


def _near(dataset: Dataset, surveyed: Survey, *, draws: bool) -> tuple[copies.Pairs, tuple[str, ...]]:
    """Return the pairs, where training is held apart from something, and what is to be said of it."""
    present = {item.split for item in dataset.items}
    if "train" not in present or not (draws or len(present) > 1):
        return (), ()
    if len(dataset) > copies.MOST:
        return (), (f"copies are not looked for among {len(dataset):,} images: resnetkit check looks for them",)
    return copies.copies_of(dataset, surveyed, parts_alone=not draws), ()


def _kept_together(dataset: Dataset, identities: Mapping[str, str], near: Sequence[Pair]) -> tuple[str, ...]:
    """Say how many training pictures stay on one side because they are one picture; those of one group do anyway."""
    train = [item for item in dataset.items if item.split == "train" and item.source in identities]
    wholes: dict[str, set[str]] = defaultdict(set)
    for item in train:
        wholes[identities[item.source]].add(item.group or item.source)
    again = {item.source for pair in near if _apart(*pair) for item in pair}
    same = sum(len(wholes[identities[item.source]]) > 1 for item in train)
    found = ((same, "identical with"), (len(again), "copies of"))
    said = " and ".join(f"{count:,} are {what} others" for count, what in found if count)
    if not said:
        return ()
    return (f"Of the images {said}: those of one picture stay on one side (see --set keep_together).",)


def _apart(one: Item, other: Item) -> bool:
    """Tell whether two pictures train and might, but for being one, be parted."""
    return one.split == other.split == "train" and (one.group is None or one.group != other.group)


def _identical(dataset: Dataset, identities: Mapping[str, str]) -> Iterator[Pair]:
    """Yield each picture that is an earlier one, with that."""
    first: dict[str, Item] = {}
    for item in dataset.items:
        if item.source in identities and (other := first.setdefault(identities[item.source], item)) is not item:
            yield other, item
