"""Where the pixels of a tensor lie on the picture that they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class View:
    """A crop, bars, another size, a mirror image, a turn, a shear, or any of them in a row: all are one affine map.

    Points are `(x, y)` in pixels, with (0, 0) at the outer corner of the first pixel, so that its middle is (0.5, 0.5)
    and the far corner is (width, height). `matrix`, `[2, 3]` float64, takes points of the upright original into the
    view, which is `height` x `width`.

    >>> half = View.whole(200, 100).resized(height=50, width=100)
    >>> half.cropped(top=0, left=25, height=50, width=50).into([[100, 50]])
    array([[25., 25.]])
    """

    height: int
    width: int
    matrix: np.ndarray = field(default_factory=lambda: np.eye(2, 3))

    @classmethod
    def whole(cls, width: int, height: int) -> View:
        """Return the view of a picture that shows it as it is."""
        return cls(height, width)

    def into(self, points: Any) -> np.ndarray:
        """Return where points of the original, `[N, 2]`, lie in the view."""
        return np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def back(self, points: Any) -> np.ndarray:
        """Return where points of the view, `[N, 2]`, lie on the original; some may lie outside of it."""
        return np.linalg.solve(self.matrix[:, :2], (np.asarray(points, np.float64) - self.matrix[:, 2]).T).T

    def resized(self, *, height: int, width: int) -> View:
        """Return the view enlarged or made smaller to another size."""
        return self._then([[width / self.width, 0, 0], [0, height / self.height, 0]], height=height, width=width)

    def cropped(self, *, top: int, left: int, height: int, width: int) -> View:
        """Return a part of the view; what of it lies outside is bars."""
        return self._then([[1, 0, -left], [0, 1, -top]], height=height, width=width)

    def mirrored(self, *, upside_down: bool = False) -> View:
        """Return the view left to right, or top to bottom."""
        across = [[1, 0, 0], [0, -1, self.height]] if upside_down else [[-1, 0, self.width], [0, 1, 0]]
        return self._then(across)

    def turned(self, degrees: float) -> View:
        """Return the view turned clockwise around its middle; its size stays."""
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        return self._around_the_middle([[cos, -sin], [sin, cos]])

    def sheared(self, *, across: float = 0.0, down: float = 0.0) -> View:
        """Return the view sheared around its middle by pixels per pixel; its size stays."""
        return self._around_the_middle([[1, across], [down, 1]])

    def _around_the_middle(self, turn: list[list[float]]) -> View:
        middle = np.array([self.width, self.height]) / 2
        return self._then(np.column_stack([turn, middle - np.array(turn) @ middle]))

    def _then(self, step: Any, *, height: int | None = None, width: int | None = None) -> View:
        step = np.asarray(step, np.float64)
        matrix = step[:, :2] @ self.matrix
        matrix[:, 2] += step[:, 2]
        return View(height or self.height, width or self.width, matrix)
