"""The pass over all files before the first epoch: read once, decode once, and say what is wrong with the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from resnetkit.data import classes as naming
from resnetkit.data import splits
from resnetkit.data.copies.alike import alike_in
from resnetkit.data.dataset import SPLITS, Dataset, Item, Split
from resnetkit.data.decoded.decoding import Decoded, Form, decode_parts
from resnetkit.data.decoded.survey import Survey, survey
from resnetkit.data.decoded.text_in_pixels import text_in_pixels
from resnetkit.data.findings import Report, examine
from resnetkit.data.fingerprint import content_of, digests_of, fingerprint
from resnetkit.data.folds import Folds, fold_of
from resnetkit.data.frames import of_files
from resnetkit.data.opening import pages
from resnetkit.data.prepared import Division, Pair, Part, Prepared, Reading
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.several import check_differ, unite
from resnetkit.data.targets import class_targets, label_targets, object_targets, places
from resnetkit.errors import DataError, UsageError
from resnetkit.watcher import Progress


def prepare_training(
    dataset: Dataset, *, preprocess: Preprocess, reading: Reading, division: Division,
    whole_short_side: int | None = None, surveyed: Survey | None = None,
) -> Prepared:  # fmt: skip
    """Read, divide and decode what a run trains on and is judged by; each picture is decoded once.

    Pictures of val and test become `Preprocess.pixels`, those of train `Preprocess.whole` where `whole_short_side` is
    given. 16-bit pictures are scaled by the bits that those of train use (`Prepared.preprocess.depth`).

    Raises `DataError` for unreadable pictures (unless they are skipped) and for data without pictures or with fewer
    than two classes; `ResourceError` where neither memory nor disk has room for the decoded pictures; `UsageError` for
    a `--limit` that leaves nothing to hold out.
    """
    parts, trained = division.parts, set(division.trained)
    dataset, surveyed = _united(of_files(dataset, page=preprocess.page, frames=preprocess.frames), surveyed, reading)
    wanted, notes = _chosen(dataset, (*SPLITS, "seen"), division.rows)
    wanted = _without_seen(wanted, trained)
    chosen = replace(wanted, items=tuple(item for item in wanted.items if item.split in parts))
    _check_labels(chosen, None, parts)
    step = _Steps(reading.progress, total=len(chosen) * (2 if surveyed is None else 1))
    surveyed = surveyed or survey(chosen, threads=reading.threads, progress=step.follow)
    share = division.share_of(dataset, chosen)
    if share is not None and not trained:
        _check_limit(chosen)
    alike = alike_in(chosen, surveyed, division, draws=share is not None or division.folds > 0)
    by_part = _divided(chosen, surveyed, alike.pairs, share=share, division=division)
    numbered: Mapping[str, int] = {}
    if division.folds and "train" in by_part:
        numbered = fold_of(
            by_part["train"], surveyed, alike.pairs, count=division.folds, rows=division.fold_rows, seed=division.seed,
            trained=trained, several=chosen.several, below=chosen.below,
        )  # fmt: skip
    again: dict[Split, list[Item]] = {"val": by_part["train"]} if numbered and whole_short_side else {}
    found = _decoded(
        chosen, by_part | again, surveyed, preprocess=preprocess, whole_short_side=whole_short_side, reading=reading,
        step=step,
    )  # fmt: skip
    as_scored = found.read.pop("val") if again else found.read.get("train")
    found = replace(found, preprocess=_with_statistics(found.preprocess, found.read.get("train")))
    left = {part: items for part, (items, _) in found.read.items()}
    names = _classes_left(chosen, left)
    halved = share is not None and "test" in by_part and not any(item.split == "test" for item in chosen.items)
    notes = (*notes, *alike.notes, *found.kept, *text_in_pixels(chosen, threads=reading.threads))
    report = found.report(names, held_out=share, halved=halved, near=alike.near_in(by_part), notes=notes)
    _report(report, found, reading)
    _check_parts(left, names, needs_val=share is not None and not trained, several=chosen.several)
    prepared = found.prepared(names, report)
    if division.folds and as_scored is not None:
        prepared = _with_folds(prepared, numbered, as_scored, count=division.folds)
    return replace(prepared, left_out=tuple(item for item in wanted.items if item.split == "seen"))


def _with_folds(prepared: Prepared, numbered: Mapping[str, int], as_scored: Decoded, *, count: int) -> Prepared:
    """Return the data with the folds that hold out the training part in turn; raises `DataError` for an empty one."""
    items, pixels = as_scored
    folds = Folds(count=count, numbers=np.array([numbered[item.source] for item in items], np.int64), pixels=pixels)
    folds.check(prepared.parts["train"].targets, prepared.classes)
    return replace(prepared, folds=folds)


def prepare_scoring(
    dataset: Dataset, *, part: Split, classes: Sequence[str], preprocess: Preprocess, reading: Reading,
    surveyed: Survey | None = None,
) -> Prepared:  # fmt: skip
    """Read and decode one part, for a model whose `classes` are known; raises as `prepare_training` does.

    Raises `DataError` for a class that is not among them too.
    """
    dataset, surveyed = _united(of_files(dataset, page=preprocess.page, frames=preprocess.frames), surveyed, reading)
    chosen, _ = _chosen(dataset, (part,), None)
    _check_labels(chosen, classes, (part,))
    step = _Steps(reading.progress, total=len(chosen) * (2 if surveyed is None else 1))
    surveyed = surveyed or survey(chosen, threads=reading.threads, progress=step.follow)
    items = [item for item in chosen.items if item.source in surveyed.digests]
    by_part: dict[Split, list[Item]] = {part: items} if items else {}
    found = _decoded(chosen, by_part, surveyed, preprocess=preprocess, reading=reading, step=step)
    report = found.report(classes, notes=found.kept)
    _report(report, found, reading)
    if not any(items for items, _ in found.read.values()):
        raise DataError("no image could be read")
    return found.prepared(tuple(classes), report)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What was decoded, and what could not be: source -> why."""

    dataset: Dataset
    surveyed: Survey
    preprocess: Preprocess
    read: dict[Split, Decoded]
    failed: Mapping[str, str]
    kept: tuple[str, ...]

    def report(self, classes: Sequence[str], *, notes: Sequence[str], **more: Any) -> Report:
        """Return what is worth knowing of it."""
        notes = (*notes, *pages.noted(self.surveyed.several - self.failed.keys(), self.dataset.page))
        return examine(
            self.dataset, {part: items for part, (items, _) in self.read.items()}, classes,
            digests=self.surveyed.identities, unreadable=self.failed,
            depth=self.preprocess.depth if self.surveyed.depths else None, notes=notes, **more,
        )  # fmt: skip

    def prepared(self, names: tuple[str, ...], report: Report) -> Prepared:
        """Return the parts that have a picture, with targets in the order of `names`."""
        return _prepared(names, self.read, report, self.surveyed, self.preprocess, self.dataset)


def _decoded(
    chosen: Dataset, by_part: Mapping[Split, Sequence[Item]], surveyed: Survey, *, preprocess: Preprocess,
    whole_short_side: int | None = None, reading: Reading, step: _Steps,
) -> _Found:  # fmt: skip
    """Decode the pictures of the parts."""
    preprocess = _with_depth(preprocess, surveyed, by_part.get("train", []))
    failed = {item.source: why for item in chosen.items if (why := surveyed.unreadable.get(item.source)) is not None}
    forms = {part: Form(preprocess=preprocess) for part in by_part}
    if "train" in forms:
        forms["train"] = Form(preprocess=preprocess, short_side=whole_short_side)
    read, kept = decode_parts(
        chosen, by_part, forms, surveyed, failed=failed, threads=reading.threads, progress=step.follow
    )  # fmt: skip
    step.finish()
    return _Found(dataset=chosen, surveyed=surveyed, preprocess=preprocess, read=read, failed=failed, kept=kept)


def _report(report: Report, found: _Found, reading: Reading) -> None:
    """Show the report, then stop where pictures cannot be read."""
    if reading.report_to:
        reading.report_to(report)
    if found.failed and reading.bad_images == "stop":
        raise _bad_images(found.failed, len(found.dataset), reading.hint)


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
    if classes is None:
        check_differ(dataset)
        return
    for label, count in Counter(label for item in dataset.items for label in item.labels or ()).items():
        if label not in classes:
            raise naming.unknown_class(label, classes, where=dataset.name, count=count)


def _check_limit(dataset: Dataset) -> None:
    """Stop where a limit leaves classes without an image to hold out: more images would not help."""
    needed = 2 * len({label for item in dataset.items for label in item.labels or ()})
    if dataset.limit is not None and dataset.limit < needed and not dataset.several:
        raise UsageError(
            f"--limit {dataset.limit} is too small for {needed // 2} classes: each needs two images, one to train and "
            f"one to hold out; --limit {needed} or more"
        )


def instead(dataset: Dataset) -> str:
    """Return what there is in a data set without pictures, as the end of a sentence."""
    if dataset.outside:
        return f"; {len(dataset.outside):,} lie in no class folder, as {dataset.outside[0]}: expected CLASS/picture.jpg"
    return f"; ignored files: {len(dataset.ignored):,}, the first {dataset.ignored[0]}" if dataset.ignored else ""


def _divided(
    dataset: Dataset, surveyed: Survey, alike: Sequence[Pair], *, share: float | None, division: Division
) -> dict[Split, list[Item]]:  # fmt: skip
    """Return the readable pictures of each part, after holding out `share` of train where one is given."""
    items = tuple(item for item in dataset.items if item.source in surveyed.digests)
    if share is not None:
        digests = [surveyed.digests[item.source] for item in items]
        pairs = [(surveyed.digests[one.source], surveyed.digests[two.source]) for one, two in alike]
        items = splits.hold_out(
            items, digests, share=share, seed=division.seed, alike=pairs, trained=division.trained,
            several=dataset.several, below=dataset.below,
        )  # fmt: skip
        if division.selects:
            items = splits.halve(
                items, digests, seed=division.seed, alike=pairs, several=dataset.several, below=dataset.below
            )
    by_part = {part: [item for item in items if item.split == part] for part in division.parts}
    return {part: members for part, members in by_part.items() if members}


def _with_depth(preprocess: Preprocess, surveyed: Survey, train: Sequence[Item]) -> Preprocess:
    """Scale 16-bit pictures by the bits that the training part uses, so that brightness means the same in all."""
    depths = [surveyed.depths[item.source] for item in train if item.source in surveyed.depths]
    return preprocess.changed(depth=max(depths)) if depths and preprocess.depth is None else preprocess


def _united(dataset: Dataset, surveyed: Survey | None, reading: Reading) -> tuple[Dataset, Survey | None]:
    """Return the data with files of one content as one picture, where these lie in a folder for each label."""
    if not dataset.unites:
        return dataset, surveyed
    surveyed = surveyed or survey(dataset, threads=reading.threads, progress=reading.progress)
    return unite(dataset, surveyed.digests), surveyed


def _with_statistics(preprocess: Preprocess, train: Decoded | None) -> Preprocess:
    """Return mean and spread of each of many bands from the training pictures, where nothing was said of them."""
    usual = Preprocess.for_size(preprocess.size, channels=preprocess.channels)
    told = (preprocess.mean, preprocess.std) != (usual.mean, usual.std)
    if preprocess.channels in (1, 3) or told or train is None or not train[0]:
        return preprocess
    count, total, squares = 0, np.zeros(preprocess.channels), np.zeros(preprocess.channels)
    for number in range(len(train[0])):
        (picture,) = train[1].take(np.array([number]))
        values = np.asarray(picture, np.float64).reshape(-1, preprocess.channels) / 255
        count, total, squares = count + len(values), total + values.sum(0), squares + (values**2).sum(0)
    mean = total / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0))
    spread = np.where(spread > 1 / 255, spread, 1.0)  # a band that is the same everywhere says nothing
    return preprocess.changed(mean=tuple(mean.round(6).tolist()), std=tuple(spread.round(6).tolist()))


def _classes_left(dataset: Dataset, left: Mapping[Split, Sequence[Item]]) -> tuple[str, ...]:
    """Return the classes of the data that still have a readable image; labels stay, for their lack is told too."""
    if dataset.several:
        return dataset.classes
    seen = {label for items in left.values() for item in items for label in item.labels or ()}
    return tuple(name for name in dataset.classes if name in seen)


def _bad_images(failed: Mapping[str, str], total: int, hint: str) -> DataError:
    if len(failed) == total > 1 and len(reasons := set(failed.values())) == 1:
        first = next(iter(failed))
        return DataError(f"{total:,} of {total:,} images cannot be read, as {first}: each {reasons.pop()}")
    first = ", ".join(f"{source} ({why.partition(';')[0]})" for source, why in list(failed.items())[:3])
    more = f" and {len(failed) - 3:,} more" if len(failed) > 3 else ""
    return DataError(f"{len(failed):,} of {total:,} images cannot be read: {first}{more}; {hint}")


def _check_parts(left: Mapping[Split, Sequence[Item]], names: Sequence[str], *, needs_val: bool, several: bool) -> None:
    """Stop where what is left cannot be used: too few classes, or one that training has no image of."""
    if not any(left.values()):
        raise DataError("no image could be read")
    if not left.get("train"):
        raise DataError("no training image could be read")
    if not several:
        _check_classes(left, names)
    if needs_val and not left.get("val"):
        raise DataError(
            "nothing can be held out for validation: each class has one image, one group or identical files; add images"
        )


def _check_classes(left: Mapping[Split, Sequence[Item]], names: Sequence[str]) -> None:
    """Stop where a picture's one class cannot be learnt."""
    if len(names) < 2:
        raise DataError(f"one class only ({', '.join(names)}) has images that can be read; there must be two or more")
    trained = {label for item in left["train"] for label in item.labels or ()}
    without = [name for name in names if name not in trained]
    if without:
        raise DataError(f"class {without[0]!r} has no training image that can be read; mend one or take the class out")


def _prepared(
    names: tuple[str, ...],
    read: Mapping[Split, Decoded],
    report: Report,
    surveyed: Survey,
    preprocess: Preprocess,
    dataset: Dataset,
) -> Prepared:
    marked = dataset.objects != "none"
    targets_of = object_targets if marked else label_targets if dataset.several else class_targets
    parts = {
        part: Part(
            items=items, targets=targets_of(items, names, where=part), pixels=pixels,
            content=content_of(surveyed.digests[item.source] for item in items),
            contents=digests_of(items, surveyed), **(places(items, surveyed, preprocess) if marked else {}),
        )
        for part, (items, pixels) in read.items()
        if items
    }  # fmt: skip
    records = tuple(
        sorted(
            (item.source, surveyed.digests[item.source], item.said, str(item.split))
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
        several=dataset.several,
        objects=dataset.objects,
        dicom=dataset.dicom > 0 or surveyed.dicom,
    )
