"""How the answers of two runs are compared: the figures of a task, and by how much one run leads in each."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetkit.data.dataset import labels_written
from resnetkit.errors import DataError, UsageError
from resnetkit.models.checkpoint import CLASSIFICATION, DETECTION, MULTILABEL

if TYPE_CHECKING:
    from resnetkit.evaluation.detection.pairing import Gap
    from resnetkit.evaluation.detection.rereading import Reread
    from resnetkit.evaluation.pairs import AreaDifference, Difference

Rows = Sequence[Mapping[str, str]]
Groups = Sequence[str | None] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lead:
    """How much better a run is than the first: the difference of a figure, its 95 % interval and the p-value."""

    share: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """A figure told beside that of the verdict: its name, how a lead in it reads, and what to say where none is."""

    name: str
    written: Callable[[Lead], str]
    none: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """What only a task knows of a comparison.

    `does`: what these models do, after their name. `truth(row)` is what is on the picture of a row of predictions.csv,
    on which runs must agree, and `disagree(truths)` says that they do not; `column` and `written(row)` are that truth
    in the table of what each run said, `said` the columns of that. `read(rows, metrics, numbers=)` reads the rows of a
    run, `numbers` those to compare on, for `figures(read, groups)`, fields of `Compared`, and `leads(first, read,
    groups)`: by how much in each figure, the one that the verdict is by first; None where too few pictures tell. `by`:
    what that one is called, empty where a reader knows; `others`: how the others are told.
    """

    does: str
    truth: Callable[[Mapping[str, str]], str]
    disagree: Callable[[Collection[str]], str]
    column: str
    written: Callable[[Mapping[str, str]], str]
    said: tuple[str, ...]
    read: Callable[..., Any]
    figures: Callable[[Any, Groups], dict[str, Any]]
    leads: Callable[[Any, Any, Groups], dict[str, Lead | None]]
    by: str = ""
    others: Mapping[str, Beside] = field(default_factory=dict)


def judge_of(task: str) -> Judge:
    """Return how runs of a task are compared."""
    return _JUDGES[task]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Named:
    """Rows of classes or labels; of one network of two classes also which of them is looked for.

    `scores`: the probability of that class for each row, `[N]`, None where several networks answered, whose scales
    differ.
    """

    rows: Rows
    looked_for: str | None = None
    scores: np.ndarray | None = None

    @property
    def of_class(self) -> np.ndarray:
        """Which pictures are of the class looked for, `[N]` bool."""
        return np.array([row["label"] == self.looked_for for row in self.rows])


def _named(rows: Rows, metrics: Mapping[str, Any], *, numbers: Sequence[int]) -> _Named:
    rows, classes = [rows[number] for number in numbers], sorted(metrics["classes"])
    if len(classes) != 2 or "labels" in rows[0]:
        return _Named(rows=rows)
    by_folds = metrics["split"] == "folds"
    return _Named(rows=rows, looked_for=classes[-1], scores=None if by_folds else _scores(rows, classes[-1]))


def _scores(rows: Rows, name: str) -> np.ndarray:
    """Return the probability of one of two classes, `[N]`, from that of the one that was said."""
    said = np.array([float(row["probability"]) for row in rows])
    # What is left of 1 is no more exact than the steps of doubles there: without rounding, equals would have an order.
    return np.where([row["predicted"] == name for row in rows], said, 1 - said).round(15)


def _right(rows: Rows) -> np.ndarray:
    return np.array([row["correct"] == "true" for row in rows])


def _of(share: float, found: Difference | AreaDifference | Gap) -> Lead:
    return Lead(share=share, interval=(found.interval.low, found.interval.high), p_value=found.p_value)


def _lead_in_accuracy(first: _Named, other: _Named, groups: Groups) -> dict[str, Lead | None]:
    from resnetkit.evaluation.pairs import paired_difference

    found = paired_difference(_right(first.rows), _right(other.rows), groups)
    return {"top1": _of(found.share, found), **_lead_in_area(first, other, groups)}


def _lead_in_area(first: _Named, other: _Named, groups: Groups) -> dict[str, Lead | None]:
    """Return the lead of two models of the same two classes, for either of which the area is the same."""
    from resnetkit.evaluation.pairs import paired_areas

    if first.looked_for is None or first.looked_for != other.looked_for:
        return {}
    if first.scores is None or other.scores is None:
        return {"roc_auc": None}
    try:
        found = paired_areas(first.scores, other.scores, first.of_class, groups)
    except DataError:
        return {"roc_auc": None}
    return {"roc_auc": _of(found.difference, found)}


def _accuracy(named: _Named, groups: Groups) -> dict[str, Any]:
    from resnetkit.evaluation.screening import roc_auc
    from resnetkit.evaluation.uncertainty import accuracy_interval

    rows = named.rows
    correct = _right(rows)
    interval = accuracy_interval(correct, groups)
    figures = {
        "top1": float(correct.mean()), "top1_interval": (interval.low, interval.high), "worst": _worst(rows),
        "map": _map(rows),
    }  # fmt: skip
    if named.scores is None:
        return figures
    area = roc_auc(named.scores, named.of_class, groups)
    between = None if area.interval is None else (area.interval.low, area.interval.high)
    return figures | {"roc_auc": area.value, "roc_auc_interval": between}


def _worst(rows: Rows) -> tuple[str, float]:
    """Return the class, or the label, that is found least often of those that there are, and how often; "-" of none."""
    found: dict[str, list[bool]] = {}
    for row in rows:
        said = row["predicted"].split(";") if "labels" in row else [row["predicted"]]
        for label in labels_written(row["labels"])[0] if "labels" in row else [row["label"]]:
            found.setdefault(label, []).append(label in said)
    name = min(sorted(found), key=lambda label: sum(found[label]) / len(found[label]), default=None)
    return ("-", 0.0) if name is None else (name, sum(found[name]) / len(found[name]))


def _map(rows: Rows) -> float | None:
    """Return the mean average precision of several labels."""
    from resnetkit.evaluation.labels import map_of

    if "labels" not in rows[0]:
        return None
    probabilities = [json.loads(row["probabilities"]) for row in rows]
    classes, items = list(probabilities[0]), [labels_written(row["labels"]) for row in rows]
    targets = [
        [1.0 if name in labels else np.nan if name in unknown else 0.0 for name in classes] for labels, unknown in items
    ]
    return map_of(np.array([list(each.values()) for each in probabilities]), np.array(targets))


def _disagree_on_names(truths: Collection[str]) -> str:
    return f"is {' and '.join(sorted(truths))} to these runs: compare runs of the same classes"


def _found(rows: Rows, metrics: Mapping[str, Any], *, numbers: Sequence[int]) -> Reread:
    from resnetkit.evaluation.detection.rereading import reread

    return reread(rows, metrics, classes=sorted(metrics["classes"])).only(numbers)


def _lead_in_precision(first: Reread, other: Reread, groups: Groups) -> dict[str, Lead | None]:
    from resnetkit.evaluation.detection.pairing import paired_gaps

    if first.classes != other.classes:
        alone = sorted(set(first.classes) ^ set(other.classes))
        raise UsageError(f"compare: only one of these runs finds {', '.join(alone[:5])}: compare runs of equal classes")
    gaps = paired_gaps(first.matches, other.matches, at=(first.at, other.at), groups=groups)
    there = {name: gaps[name] for name in ("map50", "map", "f1")}
    return {name: None if gap is None else _of(gap.difference, gap) for name, gap in there.items()}


def _precision(found: Reread, groups: Groups) -> dict[str, Any]:
    from resnetkit.evaluation.detection.operating import at_work
    from resnetkit.evaluation.detection.resampling import average_precisions, draws, interval_of, means

    count = len(found.at)
    of_classes = average_precisions(found.matches, np.ones((1, count), np.int64))
    at_half, whole = of_classes[0, 0], float(means(of_classes.mean(axis=1))[0])
    met = np.flatnonzero(np.isfinite(at_half))
    work = at_work(found.matches, found.at, groups, bounded=False)
    if not len(met):
        return {"worst": ("-", 0.0), "f1": work["f1"], "map": None, "map50": None, "map50_interval": None}
    map50, worst = float(at_half[met].mean()), int(met[at_half[met].argmin()])
    drawn = means(average_precisions(found.matches, draws(count, groups))[:, 0])
    between = interval_of(drawn, map50, found.matches, groups)
    return {
        "map50": map50, "map50_interval": None if between is None else (between.low, between.high), "map": whole,
        "f1": work["f1"], "worst": (found.classes[worst], float(at_half[worst])),
    }  # fmt: skip


def _objects(row: Mapping[str, str]) -> str:
    marks = json.loads(row["truth"])
    return json.dumps(sorted([one["label"], *one["box"], one.get("crowd", False)] for one in marks))


def _points(lead: Lead) -> str:
    low, high = lead.interval
    return f"{100 * lead.share:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"


def _area(lead: Lead) -> str:
    low, high = lead.interval
    return f"{lead.share:+.3f}, {low:+.3f} to {high:+.3f}"


_NAMES = Judge(
    does="names one class per picture",
    truth=lambda row: row["label"], disagree=_disagree_on_names, column="label", written=lambda row: row["label"],
    said=("predicted", "correct"), read=_named, figures=_accuracy, leads=_lead_in_accuracy,
    others={
        "roc_auc": Beside(
            name="ROC-AUC", written=_area,
            none="No ROC-AUC beside it: that takes one network for all pictures, not one for each fold, and two "
            "pictures or groups of either class.",
        ),
    },
)  # fmt: skip
_LABELS = Judge(
    does="names several labels",
    truth=lambda row: row["labels"] or "none", disagree=_disagree_on_names, column="label",
    written=lambda row: row["labels"] or "none", said=("predicted", "correct"), read=_named, figures=_accuracy,
    leads=_lead_in_accuracy,
)  # fmt: skip
_OBJECTS = Judge(
    does="finds objects",
    truth=_objects, disagree=lambda _: "has other objects for each of these runs: compare runs of equal annotations",
    column="objects", written=lambda row: row["objects"], said=("found", "right"), read=_found, figures=_precision,
    leads=_lead_in_precision, by="mAP@.50",
    others={
        "map": Beside(name="mAP@.50:.95", written=_points),
        "f1": Beside(name="F1 where each works", written=_points),
    },
)  # fmt: skip
_JUDGES = {CLASSIFICATION: _NAMES, MULTILABEL: _LABELS, DETECTION: _OBJECTS}
