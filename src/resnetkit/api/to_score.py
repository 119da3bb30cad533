"""Which pictures an evaluation scores: those that a model may be asked about, read and decoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from resnetkit.api.locating import are_unnamed, how_to_name
from resnetkit.api.model import Model
from resnetkit.api.remembering import by_memory, not_counted, without_choosers
from resnetkit.data.classes import renamed
from resnetkit.data.dataset import Dataset
from resnetkit.data.frames import of_files
from resnetkit.data.groups import NoGroupsError
from resnetkit.data.several import without_columns
from resnetkit.data.sources import called, open_data
from resnetkit.data.sources.columns import wanted
from resnetkit.errors import UsageError
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    from resnetkit.data.decoded.survey import Survey
    from resnetkit.data.prepared import Part
    from resnetkit.evaluation.evaluate import Chosen


class ToScore(NamedTuple):
    """The part to score and what it is called, what is worth saying, and how many pictures of it do not count.

    `name`: what DATA is called in files; `dicom`: whether there are DICOM files among them.
    """

    part: Part
    split: Chosen
    notes: list[str]
    not_counted: int
    name: str
    dicom: bool


def part_to_score(
    *data: Any,
    model: Model,
    split: str = "auto",
    rename: Mapping[str, str] | None = None,
    bad_images: str = "stop",
    limit: int | None = None,
    group_by: str | None = None,
    may_be_none: bool = False,
    by: Sequence[str] = (),
    watcher: Watcher | None = None,
) -> ToScore:
    """Read the pictures that `evaluate` scores; `UsageError` where the model has learnt from all of them.

    Where there `may_be_none`, pictures that are in no group by `group_by` are taken as they are.
    """
    from resnetkit.data.decoded.survey import survey
    from resnetkit.data.opening import pages
    from resnetkit.evaluation.evaluate import choose_split

    watcher = watcher or Watcher()
    columns = wanted(by, data)
    asked: dict[str, Any] = {"rename": rename, "limit": limit, "task": model.header.task, "faulty": bad_images}
    opened = _opened(data, asked, model, group_by=group_by, may_be_none=may_be_none, watcher=watcher)
    dataset = given = _as_the_model_knows_it(opened, model, watcher)
    with watcher.counting("reading pictures") as progress:
        surveyed = survey(dataset, threads=model.runtime.threads, progress=progress)
    _check_named(model, dataset)
    dataset, of_memory = by_memory(dataset, surveyed, model.memory, name=model.name, asked=split)
    chosen = choose_split(split, {item.split or "train" for item in dataset.items})  # type: ignore[arg-type]
    dataset, of_choice = without_choosers(dataset, surveyed, model.memory.known, name=model.name, part=chosen)
    part = _decoded(dataset, surveyed, chosen, model, bad_images=bad_images, watcher=watcher)
    part = dataclasses.replace(part, columns=tuple(column.of(opened, part.items) for column in columns))
    of_pages = pages.noted(surveyed.several & {item.source for item in part.items}, model.header.preprocess.page)
    return ToScore(
        part=part, split=chosen, notes=[*of_memory, *of_choice, *of_pages],
        not_counted=not_counted(given, dataset, part=chosen), name=opened.shown(called(data)), dicom=opened.dicom > 0,
    )  # fmt: skip


def _opened(
    data: Sequence[Any], asked: Mapping[str, Any], model: Model, *, group_by: str | None, may_be_none: bool,
    watcher: Watcher,
) -> Dataset:  # fmt: skip
    try:
        opened = open_data(*data, group_by=group_by, **asked)
    except NoGroupsError:
        if not may_be_none:
            raise
        watcher.note(f"{model.name} was trained by groups ({group_by}), and these pictures have none")
        opened = open_data(*data, **asked)
    if opened.hidden is not None:
        watcher.note(opened.hidden.words)
    return opened


def _as_the_model_knows_it(opened: Dataset, model: Model, watcher: Watcher) -> Dataset:
    """Return the pictures with the model's names of classes, its pages and frames, and the labels that it has."""
    dataset = _by_the_models_names(opened, model.header.aliases)
    page, frames = model.header.preprocess.page, model.header.preprocess.frames
    dataset, missing = without_columns(of_files(dataset, page=page, frames=frames), model.classes)
    if missing:
        watcher.note(f"{dataset.name} does not know {', '.join(missing)}: what is said of these is not scored")
    return dataset


def _by_the_models_names(dataset: Dataset, aliases: Mapping[str, str]) -> Dataset:
    """Give classes that go by another name, such as a WordNet id, the name the model has for them."""
    used = {name: aliases[name] for name in dataset.classes if name in aliases}
    return dataclasses.replace(dataset, items=renamed(dataset.items, used, more=dataset.classes)) if used else dataset


def _check_named(model: Model, dataset: Dataset) -> None:
    """Refuse to score answers that nobody gave a name."""
    if are_unnamed(model.header) and not set(model.classes) & set(dataset.classes):
        raise UsageError(
            f"{model.name} lists no names for its {len(model.classes)} classes, and these pictures have "
            f"{', '.join(dataset.classes[:3])}{', ...' * (len(dataset.classes) > 3)}: {how_to_name(model.name)}"
        )


def _decoded(
    dataset: Dataset, surveyed: Survey, chosen: Chosen, model: Model, *, bad_images: str, watcher: Watcher
) -> Part:  # fmt: skip
    from resnetkit.data.preflight import prepare_scoring
    from resnetkit.data.prepared import Reading

    if chosen == "all":
        dataset = dataset.as_part("test")
    part_name = "test" if chosen == "all" else chosen
    with watcher.counting("decoding pictures") as progress:
        reading = Reading(
            threads=model.runtime.threads,
            bad_images=bad_images,  # type: ignore[arg-type]
            report_to=lambda report: watcher.note(str(report)) if report.unreadable else None,
            progress=progress,
        )
        prepared = prepare_scoring(
            dataset, part=part_name, classes=model.classes, preprocess=model.header.preprocess, reading=reading,
            surveyed=surveyed,
        )  # fmt: skip
    return prepared.parts[part_name]
