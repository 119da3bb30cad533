"""A sheet measured in pixels on which a picture is drawn, written as one PNG; no setting of matplotlib outlives it."""

import contextlib
import math
import threading
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import BboxImage
from matplotlib.patches import Rectangle
from PIL import Image

from resnetkit import files
from resnetkit.report.drawing import fonts

INK, FAINT, LINE = "#1b1f24", "#5b6570", "#c9ced4"
# Blue and vermillion of Okabe and Ito's palette: told apart with every kind of colour vision.
RIGHT, WRONG = "#0072b2", "#d55e00"
MARGIN = 24

_DPI = 100
_STYLE = {
    "text.parse_math": False,  # a class may be called "$5 bill"
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "font.size": 10.5,
    "grid.color": "#e8ebee",
    "legend.frameon": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}
# matplotlib's settings and Python's warning filters belong to the process: one thread draws at a time.
_DRAWING = threading.RLock()


class Sheet:
    """A white picture; positions count in pixels from the top left corner, text is sized in pixels too."""

    def __init__(self, *, warning: str | None) -> None:
        self.width, self.height, self.warning = 0, 0, warning
        self._figure = Figure(figsize=(1, 1), dpi=_DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)

    def resize(self, width: float, height: float) -> None:
        """Give the sheet its size, before anything is drawn on it; words can be measured without one."""
        assert not self._figure.texts, "drawn before the size was known"
        self.width, self.height = math.ceil(width), math.ceil(height)
        self._figure.set_size_inches(self.width / _DPI, self.height / _DPI)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return matplotlib axes whose inside fills the rectangle."""
        bottom = self.height - top - height
        rectangle = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self._figure.add_axes(rectangle)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 15,
        color: str = INK,
        align: str = "left",
        angle: float = 0,
    ) -> None:
        """Write `words` with their middle line at `y`; `align` says which end, or the centre, lies at `x`."""
        self._figure.text(
            x / self.width,
            1 - y / self.height,
            words,
            fontsize=size * 72 / _DPI,
            color=color,
            horizontalalignment=align,
            verticalalignment="center_baseline" if angle == 0 else "center",
            rotation=angle,
            rotation_mode="anchor",
        )

    def header(self, title: str, note: str) -> None:
        """Write the title of the picture and, fainter, the line that says how to read it."""
        room = self.width - 2 * MARGIN
        self.text(MARGIN, MARGIN + 8, self.fit(title, room, size=19), size=19)
        self.text(MARGIN, MARGIN + 34, self.fit(note, room, size=14), size=14, color=FAINT)

    def width_of(self, words: str, *, size: float) -> float:
        """Return how many pixels wide `words` would be drawn."""
        font = FontProperties(size=size * 72 / _DPI)
        return self._canvas.get_renderer().get_text_width_height_descent(words, font, ismath=False)[0]

    def fit(self, words: str, width: float, *, size: float) -> str:
        """Return `words`, their middle replaced by an ellipsis where they are wider than `width` pixels."""
        if self.width_of(words, size=size) <= width:
            return words
        clusters = _clusters(words)
        fitting, too_many = 1, len(clusters)
        while too_many - fitting > 1:
            middle = (fitting + too_many) // 2
            if self.width_of(_shortened(clusters, middle), size=size) <= width:
                fitting = middle
            else:
                too_many = middle
        return _shortened(clusters, fitting)

    def image(self, pixels: np.ndarray, left: float, bottom: float, side: int, *, frame: str, thickness: float) -> None:
        """Draw `pixels` ([h, w, c] uint8) in true colours, `side` long, standing on `bottom`; small ones stay crisp."""
        width, height = drawn_size(pixels, side)
        enlarged = side / max(pixels.shape[:2])
        corner = (left + (side - width) // 2) / self.width, 1 - bottom / self.height
        place = Rectangle(corner, width / self.width, height / self.height, transform=self._figure.transFigure)
        # Axes, of which a grid has dozens, take 16 ms each.
        drawn = BboxImage(
            place.get_window_extent, interpolation="nearest" if enlarged >= 2 else "hanning", resample=True
        )
        drawn.set_data(_rgb(pixels))
        self._figure.add_artist(drawn)
        place.set(fill=False, edgecolor=frame, linewidth=thickness * 72 / _DPI)
        self._figure.add_artist(place)

    def ground(self, pixels: np.ndarray) -> None:
        """Lay `pixels` ([h, w, 3] uint8) into the top left corner, each as it is."""
        self._figure.figimage(pixels, 0, self.height - len(pixels), origin="upper")

    def plate(self, words: str, left: float, top: float, *, size: float, fill: str, color: str) -> None:
        """Write `words` on a filled plate as large as `plate_size` says."""
        width, height = self.plate_size(words, size=size)
        corner = left / self.width, 1 - (top + height) / self.height
        place = (width / self.width, height / self.height)
        self._figure.add_artist(Rectangle(corner, *place, transform=self._figure.transFigure, color=fill, linewidth=0))
        self.text(left + size / 3, top + height / 2, words, size=size, color=color)

    def plate_size(self, words: str, *, size: float) -> tuple[int, int]:
        """Return width and height of a plate that holds `words`."""
        return math.ceil(self.width_of(words, size=size) + 2 * size / 3), math.ceil(1.4 * size)

    def cells(self, colors: np.ndarray, left: float, top: float, side: float) -> Axes:
        """Draw a square of cells, `colors` ([K, K, 3] in [0, 1]); in the axes returned cells count from 0."""
        axes = self.axes(left, top, side, side)
        axes.imshow(colors, interpolation="nearest", aspect="auto")
        _frame(axes, LINE, 1)
        return axes

    def picture(self) -> Image.Image:
        """Return the sheet as a picture in colours."""
        self._canvas.draw()
        return Image.fromarray(np.asarray(self._canvas.buffer_rgba())[..., :3].copy())

    def save(self, path: Path) -> None:
        """Write the sheet to `path` as PNG, whatever its suffix."""
        # Without the version of matplotlib the same picture has the same bytes.
        self._figure.savefig(path, format="png", dpi=_DPI, metadata={"Software": None})


@contextlib.contextmanager
def sheet(path: Path, *, texts: Iterable[str]) -> Iterator[Sheet]:
    """Yield a sheet whose fonts have the characters of `texts`; when the block ends well it is written to `path`.

    `Sheet.warning` is the line for the user when some characters can be shown by no font here.
    """
    with blank_sheet(texts=texts) as drawn:
        yield drawn
        with files.replacing(path) as temporary:
            drawn.save(temporary)


@contextlib.contextmanager
def blank_sheet(*, texts: Iterable[str]) -> Iterator[Sheet]:
    """Yield such a sheet that is written nowhere: `picture` returns it before the block ends."""
    choice = fonts.choose(texts)
    style = {**_STYLE, "font.family": list(choice.families)}
    with _DRAWING, warnings.catch_warnings(), matplotlib.style.context(["default", style]):
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # said once, by the choice
        yield Sheet(warning=choice.warning)


def drawn_size(pixels: np.ndarray, side: int) -> tuple[int, int]:
    """Return (width, height) of `pixels` ([h, w, c]) when their longer side is drawn `side` pixels long."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    return max(2, round(width * scale)), max(2, round(height * scale))


def _frame(axes: Axes, color: str, thickness: float) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=color, linewidth=thickness * 72 / _DPI)


def _rgb(pixels: np.ndarray) -> np.ndarray:
    assert pixels.dtype == np.uint8, pixels.dtype
    assert pixels.ndim == 3, pixels.shape
    return pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)


def _clusters(words: str) -> list[str]:
    """Split `words` where a reader would: marks and joined characters stay with the letter before them."""
    clusters: list[str] = []
    for character in words:
        joins = unicodedata.category(character).startswith("M") or character == "\u200d"
        if clusters and (joins or clusters[-1].endswith("\u200d")):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _shortened(clusters: list[str], kept: int) -> str:
    """Return the first and last clusters, `kept` in all: names that differ do so at an end more often than inside."""
    head, tail = math.ceil(kept / 2), kept // 2
    return "".join(clusters[:head]).rstrip() + "…" + "".join(clusters[len(clusters) - tail :]).lstrip()
