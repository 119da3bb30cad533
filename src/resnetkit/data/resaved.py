"""Pairs that are one picture for certain: the same file saved again or made smaller, and no second shot of a scene."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from resnetkit.data.contents import SIDE, Content

SMALLEST = 16  # pixels of the shorter side: below, different things look alike
COMPARED = 256  # pixels of the longer side that pairs are compared at, where both have more
_NEIGHBOURS = 5  # that are compared closely
# Of 1,900 copies at 50 to 95 % of the size, 75 to 95 of the quality, none lay further away (brightness, 64 fields).
_FAR = 40.0
_MOST_APART = 30.0  # grey levels of a 3x3 mean; none of those copies reached 20
_QUALITY = 60  # of the JPEG whose traces say how far a copy may lie from its original
_TRACES = 4  # pixels: how far from a trace another may lie, and how far the grids of two codings lie apart
_LEAST = 2.0  # grey levels that may always lie between the two
# In brightness and colour, times what the traces explain; 95 % of copies lie below 1.0 and 2.1 (LOG.md).
_MOST_TIMES = (1.05, 2.3, 2.3)
_MOST_ENERGY = 0.95  # of all differences, times that of the traces; another shot's noise adds 1.41 where it dominates
_LEAST_DETAIL = 1.5  # grey levels: what shows nothing but noise is no copy of what shows as little
_LEAST_AGREEMENT = 0.8  # correlation of the details; noise alone has none


def resaved_pairs(
    contents: Sequence[Content], opened: Callable[[int], Image.Image], *, parts: Sequence[str] | None = None
) -> list[tuple[int, int]]:
    """Return the pairs of pictures, by number, that are certainly one; `opened` gives a picture as RGB, upright.

    With `parts` those of two parts. Pictures of one content should be given once. Candidates are the five nearest in
    brightness at 8x8 pixels (a k-d tree); `is_resaved` decides. A pair that would join two sets of copies counts only
    where the first pictures of both are one as well: no chain of small differences leads from one reading to another.
    """
    keep = lru_cache(maxsize=256)(opened)
    first: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    found = []
    for pair in _candidates(contents, parts):
        ones, twos = (first.get(number, number) for number in pair)
        if is_resaved(*map(keep, pair)) and (
            ones == twos or (ones, twos) == pair or is_resaved(keep(ones), keep(twos))
        ):
            found.append(pair)
            joined = {*members.get(ones, [ones]), *members.get(twos, [twos])}
            members[min(ones, twos)] = sorted(joined)
            first |= dict.fromkeys(joined, min(ones, twos))
    return found


def _candidates(contents: Sequence[Content], parts: Sequence[str] | None) -> list[tuple[int, int]]:
    usable = np.array([number for number, one in enumerate(contents) if min(one.size) >= SMALLEST], int)
    if len(usable) < 2:
        return []
    joined = b"".join(contents[number].bright for number in usable)
    bright = np.frombuffer(joined, np.uint8).reshape(len(usable), SIDE * SIDE).astype(np.float32)
    names = np.array([str(parts[number]) for number in usable]) if parts is not None else None
    found = set()
    for here, there in _sides(names, len(usable)):
        for one, two in _nearest(bright, here, there):
            found.add((int(min(usable[one], usable[two])), int(max(usable[one], usable[two]))))
    return sorted(found)


def _sides(names: np.ndarray | None, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield whose neighbours are looked for, and where: all among all, or each part in each that follows."""
    if names is None:
        yield np.arange(count), np.arange(count)
        return
    of_part = [np.flatnonzero(names == name) for name in np.unique(names)]
    of_part.sort(key=len)
    for number, here in enumerate(of_part):
        for there in of_part[number + 1 :]:
            yield here, there


def _nearest(bright: np.ndarray, here: np.ndarray, there: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of different pictures that are no further apart than `_FAR`."""
    from scipy.spatial import cKDTree

    low = bright @ _low_frequencies()  # distances in it are never larger
    tree = cKDTree(low[there])
    _, columns = tree.query(low[here], k=_NEIGHBOURS + 1, distance_upper_bound=_FAR)
    rows, places = np.nonzero(columns < len(there))
    ones, others = here[rows], there[columns[rows, places]]
    near = ((bright[ones] - bright[others]) ** 2).sum(axis=1) <= _FAR**2
    yield from ((one, two) for one, two in zip(ones[near].tolist(), others[near].tolist(), strict=True) if one != two)


def _low_frequencies() -> np.ndarray:
    """Return `[64, 16]`: the lowest of an orthonormal cosine transform of 8x8 values."""
    at = (np.arange(SIDE) + 0.5) * np.pi / SIDE
    waves = np.stack([np.cos(number * at) for number in range(4)])
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    return np.einsum("ai,bj->ijab", waves, waves).reshape(SIDE * SIDE, 16).astype(np.float32)


def is_resaved(one: Image.Image, other: Image.Image) -> bool:
    """Tell whether two RGB pictures are one, saved again or made smaller.

    At the size of the smaller, the largest local difference (3x3 means of brightness and colour) is held against what
    saving as JPEG and other ways of resizing do to the picture at that very place, which is tried out; so is the
    energy of all differences, against the noise of a second shot. A needle, a digit or a lesion is no such trace.
    """
    if one.size == other.size:  # either may be the copy, and what is left in a copy to be lost is less
        return _is_copy(one, other) or _is_copy(other, one)
    large, small = sorted((one, other), key=lambda picture: picture.width * picture.height, reverse=True)
    return _is_copy(small, large)


def _is_copy(small: Image.Image, large: Image.Image) -> bool:
    scale = min(1.0, COMPARED / max(small.size))
    size = max(1, round(small.width * scale)), max(1, round(small.height * scale))
    first, second = _values(large, size), _values(small, size)
    apart = first - second
    local = np.abs(_smooth(apart))
    if local[..., 0].max() > _MOST_APART or not _agree(first[..., 0], second[..., 0]):
        return False
    traces = _traces(large, size, first)
    explained = _LEAST + _spread(sum(np.abs(_smooth(trace)) for trace in traces))
    energy = sum((trace[..., 0] ** 2).mean() for trace in traces)
    within = (local <= explained * np.array(_MOST_TIMES, np.float32)).all()
    return bool(within and (apart[..., 0] ** 2).mean() + 0.5 <= _MOST_ENERGY**2 * (energy + 0.5))


def _values(picture: Image.Image, size: tuple[int, int], how: int = Image.Resampling.BILINEAR) -> np.ndarray:
    """Return `[H, W, 3]` float32: brightness and the two differences of colour."""
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling(how))
    return np.asarray(picture.convert("YCbCr"), np.float32)


def _traces(picture: Image.Image, size: tuple[int, int], values: np.ndarray) -> list[np.ndarray]:
    """Return what a JPEG of the picture at that size changes, and where it was made smaller the other ways of it.

    The JPEG's grid lies beside that of one that the picture may come from, which would change nothing.
    """
    whole = picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR)
    moved = np.pad(np.asarray(whole), ((_TRACES, 0), (_TRACES, 0), (0, 0)), mode="edge")
    file = io.BytesIO()
    Image.fromarray(moved).save(file, "JPEG", quality=_QUALITY)
    coded = _values(Image.open(file).convert("RGB"), (moved.shape[1], moved.shape[0]))[_TRACES:, _TRACES:]
    traces = [coded - values]
    if picture.size != size:
        ways = [_values(picture, size, how) - values for how in (Image.Resampling.BOX, Image.Resampling.LANCZOS)]
        traces.append(np.where(np.abs(ways[0]) > np.abs(ways[1]), *ways))
    return traces


def _agree(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether both show details, and the same."""
    from scipy.ndimage import uniform_filter

    one, other = (grey - uniform_filter(grey, 9, mode="nearest") for grey in (one, other))
    strengths = (one**2).mean(), (other**2).mean()
    return bool(
        min(strengths) >= _LEAST_DETAIL**2
        and (one * other).mean() >= _LEAST_AGREEMENT * (strengths[0] * strengths[1]) ** 0.5
    )


def _smooth(values: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    return np.asarray(uniform_filter(values, size=(3, 3, 1), mode="nearest"))


def _spread(values: np.ndarray) -> np.ndarray:
    from scipy.ndimage import maximum_filter

    return np.asarray(maximum_filter(values, size=(2 * _TRACES + 1, 2 * _TRACES + 1, 1), mode="nearest"))
