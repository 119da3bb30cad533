"""Looking for what is wrong with a set of pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from resnetkit.checking.result import Check
from resnetkit.errors import UsageError
from resnetkit.files import write_text
from resnetkit.watcher import Watcher

__all__ = ["Check", "check"]

if TYPE_CHECKING:
    from resnetkit.data.dataset import Dataset


def check(
    *data: str | Path,
    output: str | Path | None = None,
    clean_list: str | Path | None = None,
    group_by: str | None = None,
    rename: Mapping[str, str] | None = None,
    limit: int | None = None,
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Check:
    """Say what is wrong with labelled pictures: files, single pictures, copies, parts, classes.

    The files check.json and check.html go to the folder `output`, a list to train from to `clean_list` (.csv). The
    pictures stay as they are. Raises `DataError` where no picture can be read.
    """
    from resnetkit import runtime
    from resnetkit.checking import doctor
    from resnetkit.data.sources import open_data

    watcher = watcher or Watcher()
    if clean_list is not None and Path(clean_list).suffix.lower() != ".csv":
        raise UsageError(f"--write-clean-list {clean_list}: name a file that ends in .csv")
    dataset = open_data(*data, group_by=group_by, rename=rename, limit=limit)
    if output is not None:
        _check_outside(dataset, Path(output))
    found = doctor.check(dataset, threads=threads or runtime.available_threads(), watcher=watcher)
    if output is not None:
        _write(found, dataset, Path(output))
    if clean_list is not None:
        from resnetkit.checking.clean import write_clean_list

        kept, left = write_clean_list(found, dataset, Path(clean_list))
        watcher.note(f"{clean_list}: {kept:,} images to train from, {left:,} left out")
    return found


def _check_outside(dataset: Dataset, folder: Path) -> None:
    """Refuse a place that is no folder, or whose files would become part of the data."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: is a file; name a folder")
    for root in dataset.roots:
        if folder.resolve().is_relative_to(Path(root).resolve()):
            raise UsageError(f"--output {folder}: lies inside {root}; choose a folder outside of the pictures")


def _write(found: Check, dataset: Dataset, folder: Path) -> None:
    from resnetkit.report.check_page import write_check_page

    write_text(folder / "check.json", json.dumps(found.to_json(), ensure_ascii=False, indent=1) + "\n")
    items = {item.source: item for item in dataset.items}
    write_check_page(found, folder / "check.html", opener=lambda source: dataset.open(items[source]))
