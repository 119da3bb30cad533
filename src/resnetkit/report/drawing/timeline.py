"""A video over time, drawn: a row for each label, what frames say above what is told smoothed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb

from resnetkit.report.drawing.canvas import FAINT, INK, LINE, MARGIN, RIGHT, WRONG, Sheet, sheet
from resnetkit.report.drawing.fonts import drawable
from resnetkit.report.timelines import Bar, Picture

_TOP, _NAME_WIDTH, _BESIDE = 130, 180, 150
_OWN, _APART, _STATE, _MARK, _ROW = 7, 3, 26, 4, 62
_GAPS = 30


def draw(shown: Picture, path: Path) -> str | None:
    """Draw the picture of a timeline; returns a line for the user where no font here has some of the characters."""
    names = [drawable(row.name) for row in shown.rows]
    with sheet(path, texts=[*names, shown.title]) as drawn:
        words = [drawn.fit(name, _NAME_WIDTH, size=15) for name in names]
        left = MARGIN + max(drawn.width_of(word, size=15) for word in [*words, "no answer"]) + 14
        height = _ROW * len(words) + (_GAPS if shown.gaps else 0)
        drawn.resize(left + shown.columns + _BESIDE, _TOP + height + 40)
        drawn.header(drawable(shown.title), drawable(shown.note))
        drawn.text(MARGIN, MARGIN + 56, drawn.fit(shown.lag, drawn.width - 2 * MARGIN, size=14), size=14, color=FAINT)
        axes = drawn.axes(left, _TOP, shown.columns, height)
        axes.set(xlim=(0, shown.columns), ylim=(height, 0), yticks=[])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_ticks(*zip(*shown.ticks, strict=True))
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        right = left + shown.columns
        drawn.text(right + 64, _TOP - 12, "of the time", size=12, color=FAINT, align="right")
        drawn.text(right + _BESIDE - MARGIN, _TOP - 12, "events", size=12, color=FAINT, align="right")
        for number, (row, word) in enumerate(zip(shown.rows, words, strict=True)):
            top = number * _ROW + 4
            middle = _TOP + top + _OWN + _APART + _STATE / 2
            drawn.text(left - 10, middle, word, align="right")
            drawn.text(right + 64, middle, row.share, size=14, align="right")
            drawn.text(right + _BESIDE - MARGIN, middle, row.events, size=14, align="right")
            _bars(axes, row.own, top, _OWN, FAINT)
            _bars(axes, row.state, top + _OWN + _APART, _STATE, RIGHT)
            axes.hlines(top + _OWN + _APART + _STATE, 0, shown.columns, color=LINE, linewidth=0.7, zorder=1)
            _events(axes, drawn, row.spans, top + _OWN + _APART + _STATE + _MARK)
        if shown.gaps:
            top = height - _GAPS + 4
            drawn.text(left - 10, _TOP + top + 6, "no answer", size=14, color=WRONG, align="right")
            _bars(axes, shown.gaps, top, 12, WRONG)
    return drawn.warning


def _bars(axes: Axes, bars: Sequence[Bar], top: float, height: float, color: str) -> None:
    """Draw bars that stand on `top + height`."""
    bottom = top + height
    corners, colors = [], []
    for bar in bars:
        above = bottom - height * bar.height
        corners.append([(bar.first, bottom), (bar.first, above), (bar.after, above), (bar.after, bottom)])
        colors.append([1 - bar.strength * (1 - part) for part in to_rgb(color)])
    axes.add_collection(PolyCollection(corners, facecolors=colors, linewidths=0, antialiaseds=False, zorder=2))


def _events(axes: Axes, drawn: Sheet, spans: Sequence[tuple[float, float, str]], y: float) -> None:
    """Underline each event, and write below when it began where there is room."""
    if not spans:
        return
    starts = [start for start, _, _ in spans]
    axes.hlines(
        [y] * len(spans), starts, [max(end - 1, start + 1) for start, end, _ in spans], color=INK, linewidth=1.4
    )
    free = 0.0
    for start, _, word in spans:
        width = drawn.width_of(word, size=11)
        if free <= start <= axes.get_xlim()[1] - width:
            axes.text(start, y + 8, word, fontsize=11 * 72 / 100, va="center", color=INK)
            free = start + width + 6
