"""Laying one thumbnail over another: how much wider and further, and how alike the details then are."""

from __future__ import annotations

import numpy as np

_STEPS = 8
_FAR = 4  # pixels: what is further apart is a picture's light and shade, nearer its details
_LEAST_DETAIL = 1.5  # grey levels: below, what is left are the traces of the JPEG coder
_LEAST_OVERLAP = 0.6


def similarity(first: np.ndarray, second: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return how alike the details of pairs of thumbnails are, `[N]` in [-1, 1], where they lie over each other best.

    `first`, `second`: `[N, side, side, 3]` uint8. `start`: `[N, 4]`, where a pixel of the first lies in the second,
    as (scale down, shift down, scale across, shift across); Lucas-Kanade steps improve on it (Baker and Matthews 2004,
    "Lucas-Kanade 20 years on", with gain and offset of the brightness). The measure is the correlation of the greys
    after what is coarser than 9 pixels and finer than 2 is taken away: the light of two skies is alike, and so are the
    finest details of no picture once it was saved again. Pairs without details, or that hardly overlap, get 0.
    """
    grey, other_grey = (_smooth(thumbs.mean(axis=3, dtype=np.float32)) for thumbs in (first, second))
    down, across, inside = _sampling(_aligned(grey, other_grey, start.astype(np.float32)), grey.shape[1])
    moved = down @ other_grey @ across
    one, other = (_deviation(image - _blurred(image), inside) for image in (grey, moved))
    details = [np.sqrt((image**2).sum(axis=(1, 2)) / inside.sum(axis=(1, 2)).clip(1)) for image in (one, other)]
    product = (one * other).sum(axis=(1, 2))
    alike = product / np.sqrt((one**2).sum(axis=(1, 2)) * (other**2).sum(axis=(1, 2)) + 1e-6)
    comparable = (np.minimum(*details) >= _LEAST_DETAIL) & (inside.mean(axis=(1, 2)) >= _LEAST_OVERLAP)
    return np.where(comparable, alike, 0.0)


def _aligned(first: np.ndarray, second: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return where the first lies in the second after Gauss-Newton steps on the squared difference of their greys."""
    count, side = first.shape[:2]
    at = np.arange(side, dtype=np.float32) + 0.5
    slope_down, slope_across = np.gradient(second, axis=1), np.gradient(second, axis=2)
    damping = np.array([0.05] * 4 + [0.001] * 2, np.float32) * 1e-3 / 6
    for _ in range(_STEPS):
        down, across, inside = _sampling(place, side)
        moved, by_down, by_across = (down @ image @ across for image in (second, slope_down, slope_across))
        columns = [by_down * at[:, None], by_down, by_across * at, by_across, moved, np.ones_like(moved)]
        jacobian = (np.stack(columns, axis=1) * inside[:, None]).reshape(count, 6, -1)
        normal = jacobian @ jacobian.transpose(0, 2, 1)
        normal += np.eye(6, dtype=np.float32) * damping * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-3
        right = jacobian @ first.reshape(count, -1, 1)
        step = np.linalg.solve(normal, right)[..., 0]
        gain = np.where(np.abs(step[:, 4:5]) < 0.3, 0.3, step[:, 4:5])
        limit = np.array([0.1, 3, 0.1, 3], np.float32)
        place = place + np.clip(step[:, :4] / gain, -limit, limit)
        place = np.clip(place, np.array([0.7, -0.4 * side] * 2), np.array([1.4, 0.4 * side] * 2)).astype(np.float32)
    return place


def _sampling(place: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights of linear interpolation (`down @ image @ across` is the image moved), and what lies inside."""
    pixels = np.arange(side, dtype=np.float32)
    weights, within = [], []
    for scale, shift in ((place[:, 0:1], place[:, 1:2]), (place[:, 2:3], place[:, 3:4])):
        at = scale * (pixels + 0.5) + shift - 0.5
        weights.append(np.maximum(0, 1 - np.abs(at[:, :, None] - pixels)))
        within.append((at > -0.01) & (at < side - 0.99))
    inside = (within[0][:, :, None] & within[1][:, None, :]).astype(np.float32)
    return weights[0], weights[1].transpose(0, 2, 1), inside


def _deviation(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    mean = (image * inside).sum(axis=(1, 2), keepdims=True) / inside.sum(axis=(1, 2), keepdims=True).clip(1)
    return (image - mean) * inside


def _smooth(image: np.ndarray) -> np.ndarray:
    from scipy.ndimage import convolve1d

    weights = np.array([0.25, 0.5, 0.25], np.float32)
    return convolve1d(convolve1d(image, weights, axis=1, mode="nearest"), weights, axis=2, mode="nearest")


def _blurred(image: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    return uniform_filter(image, size=(1, 2 * _FAR + 1, 2 * _FAR + 1), mode="nearest")
