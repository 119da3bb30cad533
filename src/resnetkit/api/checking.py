"""Looking for what is wrong with a set of pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit import runtime
from resnetkit.api.locating import locate
from resnetkit.checking.result import Check
from resnetkit.errors import DataError, ResNetKitError, UsageError
from resnetkit.files import write_text
from resnetkit.inference.engines import TorchEngine
from resnetkit.runtime import Runtime
from resnetkit.training.planning.plan import PHOTO_SIDE, TRUNK
from resnetkit.watcher import Watcher

__all__ = ["Check", "check"]

if TYPE_CHECKING:
    from PIL import Image

    from resnetkit.checking.features import Backbone
    from resnetkit.data.dataset import Dataset
    from resnetkit.data.sources import Asked


def check(
    *data: Any,
    output: str | Path | None = None,
    clean_list: str | Path | None = None,
    group_by: str | None = None,
    rename: Mapping[str, str] | None = None,
    weights: str | Path = "auto",
    by: Sequence[str] = (),
    limit: int | None = None,
    task: Asked = "auto",
    device: str = "auto",
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Check:
    """Say what is wrong with labelled pictures: files, single pictures, copies, parts, classes, labels.

    Of annotated pictures also faults of the annotations, and objects to look at again: marked twice, tiny, of odd
    sizes. And what twice as many of them would bring, by the learning curve of a linear head (`Check.forecast`). Files
    check.json and check.html go to the folder `output`, a list to train from to `clean_list` (.csv). The pictures stay
    as they are. Labels are held against the features of `weights`, a MODEL: auto are those of the package: the ImageNet
    trunk for photos, the CIFAR-10 ResNet-20 for pictures below 96 pixels; none leaves labels and forecast out. They
    tell, too, whether the border alone gives the class away; columns of the list, or tags of DICOM files, that may are
    named by `by`, as in `evaluate` (`Check.shortcuts`). Raises `DataError` where no picture can be read, `UsageError`
    for a model there is not.
    """
    from resnetkit.checking import clean, doctor
    from resnetkit.data.sources import open_data
    from resnetkit.data.sources.columns import wanted

    watcher, columns = watcher or Watcher(), wanted(by, data)
    try:
        dataset = open_data(*data, group_by=group_by, rename=rename, limit=limit, task=task, faulty="skip")
    except DataError as error:
        raise _with_all_faults(error, data) from None
    if columns and dataset.several:
        raise UsageError(f"--by {by[0]}: is for pictures of one class each, and these may have several")
    if clean_list is not None:
        clean.check_place(dataset, Path(clean_list))
    if output is not None:
        _check_outside(dataset, Path(output))
    how = runtime.resolve(device=device, threads=threads)
    unasked = str(weights) == "none" or dataset.several
    opener, page = (None, 1) if unasked else _opener(str(weights), how, watcher)
    dataset = dataset.on_page(page)
    if dataset.several and str(weights) != "none":
        why = "objects are marked" if dataset.objects != "none" else "several labels per picture"
        watcher.note(f"{why}: labels are not held against the pictures or their borders, and there is no forecast")
    found = doctor.check(dataset, threads=how.threads, watcher=watcher, backbone=opener, by=columns)
    if clean_list is not None:
        found = replace(found, left_out=found.left_out | clean.nameless(found))
    if output is not None:
        _write(found, dataset, Path(output))
    if clean_list is not None:
        kept, left = clean.write_clean_list(found, dataset, Path(clean_list))
        watcher.note(f"{clean_list}: {kept:,} images to train from, {left:,} left out")
    return found


def _opener(weights: str, how: Runtime, watcher: Watcher) -> tuple[Callable[[int], Backbone], int]:
    """Return what opens the backbone once the pictures' median side is known, and which page of files it reads.

    One that is named is opened now.
    """
    if weights == "auto":
        return lambda side: _backbone(TRUNK if side >= PHOTO_SIDE else "resnet20.cifar10", how, watcher), 1
    opened = _backbone(weights, how, watcher)
    return lambda side: opened, opened.preprocess.page


def _backbone(weights: str, how: Runtime, watcher: Watcher) -> Backbone:
    from resnetkit.checking.features import Backbone
    from resnetkit.models.surgery import Headless

    source = locate(weights, watcher=watcher, purpose="transfer")
    network, header, _ = source.open_trunk()
    how.apply()
    return Backbone(
        name=source.name, engine=TorchEngine(Headless(network.body), header.preprocess, how),
        preprocess=header.preprocess, seen=source.memory(header).known,
    )  # fmt: skip


def _with_all_faults(error: DataError, data: Sequence[Any]) -> DataError:
    """Return an error with all faults of annotations that leave no picture, where these are why."""
    from resnetkit.data.sources.annotated import faults_of

    try:
        faults = faults_of(data[0]) if len(data) == 1 and isinstance(data[0], str | Path) else []
    except ResNetKitError:
        return error
    return DataError("\n  ".join([f"{error}; all of them:", *map(str, faults)])) if len(faults) > 1 else error


def _check_outside(dataset: Dataset, folder: Path) -> None:
    """Refuse a place that is no folder, or whose files would become part of the data."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: is a file; name a folder")
    for root in dataset.roots:
        if folder.resolve().is_relative_to(Path(root).resolve()):
            where = dataset.shown(str(Path(root)))
            raise UsageError(f"--output {folder}: lies inside {where}; choose a folder outside of the pictures")


def _write(found: Check, dataset: Dataset, folder: Path) -> None:
    from resnetkit.data.opening.images import convert, to_look_at
    from resnetkit.report.pages.check import write_check_page

    write_text(folder / "check.json", json.dumps(found.to_json(), ensure_ascii=False, indent=1) + "\n")
    items = {item.source: item for item in dataset.items}

    def opened(source: str) -> Image.Image:
        picture = dataset.open(items[source])
        if dataset.objects != "none":  # boxes lie on the upright picture
            picture = convert(picture, mode="RGB", depth=None)
        return to_look_at(picture)

    write_check_page(found, folder / "check.html", opener=opened)
