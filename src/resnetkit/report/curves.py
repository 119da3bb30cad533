"""The charts of a run, from `results.csv` and `metrics.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from resnetkit.evaluation.metrics import is_tempered
from resnetkit.report.charts import Axis, Chart, Line, Look, Point, lower, upper
from resnetkit.words import percent

_DIAGONAL = Line(name="as sure as right", points=((0.0, 0.0), (1.0, 1.0)), look="ideal")
_DOTTED_UP_TO = 40


def curves(history: Sequence[Mapping[str, Any]], *, model_epoch: int | None) -> list[Chart]:
    """Return loss and accuracy of both splits over the epochs, `model_epoch` ringed; what has no value is left out.

    Of several labels and of objects the mean average precision takes the place of accuracy, and a loss that is a sum
    has its parts beside it. Values may be numbers, text as read from the file, empty or None.
    """
    epochs = [float(row["epoch"]) for row in history]
    alone = len(set(epochs)) == 1
    across = Axis(label="epoch", low=max(0.0, min(epochs) - alone), high=max(epochs) + alone, whole=True)
    charts = []
    for title, columns in _charts_of(history):
        lines = [
            _curve(history, column, name=name, look=look, ringed=None if column.startswith("train_") else model_epoch)
            for column, name, look in columns
        ]
        drawn = tuple(line for line in lines if line.points)
        values = [y for line in drawn for _, y in line.points]
        if not values:
            continue
        if title == "Loss":
            down = Axis(label="", low=0.0, high=upper([min(max(values), _most_loss(drawn))]))
        else:
            down = Axis(label="", low=lower(values), high=1.0, percent=True)
        if max(values) > down.high:
            title += " (higher ones at the edge)"
        charts.append(Chart(title=title, summary=_curve_words(title, drawn), x=across, y=down, lines=drawn))
    return charts


Columns = tuple[tuple[str, str, Look], ...]  # of results.csv, with their names and looks
_PARTS: tuple[Look, ...] = ("first", "second", "third", "fourth", "fifth")
_OF_OBJECTS: Columns = (("val_map50", "overlap of .50", "own"), ("val_map", "mean of .50 to .95", "other"))


def _charts_of(history: Sequence[Mapping[str, Any]]) -> list[tuple[str, Columns]]:
    """Return the titles of the charts, and the columns that each shows."""
    there = {column for row in history for column in row}
    parts = sorted(each for each in there - {"train_loss"} if each.startswith("train_") and each.endswith("_loss"))
    names = (each.removeprefix("train_").removesuffix("_loss").replace("_", " ") for each in parts)
    summed: Columns = (("train_loss", "training", "own"), *zip(parts, names, _PARTS, strict=False))
    return [
        ("Loss", summed if parts else _both_parts("loss")),
        ("Accuracy, %", _both_parts("top1")),
        ("Mean average precision, %", _OF_OBJECTS if "val_map50" in there else _both_parts("map")),
    ]


def _both_parts(figure: str) -> Columns:
    return (f"val_{figure}", "held-out", "own"), (f"train_{figure}", "training", "other")


def trust(metrics: Mapping[str, Any]) -> list[Chart]:
    """Return what `confidence` does, ROC, precision-recall and net benefit, as far as `metrics` has them."""
    return [*confidence(metrics), *_per_class_curves(metrics), *_net_benefit(metrics)]


def confidence(metrics: Mapping[str, Any]) -> list[Chart]:
    """Return reliability and accuracy against coverage, as far as `metrics` has them."""
    return [*_reliability(metrics), *_coverage(metrics)]


def _most_loss(lines: Sequence[Line]) -> float:
    """Return where the axis ends for losses: one epoch that went astray shall not flatten all others."""
    return max(4 * median(y for line in lines for _, y in line.points), *(line.points[0][1] for line in lines))


def _curve(history: Sequence[Mapping[str, Any]], column: str, *, name: str, look: Any, ringed: int | None) -> Line:
    points = [(float(row["epoch"]), value) for row in history if (value := number(row.get(column))) is not None]
    ring = next((point for point in points if look == "own" and point[0] == ringed), None)
    return Line(
        name=name, points=points, look=look, dots=len(points) <= _DOTTED_UP_TO and look not in _PARTS, ring=ring
    )


def number(value: object) -> float | None:
    """Return a cell of results.csv as a number, None where it is empty or not finite."""
    number = float(str(value)) if value not in (None, "") else math.nan
    return number if math.isfinite(number) else None


def _curve_words(title: str, lines: Sequence[Line]) -> str:
    factor = 100 if "%" in title else 1
    ends = (f"{line.name} from {factor * line.points[0][1]:.3g} to {factor * line.points[-1][1]:.3g}" for line in lines)
    return f"{title} over the epochs: {', '.join(ends)}"


def _share_axis(label: str, *, low: float = 0.0) -> Axis:
    return Axis(label=f"{label}, %", low=low, high=1.0, percent=True)


def _reliability(metrics: Mapping[str, Any]) -> list[Chart]:
    calibration = metrics.get("calibration")
    if not calibration:
        return []
    curves = {"before": "as trained", "after": "with its temperature"}
    return [reliability_of(calibration, curves if is_tempered(calibration) else {"before": "this model"})]


def reliability_of(calibration: Mapping[str, Any], names: Mapping[str, str]) -> Chart:
    """Return the share that is right against the probability given, of the `before` and `after` that have `names`."""
    lines, words = [_DIAGONAL], []
    for number, (key, name) in enumerate(names.items(), start=1):
        look = "own" if number == len(names) else "other"
        bins = [bin for bin in calibration[key]["bins"] if bin["count"]]
        points, weights = [(b["confidence"], b["accuracy"]) for b in bins], [b["count"] for b in bins]
        lines.append(Line(name=name, points=points, look=look, dots=True, weights=weights))  # type: ignore[arg-type]
        words.append(f"{name} an expected error of {100 * calibration[key]['ece']:.1f} points")
    return Chart(
        title="Is it right as often as it is sure?", x=_share_axis("probability given"),
        summary=f"Accuracy against probability: {', '.join(words)}", y=_share_axis("right"), lines=tuple(lines),
    )  # fmt: skip


def _coverage(metrics: Mapping[str, Any]) -> list[Chart]:
    points = [(row["coverage"], row["accuracy"]) for row in metrics.get("selective") or ()]
    if len(points) < 2:
        return []
    half = min(points, key=lambda point: abs(point[0] - 0.5))
    return [
        Chart(
            title="Accuracy where it answers only when sure", x=_share_axis("pictures answered"),
            y=_share_axis("right", low=lower([y for _, y in points])),
            summary=f"Accuracy against coverage: {percent(half[1])} right on the surest {100 * half[0]:.0f} %",
            lines=(Line(name="accuracy, %", points=sorted(points)),),
        )
    ]  # fmt: skip


def _per_class_curves(metrics: Mapping[str, Any]) -> list[Chart]:
    """Return ROC and precision-recall of every class, the one with the least area drawn strong."""
    every = metrics.get("curves") or {}
    found = []
    for kind, title, x, y, area in (
        ("roc", "Each class against the rest (ROC)", "false alarms", "found", "roc_auc"),
        ("precision_recall", "Precision and recall", "found", "right when said", "average_precision"),
    ):
        drawn: dict[str, list[Point]] = {name: [(a, b) for a, b in c[kind]] for name, c in every.items() if c.get(kind)}
        areas = {name: value for name, value in _areas(metrics, area).items() if name in drawn and value is not None}
        if not areas:
            continue
        hardest = min(areas, key=lambda name: areas[name])
        others = [name for name in drawn if name != hardest]
        lines = [Line(name="the others" * (i == 0), points=drawn[name], look="other") for i, name in enumerate(others)]
        lines.append(Line(name=f"hardest: {hardest} ({areas[hardest]:.3f})", points=drawn[hardest]))
        summary = f"{title}: area of the hardest class, {hardest}, {areas[hardest]:.3f}"
        found.append(Chart(title=title, summary=summary, x=_share_axis(x), y=_share_axis(y), lines=tuple(lines)))
    return found


def _net_benefit(metrics: Mapping[str, Any]) -> list[Chart]:
    """Return the decision curve of the class that is looked for: what acting on the model brings, or on everyone."""
    screening = metrics.get("screening") or {}
    curve = screening.get("net_benefit")
    if not curve:
        return []
    high = max(*curve["model"], *curve["everyone"], 0.01)
    low = -0.15 * high
    lines = [Line(name="on no one", points=((0.0, 0.0), (1.0, 0.0)), look="ideal")]
    for key, name, look in (("everyone", "on everyone", "other"), ("model", "on the model", "own")):
        points = [(x, y) for x, y in zip(curve["thresholds"], curve[key], strict=True) if y >= low]
        lines.append(Line(name=name, points=points, look=look))  # type: ignore[arg-type]
    better = [x for x, y, all_of_them in zip(*curve.values(), strict=True) if y > max(0.0, all_of_them)]
    where = f"from {percent(better[0])} to {percent(better[-1])}" if better else "nowhere"
    return [
        Chart(
            title=f"Net benefit of acting on {screening['finding']}", x=_share_axis("probability from which one acts"),
            y=Axis(label="found, less false alarms at that trade, %", low=low, high=upper([high]), percent=True),
            summary=f"Net benefit: acting on the model is better than on everyone or no one {where}",
            lines=tuple(lines),
        )
    ]  # fmt: skip


def _areas(metrics: Mapping[str, Any], key: str) -> Mapping[str, float | None]:
    return (metrics.get(key) or {}).get("per_class") or {}
