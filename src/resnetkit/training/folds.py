"""A run that holds out every picture in turn: what it refuses, and the pictures of one of its folds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from resnetkit.data.dataset import Item, Split
from resnetkit.data.fingerprint import content_of, fingerprint
from resnetkit.data.folds import Folds
from resnetkit.data.prepared import Part, Prepared
from resnetkit.errors import UsageError
from resnetkit.runtime import Place
from resnetkit.training.recipe import Recipe


def check_folds(folds: int, recipe: Recipe, place: Place) -> None:
    """Raise `UsageError` for what makes the figure of folds another than that of the model they stand for."""
    if recipe.select != "last":
        patience = recipe.budget.patience
        raise UsageError(
            f"--folds {folds} scores each fold, so none may choose the epoch: leave "
            f"{f'budget.patience={patience}' if patience else f'select={recipe.select}'} out, or --folds"
        )
    if recipe.budget.minutes is not None:
        raise UsageError(
            f"--folds {folds} trains networks of one length, and budget.minutes={recipe.budget.minutes:g} would give "
            "each its own: say --epochs N"
        )
    if place.launched:
        raise UsageError(f"--folds {folds} trains its networks one after another in one process: leave torchrun out")


def without_fold(prepared: Prepared, number: int) -> Prepared:
    """Return the data of one fold: its pictures are the val part, all others train; a test part is not in it.

    No picture is copied or decoded again.
    """
    folds, train = prepared.folds, prepared.parts["train"]
    assert folds is not None, "this run has no folds"
    inside = folds.numbers == number
    scored = replace(train, pixels=folds.pixels)
    parts: dict[Split, Part] = {
        "train": _only(train, np.flatnonzero(~inside)), "val": _only(scored, np.flatnonzero(inside), "val"),
    }  # fmt: skip
    return _with_parts(prepared, parts)


def held_out(prepared: Prepared) -> tuple[Part, np.ndarray]:
    """Return all pictures that some fold holds out, as one part, and the fold of each."""
    folds = prepared.folds
    assert folds is not None, "this run has no folds"
    rows = folds.held_out
    return _only(replace(prepared.parts["train"], pixels=folds.pixels), rows, "val"), folds.numbers[rows]


def words_of(folds: Folds) -> str:
    """Return the line of the plan that says what becomes of the pictures."""
    sizes, known = folds.sizes, len(folds.numbers) - len(folds.held_out)
    each = f"{min(sizes):,} to {max(sizes):,}" if min(sizes) < max(sizes) else f"{sizes[0]}"
    always = f"; {known:,} that the starting weights know train in all of them" if known else ""
    held = len(folds.held_out)
    return (
        f"folds     {folds.count}: each of {held:,} pictures is held out once, {each} at a time{always};\n"
        f"          then one more fit, the model that ships, on all {len(folds.numbers):,}"
    )


def _only(part: Part, rows: np.ndarray, split: Split = "train") -> Part:
    items = tuple(replace(part.items[row], split=split) for row in rows)
    contents = tuple(part.contents[row] for row in rows)
    return Part(
        items=items, targets=part.targets[rows], pixels=part.pixels.only(rows), contents=contents,
        content=content_of(digests[0] for digests in contents), sizes=None if part.sizes is None else part.sizes[rows],
        views=tuple(part.views[row] for row in rows) if part.views else (),
    )  # fmt: skip


def _with_parts(prepared: Prepared, parts: dict[Split, Part]) -> Prepared:
    """Return the data with other parts of the same pictures."""
    digests = {source: digest for source, digest, _, _ in prepared.records}
    items = [item for part in parts.values() for item in part.items]
    records = tuple(sorted((item.source, digests[item.source], item.said, str(item.split)) for item in items))
    pictures = {part: len(of.items) for part, of in parts.items()}
    counts = _counts(prepared.classes, items)
    report = replace(prepared.report, counts=counts, pictures=pictures, across=(), near=())
    return replace(
        prepared, parts=parts, records=records, fingerprint=fingerprint(records), report=report, left_out=(), folds=None
    )


def _counts(classes: Sequence[str], items: Iterable[Item]) -> dict[str, dict[Split, int]]:
    counted: dict[str, Counter[Split]] = defaultdict(Counter)
    for item in items:
        assert item.split is not None
        for label in item.labels or ():
            counted[label][item.split] += 1
    return {name: dict(counted[name]) for name in classes}
