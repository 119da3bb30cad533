"""Scoring a model on labelled pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit.api.model import Model, load
from resnetkit.api.pictures import draw_predictions
from resnetkit.data.classes import renamed
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.sources import open_data
from resnetkit.errors import UsageError
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    from resnetkit.data.preflight import Part
    from resnetkit.data.survey import Survey
    from resnetkit.evaluation.averaging import Views
    from resnetkit.evaluation.evaluate import Scored
    from resnetkit.training.run import RunFolder


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The content of `metrics.json` and `predictions.csv`, and where they lie (None: nowhere)."""

    metrics: dict[str, Any]
    rows: list[dict[str, Any]]
    folder: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The figures in plain words."""
        return headline(self.metrics)

    def __repr__(self) -> str:
        return self.headline


def headline(metrics: Mapping[str, Any]) -> str:
    """Return the content of `metrics.json` in plain words."""
    from resnetkit.evaluation.metrics import headline as in_words

    return in_words(metrics)


def evaluate(
    *data: str | Path,
    model: str | Path | Model,
    split: str = "auto",
    tta: str = "none",
    output: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
    bad_images: str = "stop",
    limit: int | None = None,
    watcher: Watcher | None = None,
    **computing: Any,
) -> Evaluation:
    """Score a model on labelled pictures: `split` is auto (test, else validation, else everything), train, val, test.

    Pictures that the model's run was trained on are recognised by its `split.csv` and left out unless `split="train"`
    asks for them. `tta` is none, flip or flip_shift: what averaging over such views of each picture reaches is reported
    beside the figures without it. `computing` are the options of `load` that say what computes: device, engine,
    precision, threads. The files go to `output`; without it to `evaluations/` of the run, where the model is one.
    """
    watcher, views = watcher or Watcher(), _known_views(tta)
    if not isinstance(model, Model):
        model = load(model, watcher=watcher, **computing)
    if model.computes:
        watcher.note(model.computes)
    folder = model.run
    if output is not None and (Path(output) / "state").is_dir():
        raise UsageError(f"--output {output} is a run, whose own figures are not overwritten: name another folder")
    part, chosen, notes = part_to_score(
        *data, model=model, split=split, rename=rename, bad_images=bad_images, limit=limit, watcher=watcher
    )
    for note in notes:
        watcher.note(note)
    place = Path(output) if output is not None else None if folder is None else _evaluation_path(folder, data)
    result = score(model, part, split=chosen, tta=views, folder=place, watcher=watcher)
    return dataclasses.replace(result, notes=tuple(notes))


def part_to_score(
    *data: str | Path,
    model: Model,
    split: str = "auto",
    rename: Mapping[str, str] | None = None,
    bad_images: str = "stop",
    limit: int | None = None,
    watcher: Watcher | None = None,
) -> tuple[Part, Scored, list[str]]:
    """Read the pictures that `evaluate` scores: the part, what it is called, and what is worth saying about it."""
    from resnetkit.data.preflight import prepare
    from resnetkit.data.survey import survey
    from resnetkit.evaluation.evaluate import choose_split

    watcher = watcher or Watcher()
    dataset = _by_the_models_names(open_data(*data, rename=rename, limit=limit), model.header.aliases)
    with watcher.counting("reading pictures") as progress:
        surveyed = survey(dataset, threads=model.runtime.threads, progress=progress)
    dataset, notes = _as_the_run_split_it(dataset, model.run, surveyed, asked=split)
    chosen = choose_split(split, {item.split or "train" for item in dataset.items})  # type: ignore[arg-type]
    if chosen == "all":
        dataset = dataset.as_part("test")
    part_name = "test" if chosen == "all" else chosen
    with watcher.counting("decoding pictures") as progress:
        prepared = prepare(
            dataset,
            surveyed=surveyed,
            preprocess=model.header.preprocess,
            whole_short_side=None,
            bad_images=bad_images,  # type: ignore[arg-type]
            val_share=0.0,
            seed=0,
            classes=model.classes,
            parts=(part_name,),
            threads=model.runtime.threads,
            report_to=lambda report: watcher.note(str(report)) if report.unreadable else None,
            progress=progress,
        )
    return prepared.parts[part_name], chosen, notes


def _known_views(tta: str) -> Views:
    from resnetkit.evaluation.averaging import VIEWS

    for views in VIEWS:
        if views == tta:
            return views
    raise UsageError(f"unknown tta {tta!r}: choose {', '.join(VIEWS)}")


def score(
    model: Model, part: Part, *, split: Scored, folder: Path | None, watcher: Watcher, tta: Views = "none"
) -> Evaluation:
    """Score a part of the data, write the two files and the pictures."""
    from resnetkit.evaluation.evaluate import evaluate_part, write_evaluation
    from resnetkit.report import plots

    metrics, rows = evaluate_part(
        model.engine, part, classes=model.classes, decision=model.decision, split=split, tta=tta
    )
    if folder is not None:
        write_evaluation(folder, metrics, rows)
        warnings = [plots.confusion(metrics, folder / "confusion_matrix.png")]
        warnings.append(draw_predictions(part, rows, folder / "predictions.png"))
        for warning in sorted({warning for warning in warnings if warning}):
            watcher.note(warning)
    return Evaluation(metrics=metrics, rows=rows, folder=folder)


def _by_the_models_names(dataset: Dataset, aliases: Mapping[str, str]) -> Dataset:
    """Give classes that go by another name, such as a WordNet id, the name the model has for them."""
    used = {name: aliases[name] for name in dataset.classes if name in aliases}
    return dataclasses.replace(dataset, items=renamed(dataset.items, used)) if used else dataset


def _as_the_run_split_it(
    dataset: Dataset, folder: RunFolder | None, surveyed: Survey, *, asked: str
) -> tuple[Dataset, list[str]]:
    """Give pictures the part they had in the run that made the model, so that none it learnt from is scored unasked.

    They are known by their content, wherever they lie now. Raises `UsageError` where nothing else is left to score.
    """
    from resnetkit.data.splits import read_split
    from resnetkit.training.run import read_contents

    if folder is None:
        return dataset, []
    sources, parts = read_contents(folder), read_split(folder.split)
    known = [parts.get(sources.get(surveyed.digests.get(item.source, ""), "")) for item in dataset.items]
    trained_on = sum(part == "train" for part in known)
    if not trained_on:
        return dataset, []
    if trained_on == len(known) and asked != "train":
        raise UsageError(
            f"all {trained_on} pictures trained {folder.name}: give it others, or score it on what it learnt from "
            "with --split train"
        )
    items: tuple[Item, ...] = tuple(
        dataclasses.replace(item, split=part or item.split or "val")
        for item, part in zip(dataset.items, known, strict=True)
    )
    note = f"{trained_on} of these pictures trained {folder.name}; they are scored only with --split train"
    return dataclasses.replace(dataset, items=items), [note]


def _evaluation_path(folder: RunFolder, data: Sequence[str | Path]) -> Path:
    from resnetkit.training.run import free_path

    return free_path(folder.path / "evaluations", Path(str(data[0]).rstrip("/")).stem or "data")
