"""Resize, crop and normalise as the model was trained, for runtimes whose graph begins behind that."""

from typing import Any

import numpy as np
from PIL import Image


def images_of(picture: np.ndarray, preprocess: dict[str, Any]) -> np.ndarray:
    """Return `[1, C, H, W]` float32 of a `[h, w, C]` uint8 picture; `preprocess` is the record's."""
    channels, down = preprocess["channels"], preprocess["size"]
    across = preprocess.get("width") or down
    image = Image.fromarray(picture if channels == 3 else picture[:, :, 0])
    width, height = _new_size(image.width, image.height, preprocess)
    resampling = Image.Resampling[preprocess["interpolation"].upper()]
    # Across and then down: Pillow itself changed the order in version 13.
    if image.width != width and image.height > height:
        image = image.resize((width, image.height), resampling)
    if image.size != (width, height):
        image = image.resize((width, height), resampling)
    left, top = _middle(width, across), _middle(height, down)
    cut = image.crop((left, top, left + across, top + down))  # black where the picture is smaller
    pixels = np.asarray(cut).reshape(down, across, channels)
    mean, std = (np.array(preprocess[name], np.float32) for name in ("mean", "std"))
    values = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def _new_size(width: int, height: int, preprocess: dict[str, Any]) -> tuple[int, int]:
    down = preprocess["size"]
    across = preprocess.get("width") or down
    if preprocess["crop"] == "squash":
        return across, down
    if preprocess["crop"] == "pad":
        length, side = (width, across) if width * down >= height * across else (height, down)
        fitted = (max(1, (2 * each * side + length) // (2 * length)) for each in (width, height))
        return next(fitted), next(fitted)
    across, down = max(1, round(preprocess["resize"] * across / down)), preprocess["resize"]
    if width * down <= height * across:
        return across, max(1, across * height // width)
    return max(1, down * width // height), down


def _middle(length: int, size: int) -> int:
    """Return where the middle of a side begins; before its first pixel where the side is shorter than `size`."""
    return round((length - size) / 2) if length >= size else -((size - length) // 2)


def answer_of(outputs: np.ndarray, picture: np.ndarray, header: dict[str, Any]) -> np.ndarray:
    """Return the `[K]` probabilities of `[1, K]` logits, or the rows of objects in pixels of the picture."""
    if header["task"] == "detection":
        return objects_on(outputs[0], picture, header["preprocess"])
    return probabilities_of(outputs, header)


def objects_on(rows: np.ndarray, picture: np.ndarray, preprocess: dict[str, Any]) -> np.ndarray:
    """Return rows of objects, whose boxes are in pixels of the frame, with boxes in those of the picture.

    A row is left, top, right, bottom, score, class and, where there are masks, theirs.
    """
    height, width, _ = picture.shape
    new = np.array(_new_size(width, height, preprocess))
    down = preprocess["size"]
    across = preprocess.get("width") or down
    start = np.array([_middle(int(new[0]), across), _middle(int(new[1]), down)])
    rows = rows[rows[:, 5] >= 0].astype(np.float32)
    corners = (rows[:, :4].reshape(-1, 2, 2) + start) * (np.array([width, height]) / new)
    rows[:, :4] = np.clip(corners, 0, [width, height]).reshape(-1, 4)
    return rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]


def probabilities_of(logits: np.ndarray, header: dict[str, Any]) -> np.ndarray:
    """Return the `[K]` probabilities of `[1, K]` logits; of several labels each is one by itself."""
    if header["task"] == "multilabel":
        return 1 / (1 + np.exp(-np.clip(np.asarray(logits, np.float32)[0], -80, 80)))
    temperature = header["decision"].get("temperature", 1.0)
    scaled = np.asarray(logits, np.float32)[0] / np.float32(temperature)
    powers = np.exp(scaled - scaled.max())
    return powers / powers.sum()
