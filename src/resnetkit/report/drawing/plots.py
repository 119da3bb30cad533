"""The pictures a person looks at after a run, each one PNG file.

Every function returns None, or one line for the user when class names hold characters that no font here has.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator

from resnetkit.evaluation.metrics import confused, num_correct, photos
from resnetkit.report.drawing.canvas import FAINT, INK, LINE, MARGIN, RIGHT, WRONG, Sheet, drawn_size, sheet
from resnetkit.report.drawing.fonts import drawable, isolated

GRID_LIMIT = 48  # more pictures than this on one sheet are too small to judge
AUGMENTED_LIMIT = (8, 8)  # rows and columns

_HEADER = 84
_GAP = 16
_LARGEST_SHEET = 1600
_NAME_WIDTH = 210
_SIGNS = "✗✓…"  # what we write ourselves beside names


def prediction_grid(
    images: Sequence[np.ndarray] | np.ndarray,
    path: Path,
    *,
    predicted: Sequence[str],
    probabilities: Sequence[float | None],
    labels: Sequence[str] | None = None,
    title: str,
) -> str | None:
    """Draw pictures with what the model said and how sure it was; wrong ones have a thick frame, a ✗ and the true name.

    `images` are [n, h, w, c] uint8 or a list of [h, w, c] of any sizes, shown as they are (not normalised); the first
    `GRID_LIMIT` are drawn. Without `labels` nothing is marked.
    """
    count = min(len(images), GRID_LIMIT)
    assert 0 < count <= min(len(predicted), len(probabilities)), (count, len(predicted), len(probabilities))
    names = [drawable(name) for name in predicted[:count]]
    true_names = [drawable(name) for name in labels[:count]] if labels is not None else None
    columns, side = _grid(count)
    bottoms, height = _row_bottoms(
        [list(images[i : i + columns]) for i in range(0, count, columns)],
        side,
        top=_HEADER,
        below=36 if labels is None else 58,
    )
    with sheet(path, texts=[*names, *(true_names or ()), title, _SIGNS]) as drawn:
        drawn.resize(max(560, 2 * MARGIN + columns * (side + _GAP) - _GAP), height)
        drawn.header(drawable(title), _grid_note(names, true_names))
        for i in range(count):
            left, bottom = MARGIN + i % columns * (side + _GAP), bottoms[i // columns]
            truth = true_names[i] if true_names else None
            _judged(drawn, images[i], left, bottom, side, said=names[i], sure=probabilities[i], truth=truth)
    return drawn.warning


def augmented(rows: Sequence[Sequence[np.ndarray]], path: Path, *, labels: Sequence[str]) -> str | None:
    """Draw one row per training picture: the original, then how training sees it ([h, w, c] uint8 each).

    At most `AUGMENTED_LIMIT` rows and columns are drawn.
    """
    num_columns = min(max(map(len, rows)), AUGMENTED_LIMIT[1])
    kept = [row[:num_columns] for row in rows[: AUGMENTED_LIMIT[0]]]
    names = [drawable(label) for label in labels[: len(kept)]]
    name_width, side = 170, min(220, (_LARGEST_SHEET - 2 * MARGIN - 170) // num_columns - _GAP)
    bottoms, height = _row_bottoms(kept, side, top=_HEADER + 26, below=0)
    with sheet(path, texts=[*names, _SIGNS]) as drawn:
        drawn.resize(max(560, 2 * MARGIN + name_width + num_columns * (side + _GAP) - _GAP), height)
        drawn.header("Training pictures as the network sees them", "each row: one picture, then the same one augmented")
        for column, words in ((0, "original"), (1, "augmented"))[:num_columns]:
            drawn.text(MARGIN + name_width + column * (side + _GAP), _HEADER + 10, words, size=14, color=FAINT)
        for name, images, bottom in zip(names, kept, bottoms, strict=True):
            middle = bottom - drawn_size(images[0], side)[1] / 2
            drawn.text(MARGIN, middle, drawn.fit(name, name_width - 14, size=15))
            for column, image in enumerate(images):
                left = MARGIN + name_width + column * (side + _GAP)
                drawn.image(image, left, bottom, side, frame=LINE, thickness=1)
    return drawn.warning


def confusion(metrics: Mapping[str, Any], path: Path) -> str | None:
    """Draw the confusion matrix of `metrics.json`: rows are true classes, columns predicted ones.

    The colour of a cell is its share of the row; cells hold their counts while these can be read. Above 100 classes
    names give way to a list of the pairs confused most often.
    """
    matrix = np.asarray(metrics["confusion_matrix"])
    names = [drawable(name) for name in metrics["classes"]]
    title = f"{num_correct(metrics)} of {photos(metrics['split'], metrics['count'])} named right"
    draw = _named_matrix if len(names) <= 100 else _large_matrix
    return draw(matrix, names, title, path)


def speeds(rows: Sequence[Mapping[str, Any]], path: Path, *, machine: str) -> None:
    """Draw pictures per second and the latency of one, a bar for each way to compute; `rows` as in benchmark.json."""
    names = [f"{Path(row['model']).name}, {row['engine']} {row['precision']}" for row in rows]
    with sheet(path, texts=names) as drawn:
        height = 40 + 34 * len(rows)
        drawn.resize(1200, 170 + height)
        drawn.header("How fast it answers here", machine)
        columns = (
            (320, "pictures a second", "images_per_second", 1),
            (800, "ms for one picture", "latency_p50_s", 1e3),
        )
        for left, words, figure, factor in columns:
            drawn.text(left, 108, words)
            axes = drawn.axes(left, 128, 340, height)
            values = [factor * row[figure] for row in rows]
            axes.barh(range(len(rows)), values, color=RIGHT, height=0.6)
            axes.set_yticks(range(len(rows)), names if left == 320 else [""] * len(rows))
            axes.invert_yaxis()
            axes.set_xlim(0, 1.2 * max(values))
            axes.tick_params(length=0)
            for row, value in enumerate(values):
                axes.annotate(f"{value:,.4g}", (value, row), xytext=(4, -4), textcoords="offset points", fontsize=9)


def _grid(count: int) -> tuple[int, int]:
    """Return how many columns `count` pictures are drawn in, and their side in pixels."""
    columns = min(count, 8, max(3, math.ceil(math.sqrt(1.5 * count))))
    return columns, min(300 if count <= 4 else 240, (_LARGEST_SHEET - 2 * MARGIN + _GAP) // columns - _GAP)


def _row_bottoms(rows: Sequence[Sequence[np.ndarray]], side: int, *, top: int, below: int) -> tuple[list[int], int]:
    """Return where the pictures of each row stand, with room `below` for words, and the height of the sheet."""
    bottoms = []
    for row in rows:
        bottoms.append(top + max(drawn_size(image, side)[1] for image in row))
        top = bottoms[-1] + below + _GAP
    return bottoms, top + MARGIN - _GAP


def _grid_note(names: Sequence[str], true_names: Sequence[str] | None) -> str:
    if true_names is None:
        return "under each picture: what the model says, and how sure it is"
    right = sum(said == truth for said, truth in zip(names, true_names, strict=True))
    return f"{right} of these {len(names)} right; ✗ and a thick frame: wrong, with the true name below"


def _judged(
    drawn: Sheet,
    image: np.ndarray,
    left: int,
    bottom: int,
    side: int,
    *,
    said: str,
    sure: float | None,
    truth: str | None,
) -> None:
    """Draw one picture with its words; names stand isolated, so that a right-to-left one does not turn the line."""
    wrong = truth is not None and said != truth
    sign = "" if truth is None else "✗ " if wrong else "✓ "
    color = WRONG if wrong else INK
    drawn.image(image, left, bottom, side, frame=color if wrong else LINE, thickness=5 if wrong else 1)
    percent = "" if sure is None else "  > 99 %" if sure >= 0.995 else f"  {100 * sure:.0f} %"
    room = side - drawn.width_of(f"{sign}{percent}", size=15)
    drawn.text(left, bottom + 20, f"{sign}{isolated(drawn.fit(said, room, size=15))}{percent}", color=color)
    if wrong and truth is not None:
        room = side - drawn.width_of("true: ", size=15)
        drawn.text(left, bottom + 42, f"true: {isolated(drawn.fit(truth, room, size=15))}", color=INK)


def _cell_colors(matrix: np.ndarray) -> np.ndarray:
    """Return [K, K, 3] colours: blue on the diagonal, vermillion off it, stronger with the share of the row."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    strength = np.sqrt(share)[..., None]  # so that one error in a hundred can be seen
    target = np.where(np.eye(len(matrix), dtype=bool)[..., None], to_rgb(RIGHT), to_rgb(WRONG))
    return 1 - strength * (1 - target)


def _named_matrix(matrix: np.ndarray, names: Sequence[str], title: str, path: Path) -> str | None:
    """Draw a matrix small enough for the name of every class."""
    cell = min(96 if len(names) > 4 else 128, max(12, 1160 // len(names)))
    size, side = min(15.0, 0.85 * cell), cell * len(names)
    with sheet(path, texts=[*names, _SIGNS]) as drawn:
        words = [drawn.fit(name, _NAME_WIDTH, size=size) for name in names]
        longest = max(drawn.width_of(word, size=size) for word in words)
        angle = 0 if longest < cell - 8 else 45 if cell >= 1.8 * size else 90
        left = max(MARGIN + 28 + longest + 8, 0.71 * longest - cell / 2 + MARGIN if angle == 45 else 0)
        top, below = _HEADER + 8, {0: size + 8, 45: 0.71 * longest + size, 90: longest}[angle] + 12
        drawn.resize(max(640, left + side + MARGIN), top + side + below + 52)
        numbers = "numbers: photos; " if (count_size := _count_size(matrix, cell)) else ""
        drawn.header(title, f"{numbers}colour: share of the row, blue where right, orange where wrong")
        _cell_lines(drawn.cells(_cell_colors(matrix), left, top, side), len(names))
        if count_size:
            _counts(drawn, matrix, left, top, cell, size=count_size)
        for i, word in enumerate(words):
            middle = cell * (i + 0.5)
            drawn.text(left - 8, top + middle, word, size=size, align="right")
            drawn.text(
                left + middle, top + side + 14, word, size=size, align="right" if angle else "center", angle=angle
            )
        drawn.text(left - longest - 26, top + side / 2, "true", color=FAINT, align="center", angle=90)
        drawn.text(left + side / 2, drawn.height - MARGIN, "predicted", color=FAINT, align="center")
    return drawn.warning


def _cell_lines(axes: Axes, num_classes: int) -> None:
    between = np.arange(num_classes - 1) + 0.5
    axes.vlines(between, -0.5, num_classes - 0.5, color="#e3e6e9", linewidth=0.6)
    axes.hlines(between, -0.5, num_classes - 0.5, color="#e3e6e9", linewidth=0.6)


def _count_size(matrix: np.ndarray, cell: int) -> float | None:
    """Return the size of the counts in cells of `cell` pixels, None where the longest could not be read."""
    size = min(18.0, 0.45 * cell, 1.4 * cell / len(str(matrix.max())))
    return size if size >= 9 else None


def _counts(drawn: Sheet, matrix: np.ndarray, left: float, top: float, cell: int, *, size: float) -> None:
    """Write the counts into the cells; a zero is worth its ink in a small matrix only."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    least = 0 if len(matrix) <= 12 else 1
    for row, column in np.argwhere(matrix >= least).tolist():
        color = "#aab1b8" if not matrix[row, column] else "white" if share[row, column] > 0.4 else INK
        x, y = left + cell * (column + 0.5), top + cell * (row + 0.5)
        drawn.text(x, y, str(matrix[row, column]), size=size, color=color, align="center")


def _large_matrix(matrix: np.ndarray, names: Sequence[str], title: str, path: Path) -> str | None:
    """Draw a matrix of more classes than can be named, and beside it the pairs confused most often."""
    side = 900 if len(names) < 900 else min(1000, len(names))
    left, top = MARGIN + 56, _HEADER + 8
    pairs = confused(matrix)[:14]
    texts = [names[i] for pair in pairs for i in pair[:2]]
    with sheet(path, texts=[*texts, _SIGNS]) as drawn:
        drawn.resize(left + side + 460, top + side + 70)
        drawn.header(title, "one dot per pair; colour: share of the row, blue where right, orange where wrong")
        axes = drawn.cells(_cell_colors(matrix), left, top, side)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=10, integer=True))
        axes.set(xlabel="predicted (place in the list of classes, from 0)", ylabel="true")
        _confused_list(drawn, pairs, names, left + side + 40, top)
    return drawn.warning


def _confused_list(
    drawn: Sheet, pairs: Sequence[tuple[int, int, int]], names: Sequence[str], left: int, top: int
) -> None:
    drawn.text(left, top + 12, "Confused most often" if pairs else "No photo was named wrong", size=17)
    room = drawn.width - MARGIN - left
    for i, (true, predicted, count) in enumerate(pairs):
        y = top + 48 + i * 62
        times = f" ({count} photo{'' if count == 1 else 's'})"
        said = drawn.fit(names[predicted], room - drawn.width_of(f"said:  {times}", size=15), size=15)
        true_name = drawn.fit(names[true], room - drawn.width_of("true: ", size=15), size=15)
        drawn.text(left, y, f"true: {isolated(true_name)}")
        drawn.text(left, y + 22, f"said: {isolated(said)}{times}", color=WRONG)
