"""How far confidence can be believed, drawn: reliability, and the accuracy of the surest answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from resnetkit.evaluation.metrics import is_tempered, photos
from resnetkit.report.drawing.canvas import FAINT, LINE, RIGHT, WRONG, sheet

_SIDE = 380


def diagram(metrics: Mapping[str, Any], path: Path) -> None:
    """Draw `calibration` and `selective` of `metrics.json`: confidence against accuracy, and accuracy against coverage.

    Bins of few pictures are small dots: their accuracy is no more than a guess.
    """
    before, after = (metrics["calibration"][when] for when in ("before", "after"))
    tempered = is_tempered(metrics["calibration"])
    curves = [(before, "network", WRONG), (after, "calibrated", RIGHT)] if tempered else [(before, "network", RIGHT)]
    before_words = f"; before calibration {100 * before['ece']:.1f} points" if tempered else ""
    with sheet(path, texts=()) as drawn:
        drawn.resize(1080, 580)
        drawn.header(
            f"Confidence is {100 * (after if tempered else before)['ece']:.1f} points from accuracy on average",
            f"{photos(metrics['split'], metrics['count'])}{before_words}",
        )
        drawn.text(84, 108, "right answers, % (across: confidence, %)")
        axes = drawn.axes(84, 130, _SIDE, _SIDE)
        axes.plot([0, 100], [0, 100], color=LINE, linewidth=1.2, zorder=1)
        for figures, name, color in curves:
            _dots(axes, figures["bins"], metrics["count"], name=name, color=color)
        axes.set_xlim(0, 103)
        axes.set_ylim(0, 103)
        axes.legend(loc="upper left")
        drawn.text(610, 108, "right answers, % (across: the surest answers, % of all)")
        points = metrics["selective"]
        axes = drawn.axes(610, 130, _SIDE, _SIDE)
        axes.plot(
            [100 * point["coverage"] for point in points], [100 * point["accuracy"] for point in points], color=RIGHT
        )
        axes.set_xlim(0, 100)
        axes.set_ylim(min(90.0, 100 * min(point["accuracy"] for point in points) - 2), 100.4)
        axes.grid(color=LINE, linewidth=0.5)


def _dots(axes: Axes, bins: list[dict[str, Any]], count: int, *, name: str, color: str) -> None:
    across = [100 * entry["confidence"] for entry in bins]
    up = [100 * entry["accuracy"] for entry in bins]
    sizes = [12 + 240 * entry["count"] / count for entry in bins]
    axes.plot(across, up, color=color, linewidth=1, alpha=0.5)
    axes.scatter(across, up, s=sizes, color=color, label=name, alpha=0.8, linewidths=0)
    axes.tick_params(colors=FAINT)
