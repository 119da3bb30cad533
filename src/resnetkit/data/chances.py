"""Random numbers that belong to a picture and not to its batch; needs no torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

# SplitMix64 (Steele, Lea and Flood 2014, figure 16): a mixing of counters whose outputs pass for random.
_STEP, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def key(*parts: int | str) -> int:
    """Return 64 bits, from 0 up, that are a pure function of the parts, such as (seed, epoch, step)."""
    return int.from_bytes(hashlib.blake2b(",".join(map(str, parts)).encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chances:
    """What chance decides for the pictures of a batch: a pure function of (seed, epoch, picture, what it is for).

    `images`: `[N]` positions in the training part. A picture has the same chances in any batch, of any size, on any
    rank, in a resumed run.

    >>> half, whole = (Chances(seed=0, epoch=3, images=np.arange(n)) for n in (5, 10))
    >>> bool((half.uniform("shift", 2) == whole.uniform("shift", 2)[:, :5]).all())
    True
    """

    seed: int
    epoch: int
    images: np.ndarray

    def uniform(self, what: str, num: int) -> np.ndarray:
        """Return `num` independent numbers in [0, 1) for each picture, `[num, N]` float64."""
        counters = self.images.astype(np.uint64) * np.uint64(num) + np.arange(num, dtype=np.uint64)[:, None]
        with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is what is meant
            bits = np.uint64(key(self.seed, self.epoch, what)) + (counters + np.uint64(1)) * _STEP
            bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
            bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
            bits ^= bits >> np.uint64(31)
        return (bits >> np.uint64(11)) * 2.0**-53

    def integers(self, what: str, *below: int) -> np.ndarray:
        """Return for each picture a whole number from 0 and below each bound, `[len(below), N]` int64."""
        return (self.uniform(what, len(below)) * np.array(below)[:, None]).astype(np.int64)

    def in_epoch(self, epoch: int) -> Chances:
        """Return what the same pictures have in another epoch."""
        return replace(self, epoch=epoch)
