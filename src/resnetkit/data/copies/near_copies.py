"""Pictures that show the same photo: saved again, made smaller or larger, cut at the edges, or mirrored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from resnetkit.data.copies.alignment import similarity
from resnetkit.watcher import Progress

Thumbnails = Sequence[np.ndarray]  # each [32, 32, 3] uint8; never copied as a whole

SIDE = 32  # of the thumbnails that are compared, in pixels: 3 kB for each picture
# Pixels that a picture is opened with at least, where it can be opened smaller: of 200 photos cut or made smaller 196
# were found at 32, all at 64. Means of whole pixels in place of triangles lose small copies (a pair at 0.71, not 0.96).
OPENED = 128
SMALLEST = 16  # pixels; in smaller pictures different things look alike: 1,725 pairs of scikit-learn's 1,797 digits
# Copies of CIFAR-10 that were saved again at half the size and cut to 80 % of the area reach 0.87 at least (99.5 % of
# 400); of pairs above, none of 24 looked at showed two photos (LOG.md).
LEAST_SIMILARITY = 0.88

# What is cut off at left, top, right and bottom of a picture before another, whole, is compared with it: any cut that
# keeps 80 % of the area is near one of these.
_WHOLE = (0.0, 0.0, 0.0, 0.0)
_CUTS = (
    _WHOLE, (0.12, 0.0, 0.0, 0.0), (0.0, 0.12, 0.0, 0.0), (0.0, 0.0, 0.12, 0.0), (0.0, 0.0, 0.0, 0.12),
    (0.05, 0.05, 0.05, 0.05),
)  # fmt: skip
_COARSE = 8  # side of what is searched, in pixels
_DIMENSIONS = 48
_MOST_CANDIDATES = 10  # of each picture, that are then compared closely
_LEAST_COARSE = 0.82  # cosine of what is searched; of 800 such copies none was below
_ENOUGH_TO_LEARN = 1000  # pictures, to learn the axes from
# Where all pictures look alike, as X-rays of one kind do, only what is far above two random ones is a copy.
_CHANCE_PAIRS = 1000
_ABOVE_CHANCE = 5  # standard deviations
_SAMPLE = 4000
_ROWS, _COLUMNS, _PAIRS, _PICTURES = 512, 4096, 1024, 1024  # worked on at once, so that memory stays flat


@dataclass(frozen=True, slots=True)
class NearCopy:
    """Two pictures that show the same photo, by number, the smaller first; `similarity` of their details, at most 1."""

    first: int
    second: int
    similarity: float
    mirrored: bool


def thumbnail(picture: Image.Image) -> np.ndarray | None:
    """Return what is compared, `[32, 32, 3]` uint8: all of the picture, its sides made equal; None of a tiny one."""
    if min(picture.size) < SMALLEST:
        return None
    if picture.mode != "RGB":
        picture = picture.convert("RGB")
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.uint8)


def near_copies_among(
    thumbnails: Sequence[np.ndarray | None], labels: Sequence[str], *, parts: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> list[NearCopy]:  # fmt: skip
    """Return `near_copies` of what `thumbnail` gave for pictures of these labels, by their numbers in the sequence."""
    numbers = [number for number, each in enumerate(thumbnails) if each is not None]
    if len(numbers) < 2:
        return []
    _, classes = np.unique([labels[number] for number in numbers], return_inverse=True)
    apart = None
    if parts is not None:
        _, apart = np.unique([parts[number] for number in numbers], return_inverse=True)
    present = [each for each in thumbnails if each is not None]
    found = near_copies(present, classes=classes, parts=apart, progress=progress)
    return [replace(pair, first=numbers[pair.first], second=numbers[pair.second]) for pair in found]


def near_copies(
    thumbnails: Thumbnails, *, classes: np.ndarray | None = None, parts: np.ndarray | None = None,
    progress: Progress | None = None,
) -> list[NearCopy]:  # fmt: skip
    """Return the pairs that show the same photo, by number; `thumbnails`: N of `[32, 32, 3]` uint8.

    Candidates are the ten pictures that look most alike at 8x8 pixels, one whole and the other whole, cut or mirrored
    (blocked dot products; the axes are the set's own principal ones, those of fine details made stronger). Each is
    then laid over its picture and compared in detail (`alignment.similarity`), which has to reach `least_similarity`
    of the set, `classes` (`[N]` whole numbers) given. Identical pictures should be given once. Where `parts` are given
    (`[N]` whole numbers), only pairs of two parts are looked for. `progress` hears of the pictures whose candidates are
    known. Memory beside the thumbnails: 2.5 kB a picture.
    """
    if len(thumbnails) < 2:
        return []
    found: dict[tuple[int, int], NearCopy] = {}
    least = least_similarity(thumbnails, classes)
    for firsts, seconds, variants in _candidates(thumbnails, parts, progress):
        for start in range(0, len(firsts), _PAIRS):
            part = slice(start, start + _PAIRS)
            for pair in _verified(thumbnails, firsts[part], seconds[part], variants[part], least):
                known = found.get((pair.first, pair.second))
                if known is None or known.similarity < pair.similarity:
                    found[pair.first, pair.second] = pair
    return [found[key] for key in sorted(found)]


def least_similarity(thumbnails: Thumbnails, classes: np.ndarray | None) -> float:
    """Return how alike two pictures must be to be copies: `LEAST_SIMILARITY`, or more where random ones are alike.

    Random pairs are drawn, of one class where `classes` are given: pictures of one traffic sign are more alike than
    those of several. The threshold lies five standard deviations above their median, on Fisher's scale.
    """
    rng = np.random.default_rng(0)
    first = rng.integers(0, len(thumbnails), _CHANCE_PAIRS)
    order = np.argsort(classes, kind="stable") if classes is not None else np.arange(len(thumbnails))
    sizes = np.bincount(classes) if classes is not None else np.array([len(thumbnails)])
    own = classes[first] if classes is not None else np.zeros(_CHANCE_PAIRS, int)
    ends = np.cumsum(sizes)
    second = order[ends[own] - sizes[own] + (rng.random(_CHANCE_PAIRS) * sizes[own]).astype(int)]
    first, second = first[first != second], second[first != second]
    if not len(first):
        return LEAST_SIMILARITY
    alike = similarity(
        _taken(thumbnails, first), _taken(thumbnails, second), np.tile([1.0, 0.0, 1.0, 0.0], (len(first), 1))
    )
    middle, high = np.quantile(np.arctanh(alike.clip(-0.999, 0.999)), [0.5, 0.84])
    return max(LEAST_SIMILARITY, round(float(np.tanh(middle + _ABOVE_CHANCE * (high - middle))), 4))


def _verified(
    thumbnails: Thumbnails, rows: np.ndarray, columns: np.ndarray, variants: np.ndarray, least: float
) -> Iterator[NearCopy]:
    """Yield those candidates whose details agree; variant `len(_CUTS)` is the mirrored picture."""
    mirrored = variants == len(_CUTS)
    others = _taken(thumbnails, columns)
    others[mirrored] = others[mirrored][:, :, ::-1]
    left, top, right, bottom = np.array([*_CUTS, _WHOLE])[variants].T
    start = np.stack([1 - top - bottom, top * SIDE, 1 - left - right, left * SIDE], axis=1)
    scores = similarity(_taken(thumbnails, rows), others, start)
    for number in np.flatnonzero(scores >= least):
        first, second = sorted((int(rows[number]), int(columns[number])))
        yield NearCopy(first, second, round(float(scores[number]), 4), bool(mirrored[number]))


def _candidates(
    thumbnails: Thumbnails, parts: np.ndarray | None, progress: Progress | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (pictures, others, variants) of pairs that look alike, each block of pictures in turn, part by part."""
    variants = _descriptors(thumbnails)
    parts = np.arange(len(thumbnails)) if parts is None else parts
    order = np.argsort(parts, kind="stable")
    for start in range(0, len(order), _ROWS):
        rows = order[start : start + _ROWS]
        yield _most_alike(variants, rows, parts)
        if progress:
            progress(start + len(rows), len(order))


def _most_alike(
    variants: list[np.ndarray], rows: np.ndarray, parts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each row at most ten pictures that look alike: (rows, columns, variants), flat."""
    count, wholes = len(variants[0]), variants[0][rows]
    kept = min(_MOST_CANDIDATES, count - 1)
    values = np.full((len(rows), kept), _LEAST_COARSE, np.float32)
    columns = np.full((len(rows), kept), -1)
    for start in range(0, count, _COLUMNS):
        together = parts[rows][:, None] == parts[start : start + _COLUMNS]
        if together.all():
            continue
        alike = wholes @ variants[0][start : start + _COLUMNS].T
        for variant in variants[1:]:
            np.maximum(alike, wholes @ variant[start : start + _COLUMNS].T, out=alike)
        alike[together] = -2
        for row in np.flatnonzero((alike > values[:, :1]).any(axis=1)):
            better = np.flatnonzero(alike[row] > values[row, 0])
            pool = np.concatenate([values[row], alike[row, better]])
            order = np.argsort(pool, kind="stable")[-kept:]
            values[row], columns[row] = pool[order], np.concatenate([columns[row], better + start])[order]
    numbers, places = np.nonzero(columns >= 0)
    others = columns[numbers, places]
    each = np.stack([np.einsum("nd,nd->n", wholes[numbers], variant[others]) for variant in variants])
    return rows[numbers], others, each.argmax(axis=0)


def _descriptors(thumbnails: Thumbnails) -> list[np.ndarray]:
    """Return a unit vector for each picture, `[N, D]`, once for each of `_CUTS` and for the mirrored picture."""
    views = [(cut, False) for cut in _CUTS] + [(_WHOLE, True)]
    if len(thumbnails) < _ENOUGH_TO_LEARN:
        return [_coarse(thumbnails, cut, mirrored) for cut, mirrored in views]
    whole = _coarse(thumbnails, _WHOLE)
    mean = whole.mean(axis=0)
    _, strengths, axes = np.linalg.svd(whole[:: max(1, len(thumbnails) // _SAMPLE)] - mean, full_matrices=False)
    weights = np.maximum(strengths[:_DIMENSIONS] / strengths[0], 1e-3) ** -0.5
    project = (axes[:_DIMENSIONS].T * weights).astype(np.float32)
    del whole
    shift = mean @ project
    return [_unit(_coarse(thumbnails, cut, mirrored) @ project - shift) for cut, mirrored in views]


def _coarse(thumbnails: Thumbnails, cut: tuple[float, float, float, float], mirrored: bool = False) -> np.ndarray:
    """Return what is left after the cut at 8x8 pixels, as unit vectors `[N, 192]` without their mean brightness."""
    left, top, right, bottom = cut
    down, across = _averaging(top, 1 - bottom), _averaging(left, 1 - right)
    views = np.empty((len(thumbnails), _COARSE * _COARSE * 3), np.float32)
    for start in range(0, len(thumbnails), _PICTURES):
        part = np.stack(thumbnails[start : start + _PICTURES])[:, :, :: -1 if mirrored else 1].astype(np.float32)
        rows = np.matmul(down, part.reshape(len(part), SIDE, SIDE * 3)).reshape(len(part), _COARSE, SIDE, 3)
        view = np.matmul(across, rows).reshape(len(part), -1)
        views[start : start + _PICTURES] = _unit(view - view.mean(axis=1, keepdims=True))
    return views


def _taken(thumbnails: Thumbnails, numbers: np.ndarray) -> np.ndarray:
    """Return these thumbnails as `[len(numbers), 32, 32, 3]`, a copy."""
    return np.stack([thumbnails[number] for number in numbers])


def _averaging(low: float, high: float) -> np.ndarray:
    """Return `[8, 32]`: the means over eight equal pieces of the stretch from `low` to `high`, shares of the side."""
    edges = np.linspace(low * SIDE, high * SIDE, _COARSE + 1)
    pixels = np.arange(SIDE)
    overlap = np.maximum(np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels), 0)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
