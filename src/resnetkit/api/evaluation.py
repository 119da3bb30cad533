"""Scoring a model on labelled pictures."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit.api.model import Model, load
from resnetkit.api.pictures import draw_scores
from resnetkit.api.sought import check_asked, sought_of
from resnetkit.api.tasks import task_called
from resnetkit.api.to_score import part_to_score
from resnetkit.errors import DataError, UsageError
from resnetkit.models.checkpoint import CLASSIFICATION, Deciding
from resnetkit.models.costs import Costs
from resnetkit.models.decision import Decision
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    import numpy as np

    from resnetkit.data.prepared import Part
    from resnetkit.evaluation.averaging import Views
    from resnetkit.evaluation.evaluate import Scored
    from resnetkit.training.run import RunFolder
    from resnetkit.training.task import Ask


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
    return task_called(metrics.get("task", CLASSIFICATION)).headline(metrics)


def evaluate(
    *data: Any,
    model: str | Path | Model,
    split: str = "auto",
    tta: str = "none",
    output: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
    bad_images: str = "stop",
    limit: int | None = None,
    group_by: str | None = None,
    aggregate: str | None = None,
    outliers: str | Path | None = None,
    calibrated: str | Path | None = None,
    goal: str | None = None,
    finding: str | None = None,
    prevalence: float | None = None,
    cost: Sequence[str] = (),
    by: Sequence[str] = (),
    watcher: Watcher | None = None,
    **computing: Any,
) -> Evaluation:
    """Score a model on labelled pictures: `split` is auto (test, else validation, else everything), train, val, test.

    `data` are paths, or one pair of arrays `(images, labels)`.

    Pictures that the model, or what it began from, was trained on are recognised by their content and left out unless
    `split="train"` asks for them. `tta` is none, flip or flip_shift: what averaging over such views of each picture
    reaches is reported beside the figures without it. `group_by` says which pictures are of one patient or series, see
    `grouping.grouped`; without it the run that the model is says so, where that was trained by groups which these
    pictures have. Then there are figures of groups too, each with one answer by `aggregate` (`aggregation.asked`, the
    mean where it is not given). `outliers` are pictures of something else: for each threshold of
    the model, how many of them get an answer all the same is reported. `calibrated` is where a copy of the model goes
    whose temperature and thresholds are fitted on the pictures scored, which must not be test pictures; of a model of
    several labels or of objects `goal` says what for: `f1`, `precision 0.9`, `recall 0.9`; of one class per picture,
    where `finding` is the class that is looked for: `youden`, `sensitivity 0.95`, `specificity 0.9`. `prevalence` is
    how frequent that class is where the model shall be used: predictive values there are reported, too. `cost` says
    what errors cost, as in `load`: the model then decides by that, and so does one that is `calibrated`. `by` names
    columns of the list, or tags of DICOM files (`data.sources.columns.TAGS`), by whose values figures are given too;
    `age:40,60` says where bands begin. `computing` are the options of `load` that say what computes: device, engine,
    precision, threads. The files go to `output`; without it to `evaluations/` of the run, where the model is one.
    """
    from resnetkit.evaluation.evaluate import part_logits
    from resnetkit.training.run import looked_at_test

    watcher, views = watcher or Watcher(), _known_views(tta)
    if calibrated is not None and Path(calibrated).exists():
        raise UsageError(f"--calibrated {calibrated}: is there already, and is not overwritten; name another file")
    if not isinstance(model, Model):
        model = load(model, watcher=watcher, **computing)
    model.check_classes()
    model = model.costing(cost, watcher=watcher) if cost else model
    sought = sought_of(model, finding=finding, prevalence=prevalence, goal=goal)
    check_asked(
        model, tta=tta, outliers=outliers, calibrated=calibrated, goal=goal, aggregate=aggregate, finding=finding,
        prevalence=prevalence, by=by,
    )  # fmt: skip
    if model.computes:
        watcher.note(model.computes)
    folder = model.run
    if output is not None and (Path(output) / "state").is_dir():
        raise UsageError(f"--output {output} is a run, whose own figures are not overwritten: name another folder")
    part, chosen, notes, missing, name, dicom = part_to_score(
        *data, model=model, split=split, rename=rename, bad_images=bad_images, limit=limit, watcher=watcher,
        group_by=group_by or _groups_of_run(model), may_be_none=group_by is None, by=by,
    )  # fmt: skip
    if aggregate is not None and part.groups is None:
        raise UsageError(f"--aggregate {aggregate}: these pictures come in no groups; say by what with --group-by")
    for note in notes:
        watcher.note(note)
    if calibrated is not None:
        _check_calibrating(part, chosen, model)
    place = Path(output) if output is not None else None if folder is None else _evaluation_path(folder, name)
    logits = part_logits(model.engine, part, tta=views)
    more: dict[str, Any] = {"not_counted": missing} if missing else {}
    more |= {} if outliers is None else {"outliers": _answered(outliers, model, watcher)}
    if folder is not None and (chosen == "test" or model.memory.known.tested_by(part.contents)):
        more["test_looks"] = looked_at_test(folder, name)
    result = score(
        model, part, split=chosen, tta=views, folder=place, watcher=watcher, logits=logits, more=more, sought=sought,
        aggregate=aggregate,
    )  # fmt: skip
    if calibrated is not None:
        aims = {name: value for name, value in (("goal", goal), ("finding", finding)) if value is not None}
        with _figures_named(place, Path(calibrated), watcher):
            _calibrate(
                model, logits[0], part, split=chosen, aims=aims, to=Path(calibrated), watcher=watcher, dicom=dicom
            )
    return dataclasses.replace(result, notes=tuple(notes))


def _answered(outliers: str | Path, model: Model, watcher: Watcher) -> dict[str, Any]:
    """Return the share of pictures of something else that each threshold of the model lets through."""
    from resnetkit.data.sources import open_pictures

    assert isinstance(model.decision, Decision), "which was asked"
    rejects = model.decision.rejects
    if not rejects:
        model.decision.asked(reject=0.05, name=model.name)
    pictures = open_pictures(outliers)
    best, unreadable = [], 0
    with watcher.counting("naming outliers") as progress:
        for prediction in model.predictor.predict_many(pictures, threads=model.runtime.threads):
            if prediction.probability is None:
                unreadable += 1
            else:
                best.append(prediction.probability)
            progress(len(best) + unreadable, len(pictures))
    if not best:
        raise DataError(f"--outliers {pictures.shown(str(outliers))}: none of {unreadable} pictures can be read")
    accepted = {rate: sum(p >= threshold for p in best) / len(best) for rate, threshold in rejects.items()}
    return {
        "data": pictures.shown(str(outliers)),
        "count": len(best),
        "unreadable": unreadable,
        "false_accept": accepted,
    }


@contextlib.contextmanager
def _figures_named(place: Path | None, to: Path, watcher: Watcher) -> Iterator[None]:
    """Where a calibration is interrupted, say that it is not written, and where the figures already are."""
    try:
        yield
    except KeyboardInterrupt:
        figures = "" if place is None else f"; the figures are in {place}"
        watcher.note(f"--calibrated {to}: stopped before it was written{figures}")
        raise


def _calibrate(
    model: Model, logits: np.ndarray, part: Part, *, split: Scored, aims: Mapping[str, str], to: Path, watcher: Watcher,
    dicom: bool,
) -> None:  # fmt: skip
    """Write a copy of the model that is fitted to these pictures."""
    from resnetkit.models import checkpoint
    from resnetkit.models.seen import packed

    seen = model.memory.tells.and_calibrated(packed(part.contents), dicom=dicom)
    costs = model.decision.costs if isinstance(model.decision, Decision) else None
    fit = fitted(logits, part, model, split=split, aims=aims, costs=costs, watcher=watcher)
    header = dataclasses.replace(model.header, decision=fit, trained_on=seen)
    checkpoint.save(to, model.network, header)
    watcher.note(f"{to}: the model with {header.decision.words}, all from {len(part.items)} pictures")


def _check_calibrating(part: Part, split: Scored, model: Model) -> None:
    """Raise `UsageError` where these pictures are no fair ones to fit temperature and thresholds on."""
    if model.memory.known.tested_by(part.contents):
        split = "test"
    if split not in ("val", "all"):
        raise UsageError(
            f"--calibrated takes no {split} pictures: give others, or name the validation part: --split val"
        )
    if chosen_by(model, part):
        raise UsageError(f"--calibrated takes no pictures that chose {model.name} among its epochs: give others")


def fitted(
    logits: np.ndarray, part: Part, model: Model, *, split: Scored, aims: Mapping[str, str] | None = None,
    costs: Costs | None = None, ask: Ask | None = None, watcher: Watcher | None = None,
) -> Deciding:  # fmt: skip
    """Return the temperature and thresholds that the logits of a part, which did not train the model, allow.

    `aims`: the `goal` of the thresholds and the class that is looked for, `finding`, where they are given. With `costs`
    of errors it decides by these instead of by thresholds. `ask`: what answers for more of what can be fitted; the
    model where it is not given.
    """
    task = task_called(model.header.task)
    decision = task.fit(logits, part, classes=model.classes, where=split, **(aims or {}))
    if task.fit_more is not None:
        decision = task.fit_more(
            decision, part, classes=model.classes, where=split, ask=ask or asking(model), watcher=watcher or Watcher()
        )
    decision = decision.by_costs(costs) if isinstance(decision, Decision) else decision
    return dataclasses.replace(decision, fitted_to=part.content)


def asking(model: Model) -> Ask:
    """Return what asks a model about pixels that are made of pictures."""

    def ask(asked: Sequence[int], pixels_of: Callable[[int], np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        for number in asked:
            yield number, model.engine.logits(pixels_of(number))

    return ask


def _groups_of_run(model: Model) -> str | None:
    """Return what the run that the model is was grouped by, None where it was not."""
    from resnetkit.training import state

    if model.run is None:
        return None
    try:
        said = state.describe(model.run.state)
    except DataError:  # of a run that was copied without it nothing is known
        return None
    group_by: str | None = said["request"]["request"].get("group_by")
    return group_by


def _known_views(tta: str) -> Views:
    from resnetkit.evaluation.averaging import VIEWS

    for views in VIEWS:
        if views == tta:
            return views
    raise UsageError(f"unknown tta {tta!r}: choose {', '.join(VIEWS)}")


def score(
    model: Model, part: Part, *, split: Scored, folder: Path | None, watcher: Watcher,
    logits: tuple[np.ndarray, np.ndarray], tta: Views = "none", more: Mapping[str, Any] | None = None,
    folds: Sequence[int] = (), sought: Mapping[str, Any] | None = None, aggregate: str | None = None,
) -> Evaluation:  # fmt: skip
    """Score a part by its `logits`, plain and averaged; write the files, with the figures in `more`, and pictures.

    `folds`: which fold held out each picture, where some did; `sought`: the class that is looked for, and how frequent
    it is, where that was asked; `aggregate`: how pictures of a group become one answer.
    """
    from resnetkit.evaluation.evaluate import write_evaluation

    own, task = model.memory.known.calibrated_by(part.contents) or None, task_called(model.header.task)
    metrics, rows = task.score(
        *logits, part, classes=model.classes, decision=model.decision, split=split, tta=tta, own=own,
        **(sought or {}), **({} if aggregate is None else {"how": aggregate}),
    )  # fmt: skip
    rows = [row | {"fold": fold} for row, fold in zip(rows, folds, strict=True)] if folds else rows
    metrics |= what_chose(model, part, split=split) | dict(more or {})
    if folder is not None:
        write_evaluation(folder, metrics, rows, columns=task.columns)
        draw_scores(metrics, part, rows, folder, watcher)
    return Evaluation(metrics=metrics, rows=rows, folder=folder)


def what_chose(model: Model, part: Part, *, split: Scored) -> dict[str, Any]:
    """Return `chosen` of metrics.json, and `optimistic`: the figures that are too good since these pictures chose."""
    from resnetkit.models.choice import choice_in

    chosen, fitted_to = choice_in(model.header.chosen), model.decision.fitted_to
    if chosen is None:
        return {}
    by_these = chosen_by(model, part)
    if not model.memory.known.chose:
        by_these = chosen.selected and (part.content == fitted_to if fitted_to is not None else split == "val")
    return {"chosen": chosen.to_json()} | (
        {"optimistic": list(task_called(model.header.task).optimistic)} if by_these else {}
    )


def chosen_by(model: Model, part: Part) -> bool:
    """Tell whether a picture of the part chose the model among the epochs of its run."""
    return "chose" in model.memory.known.marks(part.contents, [item.group for item in part.items])


def _evaluation_path(folder: RunFolder, name: str) -> Path:
    from resnetkit.training.run import free_path

    return free_path(folder.path / "evaluations", Path(name.strip("<>").rstrip("/")).stem or "data")
