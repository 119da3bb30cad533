"""What a MODEL is, by what its file says of itself; no torch, and none of its tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from resnetkit.api.locating import RUNS, copied, finished, run_of
from resnetkit.api.remembering import memory_of
from resnetkit.models import catalog
from resnetkit.models.checkpoint import CLASSIFICATION, Header, is_checkpoint, read_description, read_header
from resnetkit.models.spec import ResNetSpec


def describe(model: str) -> tuple[ResNetSpec, Header | None]:
    """Return what a MODEL is, without its tensors and without torch: its spec and, for trained ones, its header."""
    path = Path(model)
    folder = run_of(model) if path.is_dir() or (RUNS / model).is_dir() else None
    folder = folder or copied(model)
    if folder is not None:
        path = finished(folder)
    if path.is_file():
        header = read_header(path)
        return header.spec, replace(header, trained_on=memory_of(header, path=path, run=run_of(path)).tells)
    if "." in model:
        header = catalog.published_header(catalog.record(model))
        return header.spec, header
    return catalog.spec_of(model), None


def of_another_task(model: str) -> dict[str, Any] | None:
    """Return what a checkpoint file says of itself where it is for a task that this version does not know."""
    if not Path(model).is_file() or not is_checkpoint(Path(model)):
        return None
    described = read_description(model)
    return described if described.get("task", CLASSIFICATION) != CLASSIFICATION else None
