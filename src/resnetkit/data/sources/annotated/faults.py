"""What is wrong with annotations: each fault with its file, the object, and how to mend it; all are collected."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from resnetkit.data.classes import normal_name
from resnetkit.data.marks import Fault, Loses
from resnetkit.errors import DataError
from resnetkit.words import counted

Faulty = Literal["stop", "skip"]

_MOST_NAMED = 5
_LONGEST = 60  # letters of what a file holds that are shown
_LARGEST = 1e9  # no picture is so many pixels wide


class Wrong(Exception):  # noqa: N818 - it becomes a fault where it is known what is wrong
    """What a part of an annotation cannot be, and how to mend it; the reader that knows the place makes it a fault."""

    def __init__(self, why: str, mend: str) -> None:
        super().__init__(why)
        self.why, self.mend = why, mend


class Faults:
    """The faults found so far, in order, and what was left out for them."""

    def __init__(self) -> None:
        self.found: list[Fault] = []
        self._lost: Counter[Loses] = Counter()

    def add(self, file: str, where: str, wrong: Wrong, *, loses: Loses = "object") -> None:
        """Add a fault; `loses` is what cannot be used for it."""
        self.found.append(Fault(file, where, wrong.why, wrong.mend))
        self._lost[loses] += 1

    @contextmanager
    def at(self, file: str, where: str, *, loses: Loses = "object") -> Iterator[None]:
        """Make a fault of what is `Wrong` inside of it; what follows it there is left out."""
        try:
            yield
        except Wrong as wrong:
            self.add(file, where, wrong, loses=loses)

    @property
    def objects_lost(self) -> int:
        """How many objects are left out so far."""
        return self._lost["object"]

    def lose(self, what: Loses) -> None:
        """Count what is left out because it refers to something that is a fault already."""
        self._lost[what] += 1

    def check(self, name: str) -> None:
        """Raise `DataError` with the first faults, one line each, where there are any."""
        if not self.found:
            return
        if len(self.found) == 1:
            raise DataError(f"{self.found[0]}, or leave it out with --bad-images skip")
        lines = "".join(f"\n  {fault}" for fault in self._first())
        more = len(self.found) - _MOST_NAMED
        raise DataError(
            f"{name}: {counted(len(self.found), 'fault')} in the annotations:{lines}"
            + (f"\n  and {more:,} more" if more > 0 else "")
            + f"\nmend them, or leave them out with --bad-images skip; resnetkit check {name} lists them all"
        )

    def _first(self) -> list[Fault]:
        """Return the faults to name: one of each kind, as the mends tell them, before there are two of any."""
        of_kind = {fault.mend: number for number, fault in reversed([*enumerate(self.found)])}
        ones = sorted(of_kind.values())
        others = (number for number in range(len(self.found)) if number not in ones)
        chosen = [*ones, *itertools.islice(others, _MOST_NAMED)][:_MOST_NAMED]
        return [self.found[number] for number in sorted(chosen)]

    def notes(self) -> list[str]:
        """Say what is left out for the faults."""
        if not self.found:
            return []
        lost = [counted(self._lost[what], what) for what in ("object", "picture", "file") if self._lost[what]]
        left = f": left out {', '.join(lost)}" if lost else ""
        return [f"{counted(len(self.found), 'fault')} in the annotations{left} (first: {self.found[0]})"]


def shown(value: Any) -> str:
    """Return a value of a file as it can stand in a line.

    >>> shown("a b"), shown(2.5), shown(None), shown([1]), shown({})
    ("'a b'", '2.5', 'null', 'a list', 'an object')
    """
    if value is None:
        return "null"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**18:
        return "a number of many digits"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def number_of(value: Any, *, what: str) -> float:
    """Return a finite number; raises `Wrong` that says what `what` is instead."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        quoted = isinstance(value, str) and value.strip().replace(".", "", 1).lstrip("-").isdecimal()
        mend = "write it without quotes" if quoted else "write a number"
        raise Wrong(f"{what} is {shown(value)}, which is no number", f"{mend}, or delete the object")
    if not abs(value) < _LARGEST:  # NaN is not less either
        odd = {"nan": "NaN", "inf": "infinite", "-inf": "infinite"}
        name = odd.get(str(value) if isinstance(value, float) else "", "larger than any picture")
        raise Wrong(f"{what} is {name}", "write a number of pixels, or delete the object")
    return float(value)


def are_numbers(values: list[Any]) -> bool:
    """Tell whether all values are finite numbers as `number_of` takes them: a quick look at many."""
    try:
        return math.isfinite(sum(values)) and min(values) > -_LARGEST and max(values) < _LARGEST
    except (TypeError, OverflowError):
        return False


def number_in(text: str | None, *, what: str) -> float:
    """Return the finite number in a text; raises `Wrong` that says what `what` is instead."""
    text = (text or "").strip()
    if not text:
        raise Wrong(f"{what} is missing", "write it, or delete the object")
    try:
        if "_" in text:
            raise ValueError
        value = float(text)
    except ValueError:
        raise Wrong(f"{what} is {shown(text)}, which is no number", "write a number, or delete the object") from None
    return number_of(value, what=what)


def name_of(value: Any, *, what: str = "the name of its class") -> str:
    """Return the name of a class in Unicode NFC; raises `Wrong` for a missing one, and one that cannot be written."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Wrong(f"{what} is missing", "write the name")
    if not isinstance(value, str):
        raise Wrong(f"{what} is {shown(value)}, which is no text", "write the name in quotes")
    name = normal_name(value.strip())
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        raise Wrong(f"{what} is {ascii(name)[:_LONGEST]}, which cannot be written", "write it without odd characters")
    return name
