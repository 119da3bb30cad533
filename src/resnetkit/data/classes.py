"""Class names: which are the same, in what order they stand, and what a wrong one was meant to be."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from resnetkit.data.dataset import Item
from resnetkit.errors import DataError, UsageError, near_miss

_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{0,30})?")
_DIGITS = re.compile(r"(\d{1,18})")


def natural_key(text: str) -> tuple[object, ...]:
    """Return a sort key that puts `2` before `10` and ignores case first.

    >>> sorted(["10", "b2", "2", "B10"], key=natural_key)
    ['2', '10', 'b2', 'B10']
    """
    parts = _DIGITS.split(text.casefold())
    # Alternating text and number, so that numbers meet numbers; int() reads the digits of every script.
    return (*(int(part) if i % 2 else part for i, part in enumerate(parts)), text)


def normal_name(name: str) -> str:
    """Return a class name in Unicode NFC: what looks the same is the same."""
    return unicodedata.normalize("NFC", name)


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct names in natural order; raises `DataError` for two that differ only by case or as numbers."""
    names = sorted(set(labels), key=natural_key)
    folded: dict[str, str] = {}
    for name in names:
        other = folded.setdefault(unicodedata.normalize("NFC", name.casefold()), name)
        if other != name:
            raise DataError(
                f"the classes {other!r} and {name!r} differ only by case: "
                f"rename one, or make them one class with --rename {_rename(name, other)}"
            )
    numbers: dict[Decimal, str] = {}
    for name in names:
        other = numbers.setdefault(Decimal(name), name) if _NUMBER.fullmatch(name) else name
        if other != name:
            raise DataError(
                f"the classes {other!r} and {name!r} are the same number: are they one class? then add "
                f"--rename {_rename(name, other)}; else rename one"
            )
    return tuple(names)


def renamed(items: tuple[Item, ...], rename: Mapping[str, str]) -> tuple[Item, ...]:
    """Return the items with class names replaced (`--rename old=new`); raises `UsageError` for an unknown old name."""
    table = {normal_name(old): normal_name(new) for old, new in rename.items()}
    labels = {label for item in items for label in item.labels or ()}
    for old, new in table.items():
        if old not in labels:
            raise UsageError(f"--rename {_rename(old, new)}: no class is called {old!r}{near_miss(old, labels)}")
        if not new.strip():
            raise UsageError(f"--rename {old}=: the new name is missing")
    return tuple(
        replace(item, labels=tuple(dict.fromkeys(table.get(label, label) for label in item.labels)))
        if item.labels and not table.keys().isdisjoint(item.labels)
        else item
        for item in items
    )


def unknown_class(name: str, known: Collection[str], *, where: str, count: int) -> DataError:
    """Return the error for a class that `known` lacks, with the nearest of them and the flag that mends it."""
    close = difflib.get_close_matches(name.casefold(), [known_name.casefold() for known_name in known], n=1)
    nearest = next((known_name for known_name in known if [known_name.casefold()] == close), "NAME")
    hint = near_miss(name, known)
    images = f"{count:,} {'image' if count == 1 else 'images'}"
    return DataError(
        f"class {name!r} ({images} in {where}) is not among the {len(known)} known classes{hint or ':'} "
        f"add --rename {_rename(name, nearest)}, or take it out"
    )


def _rename(old: str, new: str) -> str:
    pair = f"{old}={new}"
    return pair if re.fullmatch(r"[\w.=-]+", pair) else f'"{pair}"'


# Lists as programs write them: `['warm', 'wet']`, `{warm,wet}`, `("warm",)`; a name in round brackets is none.
_LIST = re.compile(r"\s*(\[.*['\",].*\]|\{.*['\",].*\}|\(\s*['\"].*\))\s*", re.DOTALL)


def several_names(labels: Iterable[str]) -> dict[str, str]:
    """Return, for each label that is several names, why: a class of that name would be one that nobody meant.

    `;` and `|` always part names, as a list in brackets does. A comma parts them where other labels name the parts
    too: any of them where no space follows it, else all; so `tench, Tinca tinca` is one class. Where every comma of
    all the labels stands between words without spaces, two such labels are enough.
    """
    different = set(labels)
    sharing = Counter(part for label in different for part in set(_parts(label, ",")))
    commas = [label for label in different if "," in label]
    tight = len(commas) > 1 and not any(letter.isspace() for label in commas for letter in label)
    return {label: why for label in different if (why := _why_several(label, sharing, tight=tight))}


def _why_several(label: str, sharing: Counter[str], *, tight: bool) -> str:
    letter = "" if _LIST.fullmatch(label) else _parting(label, sharing, tight=tight)
    if not (letter or _LIST.fullmatch(label)):
        return ""
    if not letter:
        return (
            f"label {label!r} is a list of names: a picture has one label in this version; write one, without brackets"
        )
    names = ", ".join(map(repr, _parts(label, letter)[:3]))
    return (
        f"label {label!r} is several names with {letter!r} between them ({names}): a picture has one label in this "
        f"version; write one, or the name without {letter!r}"
    )


def _parting(label: str, sharing: Counter[str], *, tight: bool) -> str:
    """Return the letter that parts the names of a label, none where it is one."""
    if letter := next((letter for letter in ";|" if letter in label), None):
        return letter
    parts = _parts(label, ",")
    shared = [sharing[part] > 1 for part in parts]
    if len(parts) > 1 and (tight or (all if ", " in label else any)(shared)):
        return ","
    return ""


def _parts(label: str, letter: str) -> list[str]:
    return [part.strip() for part in label.split(letter) if part.strip()]
