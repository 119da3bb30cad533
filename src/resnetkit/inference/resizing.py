"""`Preprocess.pixels` as a graph: two matrix products whose weights are built from the picture's own size.

With bilinear interpolation the bytes are Pillow's, one for one. Pillow works in whole numbers: weights in units of
2^-22, and sums rounded to grey levels after going across and again after going down. Here the weights come from a long
division in base 64, whose every step fp32 holds exactly, and their upper and lower 12 and 10 bits are multiplied with
the picture apart, so that every sum stays below 2^24: exact for shrinking up to 30 times from up to 6,000 pixels
(beyond that, and for bicubic, a value close to the middle between two levels may fall on its other side).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from resnetkit.data.opening import windows
from resnetkit.data.preprocess import Preprocess
from resnetkit.inference.onnx_graph import Graph, Value

# Nodes whose names begin so stay in fp32 whatever the network computes in, and the name of what they result in.
PREFIX = "resizing_"
RESIZED = f"{PREFIX}done"
# Bits of the quotient that each step of the long division finds: 12 upper ones and 10 lower ones.
_UPPER, _LOWER = (6, 6), (6, 4)


def resized(graph: Graph, picture: Value, preprocess: Preprocess) -> Value:
    """Add what turns an upright `[1, H, W, C] uint8` picture into `[1, S, T, C] uint8` pixels, S x T the frame.

    Across and then down, as Pillow up to version 12; what lies outside the picture is black.
    """
    graph.prefix = PREFIX
    height, width = _size(picture)
    new_height, new_width = _new_size(height, width, preprocess)
    planes = picture.transposed(0, 3, 1, 2)
    planes = _resampled(planes, width, new_width, preprocess, along="across")
    planes = _resampled(planes, height, new_height, preprocess, along="down")
    pixels = graph.add("Transpose", planes, called=RESIZED, perm=[0, 2, 3, 1])
    graph.prefix = ""
    return pixels


def windowed(graph: Graph, values: Value, preprocess: Preprocess) -> Value:
    """Add what the windows of measured values `[1, H, W, 1] float32` show, `[1, H, W, C] uint8`: `Measured.windowed`.

    Levels are exact as far as fp32 holds 255 times the values; a value within 10^-6 of the middle between two levels
    may fall on its other side.
    """
    graph.prefix = PREFIX
    given = [window for text in preprocess.windows if (window := windows.given(text)) is not None]
    assert len(given) == len(preprocess.windows), "an export has no file whose window it could take"
    ends = np.array([(each.centre - each.width / 2, each.width) for each in given], np.float32)
    low, width = np.broadcast_to(ends, (preprocess.channels, 2)).T
    levels = (values - low) * 255.0 / width
    pixels = (levels.at_least(0.0).at_most(255.0) + 0.5).apply("Floor").cast("uint8")
    graph.prefix = ""
    return pixels


def placement(graph: Graph, picture: Value, preprocess: Preprocess) -> tuple[Value, Value, Value]:
    """Add width and height of a picture, what they are resized to, and where the frame begins on that: `[2] float32`.

    The frame begins at negative places where there are bars.
    """
    height, width = _size(picture)
    new_height, new_width = _new_size(height, width, preprocess)
    down, across = preprocess.frame
    start = _offset(new_width, across), _offset(new_height, down)
    pairs = ((width, height), (new_width, new_height), start)
    size, new_size, begin = (graph.add("Concat", *pair, axis=0).cast("float32") for pair in pairs)
    return size, new_size, begin


def _size(picture: Value) -> tuple[Value, Value]:
    """Add height and width, `[1] int64`."""
    graph = picture.graph
    shape = graph.add("Shape", picture, dtype="int64")
    height, width = (graph.add("Gather", shape, graph.constant(np.array([axis]))) for axis in (1, 2))
    return height, width


def _new_size(height: Value, width: Value, preprocess: Preprocess) -> tuple[Value, Value]:
    """Add the height and width, `[1] int64`, to which a picture is resized before it is cropped or padded."""
    if preprocess.crop == "squash":
        down, across = (height.graph.constant(np.array([side])) for side in preprocess.frame)
        return down, across
    if preprocess.crop == "center":
        # The larger of the two ways to cover the frame; truncated.
        high, wide = preprocess.scaled(preprocess.resize)
        return (height * wide // width).at_least(high), (width * high // height).at_least(wide)
    # The smaller of the two ways to fit into it, to the nearest whole number, halves up; at least one pixel.
    high, wide = preprocess.frame
    new_height = ((height * (2 * wide) + width) // (width * 2)).at_most(high)
    new_width = ((width * (2 * high) + height) // (height * 2)).at_most(wide)
    return new_height.at_least(1), new_width.at_least(1)


def _resampled(
    planes: Value, length: Value, new_length: Value, preprocess: Preprocess, *, along: Literal["across", "down"]
) -> Value:
    """Add the resizing of one side of `[1, C, H, W] uint8` planes from `length` to `new_length`, cut or padded."""
    size = preprocess.frame[1 if along == "across" else 0]
    rows = _offset(new_length, size) + np.arange(size)
    inside = ((rows >= 0).apply("And", rows < new_length)).cast("float32").column()
    distance, unit = _distances(rows, length, new_length)
    values = planes.cast("float32")

    def product(weights: Value) -> Value:
        result = values @ weights.transposed(1, 0) if along == "across" else weights @ values
        # The sums are whole already. Without this OpenVINO draws the division into the product and loses its fp32.
        return result if preprocess.interpolation == "bicubic" else result.apply("Round")

    if preprocess.interpolation == "bicubic":
        weights = _cubic(distance / unit) * inside
        return _bytes((product(weights / _not_zero(weights.row_sums())) + 0.5).apply("Floor"))
    # The triangle max(0, 1 - distance / unit), in whole numbers.
    upper, lower = _fractions((unit - distance).at_least(0.0) * inside)
    carried = (product(lower) + 2.0**21) // 2.0 ** sum(_LOWER)
    return _bytes((product(upper) + carried) // 2.0 ** sum(_UPPER))


def _distances(rows: Value, length: Value, new_length: Value) -> tuple[Value, Value]:
    """Add how far each pixel `[length]` is from the centre of each of the `rows`, and what counts as 1.

    Both are whole numbers, in fp32. The unit is a pixel of the result where the picture shrinks, one of the picture
    where it grows: the filter never gets narrower.
    """
    graph = rows.graph
    end = graph.add("Squeeze", length, graph.constant(np.array([0])))
    columns = graph.add("Range", graph.constant(np.array(0)), end, graph.constant(np.array(1)))
    distance = (columns * 2 + 1) * new_length - ((rows * 2 + 1) * length).column()
    return distance.cast("float32").abs(), (length.at_least(new_length) * 2).cast("float32")


def _fractions(weights: Value) -> tuple[Value, Value]:
    """Add each weight as a share of its row's sum, in units of 2^-22, rounded: the upper 12 bits, and the rest."""
    total = _not_zero(weights.row_sums())
    rest, parts = weights, []
    for group in (_UPPER, _LOWER):
        found: Value | None = None
        for bits in group:
            digit, rest = _divided(rest * 2.0**bits, total)
            found = digit if found is None else found * 2.0**bits + digit
        assert found is not None
        parts.append(found)
    upper, lower = parts
    return upper, lower + (rest * 2.0 >= total).cast("float32")


def _divided(number: Value, by: Value) -> tuple[Value, Value]:
    """Add the whole quotient and the rest; the first guess is one off where the division rounds to a whole number."""
    quotient = number // by
    rest = number - quotient * by
    change = (rest >= by).cast("float32") - (rest < 0.0).cast("float32")
    return quotient + change, rest - change * by


def _not_zero(total: Value) -> Value:
    """Add 1 in place of the zeros of rows outside the picture, which have no weights to divide."""
    return total + (total.abs() < 1e-6).cast("float32")


def _offset(length: Value, size: int) -> Value:
    """Add the place of the first of `size` pixels in the middle of `length`, negative where it is padded.

    As torchvision: round((length - size) / 2) with halves to even, and -((size - length) // 2) where that is larger.
    """
    cut, pad = (length - size).at_least(0), (length * -1 + size).at_least(0)
    half = cut // 2
    return half + (cut % 2) * (half % 2) - pad // 2


def _cubic(x: Value) -> Value:
    """Add Pillow's bicubic filter (a = -0.5) of x >= 0."""
    near = (x * 1.5 - 2.5) * x * x + 1.0
    far = ((x * -0.5 + 2.5) * x - 4.0) * x + 2.0
    return (x < 1.0).apply("Where", near, (x < 2.0).apply("Where", far, x * 0.0, dtype="float32"), dtype="float32")


def _bytes(levels: Value) -> Value:
    """Add the levels, cut off at 0 and 255, as bytes; after those OpenVINO goes on in fp32 under bf16 too."""
    return levels.at_least(0.0).at_most(255.0).cast("uint8")
