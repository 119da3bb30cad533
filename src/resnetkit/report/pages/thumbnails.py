"""Small pictures inside a page, as many as fit: errors first."""

from __future__ import annotations

import base64
import io
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from PIL import Image

from resnetkit.errors import ResNetKitError

ERROR_SIDE, RIGHT_SIDE = 112, 64
# Base64 and the words around a picture included; with charts and heat maps the page stays under 5 MB.
BUDGET = 4_000_000
_AROUND = 230
_QUALITY = 72

# A row of predictions.csv to its picture; raises `ResNetKitError` where it cannot be had.
Opener = Callable[[Mapping[str, Any]], Image.Image]


@dataclass(kw_only=True, slots=True)
class Album:
    """The pictures that got in, by the number of their row or by what they show, and how many did not and why.

    They are data URIs.
    """

    pictures: dict[Any, str] = field(default_factory=dict)
    unreadable: int = 0
    too_many: int = 0
    too_late: int = 0
    problem: str | None = None

    @property
    def left_out(self) -> int:
        """Those that would be shown and have no picture."""
        return self.unreadable + self.too_many + self.too_late


def album(
    rows: Sequence[Mapping[str, Any]],
    opener: Opener,
    *,
    among: Collection[int] | None = None,
    seconds: float | None = None,
    budget: int = BUDGET,
) -> Album:
    """Make a thumbnail of every row that fits into `budget` bytes of the page and, where given, into `seconds`.

    `among`: the numbers of the rows that the page has a place for; without it all.

    Errors come first, the most confident before all, larger than the others; then right answers, class by class.
    """
    order = [number for number in _in_order(rows) if among is None or number in among]

    def thumbnail(number: int) -> str:
        return data_uri(opener(rows[number]), side=RIGHT_SIDE if rows[number]["correct"] else ERROR_SIDE)

    return filled(order, thumbnail, seconds=seconds, budget=budget)


def filled(
    order: Sequence[Any], uri: Callable[[Any], str], *, seconds: float | None = None, budget: int = BUDGET
) -> Album:
    """Return the pictures of what is in `order`, by it, until `seconds` are over or `budget` bytes full.

    `uri(one)` makes a picture, and raises `ResNetKitError` where it cannot be had.
    """
    found, began, spent = Album(), time.monotonic(), 0
    for place, one in enumerate(order):
        if seconds is not None and time.monotonic() - began > seconds:
            found.too_late = len(order) - place
            break
        try:
            made = uri(one)
        except ResNetKitError as problem:
            found.unreadable += 1
            found.problem = found.problem or " ".join(str(problem).split())
            continue
        spent += len(made) + _AROUND
        if spent > budget:
            found.too_many = len(order) - place
            break
        found.pictures[one] = made
    return found


def data_uri(picture: Image.Image | np.ndarray, *, side: int) -> str:
    """Return a picture at most `side` pixels long, as a `data:` address; small ones stay as they are."""
    image = _image(picture) if isinstance(picture, np.ndarray) else picture.copy()
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    written = io.BytesIO()
    image.convert("RGB").save(written, format="WEBP", quality=_QUALITY, method=2, lossless=max(image.size) <= 16)
    return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[..., :3]) if pixels.shape[2] >= 3 else pixels[..., 0])


def confident_errors(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the numbers of the wrong rows, the most confident first."""
    wrong = [number for number, row in enumerate(rows) if not row["correct"]]
    return sorted(wrong, key=lambda number: (-rows[number]["probability"], number))


def _in_order(rows: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    by_class: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row["correct"]:
            by_class[row["label"]].append(number)
    least_sure_first: Iterable[list[int]] = (
        sorted(numbers, key=lambda number: (rows[number]["probability"], number)) for numbers in by_class.values()
    )
    in_turn = chain.from_iterable(zip_longest(*least_sure_first))
    yield from confident_errors(rows)
    yield from (number for number in in_turn if number is not None)
