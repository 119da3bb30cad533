"""What the preflight found: counts, and everything about the data that a person should know before a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.cells import cell_len, set_cell_size

from resnetkit.data.dataset import Dataset, Item, Split
from resnetkit.words import one_line, shortened

WIDTH = 80
MOST_CLASSES = 50
_MOST_EXAMPLES = 3
PART_NAMES: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Counts and findings; `str()` is a table at most 80 columns wide, `to_json` has every name in full.

    `counts`: class -> part -> images; `objects`: class -> part -> objects that are marked.
    `pictures`: part -> images, of which each may count in `several` classes.
    `held_out`: the share of train that became val, None where val was given;
    `halved`: half of it became test.
    `across`: (part, other part, images of the first that are also in the second, one of them). `two_labels`: pairs of
    (source, label) with identical content. `near`: (part, other part, images of the first that show a photo of the
    second in other bytes, one of them, its copy). `missing`: part -> classes it has no image of. `single`: classes
    with one image in all. `depth`: the bits that 16-bit pictures were scaled by.
    """

    name: str
    counts: dict[str, dict[Split, int]]
    objects: dict[str, dict[Split, int]] = field(default_factory=dict)
    pictures: dict[Split, int] = field(default_factory=dict)
    several: bool = False
    held_out: float | None = None
    halved: bool = False
    unreadable: tuple[tuple[str, str], ...] = ()
    unreadable_folders: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    missing: dict[Split, tuple[str, ...]] = field(default_factory=dict)
    across: tuple[tuple[Split, Split, int, str], ...] = ()
    two_labels: tuple[tuple[tuple[str, str], tuple[str, str]], ...] = ()
    near: tuple[tuple[Split, Split, int, str, str], ...] = ()
    single: tuple[str, ...] = ()
    depth: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Split, ...]:
        """Return the parts that have been read, in order."""
        return tuple(part for part in PART_NAMES if any(part in count for count in self.counts.values()))

    def total(self, part: Split) -> int:
        """Return the number of images of one part."""
        return self.pictures.get(part, 0)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return one sentence for each thing a person should know; details are indented by two spaces."""
        return tuple(_findings(self))

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        images = ("images" if self.several else "total", [self.total(part) for part in self.parts])
        table = _table("class", self.counts, self.parts, images)
        if self.objects:
            objects = ("objects", [sum(count[part] for count in self.objects.values()) for part in self.parts])
            table += ["", *_table("objects of class", self.objects, self.parts, objects)]
        return "\n".join([*table, *wrapped(_findings(self))])


def examine(
    dataset: Dataset,
    by_part: Mapping[Split, Sequence[Item]],
    classes: Sequence[str],
    *,
    digests: Mapping[str, str],
    unreadable: Mapping[str, str],
    held_out: float | None = None,
    halved: bool = False,
    depth: int | None,
    near: Sequence[tuple[Item, Item]] = (),
    notes: tuple[str, ...] = (),
) -> Report:
    """Compare the parts and the contents of the pictures that can be read; `near`: pairs that show the same photo."""
    counts: dict[str, dict[Split, int]] = {name: dict.fromkeys(by_part, 0) for name in classes}
    for part, items in by_part.items():
        for label, count in Counter(label for item in items for label in item.labels or ()).items():
            counts[label][part] = count
    compared = len([part for part in by_part if by_part[part]]) > 1
    missing = {
        part: tuple(name for name in classes if not counts[name][part])
        for part, items in by_part.items()
        if items and compared
    }
    return Report(
        name=dataset.name,
        counts=counts,
        objects=_objects(by_part, classes) if dataset.objects != "none" else {},
        pictures={part: len(items) for part, items in by_part.items()},
        several=dataset.several,
        held_out=held_out,
        halved=halved,
        unreadable=tuple(unreadable.items()),
        unreadable_folders=dataset.unreadable,
        ignored=dataset.ignored,
        outside=dataset.outside,
        empty=dataset.empty,
        missing={part: names for part, names in missing.items() if names},
        across=tuple(_across(by_part, digests)),
        two_labels=() if dataset.several else tuple(_two_labels(by_part, digests)),
        near=tuple(_near_across(near, digests)),
        single=tuple(name for name in classes if sum(counts[name].values()) == 1),
        depth=depth,
        notes=(*dataset.notes, *notes),
    )


_LATER_AND_EARLIER: tuple[tuple[Split, Split], ...] = (("val", "train"), ("test", "train"), ("test", "val"))


def _across(
    by_part: Mapping[Split, Sequence[Item]], digests: Mapping[str, str]
) -> Iterator[tuple[Split, Split, int, str]]:
    """Yield the images of later parts whose very file, or pixels, are also in an earlier one."""
    contents = {part: {digests[item.source] for item in items} for part, items in by_part.items()}
    for part, other in _LATER_AND_EARLIER:
        if part in by_part and other in by_part:
            twice = [item.source for item in by_part[part] if digests[item.source] in contents[other]]
            if twice:
                yield part, other, len(twice), twice[0]


def _near_across(
    near: Sequence[tuple[Item, Item]], digests: Mapping[str, str]
) -> Iterator[tuple[Split, Split, int, str, str]]:
    """Yield the images of later parts that show a photo of an earlier one; identical files are not among the pairs."""
    for part, other in _LATER_AND_EARLIER:
        copies = {
            here.source: there.source
            for pair in near
            for here, there in (pair, pair[::-1])
            if (here.split, there.split) == (part, other) and digests[here.source] != digests[there.source]
        }
        if copies:
            first = min(copies)
            yield part, other, len(copies), first, copies[first]


def _two_labels(
    by_part: Mapping[Split, Sequence[Item]], digests: Mapping[str, str]
) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    first: dict[str, Item] = {}
    for items in by_part.values():
        for item in items:
            other = first.setdefault(digests[item.source], item)
            if other.labels != item.labels:
                yield (other.source, other.written), (item.source, item.written)


def _objects(by_part: Mapping[Split, Sequence[Item]], classes: Sequence[str]) -> dict[str, dict[Split, int]]:
    counts = {
        part: Counter(mark.label for item in items for mark in item.marks or () if not mark.crowd)
        for part, items in by_part.items()
    }
    return {name: {part: count[name] for part, count in counts.items()} for name in classes}


def _table(
    heading: str, counts: Mapping[str, Mapping[Split, int]], parts: Sequence[Split], total: tuple[str, list[int]]
) -> list[str]:
    """Return one row for each class, or their extremes where there are more than fit a screen.

    The labels of pictures that have several add up to more than there are pictures.
    """
    rows = list(_rows(counts, parts))
    columns = [max(len(part), *(len(f"{row[1][i]:,}") for row in [*rows, total])) for i, part in enumerate(parts)]
    widest = max(cell_len(one_line(name)) for name, _ in [(heading, []), *rows, total])
    names = min(widest, WIDTH - sum(column + 2 for column in columns))
    lines = [_cells(heading, names) + "".join(f"  {part:>{columns[i]}}" for i, part in enumerate(parts))]
    for name, numbers in [*rows, total]:
        line = _cells(name, names) + "".join(f"  {number:>{columns[i]},}" for i, number in enumerate(numbers))
        lines.append(line)
    return lines


def _rows(counted: Mapping[str, Mapping[Split, int]], parts: Sequence[Split]) -> Iterator[tuple[str, list[int]]]:
    counts = [(name, [count.get(part, 0) for part in parts]) for name, count in counted.items()]
    if len(counts) <= MOST_CLASSES:
        yield from counts
        return
    ordered = sorted(counts, key=lambda row: row[1][0], reverse=True)
    yield f"most, of {len(counts):,} classes: {ordered[0][0]}", ordered[0][1]
    yield f"middle: {ordered[len(ordered) // 2][0]}", ordered[len(ordered) // 2][1]
    yield f"fewest: {ordered[-1][0]}", ordered[-1][1]


def _cells(text: str, width: int) -> str:
    text = one_line(text)
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _findings(report: Report) -> Iterator[str]:
    """Yield one sentence for each thing a person should know; details are indented by two spaces."""
    if report.held_out is not None and report.total("val"):
        val, test = report.total("val"), report.total("test") if report.halved else 0
        yield (
            f"No validation part was given: {val + test:,} of {val + test + report.total('train'):,} training images "
            f"are held out, chosen by content or group (a share of {report.held_out:.0%}, at least one of each class)"
            + (f": {val:,} of them choose the epoch, the other {test:,} score it." if test else ".")
        )
    yield from report.notes
    yield from _left_out(report)
    if report.outside:
        yield f"{_count(report.outside, 'image')} in no class folder, not used: {_some(report.outside)}"
    if report.empty:
        yield f"{_count(report.empty, 'class folder')} without images: {_some(report.empty)}"
    for part, names in report.missing.items():
        yield f"{_count(names, 'class', 'classes')} without {PART_NAMES[part]} images: {_some(names)}"
    if report.single:
        yield f"{_count(report.single, 'class', 'classes')} with a single image: {_some(report.single)}"
    for part, other, count, example in report.across:
        yield (
            f"{count:,} of {report.total(part):,} {PART_NAMES[part]} images are also in {PART_NAMES[other]} "
            f"(identical, as {shortened(example)})."
        )
    for part, other, count, example, copy in report.near:
        share = f"{count:,} of {report.total(part):,} {PART_NAMES[part]} images"
        yield f"{share} are near-copies of {PART_NAMES[other]} images:"
        yield f"  {shortened(example)}"
        yield f"  shows the photo of {shortened(copy)}"
    if report.two_labels:
        (one, label), (two, other_label) = report.two_labels[0]
        yield f"{_count(report.two_labels, 'image')} in two classes (identical):"
        yield f"  {shortened(one)} is {label}, {shortened(two)} is {other_label}"
    if report.depth is not None:
        yield f"16-bit images use {report.depth} bits: {2**report.depth - 1:,} becomes white."


def _left_out(report: Report) -> Iterator[str]:
    if report.unreadable:
        yield f"{_count(report.unreadable, 'image')} cannot be read:"
        yield from _reasons(report.unreadable)
    if report.unreadable_folders:
        yield f"{_count(report.unreadable_folders, 'folder')} cannot be listed:"
        yield from _reasons(report.unreadable_folders)
    if report.ignored:
        yield f"{_count(report.ignored, 'other file')} ignored: {_some(report.ignored)}"


def _reasons(named: Sequence[tuple[str, str]]) -> Iterator[str]:
    if len(named) > 1 and len({why for _, why in named}) == 1:
        yield f"  {shortened(named[0][0])} and {len(named) - 1:,} more: {named[0][1]}"
        return
    yield from (f"  {shortened(source)}: {why}" for source, why in named[:10])
    if len(named) > 10:
        yield f"  and {len(named) - 10:,} more"


def _count(things: Sequence[object], one: str, many: str | None = None) -> str:
    return f"{len(things):,} {one if len(things) == 1 else many or one + 's'}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(shortened(name) for name in names[:_MOST_EXAMPLES])
    return shown + (f" and {len(names) - _MOST_EXAMPLES:,} more" if len(names) > _MOST_EXAMPLES else "")


def wrapped(sentences: Iterable[str]) -> Iterator[str]:
    """Yield lines of at most 80 cells, broken between words; what goes on is indented."""
    for number, sentence in enumerate(sentences):
        if number == 0:
            yield ""
        indent = " " * (len(sentence) - len(sentence.lstrip()))
        line = indent
        for word in sentence.split():
            if line.strip() and cell_len(line) + 1 + cell_len(word) > WIDTH:
                yield line
                line = indent + "  "
            line += word if not line.strip() else " " + word
        yield line
