"""What a model has seen, by its file or by the run that it lies in, and which pictures may therefore count for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resnetkit.data.fingerprint import digests_of
from resnetkit.errors import UsageError
from resnetkit.models.choice import choice_in
from resnetkit.models.seen import LEFT_OUT, Mark, Seen, are_among

if TYPE_CHECKING:
    from resnetkit.data.dataset import Dataset, Item, Split
    from resnetkit.data.decoded.survey import Survey
    from resnetkit.models.checkpoint import Header
    from resnetkit.training.run import RunFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What is `known` of what a model has seen, to judge pictures by, and what a copy of it `tells`.

    They differ where the file tells nothing, and the run that it lies in does. `held_out`: keys of what the run held
    out, those that calibrated the model where the run is not there.
    """

    known: Seen
    tells: Seen
    held_out: str = ""


def memory_of(header: Header, *, path: Path | None, run: RunFolder | None) -> Memory:
    """Return what the model of a file knows; a run tells it of files of older versions and of those that say nothing.

    A file in a run's folder is taken for one of the run's.
    """
    told = header.trained_on
    if run is None:
        return Memory(known=told, tells=told, held_out=told.calibrated)
    from resnetkit.training.choosing import ended_by_patience
    from resnetkit.training.lineage import lineage_of

    of_run = lineage_of(run)
    is_last = path is not None and path.name == run.last.name
    if told.known or told.pictures:
        told = replace(told, scored=told.scored or of_run.scored)
        if is_last and ended_by_patience(run):
            told = told.and_chosen(of_run.held_out)
        return Memory(known=told, tells=told, held_out=of_run.held_out)
    chosen = choice_in(header.chosen)
    selected = ended_by_patience(run) if is_last else chosen is None or chosen.selected
    known = of_run.of_model(selected=selected)
    return Memory(known=known, tells=told if told.why == LEFT_OUT else known, held_out=of_run.held_out)


def trained_among(seen: Seen, items: Sequence[Item], surveyed: Survey) -> frozenset[str]:
    """Return the sources of pictures that trained or chose weights to start from, or share a group with those."""
    marks = _marks(seen, items, surveyed)
    return frozenset(item.source for item, mark in zip(items, marks, strict=True) if mark is not None)


def of_training(name: str, *, trained: int, left_out: int, held_out: int, total: int) -> str:
    """Say how many of `total` pictures are not new to the weights that a run begins with, and what becomes of them.

    `trained` of them train again, `left_out` were given to select or to score.
    """
    whom = f"{name} or what it began from"
    if trained + left_out == total:
        return f"All {total:,} pictures are known to {whom}: none is new to hold out, so nothing is scored."
    said = []
    if trained:
        others = f"; the {held_out:,} held out are new" if held_out else ""
        said.append(f"{trained:,} of these pictures are known to {whom}, and train again{others}.")
    if left_out:
        said.append(f"{left_out:,} of val or test are known to {whom}: left out, as `seen` in split.csv.")
    return " ".join(said)


def by_memory(
    dataset: Dataset, surveyed: Survey, memory: Memory, *, name: str, asked: str
) -> tuple[Dataset, list[str]]:
    """Put what trained the model into the training part, so that it is scored only where that is asked for.

    What its run held out of that part becomes validation or test, as it was in the run; what has no part and did not
    train joins the test part where there is one of the run, else validation.

    Raises `UsageError` where nothing else is left of what was asked for.
    """
    items, part = dataset.items, asked if asked in ("val", "test") else None
    marks = _marks(memory.known, items, surveyed)
    trained = sum(mark == "trained" for mark in marks)
    contents = digests_of(items, surveyed)
    tested = are_among(memory.known.scored, contents)
    if not trained and not any(tested):
        return dataset, unknown(memory.known, name)
    grouped = any(item.group is not None for item in items)  # a group is known by its name alone
    whom = ", or others of their groups, trained " if grouped else " trained "
    whom += f"{name} or what it began from" if memory.known.ancestors else name
    wanted = [mark for item, mark in zip(items, marks, strict=True) if part in (None, item.split)]
    if asked != "train" and wanted and all(mark == "trained" for mark in wanted):
        raise UsageError(
            f"all {len(wanted):,} pictures{whom}: give it others, or score it on what it learnt from with --split train"
        )
    held_out = are_among(memory.held_out, contents)
    beside: Split = "test" if any(tested) else "val"
    items = tuple(
        replace(item, split="train" if mark == "trained" else _part(item, own, test, beside=beside))
        for item, mark, own, test in zip(items, marks, held_out, tested, strict=True)
    )
    note = f"{trained:,} of these pictures{whom}; they are scored only with --split train"
    return replace(dataset, items=items), [note] * bool(trained) + unknown(memory.known, name)


def _part(item: Item, held_out: bool, tested: bool, *, beside: Split) -> Split:
    """Return the part of a picture that did not train the model; one that is in no part of its run joins `beside`."""
    if item.split in ("val", "test"):
        return item.split
    if tested or held_out:
        return "test" if tested else "val"
    return item.split or beside


def without_choosers(
    dataset: Dataset, surveyed: Survey, seen: Seen, *, name: str, part: str
) -> tuple[Dataset, list[str]]:
    """Leave pictures that chose the model out of the part to score; where there are no others, say what they are."""
    if part == "train":
        return dataset, []
    items = [item for item in dataset.items if part in ("all", item.split)]
    chose = {item.source for item, mark in zip(items, _marks(seen, items, surveyed), strict=True) if mark == "chose"}
    if not chose:
        return dataset, []
    if len(chose) == len(items):
        return dataset, [f"these {len(chose):,} pictures chose {name}: their figures are better than those of others"]
    others = tuple(item for item in dataset.items if item.source not in chose)
    note = f"{len(chose):,} of these pictures chose {name} among its epochs: they are not counted"
    return replace(dataset, items=others), [note]


def not_counted(given: Dataset, left: Dataset, *, part: str) -> int:
    """Return how many pictures that were given for a part, or without parts, are not in it for what the model saw."""
    there = {item.source for item in left.items if part in ("all", item.split)}
    return 0 if part == "train" else sum(i.split in (None, part) and i.source not in there for i in given.items)


def _marks(seen: Seen, items: Sequence[Item], surveyed: Survey) -> list[Mark | None]:
    return seen.marks(digests_of(items, surveyed), [item.group for item in items])


def unknown(seen: Seen, name: str) -> list[str]:
    """Say that pictures cannot be told to be new, where not all is known."""
    if seen.known:
        return []
    if seen.by_bytes:
        return [f"what {name} was trained on {seen.why}: those pictures saved again count all the same"]
    whom = f"the weights {name} began from were" if seen.trained else f"{name} was"
    return [f"what {whom} trained on {seen.why}: if it was on these pictures, they count all the same"]
