"""Anchors for the objects that are there: which levels of the pyramid, and how large on each. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from resnetkit.models.detection.spec import Sizes
from resnetkit.models.spec import FeatureInfo

# The finest stage is left out where all but one object in twenty have sides of three of the next one's cells.
_MOST_SMALLER, _CELLS = 0.05, 3
_SMALL, _LARGE = 0.02, 0.98
# An anchor less than two cells wide meets most objects with nothing that overlaps them well.
_LEAST_CELLS = 2
_RATIOS = (0.5, 1.0, 2.0)
_WIDEST = 2.5  # from here on objects are longer than the usual anchors
_FITS = 0.5


class Span(NamedTuple):
    """Sides that small and large objects have: one in fifty is smaller, one in fifty larger."""

    small: float
    large: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchors:
    """Levels of the pyramid, and for each the sides of its anchors, with one level more at half the size.

    `fitting`: share of the boxes that one of them overlaps by half where their middles meet; `span`: of the objects.
    """

    levels: tuple[str, ...]
    sizes: Sizes
    aspect_ratios: tuple[float, ...]
    strides: tuple[int, ...]
    num_boxes: int
    fitting: float
    span: Span

    @property
    def words(self) -> str:
        """What they are, in a line."""
        sides = ", ".join(f"{size:g}" for level in self.sizes for size in level)
        ratios = ", ".join(f"{ratio:g}" for ratio in self.aspect_ratios)
        if not self.num_boxes:
            return f"anchors of {sides} pixels every {self.strides[0]} to {self.strides[-1]} pixels: no boxes to fit"
        return (
            f"anchors of {sides} pixels every {self.strides[0]} to {self.strides[-1]} pixels, {ratios} times as high "
            f"as wide: objects measure {self.span.small:.0f} to {self.span.large:.0f} pixels, and {self.fitting:.1%} "
            f"of {self.num_boxes:,} boxes overlap one by half"
        )


def for_boxes(boxes: np.ndarray, stages: Sequence[FeatureInfo]) -> Anchors:
    """Return anchors for boxes `[B, 4]` in pixels of the frame, on a network of `stages`, the stem among them or not.

    The finest stage is left out where no object needs it: half of what training takes is spent on it. The same boxes
    give the same anchors. Sides are square roots of areas.
    """
    stages = [stage for stage in stages if stage.name != "stem"]
    sides = np.asarray(boxes, np.float64).reshape(-1, 4)
    width, height = sides[:, 2] - sides[:, 0], sides[:, 3] - sides[:, 1]
    kept = (width > 0) & (height > 0)
    width, height = width[kept], height[kept]
    if not len(width):
        strides = _strides(stages)
        sizes: Sizes = tuple((4.0 * stride,) for stride in strides)
        return Anchors(
            levels=tuple(stage.name for stage in stages), sizes=sizes, aspect_ratios=_RATIOS, strides=strides,
            num_boxes=0, fitting=0.0, span=Span(0, 0),
        )  # fmt: skip
    small, smaller, large = np.quantile(np.sqrt(width * height), [_SMALL, _MOST_SMALLER, _LARGE])
    if len(stages) > 1 and smaller >= _CELLS * stages[1].stride:
        stages = stages[1:]
    strides = _strides(stages)
    sizes = tuple((size,) for size in _spread(small, large, strides))
    ratios = _ratios(height / width)
    return Anchors(
        levels=tuple(stage.name for stage in stages), sizes=sizes, aspect_ratios=ratios, strides=strides,
        num_boxes=len(width), fitting=float((_best(width, height, sizes, ratios) >= _FITS).mean()),
        span=Span(float(small), float(large)),
    )  # fmt: skip


def _strides(stages: Sequence[FeatureInfo]) -> tuple[int, ...]:
    return (*(stage.stride for stage in stages), 2 * stages[-1].stride)


def _spread(small: float, large: float, strides: Sequence[int]) -> list[float]:
    """Return one side for each level, by equal factors from small to large objects, and no smaller than levels see."""
    middle = np.sqrt(small * large)
    # Objects of one size still come larger and smaller in other pictures.
    small, large = min(small, middle / np.sqrt(2)), max(large, middle * np.sqrt(2))
    sides = np.geomspace(small, large, len(strides))
    return [float(max(round(side), _LEAST_CELLS * stride)) for side, stride in zip(sides, strides, strict=True)]


def _ratios(ratios: np.ndarray) -> tuple[float, ...]:
    """Return the usual ratios of height to width, or longer ones where one object in ten is longer."""
    longest = float(np.exp(np.quantile(np.abs(np.log(ratios)), 0.9)))
    if longest < _WIDEST:
        return _RATIOS
    longest = round(min(longest, 8.0), 1)
    return (round(1 / longest, 3), 1.0, longest)


def _best(width: np.ndarray, height: np.ndarray, sizes: Sizes, ratios: Sequence[float]) -> np.ndarray:
    """Return how much the best anchor overlaps each box where their middles meet."""
    flat = np.array([size for level in sizes for size in level])
    across, down = (np.outer(flat, np.sqrt(ratios) ** sign).ravel() for sign in (-1, 1))
    shared = np.minimum(width[:, None], across) * np.minimum(height[:, None], down)
    either = (width * height)[:, None] + across * down - shared
    overlap: np.ndarray = (shared / either).max(axis=1)
    return overlap
