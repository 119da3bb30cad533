"""Labels that may be wrong: what a linear head on frozen features says of pictures that it was not fitted to."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from resnetkit.checking.pictures import Look
from resnetkit.checking.result import Finding
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.survey import Progress, ordered
from resnetkit.errors import missing_extra
from resnetkit.inference.engines import Engine, overlapped
from resnetkit.models.seen import Seen
from resnetkit.training.linear import FOLDS, out_of_fold


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """A network without its head, whose `engine` gives features in place of logits.

    `seen`: what it was trained on, as far as that is known.
    """

    name: str
    engine: Engine = field(repr=False)
    preprocess: Preprocess
    seen: Seen = field(default_factory=Seen, repr=False)


def suspects(
    backbone: Backbone, dataset: Dataset, items: Sequence[Item], looks: Sequence[Look], groups: Sequence[str], *,
    threads: int, progress: Progress,
) -> tuple[list[Finding], tuple[str, ...]]:  # fmt: skip
    """Return the pictures whose label is probably wrong, the surest first, and what is to be said about the search.

    Confident learning (https://arxiv.org/abs/1911.00068, by cleanlab) on out-of-fold probabilities; `groups` stay in
    one fold. Classes with fewer than five groups are left out. Memory: the features, 4 bytes each.
    """
    enough = _in_large_classes(items, groups)
    names = sorted({str(items[number].label) for number in enough})
    few = len(items) - len(enough)
    small = f"whose classes have fewer than {FOLDS} groups or single images"
    notes = (f"not looked for: wrong labels of {few:,} images, {small}",) if few else ()
    if len(names) < 2:
        return [], notes
    items, looks = [items[number] for number in enough], [looks[number] for number in enough]
    features = _features(backbone, dataset, items, looks, threads=threads, progress=progress)
    targets = np.array([names.index(str(item.label)) for item in items])
    probabilities = out_of_fold(features, targets, groups=[groups[number] for number in enough])
    found = [
        _finding(items[number], targets[number], probabilities[number], names)
        for number in _issues(targets, probabilities)
    ]
    learnt = np.array([mark == "trained" for mark in backbone.seen.marks(*_known_by(items, looks))])
    right = probabilities.argmax(axis=1) == targets
    return found, (*notes, *_said(backbone.name, right, learnt))


def _known_by(items: Sequence[Item], looks: Sequence[Look]) -> tuple[list[tuple[str, ...]], list[str | None]]:
    pairs = ((look.digest, look.content and look.content.pixels) for look in looks)
    return [tuple(filter(None, pair)) for pair in pairs], [item.group for item in items]


def _said(name: str, right: np.ndarray, learnt: np.ndarray) -> Iterator[str]:
    """Say how far the search can be believed: `right` and `learnt`, [N] bool, what is named as labelled and known."""
    begin = f"wrong labels: looked for with a linear head on {name}"
    if not learnt.all():
        new = " and that network was not trained on" if learnt.any() else ""
        yield (
            f"{begin}; it names {right[~learnt].mean():.1%} of the pictures it was not fitted to{new} as they are "
            "labelled, the others are wrong, hard, or beyond that network"
        )
    else:
        yield f"{begin}, which was trained on these very images: how often it is right says nothing"
    if learnt.any():
        yield f"{name} was trained on {learnt.sum():,} of these images: it may have learnt wrong labels too"


def can_suspect() -> bool:
    """Tell whether wrong labels can be looked for: it needs an optional package."""
    return importlib.util.find_spec("cleanlab") is not None


def labels_are_not_seen() -> str:
    """Return what is said where it is not there."""
    return str(missing_extra("not looked for: wrong labels, which", "check"))


def _in_large_classes(items: Sequence[Item], groups: Sequence[str]) -> list[int]:
    """Return the pictures of classes that have members in each fold."""
    by_class: dict[str, set[str]] = defaultdict(set)
    for item, group in zip(items, groups, strict=True):
        by_class[str(item.label)].add(group)
    return [number for number, item in enumerate(items) if len(by_class[str(item.label)]) >= FOLDS]


def _features(
    backbone: Backbone, dataset: Dataset, items: Sequence[Item], looks: Sequence[Look], *, threads: int,
    progress: Progress,
) -> np.ndarray:  # fmt: skip
    """Return `[N, features]` float32 of all pictures, which are decoded in other threads meanwhile."""
    depths = [look.bits for look in looks if look.bits is not None]
    preprocess = backbone.preprocess.changed(depth=max(depths)) if depths else backbone.preprocess
    squashed = preprocess.changed(crop="squash")  # for a strip, which has no middle to cut out

    def pixels(item: Item) -> np.ndarray:
        image = dataset.open(item)
        return (preprocess if preprocess.can_crop(*image.size) else squashed).pixels(image)

    decoded = ordered(pixels, items, threads=threads, progress=progress, chunk=4)
    batches = ((None, batch) for batch in _batches(decoded, backbone.engine.batch_size))
    return np.concatenate([rows for _, rows in overlapped(backbone.engine, batches) if rows is not None])


def _batches(pictures: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    batch: list[np.ndarray] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _issues(targets: np.ndarray, probabilities: np.ndarray) -> list[int]:
    """Return the pictures whose label is probably wrong, the least probable label first."""
    from cleanlab.filter import find_label_issues

    ranked = find_label_issues(targets, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [int(number) for number in ranked]


def _finding(item: Item, target: int, probabilities: np.ndarray, names: Sequence[str]) -> Finding:
    other = int(probabilities.argmax())
    own = float(probabilities[target])
    why = f"looks like {names[other]} ({probabilities[other]:.0%}), not {names[target]} ({own:.1%})"
    return Finding(
        kind="label", sources=(item.source,), labels=(str(item.label),), splits=(str(item.split),), why=why,
        score=round(own, 6),
    )  # fmt: skip
