"""A heat map over its picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

from resnetkit.data.opening.images import Opened, to_look_at
from resnetkit.data.preprocess import Preprocess

# From nothing over violet and orange to pale yellow, as matplotlib's "inferno": its brightness rises all the way, so it
# reads the same in grey and with every kind of colour vision.
_HEAT = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
_COLOURS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float64)
_COLD = 0.45  # how much of the picture's brightness is left where nothing speaks for the class
_STRONGEST = 0.75  # how much of the picture the hottest colour hides


def seen_picture(image: Opened, preprocess: Preprocess, *, longest: int) -> np.ndarray:
    """Return `[h, w, C] uint8`: what a network sees of a picture, in the picture's own sharpness and aspect.

    At most `longest` pixels long, and small ones are not enlarged.
    """
    upright = to_look_at(preprocess.convert(image))
    cut = upright.crop(preprocess.seen(*upright.size))
    cut.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    pixels = np.asarray(cut)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def overlay(picture: np.ndarray, heat: np.ndarray, *, at_least: int = 1) -> np.ndarray:
    """Return the `[h, w, C] uint8` picture as `[h, w, 3]` with the `[S, S]` heat map in [0, 1] over it.

    Where the map is cold the picture is dark, where it is hot it glows. The pixels of a picture whose longer side is
    less than half of `at_least` are repeated, so that the smooth heat over them stays smooth.
    """
    times = max(1, at_least // max(picture.shape[:2]))
    picture = picture.repeat(times, axis=0).repeat(times, axis=1)
    height, width = picture.shape[:2]
    spread = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    hot = np.clip(np.asarray(spread, dtype=np.float64), 0, 1)
    colour = np.stack([np.interp(hot, _HEAT, channel) for channel in _COLOURS.T], axis=-1)
    hidden = (_STRONGEST * hot)[..., None]
    dimmed = np.broadcast_to(picture, (height, width, 3)) * (_COLD + (1 - _COLD) * hot)[..., None]
    return np.round(dimmed * (1 - hidden) + colour * hidden).astype(np.uint8)
