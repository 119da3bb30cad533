"""Which labels come together on pictures, drawn: as they are, and as the model answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb

from resnetkit.evaluation.metrics import photos
from resnetkit.report.drawing.canvas import INK, MARGIN, RIGHT, Sheet, sheet
from resnetkit.report.drawing.fonts import drawable

_TOP, _NAME_WIDTH, _MOST_SIDE = 150, 200, 620
_MOST_NAMED = 40


def diagram(metrics: Mapping[str, Any], path: Path) -> str | None:
    """Draw `together` and `together_answered` of `metrics.json`, a row for each label.

    A cell is the share of the pictures with the row's label that have the column's too. Above 40 labels the cells have
    no names.
    """
    names = [drawable(one["class"]) for one in metrics["per_class"]]
    named = len(names) <= _MOST_NAMED
    cell = max(_MOST_SIDE // len(names) if len(names) > 8 else 64, 2)
    side = cell * len(names)
    with sheet(path, texts=names) as drawn:
        size = max(8.0, min(14.0, 0.6 * cell))
        words = [drawn.fit(name, _NAME_WIDTH, size=size) for name in names] if named else []
        longest = max((drawn.width_of(word, size=size) for word in words), default=0)
        first, second = MARGIN + longest + 12, MARGIN + longest + 12 + side + 48
        drawn.resize(max(720, second + side + MARGIN), _TOP + side + (longest if named else 0) + 2 * MARGIN)
        drawn.header(
            f"{len(names)} labels on {photos(metrics['split'], metrics['count'])}",
            "of the pictures with the label of the row: how many have the one of the column",
        )
        for left, title, counts in (
            (first, "as they are", metrics["together"]), (second, "as the model answers", metrics["together_answered"]),
        ):  # fmt: skip
            drawn.text(left, _TOP - 22, title)
            _matrix(drawn, np.asarray(counts), left, side, cell)
            for number, word in enumerate(words):
                middle = left + cell * (number + 0.5)
                drawn.text(middle, _TOP + side + 10, word, size=size, align="right", angle=90)
        _row_names(drawn, words, first, cell, size)
    return drawn.warning


def _matrix(drawn: Sheet, counts: np.ndarray, left: float, side: int, cell: int) -> None:
    of_row = np.diag(counts)[:, None]
    share = counts / np.maximum(of_row, 1)
    drawn.cells(1 - share[..., None] * (1 - np.array(to_rgb(RIGHT))), left, _TOP, side)
    if cell < 26:
        return
    for row, column in np.argwhere(of_row > 0 + np.zeros_like(counts)).tolist():
        color = "white" if share[row, column] > 0.6 else INK
        where = left + cell * (column + 0.5), _TOP + cell * (row + 0.5)
        drawn.text(*where, f"{100 * share[row, column]:.0f}", size=min(14.0, 0.34 * cell), color=color, align="center")


def _row_names(drawn: Sheet, words: Sequence[str], left: float, cell: int, size: float) -> None:
    for number, word in enumerate(words):
        drawn.text(left - 8, _TOP + cell * (number + 0.5), word, size=size, align="right")
