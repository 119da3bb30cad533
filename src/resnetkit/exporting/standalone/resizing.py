"""Resize, crop and normalise as the model was trained, for runtimes whose graph begins behind that."""

from typing import Any

import numpy as np
from PIL import Image


def images_of(picture: np.ndarray, preprocess: dict[str, Any]) -> np.ndarray:
    """Return `[1, C, S, S]` float32 of a `[H, W, C]` uint8 picture; `preprocess` is the record's."""
    channels, size = preprocess["channels"], preprocess["size"]
    image = Image.fromarray(picture if channels == 3 else picture[:, :, 0])
    width, height = _new_size(image.width, image.height, preprocess)
    resampling = Image.Resampling[preprocess["interpolation"].upper()]
    # Across and then down: Pillow itself changed the order in version 13.
    if image.width != width and image.height > height:
        image = image.resize((width, image.height), resampling)
    if image.size != (width, height):
        image = image.resize((width, height), resampling)
    pixels = np.asarray(_cut(image, size)).reshape(size, size, channels)
    mean, std = (np.array(preprocess[name], np.float32) for name in ("mean", "std"))
    values = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def _new_size(width: int, height: int, preprocess: dict[str, Any]) -> tuple[int, int]:
    size, short, long = preprocess["size"], min(width, height), max(width, height)
    if preprocess["crop"] == "squash":
        return size, size
    if preprocess["crop"] == "pad":
        return max(1, (2 * width * size + long) // (2 * long)), max(1, (2 * height * size + long) // (2 * long))
    return max(1, preprocess["resize"] * width // short), max(1, preprocess["resize"] * height // short)


def _cut(image: Image.Image, size: int) -> Image.Image:
    """Cut out the middle, black where the picture is smaller."""
    width, height = max(image.width, size), max(image.height, size)
    if image.size != (width, height):
        whole = Image.new(image.mode, (width, height))
        whole.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
        image = whole
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def probabilities_of(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return the `[K]` probabilities of `[1, K]` logits."""
    scaled = np.asarray(logits, np.float32)[0] / np.float32(temperature)
    powers = np.exp(scaled - scaled.max())
    return powers / powers.sum()
