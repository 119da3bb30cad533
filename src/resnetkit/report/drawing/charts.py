"""The charts of a run as PNG: loss and accuracy over the epochs, how far confidence can be believed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from resnetkit.evaluation.metrics import is_tempered, photos
from resnetkit.models.choice import FIGURES, Choice
from resnetkit.report import curves
from resnetkit.report.charts import Chart, Line
from resnetkit.report.drawing.canvas import FAINT, RIGHT, WRONG, Sheet, sheet
from resnetkit.words import percent

_LEFT, _TOP, _WIDTH, _HEIGHT, _APART = 84, 106, 480, 320, 600
_NAMES, _ROW = 4, 14  # names of lines beside each other, and what one more row of them needs
_LOOKS: dict[str, dict[str, Any]] = {
    "own": {"color": RIGHT, "linewidth": 2},
    "other": {"color": FAINT, "linewidth": 1.5, "linestyle": "--"},
    "ideal": {"color": FAINT, "linewidth": 0.8},
    "points": {"color": RIGHT, "linewidth": 0},
    "first": {"color": FAINT, "linewidth": 1.5},
    "second": {"color": WRONG, "linewidth": 1.5, "linestyle": (0, (6, 2))},
    "third": {"color": "#00795a", "linewidth": 1.5, "linestyle": (0, (2, 2))},
    "fourth": {"color": "#8a3ffc", "linewidth": 1.5, "linestyle": (0, (8, 2, 2, 2))},
    "fifth": {"color": "#a2661f", "linewidth": 1.5, "linestyle": (0, (4, 2, 1, 2))},
}


def history(rows: Sequence[Mapping[str, Any]], path: Path, *, choice: Choice | None = None) -> None:
    """Draw the curves of the rows of `results.csv`; the model is the epoch of `choice` or, without it, the last."""
    by_epoch = {int(row["epoch"]): row for row in rows}
    model = choice.epoch if choice is not None and choice.epoch in by_epoch else max(by_epoch)
    words = _history_words(by_epoch, model, choice)
    _draw(curves.curves(rows, model_epoch=model), path, *words)


def reliability(metrics: Mapping[str, Any], path: Path) -> None:
    """Draw `calibration` and `selective` of `metrics.json`: confidence against accuracy, and accuracy against coverage.

    Bins of few pictures are small dots: their accuracy is no more than a guess.
    """
    before, after = (100 * metrics["calibration"][when]["ece"] for when in ("before", "after"))
    tempered = is_tempered(metrics["calibration"])
    title = f"Confidence is {after if tempered else before:.1f} points from accuracy on average"
    before_words = f"; before calibration {before:.1f} points" if tempered else ""
    _draw(curves.confidence(metrics), path, title, f"{photos(metrics['split'], metrics['count'])}{before_words}")


def _history_words(rows: Mapping[int, Mapping[str, Any]], model: int, choice: Choice | None) -> tuple[str, str]:
    num = sum(epoch > 0 for epoch in rows)  # epoch 0 is a fitted head, before any epoch
    title = f"{num} epoch{'' if num == 1 else 's'}"
    figure = next((name for name in ("map50", "map") if any(f"val_{name}" in row for row in rows.values())), "top1")
    accuracy = {epoch: curves.number(row.get(f"val_{figure}")) for epoch, row in rows.items()}
    if all(value is None for value in accuracy.values()):
        return title, "no held-out photos were scored"
    marked = "the last epoch" if choice is None or not choice.selected else choice.short
    of = "of the held-out photos named right" if figure == "top1" else f"{FIGURES[figure]} on the held-out photos"
    if accuracy[model] is None:
        return f"{title}; the model is {marked}", "no held-out photos were scored after it"
    return (
        f"{title}; the model is {marked}, {percent(accuracy[model])} {of}",
        "the ring marks the epoch that is the model",
    )


def _draw(charts: Sequence[Chart], path: Path, title: str, note: str) -> None:
    """Draw charts beside each other."""
    with sheet(path, texts=()) as drawn:
        drawn.resize(max(2, len(charts)) * _APART, _TOP + _HEIGHT + 114)
        drawn.header(title, note)
        for number, chart in enumerate(charts):
            _chart(drawn, chart, _LEFT + number * _APART)


def _chart(drawn: Sheet, chart: Chart, left: int) -> None:
    drawn.text(left, _TOP - (_ROW if len(chart.lines) > _NAMES else 0), chart.title)
    axes = drawn.axes(left, _TOP + 50, _WIDTH, _HEIGHT)
    for line in chart.lines:
        _line(axes, line, chart)
    axes.set(xlim=(chart.x.low, chart.x.high), ylim=(chart.y.low, chart.y.high))
    axes.set(xlabel=chart.x.label, ylabel=chart.y.label)
    axes.xaxis.set_ticks(*zip(*chart.x.ticks(), strict=True))
    axes.yaxis.set_ticks(*zip(*chart.y.ticks(), strict=True))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    tight: dict[str, Any] = {"borderpad": 0, "borderaxespad": 0, "columnspacing": 1.2}
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.03), ncols=_NAMES, fontsize="small", labelcolor=FAINT, **tight)


def _line(axes: Axes, line: Line, chart: Chart) -> None:
    """Draw a line; what lies above the axes stays at the edge."""
    across, up = np.array(line.points).T
    up = np.clip(up, chart.y.low, chart.y.high)
    look: dict[str, Any] = _LOOKS[line.look]
    above: dict[str, Any] = {"clip_on": False, "zorder": 3}
    axes.plot(across, up, label=line.name, **look, **above)
    if line.dots:
        areas = [(2 * line.radius(i)) ** 2 for i in range(len(up))]
        axes.scatter(across, up, s=areas, color=look["color"], linewidths=0, **above)
    if line.ring:
        x, y = line.ring
        ring: dict[str, Any] = {"s": 180, "edgecolors": WRONG, "facecolors": "none", "linewidths": 2}
        axes.scatter(x, min(y, chart.y.high), label=line.ringed, **ring, **above)
