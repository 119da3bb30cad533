"""Correcting what classes are called, without training: the weights stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resnetkit.api.locating import locate
from resnetkit.errors import UsageError
from resnetkit.files import check_new
from resnetkit.models import checkpoint
from resnetkit.models.checkpoint import Header
from resnetkit.models.class_names import corrected
from resnetkit.watcher import Watcher


@dataclass(frozen=True, kw_only=True, slots=True)
class Renamed:
    """The checkpoint that was written, the classes of `model` that got another name (old to new), and all of them."""

    path: Path
    model: str
    renamed: Mapping[str, str]
    classes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what `--format json` prints."""
        return {
            "output": str(self.path), "model": self.model, "renamed": dict(self.renamed), "classes": list(self.classes),
        }  # fmt: skip

    def __repr__(self) -> str:
        pairs = ", ".join(f"{old} is {new} now" for old, new in self.renamed.items())
        return f"Renamed({str(self.path)!r}: {pairs})"


def rename(
    model: str | Path, names: Mapping[str, str], *, output: str | Path, watcher: Watcher | None = None
) -> Renamed:
    """Write a checkpoint of `model` whose classes are called otherwise: `names` are old ones to new ones, all at once.

    The tensors are those of `model`, byte for byte; so are temperature, thresholds and what it was trained on. Weights
    of other programs get names so: classes that nobody named are `class 0`, ... or `0`, .... Raises `UsageError` for a
    class that is not there, two of one name, a trunk, an export folder and an output that exists.

    >>> rename("runs/pets", {"plane": "airplane"}, output="pets.safetensors")  # doctest: +SKIP
    Renamed('pets.safetensors': plane is airplane now)
    """
    path, watcher = Path(output), watcher or Watcher()
    if not isinstance(names, Mapping):
        raise UsageError(f"names are given as a dict of old to new ones, not as {type(names).__name__}")
    if path.suffix != ".safetensors":
        raise UsageError(f"--output {path}: a checkpoint is written, so its name ends in .safetensors")
    check_new(path, "--output")
    source = locate(str(model), watcher=watcher)
    if source.exported is not None:
        raise UsageError(
            f"{source.exported.folder}: an export is not changed: rename the run or checkpoint that it was made of, "
            "and export that"
        )
    header, tensors = source.as_checkpoint()
    classes = corrected(header.classes, names, model=source.name)
    renamed = {old: new for old, new in zip(header.classes, classes, strict=True) if old != new}
    header = replace(_called(header, classes), trained_on=source.memory(header).tells)
    if tensors is None:
        checkpoint.save_copy(source.path, path, header)
    else:
        checkpoint.save(path, tensors, header)
    return Renamed(path=path, model=source.name, renamed=renamed, classes=classes)


def _called(header: Header, classes: tuple[str, ...]) -> Header:
    """Return the header with other class names wherever it has them: other names of a class lead to its new one."""
    new = dict(zip(header.classes, classes, strict=True))
    for alias, name in header.aliases.items():
        if alias in classes and alias != new.get(name, name):
            raise UsageError(f"{alias!r} is another name of the class {new.get(name, name)!r}: call no other class so")
    metrics = dict(header.metrics)
    if isinstance(majority := metrics.get("majority"), Mapping) and majority.get("label") in new:
        metrics["majority"] = {**majority, "label": new[majority["label"]]}
    aliases = {alias: new.get(name, name) for alias, name in header.aliases.items()}
    return replace(header, classes=classes, aliases=aliases, metrics=metrics)
