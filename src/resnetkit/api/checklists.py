"""The checklists of CLAIM 2024 and STARD-AI for a run, as far as its files know."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from resnetkit import files
from resnetkit.api.locating import RUNS
from resnetkit.api.tasks import task_called
from resnetkit.errors import UsageError
from resnetkit.models.checkpoint import read_header

if TYPE_CHECKING:
    from resnetkit.report.checklist.page import State

CHECKLIST = "checklist.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checklists:
    """Where the checklists of a run lie, and of each how many items are `filled`, `in part` and `for people`."""

    path: Path
    counts: dict[str, dict[State, int]]
    words: tuple[str, ...] = field(repr=False)


def checklist(run: str | Path, *, output: str | Path | None = None) -> Checklists:
    """Write the checklists of a run, `checklist.md` in its folder or `output`, from its files alone.

    Raises `UsageError` for a run there is not or without a finished epoch, `DataError` for a damaged file of it.
    """
    from resnetkit.report.checklist.items import CHECKLISTS
    from resnetkit.report.checklist.known import known
    from resnetkit.report.checklist.page import counts_in_words, counts_of, render
    from resnetkit.training.run import open_run

    folder = open_run(run, root=RUNS)
    path = Path(output) if output is not None else folder.path / CHECKLIST
    if output is not None:
        files.check_new(path, "--output")
    if not folder.best.is_file():
        raise UsageError(f"{folder.path} has no finished epoch yet: go on with resnetkit resume {folder.path}")
    header = read_header(folder.best)
    found = known(folder, header, headline=task_called(header.task).headline)
    files.write_text(path, render(folder.name, found, version=version("resnetkit")))
    return Checklists(
        path=path,
        counts={one.name: counts_of(one, found) for one in CHECKLISTS},
        words=tuple(counts_in_words(one, found) for one in CHECKLISTS),
    )
