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


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct names in the order of classes."""
    return tuple(sorted(set(names), key=natural_key))


def check_writable(names: Iterable[str]) -> None:
    """Raise `DataError` for a class that cannot be told in a cell of several labels, as `Item.written` writes it."""
    for name in names:
        if ";" in name or name.endswith("?"):
            what = "a ';', which parts labels" if ";" in name else "a '?' at its end, which says that nobody knows"
            raise DataError(f"class {name!r} has {what}: add --rename {_rename(name, 'NAME')}")


def renamed(items: tuple[Item, ...], rename: Mapping[str, str], *, more: Collection[str] = ()) -> tuple[Item, ...]:
    """Return the items with class names replaced (`--rename old=new`), also of unknown labels and of marked objects.

    `more` are classes that no item has. Raises `UsageError` for an unknown old name.
    """
    table = _normal(rename)
    labels = {*more, *(name for item in items for name in item.names)}
    for old, new in table.items():
        if old not in labels:
            raise UsageError(f"--rename {_rename(old, new)}: no class is called {old!r}{near_miss(old, labels)}")
        if not new.strip():
            raise UsageError(f"--rename {old}=: the new name is missing")
    return tuple(item if table.keys().isdisjoint(item.names) else _renamed(item, table) for item in items)


def _renamed(item: Item, table: Mapping[str, str]) -> Item:
    labels = None if item.labels is None else in_order(table.get(label, label) for label in item.labels)
    unknown = in_order({table.get(name, name) for name in item.unknown} - set(labels or ()))
    marks = item.marks and tuple(replace(one, label=table.get(one.label, one.label)) for one in item.marks)
    return replace(item, labels=labels, unknown=unknown, marks=marks)


def renamed_names(names: Iterable[str], rename: Mapping[str, str]) -> tuple[str, ...]:
    """Return class names as `renamed` has them."""
    table = _normal(rename)
    return in_order(table.get(name, name) for name in names)


def _normal(rename: Mapping[str, str]) -> dict[str, str]:
    return {normal_name(old): normal_name(new) for old, new in rename.items()}


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


def several_names(labels: Iterable[str], *, parted: bool = False) -> dict[str, str]:
    """Return, for each label that is several names, why: a class of that name would be one that nobody meant.

    `;` and `|` always part names, as a list in brackets does. A comma parts them where other labels name the parts
    too: any of them where no space follows it, else all; so `tench, Tinca tinca` is one class. Where every comma of
    all the labels stands between words without spaces, two such labels are enough. `parted`: what `;` parts are the
    labels of one picture, and each of them must be one name.
    """
    names = {label: _parts(label, ";") if parted and not _LIST.fullmatch(label) else [label] for label in labels}
    different = {name for own in names.values() for name in own}
    sharing = Counter(part for name in different for part in set(_parts(name, ",")))
    commas = [name for name in different if "," in name]
    tight = len(commas) > 1 and not any(letter.isspace() for name in commas for letter in name)
    why = {name: _why_several(name, sharing, tight=tight) for name in different}
    found = {label: next((why[name] for name in own if why[name]), "") for label, own in names.items()}
    return {label: reason for label, reason in found.items() if reason}


def _why_several(label: str, sharing: Counter[str], *, tight: bool) -> str:
    if _LIST.fullmatch(label):
        return f"label {label!r} is a list of names: write a;b, without brackets"
    if not (letter := _parting(label, sharing, tight=tight)):
        return ""
    parts = _parts(label, letter)
    if letter != ";":
        way_out = f"write a;b, or the name without {letter!r}"
    else:
        way_out = "write one, or add --task multilabel" if len(parts) > 1 else "write one, without ';'"
    return (
        f"label {label!r} is several names with {letter!r} between them ({', '.join(map(repr, parts[:3]))}): {way_out}"
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
