"""The figures of why_residuals.py, drawn from what it measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from resnetkit.report.drawing.canvas import FAINT, RIGHT, WRONG, Sheet, sheet

Measured = Sequence[dict[str, Any]]

_COLUMNS = ((True, "untrained"), (True, "trained"), (False, "untrained"), (False, "trained"))


def draw(measured: Measured, folder: Path) -> list[Path]:
    """Draw the networks of one seed into `folder` and return the files."""
    curves, depth, deletion = (folder / f"why-{name}.png" for name in ("curves", "depth", "deletion"))
    draw_curves(measured, curves)
    draw_depth(measured, depth)
    draw_deletion(measured, deletion)
    return [curves, depth, deletion]


def draw_curves(measured: Measured, path: Path) -> None:
    """Draw training accuracy over the epochs, with BatchNorm and without."""
    with sheet(path, texts=()) as drawn:
        drawn.resize(900, 450)
        drawn.header(
            "Accuracy while training, with BatchNorm and without",
            "on the training pictures, % (mean over each epoch); dashed, hollow: the shallower networks",
        )
        for left, norm, words in ((70, True, "with BatchNorm"), (520, False, "without BatchNorm")):
            axes = _panel(drawn, left, 112, 350, 230, words)
            for one in measured:
                if one["norm"] == norm:
                    values = [100 * value for value in one["train_top1"]]
                    deep = one["depth"] == max(each["depth"] for each in measured)
                    dots = {"markersize": 4} if deep else {"markersize": 8, "markerfacecolor": "none"}
                    axes.plot(range(1, len(values) + 1), values, marker="o", **dots, **_look(one, measured))
            axes.set(ylim=(0, 102), xlabel="epoch")
            _counted(axes)
            axes.grid(axis="y")
            _legend(axes)


def draw_depth(measured: Measured, path: Path) -> None:
    """Draw signal and gradient by depth for the deepest networks: untrained and trained, with BatchNorm and without."""
    deepest = [one for one in measured if one["depth"] == max(each["depth"] for each in measured)]
    rows = (("signal", "size of the block's output"), ("gradient", "gradient norm of its first filters"))
    with sheet(path, texts=()) as drawn:
        drawn.resize(1100, 640)
        drawn.header(
            f"Signal and gradient, block by block, {deepest[0]['depth']} layers",
            "one logarithmic scale for each row",
        )
        for row, (what, words) in enumerate(rows):
            top = 112 + 265 * row
            drawn.text(24, top + 90, words, size=14, color=FAINT, align="center", angle=90)
            panels = []
            for column, (norm, when) in enumerate(_COLUMNS):
                title = f"{when}, {'with' if norm else 'without'} BatchNorm"
                panels.append(_panel(drawn, 110 + 245 * column, top, 210, 180, title))
                for one in deepest:
                    if one["norm"] == norm:
                        panels[-1].plot(range(1, len(one[when][what]) + 1), one[when][what], **_look(one, deepest))
            _same_scale(panels)
            for axes in panels:
                axes.set_xlabel("block" if row else "")
                _counted(axes, labels=5)
        for left, one in zip((840, 950), deepest, strict=False):
            drawn.text(left, 32, f"— {_look(one, deepest)['label']}", color=_look(one, deepest)["color"])


def _same_scale(panels: Sequence[Axes]) -> None:
    """Give all panels one logarithmic scale, so that they can be compared."""
    values = [
        float(value) for axes in panels for line in axes.lines for value in np.asarray(line.get_ydata()) if value > 0
    ]
    for i, axes in enumerate(panels):
        axes.set(yscale="log", ylim=(min(values) / 3, 3 * max(values)))
        axes.grid(axis="y")
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.minorticks_off()
        axes.tick_params(labelleft=i == 0)


def draw_deletion(measured: Measured, path: Path) -> None:
    """Draw held-out accuracy with one block deleted, for each block that can be; the whole network as a line."""
    known = [one for one in measured if one["deleted"]]
    depths = sorted({one["depth"] for one in known})
    with sheet(path, texts=()) as drawn:
        drawn.resize(900, 450)
        drawn.header(
            "One block deleted from a trained network",
            "accuracy on held-out pictures, %; lines: the whole networks; gaps: blocks that change the shape",
        )
        for left, depth in zip((70, 520), depths, strict=True):
            axes = _panel(drawn, left, 112, 350, 230, f"{depth} layers")
            for one in (one for one in known if one["depth"] == depth):
                look = _look(one, known) | {"linestyle": ""}
                left_over = [(i + 1, 100 * a) for i, a in enumerate(one["deleted"]["without"]) if a is not None]
                axes.plot(*zip(*left_over, strict=True), marker="so"[one["kind"] == "resnet"], markersize=6, **look)
                dashes = (0, (4, 4)) if one["kind"] == "plain" else "-"  # both are seen where they coincide
                axes.axhline(
                    100 * one["deleted"]["whole"], color=look["color"], linewidth=1.4, linestyle=dashes,
                    zorder=3 if one["kind"] == "plain" else 2,
                )  # fmt: skip
            axes.set(ylim=(0, 104), xlabel="deleted block")
            _counted(axes)
            axes.grid(axis="y")
            _legend(axes)


def _counted(axes: Axes, *, labels: int = 9) -> None:
    """Let the x axis begin at 1, in whole numbers: epochs and blocks."""
    last = max(float(np.max(np.asarray(line.get_xdata()))) for line in axes.lines)
    axes.set_xlim(1 - last / 30, last + last / 30)
    axes.xaxis.set_major_locator(MaxNLocator(labels, integer=True, min_n_ticks=1))


def _panel(drawn: Sheet, left: int, top: int, width: int, height: int, title: str) -> Axes:
    drawn.text(left, top - 16, title, size=14)
    return drawn.axes(left, top, width, height)


def _look(one: dict[str, Any], measured: Measured) -> dict[str, Any]:
    """Return colour by kind, dashes for the shallower one, and the name."""
    plain, deepest = one["kind"] == "plain", one["depth"] == max(each["depth"] for each in measured)
    name = f"{'plain' if plain else 'ResNet'}-{one['depth']}"
    style = "-" if deepest else "--"
    return {"color": WRONG if plain else RIGHT, "linestyle": style, "linewidth": 2, "label": name, "clip_on": False}


def _legend(axes: Axes) -> None:
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 2, "borderpad": 0}
    axes.legend(**below, fontsize=10, handlelength=1.8, handletextpad=0.4, columnspacing=1.1)
