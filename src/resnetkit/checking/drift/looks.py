"""What pictures look like in a few plain figures, to say in words how they differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NAMES = ("brightness", "contrast", "sharpness", "colour")
# What is said: at least so many standard deviations of single pictures, and so many of the mean of those that differ.
_LEAST_DEVIATIONS, _LEAST_ERRORS = 0.3, 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A figure that differs: its mean `now` and in the `reference`, and by how many `deviations` of its pictures."""

    name: str
    now: float
    reference: float
    deviations: float

    @property
    def words(self) -> str:
        """Say it: `brightness 0.31, was 0.47`."""
        return f"{self.name} {self.now:.2g}, was {self.reference:.2g}"

    @property
    def reads_alike(self) -> bool:
        """Tell whether both figures read the same: no eye sees such a difference."""
        return f"{self.now:.2g}" == f"{self.reference:.2g}"


def looks_of(pixels: np.ndarray) -> np.ndarray:
    """Return `[N, 4]` float32 of pixels `[N, H, W, C]`: the figures `NAMES`, shares of the full range.

    Brightness is the mean, contrast the standard deviation of pixels, sharpness the mean step to the next pixel, colour
    how far the channels are apart.
    """
    shown = pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
    grey = shown.mean(axis=3)
    steps = (_step(grey, 1) + _step(grey, 2)) / 2
    apart = (shown.max(axis=3) - shown.min(axis=3)).mean(axis=(1, 2))
    return np.stack([grey.mean(axis=(1, 2)), grey.std(axis=(1, 2)), steps, apart], axis=1).astype(np.float32)


def _step(grey: np.ndarray, axis: int) -> np.ndarray:
    steps = np.abs(np.diff(grey, axis=axis))
    return np.asarray(steps.mean(axis=(1, 2)) if steps.size else np.zeros(len(grey)))


def differences(
    now: np.ndarray, reference: np.ndarray, *, errors: float = _LEAST_ERRORS
) -> tuple[Difference, ...]:  # fmt: skip
    """Return what differs between the looks `[n, 4]` of some pictures and `[N, 4]` of the reference, largest first.

    `errors`: from how many standard errors of the mean of `n` on it is told.
    """
    deviations = np.maximum(reference.std(axis=0), 1e-6)
    off = (now.mean(axis=0) - reference.mean(axis=0)) / deviations
    told = (np.abs(off) > _LEAST_DEVIATIONS) & (np.abs(off) * np.sqrt(len(now)) > errors)
    found = [
        Difference(
            name=NAMES[number], now=float(now[:, number].mean()), reference=float(reference[:, number].mean()),
            deviations=float(off[number]),
        )
        for number in np.argsort(-np.abs(off)) if told[number]
    ]  # fmt: skip
    return tuple(one for one in found if not one.reads_alike)
