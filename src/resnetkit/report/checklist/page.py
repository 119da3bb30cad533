"""The checklists of a run as Markdown: each item answered by the run, in part, or left to people."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal

from resnetkit.report.checklist.files import Told
from resnetkit.report.checklist.items import CHECKLISTS, Checklist, Item
from resnetkit.words import NO_MEDICAL_DEVICE, escaped

State = Literal["filled", "in part", "for people"]
Known = Mapping[str, tuple[Told, ...]]


def state_of(item: Item, known: Known) -> State:
    """Return how far a run answers an item.

    It is filled where its topics are all that it asks for and the run knows each, in part where the run knows some.
    """
    there = [topic in known for topic in item.topics]
    if not any(there):
        return "for people"
    return "filled" if item.whole and all(there) else "in part"


def counts_of(checklist: Checklist, known: Known) -> dict[State, int]:
    """Return how many items of a checklist are filled, in part filled, and for people."""
    found = Counter(state_of(item, known) for item in checklist.items)
    return {state: found[state] for state in ("filled", "in part", "for people")}


def counts_in_words(checklist: Checklist, known: Known) -> str:
    """Return those counts in words."""
    said = ", ".join(f"{count} {state}" for state, count in counts_of(checklist, known).items())
    return f"{checklist.name}: {said}"


def render(name: str, known: Known, *, version: str) -> str:
    """Return the Markdown; names from outside stay text."""
    return "\n".join(_lines(name, known, version)) + "\n"


def _lines(name: str, known: Known, version: str) -> Iterator[str]:
    yield f"# Checklists of {_text(name)}"
    yield ""
    for checklist in CHECKLISTS:
        yield f"- {counts_in_words(checklist, known)}"
    yield ""
    yield (
        "What is filled stands in the files of the run, which are named in brackets. What is for people no run knows. "
        "Items are in short words of ours: the forms themselves, and what each item asks for in full, are at the "
        "sources."
    )
    for checklist in CHECKLISTS:
        yield from ("", f"## {checklist.name}", "", f"Source: {checklist.source}")
        for section, items in checklist.sections.items():
            yield from ("", f"### {section}")
            for item in items:
                yield ""
                yield from _item(item, known)
    yield from ("", "---", "", f"Written by ResNetKit {version}. {NO_MEDICAL_DEVICE}")


def _item(item: Item, known: Known) -> Iterator[str]:
    state = state_of(item, known)
    yield f"**{item.number}. {item.about}** - {state}"
    values = [told for topic in item.topics for told in known.get(topic, ())]
    if values or state != "filled":
        yield ""
    for told in values:
        yield f"- {_text(f'{told.name}: {told.value}' if told.name else told.value)} ({told.file})"
    if state != "filled":
        yield f"- For people: {item.people}"


def _text(words: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    inside = re.sub(r"([\\`*\[\]<>|&#~]|(?<!\w)_|_(?!\w))", r"\\\1", escaped(words))
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", inside)  # what would begin a list within the list
