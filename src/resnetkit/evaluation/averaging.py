"""Test-time averaging: the mean of the logits over versions of a picture; never in place of the plain figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np

from resnetkit.inference.engines import Engine

Views = Literal["none", "flip", "flip_shift"]
VIEWS: tuple[Views, ...] = get_args(Views)


def averaged_logits(engine: Engine, pixels: np.ndarray, plain: np.ndarray, *, views: Views) -> np.ndarray:
    """Return float32 `[N, K]` logits of `[N, S, S, C]` uint8 pixels, averaged over `views` of each picture.

    `plain` are the logits of the pictures as they are, `[N, K]`, which the caller has already. `flip` is the mean of
    a picture and its mirror; `flip_shift` gives those two half of the weight and the other half to the picture moved by
    one pixel up-left and down-right, each with its mirror (level 2 of KellerJordan/cifar10-airbench, 6 views).
    """
    total = np.zeros(plain.shape, np.float64)
    for weight, version in _versions(pixels, views):
        total += weight * (plain if version is pixels else engine.logits(version))
    return total.astype(np.float32)


def _versions(pixels: np.ndarray, views: Views) -> Iterator[tuple[float, np.ndarray]]:
    """Yield each version of the pictures with its weight; the weights add up to 1."""
    if views == "none":
        yield 1.0, pixels
    elif views == "flip":
        yield from _with_mirror(0.5, pixels)
    else:
        yield from _with_mirror(0.25, pixels)
        yield from _with_mirror(0.125, shifted(pixels, -1))
        yield from _with_mirror(0.125, shifted(pixels, 1))


def _with_mirror(weight: float, pixels: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    yield weight, pixels
    yield weight, np.ascontiguousarray(pixels[:, :, ::-1])


def shifted(pixels: np.ndarray, by: int) -> np.ndarray:
    """Return `[N, H, W, C]` pictures moved `by` pixels down and right (negative: up and left), borders reflected.

    >>> shifted(np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1), 1)[0, :, :, 0]
    array([[4, 3, 4],
           [1, 0, 1],
           [4, 3, 4]], dtype=uint8)
    """
    margin = abs(by)
    height, width = pixels.shape[1:3]
    padded = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")
    start = margin - by
    return np.ascontiguousarray(padded[:, start : start + height, start : start + width])
