"""Stand-ins that several rooms' tests share."""

from concurrent.futures import Future

import numpy as np

from resnetkit.models.detection.found import MASK_SIDE

COLOURS = ("red", "green", "blue")


class OneByOne:
    """An engine that computes what is submitted at once; subclasses say what the logits are."""

    batch_size = 4
    ahead = 0

    def submit(self, pixels: np.ndarray) -> Future[np.ndarray]:
        future: Future[np.ndarray] = Future()
        future.set_result(self.logits(pixels))
        return future

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class ColourFinder(OneByOne):
    """A detector: where a picture is red, green or blue there is an object of that class, as sure as it is bright.

    It puts out what detectors do: `[N, 6, 6]`, or with `masks` 28 x 28 numbers more each, the surest first; and a box
    of no size as sure as nothing, which graphs of ONNX may give.
    """

    def __init__(self, *, masks: bool = False) -> None:
        self.masks = masks

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        return np.stack([self._found(one.astype(np.int64)) for one in pixels])

    def _found(self, pixels: np.ndarray) -> np.ndarray:
        rows = np.zeros((6, 6 + (MASK_SIDE**2 if self.masks else 0)), np.float32)
        rows[:, 5] = -1
        rows[5, 5] = 0  # the phantom
        found = []
        for channel in range(3):
            there = 2 * pixels[..., channel] - pixels.sum(axis=-1) > 40
            if there.any():
                down, across = np.nonzero(there)
                box = (across.min(), down.min(), across.max() + 1, down.max() + 1)
                found.append((-pixels[there][:, channel].max() / 255, channel, box))
        for row, (unsure, channel, box) in zip(rows, sorted(found), strict=False):
            row[:6] = (*box, -unsure, channel)
            row[6:] = 0.9
        return rows
