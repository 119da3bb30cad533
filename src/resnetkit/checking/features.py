"""Pictures as a frozen network sees them, computed once for all that is asked of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from resnetkit.checking.pictures import Look
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.threads import ordered
from resnetkit.inference.engines import Engine, overlapped
from resnetkit.models.seen import Seen
from resnetkit.training.steps.linear import FOLDS, choose_penalty, out_of_fold
from resnetkit.watcher import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """A network without its head, whose `engine` gives features in place of logits.

    `seen`: what it was trained on, as far as that is known.
    """

    name: str
    engine: Engine = field(repr=False)
    preprocess: Preprocess
    seen: Seen = field(default_factory=Seen, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """Pictures of at least two classes as features, and what linear heads that were not fitted to them say.

    `features`: `[N, features]` float32; `targets`: `[N]`, numbers of `names`; `groups`: `[N]`, alike for pictures that
    stay together; `learnt`: `[N]` bool, what the network was trained on; `penalty`: the head's inverse penalty;
    `probabilities`: `[N, K]`, each row by a head that was fitted to the other folds.
    """

    network: str
    items: tuple[Item, ...] = field(repr=False)
    names: tuple[str, ...]
    groups: tuple[str, ...] = field(repr=False)
    features: np.ndarray = field(repr=False)
    targets: np.ndarray = field(repr=False)
    learnt: np.ndarray = field(repr=False)
    penalty: float
    probabilities: np.ndarray = field(repr=False)

    @property
    def right(self) -> np.ndarray:
        """Return which pictures are named as they are labelled, `[N]` bool."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.targets)


def describe(
    backbone: Backbone, dataset: Dataset, items: Sequence[Item], looks: Sequence[Look], groups: Sequence[str], *,
    threads: int, progress: Progress,
) -> tuple[Described | None, int]:  # fmt: skip
    """Return the pictures of classes that all folds have members of, None of fewer than two, and how many are left.

    Memory: the features, 4 bytes each.
    """
    enough = in_large_classes(items, groups)
    names = tuple(sorted({items[number].written for number in enough}))
    few = len(items) - len(enough)
    if len(names) < 2:
        return None, few
    items, looks = [items[number] for number in enough], [looks[number] for number in enough]
    together = tuple(groups[number] for number in enough)
    features = features_of(backbone, dataset, items, looks, threads=threads, progress=progress)
    targets = np.array([names.index(item.written) for item in items])
    penalty = choose_penalty(features, targets, groups=together, balanced=False)
    return Described(
        network=backbone.name, items=tuple(items), names=names, groups=together, features=features, targets=targets,
        learnt=np.array([mark == "trained" for mark in backbone.seen.marks(*_known_by(items, looks))]),
        penalty=penalty, probabilities=out_of_fold(features, targets, groups=together, penalty=penalty),
    ), few  # fmt: skip


def _known_by(items: Sequence[Item], looks: Sequence[Look]) -> tuple[list[tuple[str, ...]], list[str | None]]:
    pairs = ((look.digest, look.content and look.content.pixels) for look in looks)
    return [tuple(filter(None, pair)) for pair in pairs], [item.group for item in items]


def in_large_classes(items: Sequence[Item], groups: Sequence[str]) -> list[int]:
    """Return the pictures of classes that have members in each fold."""
    by_class: dict[str, set[str]] = defaultdict(set)
    for item, group in zip(items, groups, strict=True):
        by_class[item.written].add(group)
    return [number for number, item in enumerate(items) if len(by_class[item.written]) >= FOLDS]


def features_of(
    backbone: Backbone, dataset: Dataset, items: Sequence[Item], looks: Sequence[Look], *, threads: int,
    progress: Progress, border: float | None = None,
) -> np.ndarray:  # fmt: skip
    """Return `[N, features]` float32 of all pictures, which are decoded in other threads meanwhile.

    `border`: of the whole of each only a rim is shown, as wide as this share of its sides, around grey.
    """
    depths = [look.bits for look in looks if look.bits is not None]
    preprocess = backbone.preprocess.changed(depth=max(depths)) if depths else backbone.preprocess
    squashed = preprocess.changed(crop="squash")  # for a strip, which has no middle to cut out, and for borders

    def pixels(item: Item) -> np.ndarray:
        image = dataset.open(item)
        if border is not None:
            return _rim(squashed.pixels(image), border, grey=preprocess.mean)
        return (preprocess if preprocess.can_crop(*image.size) else squashed).pixels(image)

    decoded = ordered(pixels, items, threads=threads, progress=progress, chunk=4)
    batches = ((None, batch) for batch in _batches(decoded, backbone.engine.batch_size))
    return np.concatenate([rows for _, rows in overlapped(backbone.engine, batches) if rows is not None])


def _rim(pixels: np.ndarray, share: float, *, grey: Sequence[float]) -> np.ndarray:
    """Return pixels `[H, W, C]` of which the middle is what the network takes for nothing."""
    high, wide = (max(1, round(share * side)) for side in pixels.shape[:2])
    pixels = pixels.copy()
    pixels[high:-high, wide:-wide] = np.round(255 * np.array(grey))
    return pixels


def _batches(pictures: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    batch: list[np.ndarray] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)
