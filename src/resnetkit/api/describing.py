"""What a MODEL is, by what its file says of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from resnetkit.api.locating import RUNS, copied, finished, locate, run_of, said_of
from resnetkit.api.remembering import memory_of
from resnetkit.errors import ResNetKitError
from resnetkit.exporting import folder as exports
from resnetkit.models import catalog
from resnetkit.models.checkpoint import CLASSIFICATION, TASKS, Header, is_checkpoint, read_description, read_header
from resnetkit.models.decision import Gives
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.spec import ResNetSpec
from resnetkit.watcher import Watcher


def describe(model: str) -> tuple[ResNetSpec | DetectorSpec, Header | None]:
    """Return what a MODEL is: its spec and, for trained ones, its header.

    That needs torch for files of other programs alone, whose tensors are all they say of themselves.
    """
    path = Path(model)
    folder = run_of(model) if path.is_dir() or (RUNS / model).is_dir() else None
    folder = folder or copied(model)
    if folder is not None:
        path = finished(folder)
    if path.is_file() and is_checkpoint(path):
        header = read_header(path)
        return header.spec, replace(header, trained_on=memory_of(header, path=path, run=run_of(path)).tells)
    if path.is_file() or said_of(model) is not None:
        opened = locate(model, watcher=Watcher()).open_trunk()
        return opened.network.spec, opened.header
    if "." in model:
        header = catalog.published_header(catalog.record(model))
        return header.spec, header
    return catalog.described(model), None


def gives(model: str) -> Gives | None:
    """Return what a MODEL gives, where that is known without opening it; None where it is not, and for no model."""
    path = Path(model)
    try:
        if exports.is_export(path):
            return exports.read(path).header.decision.gives
        if said_of(model) is not None or (path.is_file() and not is_checkpoint(path)):
            return None
        spec, header = describe(model)
    except ResNetKitError:  # whoever opens it says why
        return None
    if header is not None:
        return header.decision.gives
    return "objects" if isinstance(spec, DetectorSpec) else "class"


def of_another_task(model: str) -> dict[str, Any] | None:
    """Return what a checkpoint file says of itself where it is for a task that this version does not know."""
    if not Path(model).is_file() or not is_checkpoint(Path(model)):
        return None
    described = read_description(model)
    return described if described.get("task", CLASSIFICATION) not in TASKS else None
