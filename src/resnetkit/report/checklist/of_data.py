"""What the files of a run say of its pictures: from where, how many, how divided, how prepared."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from resnetkit.data.dataset import labels_written
from resnetkit.models.checkpoint import CLASSIFICATION
from resnetkit.report.checklist.files import MOST_CLASSES, PARTS, Files, Told, Topics
from resnetkit.words import percent

# Sentences of data.json that name no file.
_DIVIDED = re.compile(r"No validation part was given: .*")
_COPIES = re.compile(r"[\d,]+ of [\d,]+ \w+ images are (?:near-copies of|also in) \w+(?: images)?")
_UNREADABLE = re.compile(r"[\d,]+ images? cannot be read")


def _data(files: Files) -> Iterator[Told]:
    yield Told("read from", files.facts["training"]["data"], "recipe.toml")
    yield Told("fingerprint of the data", files.recipe["data"]["fingerprint"], "recipe.toml")


def _parts(files: Files) -> Iterator[Told]:
    counts = Counter(row["split"] for row in files.rows)
    said = [f"{counts[part]:,} {part} ({percent(counts[part] / _total(counts))})" for part in PARTS if counts[part]]
    yield Told("pictures", ", ".join(said), "split.csv")


def _total(counts: Mapping[str, int]) -> int:
    return sum(counts.get(part, 0) for part in PARTS)


def _classes(files: Files) -> Iterator[Told]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in files.rows:
        one = files.header.task == CLASSIFICATION
        for label in (row["label"],) if one else labels_written(row["label"])[0]:
            counts[label][row["split"]] += 1
    for label in sorted(counts)[:MOST_CLASSES]:
        of = ", ".join(f"{counts[label][part]:,} {part}" for part in PARTS if counts[label][part])
        yield Told(label, of, "split.csv")
    if len(counts) > MOST_CLASSES:
        yield Told("more", f"{len(counts) - MOST_CLASSES:,} further classes", "split.csv")


def _left_out(files: Files) -> Iterator[Told]:
    seen = sum(row["split"] == "seen" for row in files.rows)
    yield Told("left out of val and test, as the first weights had seen them", f"{seen:,}", "split.csv")
    yield from _limit(files)


def _limit(files: Files) -> Iterator[Told]:
    if files.request.get("limit") is not None:
        yield Told("no more pictures of each class and part than", f"{files.request['limit']:,}", "state/")


def _unreadable(files: Files) -> Iterator[Told]:
    if files.request["bad_images"] == "stop":
        yield Told("pictures that cannot be read", "none: one would have stopped the run", "state/")
    elif files.findings is not None:
        said = [match[0] for line in files.findings if (match := _UNREADABLE.match(line))]
        yield Told("pictures that cannot be read", f"left out: {said[0] if said else 'none'}", "data.json")


def _assigned(files: Files) -> Iterator[Told]:
    request = files.request
    if request["folds"]:
        yield Told("parts", f"{request['folds']} folds, each held out once", "state/")
    elif request.get("split_from"):
        yield Told("parts", "those of an earlier run", "state/")
    elif files.findings is not None:
        drawn = [line for line in files.findings if _DIVIDED.match(line)]
        given = " and ".join(part for part in PARTS[1:] if any(row["split"] == part for row in files.rows))
        yield Told("parts", drawn[0] if drawn else f"the data gave {given or 'none'}", "data.json")
    else:
        return
    kept = files.recipe["recipe"].get("keep_together", "unknown")
    yield Told("where parts are drawn, together stay groups and", kept, "recipe.toml")
    yield Told("seed", files.facts["training"]["seed"], "recipe.toml")


def _groups(files: Files) -> Iterator[Told]:
    parts: dict[str, set[str]] = defaultdict(set)
    for row in files.rows:
        if row.get("group") and row["split"] in PARTS:
            parts[row["group"]].add(row["split"])
    if not parts:
        yield Told("groups", "none were given: pictures of one patient may lie in several parts", "split.csv")
        return
    alone = sum(not row.get("group") for row in files.rows)
    of = Counter(part for each in parts.values() for part in each)
    by = f" by {files.request['group_by']}" if files.request["group_by"] else ""
    counts = ", ".join(f"{of[part]:,} {part}" for part in PARTS if of[part])
    several = sum(len(each) > 1 for each in parts.values())
    yield Told(f"groups{by}", f"{len(parts):,}: {counts}; {several:,} of them in several parts", "split.csv")
    yield Told("pictures in no group", f"{alone:,}", "split.csv")


def _copies(files: Files) -> Iterator[Told]:
    if files.findings is None:
        return
    said = [match[0] for line in files.findings if (match := _COPIES.match(line))]
    yield Told("copies across parts", "; ".join(said) or "none is listed", "data.json")


def _pixels(files: Files) -> Iterator[Told]:
    used = files.header.preprocess
    how = {"center": f"the shorter side to {used.resize}, then the middle", "pad": "fitted, the rest black",
           "squash": "both sides"}  # fmt: skip
    yield Told("size", f"{used.sides} pixels, {used.channels} channels: {how[used.crop]}", "best.safetensors")
    yield Told("resized", f"{used.interpolation}, antialiased", "best.safetensors")
    numbers = [", ".join(f"{value:g}" for value in values) for values in (used.mean, used.std)]
    yield Told("normalised", f"less {numbers[0]}, divided by {numbers[1]}, of 0 to 1", "best.safetensors")
    if used.windows:
        yield Told("windows (centre and width)", ", ".join(used.windows), "best.safetensors")
    if used.page > 1:
        yield Told("page or frame", str(used.page), "best.safetensors")
    if used.depth is not None:
        yield Told("bits of 16-bit pictures", str(used.depth), "best.safetensors")


TOPICS: Topics = {
    "data": _data,
    "parts": _parts,
    "classes": _classes,
    "left out": _left_out,
    "limit": _limit,
    "unreadable": _unreadable,
    "assigned": _assigned,
    "groups": _groups,
    "copies": _copies,
    "pixels": _pixels,
}
