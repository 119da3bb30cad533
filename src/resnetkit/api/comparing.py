"""Several runs on the same pictures: one table, and whether the differences are real."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetkit.api.judging import Judge, Lead, judge_of
from resnetkit.api.locating import RUNS
from resnetkit.api.model import load
from resnetkit.api.remembering import memory_of
from resnetkit.errors import DataError, UsageError
from resnetkit.files import check_new, csv_writer, write_text
from resnetkit.models.checkpoint import read_header

if TYPE_CHECKING:
    from resnetkit.api.run import Run
    from resnetkit.models.seen import Seen
    from resnetkit.training.run import RunFolder

_SPEED_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One run of a comparison; fractions, seconds, decoded pictures per second that its network names on this machine.

    `top1` is the share that is right, of several labels that with all labels right, beside whose ranking `map` (mean
    average precision) stands; beside that of two classes stands `roc_auc`, the same for either, None by folds; of
    objects it is None, and `map50`, `map` and `f1`, where the run works, stand in its place. `worst` is the class found
    least often and how often, of objects that with the least AP@.50; `difference` (None for the first run): how much
    more often it is right than the first, or higher its `map50`, with `interval` of that and `p_value`, which allows
    for the number of comparisons; they are None where one of the two chose its epoch (`chosen`) on the pictures
    compared (`chosen_here`), and where too few pictures tell. `leads`: the same of each figure, None where nothing
    tells; it has `roc_auc` for two models of the same two classes, and for no others.
    """

    run: str
    network: str
    top1: float | None = None
    top1_interval: tuple[float, float] | None = None
    worst: tuple[str, float]
    training_seconds: float
    images_per_second: float
    map: float | None = None
    roc_auc: float | None = None
    roc_auc_interval: tuple[float, float] | None = None
    map50: float | None = None
    map50_interval: tuple[float, float] | None = None
    f1: float | None = None
    chosen: str = ""
    chosen_here: bool = False
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    leads: Mapping[str, Lead | None] = field(default_factory=dict)
    verdict: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What `compare` found: a row for each run, on `count` pictures that all were scored on and none was trained on."""

    rows: tuple[Compared, ...]
    count: int
    task: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)

    def __repr__(self) -> str:
        return "\n".join(row.verdict for row in self.rows[1:])


@dataclass(frozen=True, slots=True)
class _Scored:
    """A run's own evaluation: digest of a picture -> row of predictions.csv, what it has seen, and what chose it.

    `metrics`: its figures; `chosen_here`: whether the scored pictures chose; `folds`: how many networks said it, each
    of pictures new to it, 0 where the model that ships did.
    """

    folder: RunFolder
    rows: dict[str, dict[str, str]]
    metrics: Mapping[str, Any]
    seen: Seen
    chosen: str
    chosen_here: bool
    folds: int = 0


def compare(*runs: str | Path | Run, output: str | Path | None = None, **computing: Any) -> Comparison:
    """Compare the final evaluations of two or more runs with the first, on the pictures that all were scored on.

    Pictures are known by their content, so runs of moved or copied data meet; those that any of the runs, or what it
    began from, was trained on are left out. `output`: a CSV with a row for each picture and what each run said.
    `computing` are the options of `load` that say what computes, for the speed. Raises `UsageError` for fewer than two
    runs, and where no picture is left.
    """
    from resnetkit.training.run import open_run

    if output is not None:
        check_new(Path(output), "--output")
    if len(runs) < 2:
        raise UsageError("compare needs two runs at least: resnetkit compare RUN RUN")
    scored = [_scored(open_run(run if isinstance(run, (str, Path)) else run.path, root=RUNS)) for run in runs]
    names = [one.folder.name for one in scored]
    if len({one.folder.path.resolve() for one in scored}) < len(scored):
        raise UsageError("the same run is named twice: each would be compared with itself")
    if len(set(names)) < len(names):
        names = [str(one.folder.path) for one in scored]
    tasks = {read_header(one.folder.best).task for one in scored}
    if len(tasks) > 1:
        raise UsageError(f"compare: {_other_things(scored, names)}: their figures have nothing in common")
    judge = judge_of(task := tasks.pop())
    common, notes = _common(scored, judge)
    found = [
        judge.read(list(one.rows.values()), one.metrics, numbers=[list(one.rows).index(key) for key in common])
        for one in scored
    ]
    rows = _compared(scored, names, common, found, judge, computing)
    if output is not None:
        write_text(Path(output), _marks(scored, names, common, judge))
    return Comparison(rows=tuple(rows), count=len(common), task=task, notes=tuple(notes))


def _other_things(scored: Sequence[_Scored], names: Sequence[str]) -> str:
    """Say what each of the runs does, in the words of its task."""
    does = [judge_of(read_header(one.folder.best).task).does for one in scored]
    return ", ".join(f"{name} {what}" for name, what in zip(names, does, strict=True))


def _scored(folder: RunFolder) -> _Scored:
    from resnetkit.training.choosing import choice_of_run, with_choice
    from resnetkit.training.run import read_contents

    path = folder.path / "predictions.csv"
    metrics = folder.metrics()
    if metrics is None or not path.is_file():
        raise UsageError(f"{folder.path} has no final evaluation yet: resnetkit resume {folder.path} finishes it")
    content = {source: digest for digest, source in read_contents(folder)}
    with open(path, encoding="utf-8", newline="") as file:
        rows = {content[row["source"]]: row for row in csv.DictReader(file) if row["source"] in content}
    folds = metrics["folds"]["count"] if metrics["split"] == "folds" else 0
    seen = _seen_before(folder) if folds else memory_of(read_header(folder.best), path=folder.best, run=folder).known
    chosen = choice_of_run(folder)
    here = bool((with_choice(metrics, chosen) or {}).get("optimistic"))
    return _Scored(folder, rows, metrics, seen, chosen.short if chosen else "", here, folds)


def _seen_before(folder: RunFolder) -> Seen:
    """Return what the networks of all folds of a run had seen when they began: what each held out was new to it."""
    from resnetkit.models.seen import Seen
    from resnetkit.training.lineage import lineage_of

    return lineage_of(folder).before or Seen(known=True)


def _new_to_all(scored: Sequence[_Scored], shared: Sequence[str]) -> list[str]:
    """Return the pictures that trained none of the runs, nor what they began from, and chose none.

    Where each of them chose a run they stay, and no verdict is given.
    """
    marks = [
        one.seen.marks([(key,) for key in shared], [one.rows[key].get("group") for key in shared]) for one in scored
    ]
    of_picture = {key: {marked[number] for marked in marks} for number, key in enumerate(shared)}
    untrained = [key for key, said in of_picture.items() if "trained" not in said]
    return [key for key in untrained if "chose" not in of_picture[key]] or untrained


def _common(scored: Sequence[_Scored], judge: Judge) -> tuple[list[str], list[str]]:
    """Return the pictures to compare on, in the first run's order, and what was left out."""
    shared = [key for key in scored[0].rows if all(key in one.rows for one in scored)]
    fresh = _new_to_all(scored, shared)
    if not fresh:
        if len(pages := {read_header(one.folder.best).preprocess.page for one in scored}) > 1:
            raise UsageError(f"these runs read different pages of the files ({', '.join(map(str, sorted(pages)))})")
        counts = ", ".join(f"{one.folder.name} {len(one.rows)}" for one in scored)
        raise UsageError(
            f"no picture was scored by all of these runs and learnt by none (scored: {counts}): train them on the same "
            "split (--split-from RUN) or on data with a test part"
        )
    for key in fresh:
        truths = {judge.truth(one.rows[key]) for one in scored}
        if len(truths) > 1:
            raise DataError(f"{scored[0].rows[key]['source']}: {judge.disagree(truths)}")
    notes = []
    for one in scored:
        if others := len(one.rows) - len(fresh):
            notes.append(f"{one.folder.name}: {others} of its {len(one.rows)} scored pictures are not compared")
        if one.folds:
            notes.append(
                f"{one.folder.name}: each picture by the one of {one.folds} networks that did not train on it, not by "
                "the model that ships"
            )
    return fresh, notes


def _speeds(scored: Sequence[_Scored], computing: Mapping[str, Any]) -> list[float]:
    """Return pictures per second of each run's network; those of one shape are measured once, being equally fast."""
    from resnetkit.inference.speed import measure

    measured: dict[object, float] = {}
    speeds = []
    for one in scored:
        header = read_header(one.folder.best)
        shape = (header.spec.changed(num_classes=1), header.preprocess.frame)
        if shape not in measured:
            model = load(one.folder.path, **computing)
            pixels = np.zeros((*header.preprocess.frame, header.preprocess.channels), np.uint8)
            measured[shape] = measure(model.engine, pixels, seconds=_SPEED_S).images_per_second
        speeds.append(measured[shape])
    return speeds


def _compared(
    scored: Sequence[_Scored], names: Sequence[str], common: Sequence[str], found: Sequence[Any], judge: Judge,
    computing: Mapping[str, Any],
) -> list[Compared]:  # fmt: skip
    from resnetkit.models import catalog

    groups = [next((one.rows[key]["group"] for one in scored if one.rows[key].get("group")), None) for key in common]
    of_pictures = groups if any(groups) else None
    honest = [number for number in range(1, len(scored)) if not (scored[0].chosen_here or scored[number].chosen_here)]
    leads = _adjusted({number: judge.leads(found[0], found[number], of_pictures) for number in honest})
    rows = []
    for number, (one, name, speed) in enumerate(zip(scored, names, _speeds(scored, computing), strict=True)):
        plain: dict[str, Any] = {
            "run": name,
            "network": catalog.called(read_header(one.folder.best).spec),
            **judge.figures(found[number], of_pictures),
            "training_seconds": _seconds(one.folder),
            "images_per_second": speed,
            "chosen": one.chosen,
            "chosen_here": one.chosen_here,
        }
        if number in leads:
            plain |= _lead(leads[number], name, names[0], judge)
        elif number:
            plain["verdict"] = _no_verdict(name, names[0], [one for one in (scored[0], one) if one.chosen_here])
        rows.append(Compared(**plain))
    return rows


def _adjusted(leads: Mapping[int, Mapping[str, Lead | None]]) -> dict[int, dict[str, Lead | None]]:
    """Return the leads with p-values that allow for the number of runs, figure by figure."""
    from resnetkit.evaluation.pairs import adjusted

    found: dict[int, dict[str, Lead | None]] = {number: dict(each) for number, each in leads.items()}
    for figure in {name for each in leads.values() for name in each}:
        there = {number: lead for number, each in leads.items() if (lead := each.get(figure)) is not None}
        p_values = adjusted([lead.p_value for lead in there.values()])
        for (number, lead), p_value in zip(there.items(), p_values, strict=True):
            found[number][figure] = replace(lead, p_value=p_value)
    return found


def _lead(leads: Mapping[str, Lead | None], name: str, first: str, judge: Judge) -> dict[str, Any]:
    """Return what a row says of its lead, by the first of the figures and, in words, by the others."""
    main = next(iter(leads.values()))
    if main is None:
        return {"verdict": f"No verdict on {name} and {first}: fewer than 3 pictures have objects of some class."}
    verdict = " ".join([_verdict(name, first, main, judge.by), *_by_others(leads, judge)])
    of_main = {"difference": main.share, "interval": main.interval, "p_value": main.p_value}
    return of_main | {"leads": leads, "verdict": verdict}


def _by_others(leads: Mapping[str, Lead | None], judge: Judge) -> list[str]:
    """Say what the other figures are, those that there are and those that are not."""
    there = [(beside, leads[figure]) for figure, beside in judge.others.items() if figure in leads]
    said = [
        f"{beside.name} {beside.written(lead)} ({_chance(lead.p_value)})" for beside, lead in there if lead is not None
    ]
    missing = [beside.none for beside, lead in there if lead is None and beside.none]
    return [f"Beside it {', '.join(said)}."] * bool(said) + missing


def _no_verdict(name: str, first: str, choosers: Sequence[_Scored]) -> str:
    whose = " and ".join(one.folder.name for one in choosers)
    return (
        f"No verdict on {name} and {first}: the pictures compared chose the epoch of {whose}, whose accuracy on them "
        "is too good; train with a test part, or without --set select and budget.patience."
    )


def _verdict(name: str, first: str, lead: Lead, by: str) -> str:
    from resnetkit.evaluation.pairs import is_real

    points = f"{100 * lead.share:+.1f} points{' of ' * bool(by)}{by}"
    between = " to ".join(f"{100 * bound:+.1f}" for bound in lead.interval)
    if is_real(lead.p_value):
        how = "better" if lead.share > 0 else "worse"
        return (
            f"{name} is {how} than {first}: {points} (95 % interval {between}), and that is no "
            f"chance ({_chance(lead.p_value)})."
        )
    return (
        f"Whether {name} or {first} is better is not shown: {points} (95 % interval {between}, "
        f"taken by itself), which chance does as well ({_chance(lead.p_value)})."
    )


def _chance(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _seconds(folder: RunFolder) -> float:
    with open(folder.path / "results.csv", encoding="utf-8", newline="") as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file))


def _marks(scored: Sequence[_Scored], names: Sequence[str], common: Sequence[str], judge: Judge) -> str:
    """Return a CSV: source, truth, and for each run what it said and whether, or of how much, that is right."""
    text = io.StringIO()
    writer = csv_writer(text)
    writer.writerow(["source", judge.column, *(f"{name} {what}" for name in names for what in judge.said)])
    for key in common:
        first = scored[0].rows[key]
        said = [one.rows[key][what] for one in scored for what in judge.said]
        writer.writerow([first["source"], judge.written(first), *said])
    return text.getvalue()
