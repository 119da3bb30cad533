"""All pictures of a set looked at once, and what they are to each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from resnetkit.checking import labels, objects, pictures
from resnetkit.checking.clean import left_out
from resnetkit.checking.features import Backbone, Described, describe, features_of
from resnetkit.checking.forecast import ONE_CLASS, Forecast, forecast
from resnetkit.checking.pictures import Look
from resnetkit.checking.result import KINDS, Check, Finding
from resnetkit.checking.shortcuts import BORDER_SHARE, Shortcuts, shortcuts
from resnetkit.checking.videos import between, united, wholes_of
from resnetkit.data import findings as of_the_set
from resnetkit.data import preflight
from resnetkit.data.copies import open_to_compare, sequences
from resnetkit.data.copies.near_copies import NearCopy, near_copies_among
from resnetkit.data.copies.resaved import resaved_pairs
from resnetkit.data.dataset import SPLITS, Dataset, Item
from resnetkit.data.groups import apart
from resnetkit.data.sources.columns import Wanted
from resnetkit.data.threads import ordered
from resnetkit.errors import DataError, ResNetKitError
from resnetkit.watcher import Progress, Watcher

_LEAST_TO_COMPARE = 20  # pictures, to say what is unusual among them
_MUCH_SMALLER = 4  # times smaller than the middle one
_MUCH_LONGER = 4.0  # sides
_MUCH_BLURRED = 3.5  # robust standard deviations below the middle one (Iglewicz and Hoaglin 1993)
_IMBALANCE = 10  # times fewer than the largest class

Opener = Callable[[int], Backbone]
Pairs = Sequence[tuple[int, int]]


def check(
    dataset: Dataset, *, threads: int, watcher: Watcher, backbone: Opener | None = None, by: Sequence[Wanted] = ()
) -> Check:  # fmt: skip
    """Look at every picture, compare them all, and say what is wrong; no file is changed.

    `backbone` opens the network whose features labels are held against, and tell what more pictures would bring, and
    whether the border alone tells the class, given the median shorter side in pixels; None: none is asked. `by`:
    columns that may tell it too. Raises `DataError` where there is no picture, or none can
    be read. Memory: about 5 kB for each picture, and its features.
    """
    if not dataset.items:
        raise DataError(f"{dataset.name}: no images found{preflight.instead(dataset)}")
    items = tuple(replace(item, split=item.split or "train") for item in dataset.items)
    with watcher.counting("looking at pictures") as progress:
        looks = list(ordered(lambda item: pictures.look(dataset, item), items, threads=threads, progress=progress))
    readable = [number for number, one in enumerate(looks) if one.size is not None]
    if not readable:
        raise DataError(f"none of the {len(items):,} images can be read; the first: {looks[0].problems[0][1]}")
    found = [*_of_single_pictures(items, looks), *_unusual(items, looks), *_same_names(items)]
    with watcher.counting("comparing pictures") as progress:
        certain = _certain(dataset, items, looks)
        alike, notes = _alike(items, looks, progress)
    found += [*_identical(items, looks), *_near(items, certain, alike), *_groups_apart(items)]
    marked, said = objects.findings(items, [one.size for one in looks])
    clips = _clips(items, looks)
    wholes = wholes_of(items, clips)
    found, more = between(found, wholes)
    notes += (*sequences.said(clips), *more)
    found += [*_faults(dataset), *(marked if dataset.objects != "none" else _small_classes(items, readable))]
    notes += said
    groups = _groups(items, looks, certain, clips)
    told, cut = None, None
    if backbone is not None or by:
        wrong, said, told, cut = _by_class(
            backbone, by, dataset, items, looks, groups, threads=threads, watcher=watcher
        )  # fmt: skip
        found, notes = found + wrong, notes + said
    text = sum(finding.kind == "burnt-in text" for finding in found)
    notes += (f"{text:,} of {len(items):,} images ({text / len(items):.0%}) have text in their pixels",) if text else ()
    if not pictures.can_see_damage():
        notes += (pictures.damage_is_not_seen(),)
    found.sort(key=lambda finding: list(KINDS).index(finding.kind))
    checked = Check(
        name=dataset.name, items=items, report=_report(dataset, items, looks, certain), findings=tuple(found),
        notes=notes, groups=groups, forecast=told, shortcuts=cut,
    )  # fmt: skip
    return replace(checked, findings=tuple(united(found, wholes)), left_out=left_out(checked))


def _by_class(
    opener: Opener | None, by: Sequence[Wanted], dataset: Dataset, items: Sequence[Item], looks: Sequence[Look],
    groups: Mapping[str, str], *, threads: int, watcher: Watcher,
) -> tuple[list[Finding], tuple[str, ...], Forecast | None, Shortcuts | None]:  # fmt: skip
    """Return what features and columns say of the classes, and what of that cannot be told; copies are taken once."""
    numbers = _once(looks, [number for number, one in enumerate(looks) if one.size is not None])
    asked, seen = [items[number] for number in numbers], [looks[number] for number in numbers]
    together = [groups.get(item.source, f"alone {number}") for number, item in zip(numbers, asked, strict=True)]
    found, notes, told, border = list[Finding](), tuple[str, ...](), None, None
    described = None
    if opener is not None:
        backbone = opener(int(np.median([min(one.size) for one in seen if one.size is not None])))
        with watcher.counting("holding labels against pictures") as progress:
            described, few = describe(backbone, dataset, asked, seen, together, threads=threads, progress=progress)
        found, notes, told = _by_features(described, few)
        look = {item.source: one for item, one in zip(asked, seen, strict=True)}

        def border(items: Sequence[Item]) -> np.ndarray:
            with watcher.counting("looking at borders") as progress:
                return features_of(
                    backbone, dataset, items, [look[item.source] for item in items], threads=threads,
                    progress=progress, border=BORDER_SHARE,
                )  # fmt: skip

    columns = [one.of(dataset, asked) for one in by]
    cut, why = shortcuts(asked, together, columns, described=described, border=border)
    if cut is not None:
        found += [
            Finding.of("shortcut", cut.examples[one.name], cut.why(one), round(one.area, 6)) for one in cut.suspects
        ]
    return found, (*notes, *why), told, cut


def _by_features(described: Described | None, few: int) -> tuple[list[Finding], tuple[str, ...], Forecast | None]:
    """Return wrong labels, what is to be said of the search, and the forecast."""
    if described is None:
        return [], (*labels.left_out(few), ONE_CLASS), None
    wrong, said = labels.suspects(described) if labels.can_suspect() else ([], (labels.labels_are_not_seen(),))
    told, why = forecast(described)
    return wrong, (*labels.left_out(few), *said, *why), told


def _faults(dataset: Dataset) -> Iterator[Finding]:
    """Yield the faults of annotations, each with the file that it is in."""
    for fault in dataset.faults:
        why = ": ".join(filter(None, [fault.where, f"{fault.why}; {fault.mend}"]))
        yield Finding(kind="annotation", sources=(fault.file,), labels=("",), splits=("",), why=why)


def _of_single_pictures(items: Sequence[Item], looks: Sequence[Look]) -> Iterator[Finding]:
    for item, one in zip(items, looks, strict=True):
        for kind, why in one.problems:
            yield Finding.of(kind, [item], why)


def _unusual(items: Sequence[Item], looks: Sequence[Look]) -> Iterator[Finding]:
    """Yield pictures that are much smaller, longer or less sharp than the set's middle one."""
    sizes = {number: one.size for number, one in enumerate(looks) if one.size is not None}
    middle = float(np.median([(size[0] * size[1]) ** 0.5 for size in sizes.values()]))
    longest = max(_MUCH_LONGER, 2 * float(np.median([max(size) / min(size) for size in sizes.values()])))
    sharp = {number: one.sharpness for number, one in enumerate(looks) if one.sharpness is not None}
    values = np.array(list(sharp.values()) or [0.0])
    usual = float(np.median(values))
    spread = max(0.1, 1.4826 * float(np.median(np.abs(values - usual))))
    for number, (width, height) in sizes.items():
        if (width * height) ** 0.5 * _MUCH_SMALLER < middle:
            why = f"{width} x {height} pixels; the middle one has {middle:.0f} x {middle:.0f}"
            yield Finding.of("tiny", [items[number]], why)
        if max(width, height) > longest * min(width, height):
            yield Finding.of("extreme shape", [items[number]], f"{width} x {height} pixels")
        below = (usual - sharp[number]) / spread if number in sharp else 0.0
        if len(sharp) >= _LEAST_TO_COMPARE and below > _MUCH_BLURRED:
            why = f"{np.exp(usual - sharp[number]):.0f} times less detail than the middle one"
            yield Finding.of("blurred", [items[number]], why)


def _same_names(items: Sequence[Item]) -> Iterator[Finding]:
    by_name: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_name[item.source.casefold()].append(item)
    for alike in by_name.values():
        if len(alike) > 1:
            yield Finding.of("same name", alike, "one hides the other on Windows and macOS")


def _once(looks: Sequence[Look], numbers: Sequence[int]) -> list[int]:
    """Return the first picture of each content."""
    first: dict[str, int] = {}
    for number in numbers:
        first.setdefault(str(looks[number].identity), number)
    return list(first.values())


def _once_in_each_part(items: Sequence[Item], looks: Sequence[Look]) -> list[int]:
    first: dict[tuple[str, str], int] = {}
    for number, one in enumerate(looks):
        if one.identity is not None:
            first.setdefault((one.identity, str(items[number].split)), number)
    return list(first.values())


def _certain(dataset: Dataset, items: Sequence[Item], looks: Sequence[Look]) -> Pairs:
    """Return the pairs that are one picture for certain, saved again or resized, by the numbers of the pictures."""

    def opened(number: int, at_least: int) -> Image.Image:
        try:
            item = items[numbers[number]]
            return open_to_compare(dataset.read(item), name=item.source, at_least=at_least)
        except ResNetKitError:
            return Image.new("RGB", (1, 1))  # it was taken away meanwhile

    numbers = _once_in_each_part(items, looks)
    contents = [content for number in numbers if (content := looks[number].content) is not None]
    pairs = [(numbers[one], numbers[two]) for one, two in resaved_pairs(contents, opened)]
    return [(one, two) for one, two in pairs if looks[one].identity != looks[two].identity]


def _alike(
    items: Sequence[Item], looks: Sequence[Look], progress: Progress | None
) -> tuple[list[NearCopy], tuple[str, ...]]:
    """Return the pairs that look alike, by the numbers of the pictures, and how many are too small to be compared."""
    numbers = _once_in_each_part(items, looks)
    small = sum(one.size is not None and one.thumbnail is None for one in looks)
    notes = (f"not looked for: near-copies of {small:,} images below 16 pixels, which all look alike",) if small else ()
    thumbnails = [looks[number].thumbnail for number in numbers]
    found = near_copies_among(thumbnails, [items[number].written for number in numbers], progress=progress)
    pairs = [replace(pair, first=numbers[pair.first], second=numbers[pair.second]) for pair in found]
    return [pair for pair in pairs if looks[pair.first].identity != looks[pair.second].identity], notes


def _identical(items: Sequence[Item], looks: Sequence[Look]) -> Iterator[Finding]:
    by_content: dict[str, list[Item]] = defaultdict(list)
    for item, one in zip(items, looks, strict=True):
        if one.identity is not None:
            by_content[one.identity].append(item)
    for alike in by_content.values():
        if len(alike) > 1:
            yield Finding.of(_of_identical(alike), alike, f"{len(alike)} files with the same picture")


def _of_identical(alike: Sequence[Item]) -> str:
    across = len({item.split for item in alike}) > 1
    if any(item.marks is not None for item in alike):
        differ = len({item.said for item in alike}) > 1
        return "identical across" if across else "marked differently" if differ else "identical"
    return "two labels" if len({item.labels for item in alike}) > 1 else "identical across" if across else "identical"


def _near(items: Sequence[Item], certain: Pairs, alike: Sequence[NearCopy]) -> Iterator[Finding]:
    """Yield the copies that are certain, and then, the most alike first, pairs that may be or are two pictures."""
    for pair in certain:
        both = [items[number] for number in pair]
        if both[0].split != both[1].split:
            kind = "near across"
        else:
            two = both[0].marks is None and both[0].labels != both[1].labels
            kind = "near, two labels" if two else "near"
        yield Finding.of(kind, both, "saved again or resized")
    known = set(certain)
    for one in sorted(alike, key=lambda pair: -pair.similarity):
        if (one.first, one.second) not in known:
            both = [items[one.first], items[one.second]]
            where = "in two parts; " if both[0].split != both[1].split else ""
            why = f"{where}{'mirrored; ' if one.mirrored else ''}details {one.similarity:.0%} alike"
            yield Finding.of("doubtful", both, why, one.similarity)


def _groups_apart(items: Sequence[Item]) -> Iterator[Finding]:
    for group, members in apart(items).items():
        parts = [part for part in SPLITS if any(item.split == part for item in members)]
        first = [next(item for item in members if item.split == part) for part in parts]
        yield Finding.of("group across", first, f"group {group}: {len(members):,} pictures")


def _small_classes(items: Sequence[Item], readable: Sequence[int]) -> Iterator[Finding]:
    """Yield one picture of each class that has far fewer training pictures than the largest."""
    by_class: dict[str, list[Item]] = defaultdict(list)
    for number in readable:
        if items[number].split == "train":
            for label in items[number].labels or ():
                by_class[label].append(items[number])
    most = max((len(members) for members in by_class.values()), default=0)
    for label, members in by_class.items():
        if len(members) * _IMBALANCE <= most:
            yield Finding.of("few images", members[:1], f"{label} has {len(members):,}, the largest class {most:,}")


def _report(dataset: Dataset, items: Sequence[Item], looks: Sequence[Look], certain: Pairs) -> of_the_set.Report:
    """Return what training would say of the set before it begins."""
    there = [item for item, one in zip(items, looks, strict=True) if one.size is not None]
    by_part = {part: [item for item in there if item.split == part] for part in SPLITS}
    depths = [one.bits for one in looks if one.bits is not None]
    return of_the_set.examine(
        dataset, {part: members for part, members in by_part.items() if members}, dataset.classes,
        digests={item.source: str(one.identity or one.digest) for item, one in zip(items, looks, strict=True)},
        unreadable={
            item.source: one.problems[0][1] for item, one in zip(items, looks, strict=True) if one.size is None
        },
        held_out=None, depth=max(depths, default=None),
        near=[(items[one], items[two]) for one, two in certain],
    )  # fmt: skip


def _clips(items: Sequence[Item], looks: Sequence[Look]) -> list[list[Item]]:
    """Return the frames of each clip that would be parted where training divides."""
    if any(item.split == "val" for item in items):
        return []
    looked = [(item, one.content) for item, one in zip(items, looks, strict=True) if item.split == "train"]
    return sequences.clips_in(
        [item for item, _ in looked], {item.source: content.bright for item, content in looked if content is not None}
    )


def _groups(
    items: Sequence[Item], looks: Sequence[Look], certain: Pairs, clips: Sequence[Sequence[Item]]
) -> dict[str, str]:  # fmt: skip
    """Return a name for each set of pictures that belong on one side: of a group, a content, a photo, a clip."""
    clip_of = {item.source: f"clip {number}" for number, members in enumerate(clips) for item in members}
    parent = list(range(len(items)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    first: dict[str, int] = {}
    for number, (item, one) in enumerate(zip(items, looks, strict=True)):
        content, group = f"content {one.identity}" * bool(one.identity), f"group {item.group}" * bool(item.group)
        for key in (content, group, clip_of.get(item.source, "")):
            if key:
                parent[root(number)] = root(first.setdefault(key, number))
    for first_of_two, second in certain:
        parent[root(second)] = root(first_of_two)
    members: Mapping[int, list[int]] = defaultdict(list)
    for number in range(len(items)):
        members[root(number)].append(number)
    named: dict[str, str] = {}
    for count, together in enumerate((numbers for numbers in members.values()), start=1):
        own = sorted({str(items[number].group) for number in together if items[number].group is not None})
        if len(together) > 1 or own:
            named |= {items[number].source: own[0] if own else f"copies {count}" for number in together}
    return named
