"""Pairs that are one picture for certain: the same file saved again or made smaller, and no second shot of a scene."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from resnetkit.data.decoded.contents import SIDE, Content

VERSION = 1  # of what counts as one picture: raised with it, so that no older pairs are taken from a cache

SMALLEST = 16  # pixels of the shorter side: below, different things look alike
COMPARED = 256  # pixels of the longer side that pairs are compared at first, where both have more
CLOSE = 2048  # and then, where a digit of the small print still is one
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
_TILE = 8  # pixels, of those whose energies are compared
_ROUNDING = 0.5  # grey levels squared
# Times the traces beside it: of 240 copies of photos, forms and slides none had a tile above 1.38.
_MOST_IN_TILE = 1.45
_MOST_ALONE = 16.0, 0.3  # times what it is in the whole picture, where it is as much; copies reached 8, digits 30
_OTHER_WAYS = 0.2  # of what the ways of resizing change, beside the one that fits best
_WAYS = tuple(getattr(Image.Resampling, name) for name in ("BOX", "BILINEAR", "BICUBIC", "LANCZOS"))


def resaved_pairs(
    contents: Sequence[Content], opened: Callable[[int, int], Image.Image], *, parts: Sequence[str] | None = None
) -> list[tuple[int, int]]:
    """Return the pairs of pictures, by number, that are certainly one.

    `opened` gives a picture, by its number, as RGB and upright, and opens it no smaller than the second argument. With
    `parts` those of two parts. Pictures of one content should be given once. Candidates are the five nearest in
    brightness at 8x8 pixels (a k-d tree); `is_resaved` decides. A pair that would join two sets of copies counts only
    where the first pictures of both are one as well: no chain of small differences leads from one reading to another.
    """
    keep, close = lru_cache(maxsize=256)(opened), lru_cache(maxsize=8)(opened)

    def same(one: int, other: int) -> bool:
        if not _either(_is_alike, keep(one, COMPARED), keep(other, COMPARED)):
            return False
        whole = max(*contents[one].size, *contents[other].size) <= COMPARED
        both = (keep(number, COMPARED) if whole else close(number, CLOSE) for number in (one, other))
        return _either(_differs_as_copies_do, *both)

    first: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    found = []
    for pair in _candidates(contents, parts):
        ones, twos = (first.get(number, number) for number in pair)
        if same(*pair) and (ones == twos or (ones, twos) == pair or same(ones, twos)):
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

    At 256 pixels, the largest local difference (3x3 means of brightness and colour) is held against what saving as JPEG
    and other ways of resizing do to the picture at that very place, which is tried out; so is the energy of all
    differences, against the noise of a second shot. At the size of the smaller no tile may differ by more than its
    traces, nor far more than the rest: a needle, a digit or a lesion does.
    """
    return _either(_is_alike, one, other) and _either(_differs_as_copies_do, one, other)


def _either(test: Callable[[Image.Image, Image.Image], bool], one: Image.Image, other: Image.Image) -> bool:
    """Test the smaller and the larger; of equal size either may be the copy, which has less left to be lost."""
    if one.size == other.size:
        return test(one, other) or test(other, one)
    large, small = sorted((one, other), key=lambda picture: picture.width * picture.height, reverse=True)
    return test(small, large)


def _size(small: Image.Image, longer: int) -> tuple[int, int]:
    scale = min(1.0, longer / max(small.size))
    return max(1, round(small.width * scale)), max(1, round(small.height * scale))


def _is_alike(small: Image.Image, large: Image.Image) -> bool:
    size = _size(small, COMPARED)
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


def _differs_as_copies_do(small: Image.Image, large: Image.Image) -> bool:
    """Tell whether the differences lie where traces do, no tile standing out, at the size of the smaller."""
    from scipy.ndimage import maximum_filter

    size = _size(small, CLOSE)
    there, first = _values(small, size), _values(large, size)
    jpeg, *resized = (_in_tiles(trace) for trace in _traces(large, size, first))
    ways = _WAYS if resized and size == small.size else (Image.Resampling.BILINEAR,)
    found = min((_in_tiles(_values(large, size, how) - there) for how in ways), key=np.sum)
    explained = jpeg + sum(resized) * (_OTHER_WAYS if size == small.size else 1)
    most = (found / (maximum_filter(explained, 3) + _ROUNDING)).max()
    on_the_whole = found.mean() / (explained.mean() + _ROUNDING)
    times, least = _MOST_ALONE
    return bool(most <= _MOST_IN_TILE and (most <= least or most <= times * (on_the_whole + 0.02)))


def _in_tiles(values: np.ndarray) -> np.ndarray:
    """Return the energy of the brightness, per pixel of each tile; what is missing at the edge counts as none."""
    height, width = values.shape[:2]
    energy = np.pad(values[..., 0] ** 2, ((0, -height % _TILE), (0, -width % _TILE)))
    return energy.reshape(len(energy) // _TILE, _TILE, -1, _TILE).mean(axis=(1, 3))


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
