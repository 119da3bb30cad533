"""The list to train from: a CSV without what a check found to be useless or leaking. The files stay as they are."""

from __future__ import annotations

import io
import os
from pathlib import Path

from resnetkit.checking.result import Check
from resnetkit.data.dataset import Dataset
from resnetkit.data.sources.grouping import video_of
from resnetkit.errors import UsageError
from resnetkit.files import check_new, csv_writer, write_text

_USELESS = ("unreadable", "damaged", "blank", "two labels", "near, two labels")
_COPIES = ("identical", "identical across", "near across")
_KEPT_FIRST = {"test": 0, "val": 1, "train": 2}


def left_out(check: Check) -> dict[str, str]:
    """Return source -> why it is not in the list.

    Of identical files one stays, and of near-copies in two parts that of the later part, so that test figures keep
    their pictures. Near-copies within a part stay, in one group. Possibly wrong labels stay: a person decides.
    """
    gone: dict[str, str] = {}
    for kind in _USELESS:
        for finding in check.of_kind(kind):
            gone |= dict.fromkeys(finding.sources, finding.why if len(finding.sources) == 1 else kind)
    for kind in _COPIES:
        for finding in check.of_kind(kind):
            there = [
                (_KEPT_FIRST[split], number, source)
                for number, (source, split) in enumerate(zip(finding.sources, finding.splits, strict=True))
                if source not in gone
            ]
            kept = min(there, default=None)
            for rank, _, source in there:
                if kept is not None and source != kept[2] and (kind != "near across" or rank > kept[0]):
                    gone[source] = f"{'a copy' if kind != 'near across' else 'a near-copy'} of {kept[2]}"
    return gone


def check_place(dataset: Dataset, path: Path) -> None:
    """Refuse a list that could not be written, or that would take the place of another file; before anything is read.

    Raises `UsageError`, also where the pictures lie in no file that a list could name.
    """
    if dataset.objects != "none":
        raise UsageError(
            "--write-clean-list: a list has no place for objects; mend what is named, or train with --bad-images skip"
        )
    if dataset.hidden is not None:
        raise UsageError(
            "--write-clean-list: a list would hold paths, which tell who is pictured here: rename them first"
        )
    if path.suffix.lower() != ".csv":
        raise UsageError(f"--write-clean-list {path}: name a file that ends in .csv")
    check_new(path, "--write-clean-list")
    if not any(_is_named(item.source) for item in dataset.items):
        raise UsageError(f"--write-clean-list: the pictures of {dataset.name} lie in no file that a list could name")


def nameless(check: Check) -> dict[str, str]:
    """Return source -> why, of pictures whose file's name cannot stand in a list."""
    why = "its name is no UTF-8, which a list is: rename it"
    return {item.source: why for item in check.items if not _is_named(item.source)}


def _is_named(source: str) -> bool:
    return os.path.isfile(source) or os.path.isfile(video_of(source) or source.partition("::")[0])


def write_clean_list(check: Check, dataset: Dataset, path: Path) -> tuple[int, int]:
    """Write `image_path,label[,split][,group]`, relative to its folder; return how many are in it and how many not.

    Pictures of an archive are `archive.zip::member`, frames of a video `drive.mp4#12.480`.
    """
    rows = [
        [_relative(item.source, path), item.written, str(item.split), check.groups.get(item.source, "")]
        for item in check.items
        if item.source not in check.left_out
    ]
    parts = any(item.split is not None for item in dataset.items)
    grouped = any(row[3] for row in rows)
    columns = [0, 1, *([2] if parts else []), *([3] if grouped else [])]
    text = io.StringIO()
    writer = csv_writer(text)
    for row in [["image_path", "label", "split", "group"], *rows]:
        writer.writerow([row[column] for column in columns])
    write_text(path, text.getvalue())
    return len(rows), len(check.items) - len(rows)


def _relative(source: str, path: Path) -> str:
    """Return the path as the CSV has it; it never begins with what a spreadsheet would compute."""
    return os.path.join(".", os.path.relpath(source, path.parent))
