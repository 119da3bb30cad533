"""What classes are called: as other programs write it beside their weights, where nobody did, and corrected."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from resnetkit.data.classes import normal_name
from resnetkit.errors import UsageError, near_miss
from resnetkit.words import steers_terminal

# Keys under which programs keep the names: a list, names to numbers or numbers to names.
_KEYS = ("class_to_idx", "idx_to_class", "classes", "class_names", "label2id", "id2label", "labels", "label_names")
# In dicts of settings too, as Lightning's `hyper_parameters`; deeper ones are no place for them.
_DEPTH = 2
# More classes than these are not listed in a line.
_MOST_LISTED = 10


def class_names_in(found: Any) -> tuple[str, ...]:
    """Return the class names in what a `.pth` file holds, in the order of the outputs; none where there is no list."""
    return _names_in(found, _DEPTH)


def _names_in(found: Any, depth: int) -> tuple[str, ...]:
    if not isinstance(found, Mapping):
        return ()
    by_key = {str(key).casefold(): value for key, value in found.items()}
    here = (_in_order(by_key[key]) for key in _KEYS if key in by_key)
    deeper = (_names_in(value, depth - 1) for value in found.values() if depth)
    return next((names for names in (*here, *deeper) if names), ())


def _in_order(value: Any) -> tuple[str, ...]:
    """Return a list of names, or names with the numbers 0 to K-1, in that order; nothing for anything else."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        names = dict(enumerate(value))
    elif isinstance(value, Mapping) and all(type(number) is int for number in value.values()):
        names = {number: name for name, number in value.items()}
    elif isinstance(value, Mapping) and all(str(number).isdecimal() and len(str(number)) < 9 for number in value):
        names = {int(number): name for number, name in value.items()}
    else:
        return ()
    texts = [str(names[i]) for i in range(len(value)) if isinstance(names.get(i), str | int)]
    different = {_folded(text) for text in texts if text.strip() and text.isprintable()}
    return tuple(map(normal_name, texts)) if len(different) == len(value) else ()


def numbered(count: int) -> tuple[str, ...]:
    """Return what classes are called that nobody gave a name."""
    return tuple(f"class {i}" for i in range(count))


def corrected(classes: Sequence[str], names: Mapping[str, str], *, model: str) -> tuple[str, ...]:
    """Return the classes of `model` with new names, all at once: `{"a": "b", "b": "a"}` swaps two.

    Classes that nobody named (`class 0`) are also known by their number. Raises `UsageError` for a class that is not
    there, with the nearest, for an empty name, and where two classes would have one name.

    >>> corrected(("class 0", "class 1"), {"0": "cat", "1": "dog"}, model="m")
    ('cat', 'dog')
    """
    places: dict[int, str] = {}
    for old, new in names.items():
        place = _place(classes, normal_name(str(old)), f"{old}={new}", model)
        if place in places:
            raise UsageError(f"{old}={new}: the class {classes[place]!r} gets two names: leave one of them out")
        places[place] = _checked(old, new)
    renamed = tuple(places.get(i, name) for i, name in enumerate(classes))
    first: dict[str, int] = {}
    for i, name in enumerate(renamed):
        other = first.setdefault(_folded(name), i)
        if other != i:
            raise UsageError(
                f"{classes[other]!r} and {classes[i]!r} would both be called {name!r}: names differ, and not by case "
                "alone; two classes become one by training again"
            )
    if renamed == tuple(classes):
        raise UsageError(f"the classes of {model} are called so already")
    return renamed


def _place(classes: Sequence[str], old: str, pair: str, model: str) -> int:
    if old in classes:
        return list(classes).index(old)
    if old.isdecimal() and len(old) < 9 and int(old) < len(classes) and classes[int(old)] == numbered(int(old) + 1)[-1]:
        return int(old)
    listed = f"; it has {', '.join(classes[:_MOST_LISTED])}{', ...' * (len(classes) > _MOST_LISTED)}"
    raise UsageError(f"{pair}: {model} has no class {old!r}{near_miss(old, classes) or listed}")


def _checked(old: str, new: str) -> str:
    if not isinstance(new, str):
        raise UsageError(f"{old}={new!r}: a name is text")
    new = normal_name(new.strip())
    if not new:
        raise UsageError(f"{old}=: the new name is missing")
    if any(steers_terminal(letter) for letter in new):
        raise UsageError(f"{old}={new!r}: the new name holds a line break or another character that is none of a name")
    return new


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", normal_name(name).casefold())
