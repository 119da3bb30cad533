"""How good a heat map is: what happens to the answer when the pixels it names are taken away, or alone are shown."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

# `[N, H, W, C] uint8` pixels to `[N, K]` probabilities.
Probabilities = Callable[[np.ndarray], np.ndarray]

STEPS = 14
NUM_RANDOM = 3
_RANDOM_CELLS = 8
_BLUR = 10  # the blurred picture that insertion begins with has a radius of the side divided by this


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Deletion and insertion of a heat map, and the mean of random maps of the same kind on the same picture.

    Both are mean probabilities of the class in [0, 1] while pixels go, or come, hottest first (Petsiuk et al. 2018,
    arXiv:1806.07421). A good map has low deletion and high insertion.
    """

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float

    @property
    def beats_random(self) -> bool:
        """Tell whether taking away what the map names hurts the answer more than taking away anything else."""
        return self.deletion < self.random_deletion

    def to_json(self) -> dict[str, Any]:
        """Return plain values, rounded to 6 decimals."""
        rounded = {name: round(value, 6) for name, value in asdict(self).items()}
        return rounded | {"beats_random": self.beats_random}


def score(
    heats: np.ndarray, targets: Sequence[int], pixels: np.ndarray, probabilities: Probabilities, *, fill: np.ndarray
) -> list[Scores]:
    """Score the `[T, H, W]` heat maps of T target classes on one picture, `[H, W, C] uint8`.

    `fill` is the `[C]` colour of what is taken away. The random maps are the same whenever the picture is.
    """
    others = np.mean([areas(random, pixels, probabilities, fill=fill) for random in random_maps(pixels)], axis=0)
    found = []
    for heat, target in zip(heats, targets, strict=True):
        own = areas(heat, pixels, probabilities, fill=fill)[:, target]
        random = others[:, target]
        found.append(
            Scores(
                deletion=float(own[0]), insertion=float(own[1]), random_deletion=float(random[0]),
                random_insertion=float(random[1]),
            )
        )  # fmt: skip
    return found


def random_maps(pixels: np.ndarray, *, count: int = NUM_RANDOM) -> np.ndarray:
    """Return `[count, H, W] float32` random maps as smooth as heat maps are, drawn by the content of the picture.

    Smooth, because single pixels that are missing everywhere confuse a network more than any region does.
    """
    generator = np.random.default_rng(zlib.crc32(np.ascontiguousarray(pixels).tobytes()))
    coarse = generator.random((count, _RANDOM_CELLS, _RANDOM_CELLS), dtype=np.float32)
    size = pixels.shape[1], pixels.shape[0]
    return np.stack([np.asarray(Image.fromarray(c).resize(size, Image.Resampling.BILINEAR)) for c in coarse])


def areas(heat: np.ndarray, pixels: np.ndarray, probabilities: Probabilities, *, fill: np.ndarray) -> np.ndarray:
    """Return `[2, K]`: deletion and insertion of every class under one `[H, W]` map."""
    place = np.empty(heat.size, dtype=np.int64)
    # Equal heat: from the top left on, so that the score of a map of zeros is a fixed one too.
    place[np.argsort(-heat.ravel(), kind="stable")] = np.arange(heat.size)
    gone = place.reshape(heat.shape) < np.linspace(0, heat.size, STEPS + 1)[:, None, None]
    deleted = np.where(gone[..., None], fill.astype(np.uint8), pixels)
    inserted = np.where(gone[..., None], pixels, _blurred(pixels))
    both = (probabilities(some).astype(np.float64) for some in (deleted, inserted))
    return np.stack([np.trapezoid(curve, dx=1 / STEPS, axis=0) for curve in both])


def _blurred(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[..., 0])
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(max(1.0, min(pixels.shape[:2]) / _BLUR))))
    return blurred.reshape(pixels.shape)
