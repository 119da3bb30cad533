"""The pass over all files before the first epoch: read once, decode once, and say what is wrong with the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from resnetkit.data import classes as naming
from resnetkit.data import copies, splits
from resnetkit.data.dataset import SPLITS, Dataset, Item, Split
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.decoded.decoding import Decoded, Form, decode_parts
from resnetkit.data.decoded.survey import Progress, Survey, survey
from resnetkit.data.findings import Report, examine
from resnetkit.data.fingerprint import Digests, Record, content_of, digests_of, fingerprint
from resnetkit.data.folds import Folds, fold_of
from resnetkit.data.opening import pages
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError

Pair = tuple[Item, Item]

__all__ = ["Part", "Prepared", "Report", "Survey", "fingerprint", "prepare", "survey"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The decoded pictures of train, val or test: item i has class `targets[i]` and pixels i.

    `content` is the same for the same files, whatever they are called; `contents` are the digests of each picture.
    """

    items: tuple[Item, ...] = field(repr=False)
    targets: np.ndarray = field(repr=False)
    pixels: Pixels = field(repr=False)
    content: str | None = field(default=None, repr=False)
    contents: tuple[Digests, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Data ready for training or evaluation. `records` is what `fingerprint` was made of.

    `left_out`: pictures of val and test that trained what the weights begin as; `folds`: None where a part is held out.
    """

    classes: tuple[str, ...]
    parts: dict[Split, Part]
    report: Report
    fingerprint: str
    preprocess: Preprocess
    records: tuple[Record, ...] = field(repr=False)
    left_out: tuple[Item, ...] = field(default=(), repr=False)
    folds: Folds | None = None

    @property
    def fold_of(self) -> dict[str, int] | None:
        """Return source -> fold of the training pictures, None where there are no folds."""
        if self.folds is None:
            return None
        items = self.parts["train"].items
        return {item.source: int(number) for item, number in zip(items, self.folds.numbers, strict=True)}

    @property
    def items(self) -> tuple[Item, ...]:
        """Return the items of all parts and those left out, each with its split, as `splits.write_split` takes them."""
        return (*(item for part in self.parts.values() for item in part.items), *self.left_out)


def prepare(
    dataset: Dataset,
    *,
    preprocess: Preprocess,
    threads: int,
    whole_short_side: int | None = None,
    bad_images: Literal["stop", "skip"] = "stop",
    val_share: float = splits.DEFAULT_VAL_SHARE,
    selects: bool = False,
    seed: int = 0,
    split_rows: Mapping[str, Split] | None = None,
    folds: int = 0,
    fold_rows: Mapping[str, int] | None = None,
    trained: Collection[str] = (),
    classes: Sequence[str] | None = None,
    parts: Sequence[Split] = SPLITS,
    keep_together: splits.KeepTogether = "copies",
    surveyed: Survey | None = None,
    report_to: Callable[[Report], None] | None = None,
    hint: str = "add --bad-images skip to leave them out",
    progress: Progress | None = None,
) -> Prepared:
    """Read, divide and decode the data; each picture is decoded once.

    Pictures of val and test become `Preprocess.pixels`, those of train `Preprocess.whole` where `whole_short_side` is
    given. Without a val part a share of train is held out (`splits.hold_out`), or `split_rows` of an earlier run say
    which; where these are many and the run `selects` by them, half of them become test (`splits.halve`).
    With `folds` the training part is also divided into so many (`splits.into_folds`), or as `fold_rows` say.
    `keep_together`: what stays on one side when it is drawn. `trained` are sources that the starting weights learnt
    from: they train, and are left out of other parts that are given. `classes` are those of a model; without them the
    data's own count, which must be two or more. 16-bit pictures are scaled by the bits that those of train use
    (`Prepared.preprocess.depth`).

    `report_to` gets the report before anything stops the run. Raises `DataError` for unreadable pictures (with
    `hint`, unless `bad_images="skip"`), unknown classes and data without pictures or classes; `ResourceError` where
    neither memory nor disk has room for the decoded pictures; `UsageError` for a `--limit` that leaves nothing to hold
    out.
    """
    wanted, notes = _chosen(dataset, (*SPLITS, "seen"), split_rows)
    wanted = _without_seen(wanted, set(trained))
    chosen = replace(wanted, items=tuple(item for item in wanted.items if item.split in parts))
    _check_labels(chosen, classes, parts)
    step = _Steps(progress, total=len(chosen) * (2 if surveyed is None else 1))
    surveyed = surveyed or survey(chosen, threads=threads, progress=step.follow)
    draws = split_rows is None and {"train", "val"} <= set(parts)
    given = any(item.split == "val" for item in dataset.items)
    free = any(item.split == "train" and item.source not in trained for item in chosen.items)
    held_out = val_share if draws and free and not given else None
    if held_out is not None and not trained:
        _check_limit(chosen)
    searched, draws_here = split_rows is None and keep_together == "copies", held_out is not None or folds > 0
    near, said = _copies(chosen, surveyed, split_here=draws_here) if searched else ((), ())
    identities = surveyed.digests if keep_together == "files" else surveyed.identities
    if draws_here and split_rows is None:
        said += _kept_together(chosen, identities, near)
    alike = [*near, *_identical(chosen, identities)]
    by_part = _divided(
        chosen, surveyed, parts, alike, share=held_out, seed=seed, selects=selects, trained=trained
    )  # fmt: skip
    numbered: Mapping[str, int] = {}
    if folds and "train" in by_part:
        numbered = fold_of(
            by_part["train"], surveyed, alike, count=folds, rows=fold_rows, seed=seed, trained=trained
        )  # fmt: skip
    halved = held_out is not None and "test" in by_part and not any(item.split == "test" for item in chosen.items)
    preprocess = _with_depth(preprocess, surveyed, by_part.get("train", []))
    failed = {item.source: why for item in chosen.items if (why := surveyed.unreadable.get(item.source)) is not None}
    whole = {"train": Form(preprocess=preprocess, short_side=whole_short_side)}
    wanted_twice: dict[Split, list[Item]] = {"val": by_part["train"]} if numbered and whole_short_side else {}
    forms: dict[Split, Form] = {
        part: whole.get(part, Form(preprocess=preprocess)) for part in (*by_part, *wanted_twice)
    }
    read, kept = decode_parts(
        chosen, by_part | wanted_twice, forms, surveyed, failed=failed, threads=threads, progress=step.follow
    )  # fmt: skip
    step.finish()
    as_scored = read.pop("val") if wanted_twice else read.get("train")
    left = {part: items for part, (items, _) in read.items()}
    names = _known_classes(chosen, left, classes)
    depth = preprocess.depth if surveyed.depths else None
    report = examine(
        chosen, left, names,
        digests=surveyed.identities, unreadable=failed, held_out=held_out, halved=halved, depth=depth,
        near=_as_divided(near, by_part), notes=(*notes, *said, *kept, *pages.noted(surveyed.several - failed.keys())),
    )  # fmt: skip
    if report_to:
        report_to(report)
    if failed and bad_images == "stop":
        raise _bad_images(failed, len(chosen), hint)
    _check_parts(
        left, names,
        needs_classes=classes is None, needs_train="train" in parts, needs_val=held_out is not None and not trained,
    )  # fmt: skip
    prepared = _prepared(names, read, report, surveyed, preprocess)
    if folds and as_scored is not None:
        numbers = np.array([numbered[item.source] for item in as_scored[0]], np.int64)
        divided = Folds(count=folds, numbers=numbers, pixels=as_scored[1])
        divided.check(prepared.parts["train"].targets, names)
        prepared = replace(prepared, folds=divided)
    return replace(prepared, left_out=tuple(item for item in wanted.items if item.split == "seen"))


class _Steps:
    """Progress over several passes: each pass counts from 0, the whole counts on."""

    def __init__(self, progress: Progress | None, *, total: int) -> None:
        self._progress, self._total, self._before = progress, total, 0

    def follow(self, done: int, total: int) -> None:
        """Report `done` of this pass; a finished pass is added to those before."""
        if self._progress:
            self._progress(min(self._before + done, self._total), self._total)
        if done == total:
            self._before += total

    def finish(self) -> None:
        """Report that all is done; files that could not be read were never counted as decoded."""
        if self._progress:
            self._progress(self._total, self._total)


def _chosen(
    dataset: Dataset, parts: Sequence[Split], rows: Mapping[str, Split] | None
) -> tuple[Dataset, tuple[str, ...]]:
    """Return the data with the pictures that the parts need (unsplit ones belong to train), and what to say of it."""
    items = dataset.items
    notes: tuple[str, ...] = ()
    if rows is not None and items:
        items, num_new = splits.reuse_split(items, rows)
        notes = (f"{num_new:,} images are new since that split was made: they train",) if num_new else ()
    items = tuple(item if item.split else replace(item, split="train") for item in items)
    return replace(dataset, items=tuple(item for item in items if item.split in parts)), notes


def _without_seen(dataset: Dataset, trained: Collection[str]) -> Dataset:
    """Return the data with those of `trained` that are given to select or to score as `seen`."""
    seen = (item.source in trained and item.split in ("val", "test") for item in dataset.items)
    items = (replace(item, split="seen") if gone else item for item, gone in zip(dataset.items, seen, strict=True))
    return replace(dataset, items=tuple(items))


def _check_labels(dataset: Dataset, classes: Sequence[str] | None, parts: Sequence[Split]) -> None:
    """Stop before anything is read where there is nothing to learn, or classes that the model does not know."""
    if not dataset.items:
        raise DataError(f"{dataset.name}: no images found{instead(dataset)}")
    present = {item.split for item in dataset.items}
    if "train" in parts and "train" not in present:
        only = " and ".join(part for part in SPLITS if part in present)
        raise DataError(f"{dataset.name}: no training part (only {only}); add one, or give the pictures without parts")
    counts = Counter(label for item in dataset.items for label in item.labels or ())
    if classes is None and len(counts) < 2:
        raise DataError(
            f"{dataset.name}: one class only ({next(iter(counts))}); there must be two or more to tell apart"
        )
    for label, count in counts.items():
        if classes is not None and label not in classes:
            raise naming.unknown_class(label, classes, where=dataset.name, count=count)


def _check_limit(dataset: Dataset) -> None:
    """Stop where a limit leaves classes without an image to hold out: more images would not help."""
    needed = 2 * len({label for item in dataset.items for label in item.labels or ()})
    if dataset.limit is not None and dataset.limit < needed:
        raise UsageError(
            f"--limit {dataset.limit} is too small for {needed // 2} classes: each needs two images, one to train and "
            f"one to hold out; --limit {needed} or more"
        )


def instead(dataset: Dataset) -> str:
    """Return what there is in a data set without pictures, as the end of a sentence."""
    if dataset.outside:
        return f"; {len(dataset.outside):,} lie in no class folder, as {dataset.outside[0]}: expected CLASS/picture.jpg"
    return f"; ignored files: {len(dataset.ignored):,}, the first {dataset.ignored[0]}" if dataset.ignored else ""


def _copies(dataset: Dataset, surveyed: Survey, *, split_here: bool) -> tuple[copies.Pairs, tuple[str, ...]]:
    """Return the pairs that are one picture saved again or resized, where training is held apart from something.

    Where the split is yet to be made all pairs count, else those of two parts. With what is to be said of it.
    """
    present = {item.split for item in dataset.items}
    if "train" not in present or not (split_here or len(present) > 1):
        return (), ()
    if len(dataset) > copies.MOST:
        return (), (f"copies are not looked for among {len(dataset):,} images: resnetkit check looks for them",)
    return copies.copies_of(dataset, surveyed, parts_alone=not split_here), ()


def _kept_together(dataset: Dataset, identities: Mapping[str, str], near: Sequence[Pair]) -> tuple[str, ...]:
    """Say how many training pictures stay on one side because they are one picture."""
    train = [item.source for item in dataset.items if item.split == "train" and item.source in identities]
    times = Counter(identities[source] for source in train)
    again = {item.source for pair in near for item in pair if all(item.split == "train" for item in pair)}
    found = ((sum(times[identities[source]] > 1 for source in train), "identical with"), (len(again), "copies of"))
    said = " and ".join(f"{count:,} are {what} others" for count, what in found if count)
    if not said:
        return ()
    return (f"Of the images {said}: those of one picture stay on one side (see --set keep_together).",)


def _as_divided(near: Sequence[Pair], by_part: Mapping[Split, Sequence[Item]]) -> list[tuple[Item, Item]]:
    """Return the pairs with the parts that their pictures came to."""
    items = {item.source: item for members in by_part.values() for item in members}
    return [(items[one.source], items[two.source]) for one, two in near]


def _divided(
    dataset: Dataset, surveyed: Survey, parts: Sequence[Split], alike: Sequence[Pair], *,
    share: float | None, seed: int, selects: bool, trained: Collection[str],
) -> dict[Split, list[Item]]:  # fmt: skip
    """Return the readable pictures of each part, after holding out `share` of train where one is given."""
    items = tuple(item for item in dataset.items if item.source in surveyed.digests)
    if share is not None:
        digests = [surveyed.digests[item.source] for item in items]
        pairs = [(surveyed.digests[one.source], surveyed.digests[two.source]) for one, two in alike]
        items = splits.hold_out(items, digests, share=share, seed=seed, alike=pairs, trained=trained)
        if selects:
            items = splits.halve(items, digests, seed=seed, alike=pairs)
    by_part = {part: [item for item in items if item.split == part] for part in SPLITS if part in parts}
    return {part: members for part, members in by_part.items() if members}


def _identical(dataset: Dataset, identities: Mapping[str, str]) -> Iterator[Pair]:
    """Yield each picture that is an earlier one, with that."""
    first: dict[str, Item] = {}
    for item in dataset.items:
        if item.source in identities and (other := first.setdefault(identities[item.source], item)) is not item:
            yield other, item


def _with_depth(preprocess: Preprocess, surveyed: Survey, train: Sequence[Item]) -> Preprocess:
    """Scale 16-bit pictures by the bits that the training part uses, so that brightness means the same in all."""
    depths = [surveyed.depths[item.source] for item in train if item.source in surveyed.depths]
    return preprocess.changed(depth=max(depths)) if depths and preprocess.depth is None else preprocess


def _known_classes(
    dataset: Dataset, left: Mapping[Split, Sequence[Item]], classes: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the model's classes, or those of the data that still have a readable image."""
    if classes is not None:
        return tuple(classes)
    seen = {label for items in left.values() for item in items for label in item.labels or ()}
    return tuple(name for name in dataset.classes if name in seen)


def _bad_images(failed: Mapping[str, str], total: int, hint: str) -> DataError:
    first = ", ".join(f"{source} ({why.partition(';')[0]})" for source, why in list(failed.items())[:3])
    more = f" and {len(failed) - 3:,} more" if len(failed) > 3 else ""
    return DataError(f"{len(failed):,} of {total:,} images cannot be read: {first}{more}; {hint}")


def _check_parts(
    left: Mapping[Split, Sequence[Item]],
    names: Sequence[str],
    *,
    needs_classes: bool,
    needs_train: bool,
    needs_val: bool,
) -> None:
    """Stop where what is left cannot be used: too few classes, or one that training has no image of."""
    if not any(left.values()):
        raise DataError("no image could be read")
    if needs_train and not left.get("train"):
        raise DataError("no training image could be read")
    if needs_classes and len(names) < 2:
        raise DataError(f"one class only ({', '.join(names)}) has images that can be read; there must be two or more")
    trained = {label for item in left.get("train", ()) for label in item.labels or ()}
    without = [name for name in names if name not in trained]
    if needs_classes and "train" in left and without:
        raise DataError(f"class {without[0]!r} has no training image that can be read; mend one or take the class out")
    if needs_val and not left.get("val"):
        raise DataError(
            "nothing can be held out for validation: each class has one image, one group or identical files; add images"
        )


def _prepared(
    names: tuple[str, ...],
    read: Mapping[Split, Decoded],
    report: Report,
    surveyed: Survey,
    preprocess: Preprocess,
) -> Prepared:
    index = {name: number for number, name in enumerate(names)}
    parts = {
        part: Part(
            items=items, targets=np.array([index[str(item.label)] for item in items], np.int64), pixels=pixels,
            content=content_of(surveyed.digests[item.source] for item in items),
            contents=digests_of(items, surveyed),
        )
        for part, (items, pixels) in read.items()
        if items
    }  # fmt: skip
    records = tuple(
        sorted(
            (item.source, surveyed.digests[item.source], item.written, str(item.split))
            for part in parts.values()
            for item in part.items
        )
    )
    return Prepared(
        classes=names,
        parts=parts,
        report=report,
        fingerprint=fingerprint(records),
        preprocess=preprocess,
        records=records,
    )
