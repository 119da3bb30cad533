"""Draw the diagrams of docs/why-residuals.md: the basic block and the bottleneck.

python examples/draw_blocks.py --output docs/figures
"""

import argparse
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from resnetkit.report.drawing.canvas import FAINT, INK, LINE, RIGHT, sheet

BASIC = ("3x3 convolution, 64 filters", "BatchNorm, ReLU", "3x3 convolution, 64 filters", "BatchNorm")
BOTTLENECK = (
    *("1x1 convolution, 64 filters", "BatchNorm, ReLU", "3x3 convolution, 64 filters", "BatchNorm, ReLU"),
    *("1x1 convolution, 256 filters", "BatchNorm"),
)


def main() -> None:
    """Write blocks.png to the folder of --output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/figures"))
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    draw(output / "blocks.png")


def draw(path: Path) -> None:
    """Draw both blocks side by side, signal running down."""
    with sheet(path, texts=()) as drawn:
        drawn.resize(900, 600)
        drawn.header(
            "Two residual blocks", "the layers compute a change F(x); the shortcut carries x past them, and both add up"
        )
        for left, title, layers in (
            (20, "basic block: 64 channels", BASIC),
            (460, "bottleneck: 256 channels", BOTTLENECK),
        ):
            drawn.text(left + 170, 100, title, size=17, align="center")
            axes = drawn.axes(left, 116, 420, 470)
            axes.set(xlim=(0, 420), ylim=(470, 0))
            axes.axis("off")
            _block(axes, layers)


def _block(axes: Axes, layers: tuple[str, ...]) -> None:
    middle, height, add = 150, 34, 400
    gap = (add - 84) / len(layers)
    centers = [62 + gap * (i + 0.5) for i in range(len(layers))]
    axes.text(middle - 8, 14, "x", ha="right", va="center", fontsize=13, color=INK)
    for start, end in zip(
        [0, *(c + height / 2 for c in centers)], [*(c - height / 2 for c in centers), add - 15], strict=True
    ):
        _arrow(axes, (middle, start), (middle, end), INK)
    for center, words in zip(centers, layers, strict=True):
        strong = "convolution" in words
        box = FancyBboxPatch(
            (middle - 120, center - height / 2), 240, height, boxstyle="round,pad=0,rounding_size=5",
            facecolor="#e6f1f8" if strong else "white", edgecolor=RIGHT if strong else LINE, linewidth=1.4,
        )  # fmt: skip
        axes.add_patch(box)
        axes.text(middle, center, words, ha="center", va="center", fontsize=10.5, color=INK)
    axes.plot([middle, 325, 325], [24, 24, add], color=RIGHT, linewidth=2.4, solid_joinstyle="round")
    _arrow(axes, (325, add), (middle + 15, add), RIGHT, width=2.4)
    axes.text(333, add / 2 + 6, "shortcut:\nx unchanged", fontsize=10.5, color=RIGHT, va="center")
    axes.text(
        middle,
        add,
        "+",
        ha="center",
        va="center",
        fontsize=16,
        color=INK,
        bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": INK},
    )
    axes.text(middle - 20, add, "F(x)", ha="right", va="bottom", fontsize=11, color=FAINT)
    _arrow(axes, (middle, add + 15), (middle, add + 66), INK)
    axes.text(middle + 10, add + 44, "ReLU(F(x) + x)", va="center", fontsize=12, color=INK)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str, *, width: float = 1.4) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=12, color=color, linewidth=width, shrinkA=0, shrinkB=0
        )
    )


if __name__ == "__main__":
    main()
