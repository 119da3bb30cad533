"""Classes that are each other's mirror image: mirrored training pictures of them would teach the wrong class."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from resnetkit.data.batches import normalise
from resnetkit.data.batches.augment import centre
from resnetkit.data.prepared import Part, Prepared
from resnetkit.data.preprocess import Preprocess
from resnetkit.models.detection.spec import trunk_of
from resnetkit.models.resnet import ResNet, without_values
from resnetkit.models.spec import ResNetSpec
from resnetkit.models.surgery import adapt_input
from resnetkit.runtime import Runtime

# Left and right in many languages, as the beginnings that their inflections share.
_WORDS = (
    ("left", "right"), ("link", "recht"), ("gauche", "droite"), ("gauche", "droit"), ("izquierd", "derech"),
    ("sinistr", "destr"), ("esquerd", "direit"), ("vänster", "höger"), ("venstre", "højre"), ("venstre", "høyre"),
    ("vasem", "oike"), ("vasen", "oikea"), ("lew", "praw"), ("lev", "prav"), ("ľav", "prav"), ("лев", "прав"),
    ("лів", "прав"), ("ляв", "дясн"), ("stâng", "dreapt"), ("bal", "jobb"), ("αριστερ", "δεξι"), ("sol", "sağ"),
    ("kiri", "kanan"), ("trái", "phải"), ("左", "右"), ("왼", "오른"), ("좌", "우"), ("يسار", "يمين"),
    ("שמאל", "ימין"), ("बाए", "दाए"), ("ซ้าย", "ขวา"),
)  # fmt: skip
_PER_CLASS, _IN_ALL, _FEWEST = 20, 1000, 4
_SIDE = 64  # pixels: a quarter of a second for 100 pictures, and on signs more pairs are found than at 48 (LOG.md)
_GRID = 4  # where things lie is kept by a grid of 4 x 4
_FOLDS = 5
_PENALTY = 0.3
_SIGNIFICANT = 0.01
_BATCH = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class MirrorPair:
    """Two classes that are each other's mirror image: by their names, or as `found` of `looked` pictures say."""

    first: str
    second: str
    found: int = 0
    looked: int = 0


def words_of(pairs: Sequence[MirrorPair]) -> str:
    """Return what people are told of the pairs, of which there is one at least."""
    named = [f"`{pair.first}` and `{pair.second}`" for pair in pairs[:3]]
    more = f" and {len(pairs) - 3} more pairs" if len(pairs) > 3 else ""
    looked = sum(pair.looked for pair in pairs)
    why = f"found in {sum(pair.found for pair in pairs)} of {looked} pictures" if looked else "by their names"
    return f"{', '.join(named)}{more} are each other's mirror image ({why})"


def mirror_images(
    prepared: Prepared, weights: Mapping[str, torch.Tensor] | None, spec: ResNetSpec | None, *, runtime: Runtime
) -> list[MirrorPair]:
    """Return the classes that are each other's mirror image, by their names, else as the starting weights see them.

    `weights`: tensors of a network as `spec` describes it, or of a detector on it; None for random ones, which see
    nothing.
    """
    named = named_mirrors(prepared.classes)
    if named or weights is None or "train" not in prepared.parts:
        return named
    assert spec is not None
    network = without_values(spec)
    network.load_state_dict(trunk_of(weights) or weights)
    if prepared.preprocess.channels != spec.in_channels:
        adapt_input(network, prepared.preprocess.channels)
    runtime.apply()
    part, preprocess = prepared.parts["train"], prepared.preprocess
    return seen_mirrors(network, part, prepared.classes, preprocess=preprocess, runtime=runtime)


def named_mirrors(classes: Sequence[str]) -> list[MirrorPair]:
    """Return the classes whose names become each other's when left and right are swapped, in many languages.

    >>> named_mirrors(["keep left", "keep right", "Linkskurve", "Rechtskurve", "bright", "what is left"])
    ... # doctest: +NORMALIZE_WHITESPACE
    [MirrorPair(first='keep left', second='keep right', found=0, looked=0),
     MirrorPair(first='Linkskurve', second='Rechtskurve', found=0, looked=0)]
    """
    known = {name.casefold(): name for name in classes}
    found: dict[tuple[str, str], MirrorPair] = {}
    for left, right in _WORDS:
        for folded, name in known.items():
            swapped = right.join(part.replace(right, left) for part in folded.split(left))
            if left in folded and swapped != folded and swapped in known:
                first, second = sorted((name, known[swapped]), key=classes.index)
                found[first, second] = MirrorPair(first=first, second=second)
    return list(found.values())


def seen_mirrors(
    network: ResNet, part: Part, classes: Sequence[str], *, preprocess: Preprocess, runtime: Runtime
) -> list[MirrorPair]:
    """Return the classes whose mirrored pictures a pretrained network takes for each other's.

    At most 20 pictures a class and 1,000 in all are looked at, one of each group. What its pooled features tell apart
    is no help, since a network that was trained on mirrored pictures gives those of both alike; the outputs of its
    second stage, averaged over a grid of 4 x 4, keep where things lie.
    """
    chosen = _chosen(part, len(classes))
    counts = np.bincount(part.targets[chosen], minlength=len(classes))
    chosen = chosen[counts[part.targets[chosen]] >= _FEWEST]
    if len(np.unique(part.targets[chosen])) < 2:
        return []
    how: dict[str, Any] = {"preprocess": preprocess, "runtime": runtime}
    features, turned = (_layout(network, part, chosen, flip, **how) for flip in (False, True))
    plain, mirrored = cross_fitted(features, turned, part.targets[chosen], num_classes=len(classes))
    return [
        MirrorPair(first=classes[a], second=classes[b], found=int(mirrored[a, b] + mirrored[b, a]),
                   looked=int(mirrored[a].sum() + mirrored[b].sum()))
        for a, b in mirror_pairs(plain, mirrored)
    ]  # fmt: skip


def _chosen(part: Part, num_classes: int) -> np.ndarray:
    """Return which pictures are looked at: some of each class at random, one of each group."""
    most = min(_PER_CLASS, _IN_ALL // num_classes)
    if most < _FEWEST:
        return np.empty(0, int)
    counts, groups, chosen = np.zeros(num_classes, int), set(), []
    for number in np.random.default_rng(0).permutation(len(part)):
        item, target = part.items[number], part.targets[number]
        if counts[target] < most and item.group not in groups:
            counts[target] += 1
            groups |= set() if item.group is None else {item.group}
            chosen.append(number)
    return np.sort(chosen)


@torch.inference_mode()
def _layout(
    network: ResNet, part: Part, chosen: np.ndarray, flip: bool, *, preprocess: Preprocess, runtime: Runtime
) -> np.ndarray:
    """Return the second stage's outputs over a grid, `[N, channels * 16]` float32, of pictures of 64 pixels at most."""
    network = network.to(device=runtime.device, memory_format=runtime.memory_format()).eval()  # type: ignore[call-overload]
    rows = []
    for start in range(0, len(chosen), _BATCH):
        pictures = part.pixels.take(chosen[start : start + _BATCH])
        pixels = centre([torch.from_numpy(picture) for picture in pictures], preprocess=preprocess)
        images = normalise(pixels.to(runtime.device), preprocess, memory_format=runtime.memory_format())
        if min(preprocess.frame) > _SIDE:
            images = functional.interpolate(images, (_SIDE, _SIDE), mode="bilinear", antialias=True)
        x = network.relu(network.bn1(network.conv1(images.flip(3) if flip else images)))
        x = network.layer2(network.layer1(network.maxpool(x)))
        rows.append(functional.adaptive_avg_pool2d(x, _GRID).flatten(1).float().cpu().numpy())
    return np.concatenate(rows)


def cross_fitted(
    features: np.ndarray, mirrored: np.ndarray, targets: np.ndarray, *, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what classes pictures are taken for, as they are and mirrored, each by a head that was fitted without it.

    `features`, `mirrored`: `[N, F]`; returns two `[K, K]` counts, rows: the class they are of. The head is a ridge
    regression on the classes' indicators in which all classes weigh alike.
    """
    order = np.empty(len(targets), int)  # of each picture in its class
    for target in np.unique(targets):
        order[targets == target] = np.arange((targets == target).sum())
    plain, turned = np.zeros((2, num_classes, num_classes), int)
    for fold in range(_FOLDS):
        held_out = order % _FOLDS == fold
        head = _ridge(features[~held_out], targets[~held_out], num_classes)
        for counts, given in ((plain, features), (turned, mirrored)):
            np.add.at(counts, (targets[held_out], head(given[held_out]).argmax(1)), 1)
    return plain, turned


def _ridge(features: np.ndarray, targets: np.ndarray, num_classes: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return what maps features `[N, F]` to a score of each class, `[N, K]`; it solves for pictures, which are few."""
    mean, scale = features.mean(0), features.std(0)
    scale = np.where(scale > 0, scale, 1) * math.sqrt(features.shape[1])
    counts = np.bincount(targets, minlength=num_classes)
    weight = np.sqrt(len(targets) / (counts[targets] * (counts > 0).sum()))[:, None]
    rows = (features - mean) / scale * weight
    wanted = (np.eye(num_classes)[targets] - 1 / num_classes) * weight
    head = rows.T @ np.linalg.solve(rows @ rows.T + _PENALTY * np.eye(len(rows)), wanted)
    return lambda given: ((given - mean) / scale) @ head


def mirror_pairs(plain: np.ndarray, mirrored: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of classes that are each other's mirror image, from `cross_fitted`'s counts.

    Of both classes three quarters of the mirrored pictures are taken for the other, of each at least half, and
    clearly more than of the same pictures as they are: Fisher's exact test, both classes' counts added up, at 0.01 over
    the number of pairs.
    """
    counts = plain.sum(1)
    pairs = list(combinations(range(len(plain)), 2))
    return [
        (a, b)
        for a, b in pairs
        if min(counts[a], counts[b]) >= _FEWEST
        and 2 * mirrored[a, b] >= counts[a] and 2 * mirrored[b, a] >= counts[b]
        and 4 * (mirrored[a, b] + mirrored[b, a]) >= 3 * (counts[a] + counts[b])
        and _chance(plain, mirrored, counts, a, b) * len(pairs) <= _SIGNIFICANT
    ]  # fmt: skip


def _chance(plain: np.ndarray, mirrored: np.ndarray, counts: np.ndarray, a: int, b: int) -> float:
    """Return how often so many mirrored pictures come out as the other class where mirroring changes nothing."""
    ways = [1]
    for own, other in ((a, b), (b, a)):
        total, each = int(plain[own, other] + mirrored[own, other]), int(counts[own])
        splits = [math.comb(each, k) * math.comb(each, total - k) for k in range(total + 1)]
        ways = np.convolve(np.array(ways, object), np.array(splits, object)).tolist()
    return sum(ways[mirrored[a, b] + mirrored[b, a] :]) / sum(ways)
