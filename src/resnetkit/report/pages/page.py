"""The page of a run that a colleague can open: one file that needs nothing else, not even a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit import files
from resnetkit.evaluation.metrics import (
    counted,
    fold_lines,
    is_corrected,
    is_optimistic,
    is_tempered,
    num_correct,
    photos,
)
from resnetkit.models.choice import Choice, choice_in
from resnetkit.report import curves as run_curves
from resnetkit.report.pages import labels as page_labels
from resnetkit.report.pages import tables as page_tables
from resnetkit.report.pages.tables import Answer
from resnetkit.report.pages.thumbnails import Album, confident_errors
from resnetkit.training.choosing import below_its_head
from resnetkit.words import percent, steers_terminal

if TYPE_CHECKING:
    from jinja2 import Environment

    from resnetkit.report.charts import Chart

_PARTS = {"train": "training", "val": "validation", "test": "test"}
_MOST_COUNTED = 30
_CRISP_SIDE = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatOnError:
    """A wrong row with the heat maps of what was said and what it is.

    `picture` and the `uri` of each of `maps` are data addresses; a map has label, probability, verdict, deletion and
    random (deletion of random maps).
    """

    row: Answer
    picture: str
    maps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a run's files say, as plain values; None or empty where a run lacks it.

    `counts`: class -> part -> pictures; `trained_on`: how many. `findings`: what the pass over the data found, None
    where it was not kept. `album`: None without photos. `notes`: sentences about pictures, `heat_note` why there are no
    heat maps. `facts` has pairs for the lists `training`, `machine`, `size`, `speed`, `versions`.
    """

    name: str
    version: str
    metrics: Mapping[str, Any] | None
    rows: Sequence[Answer]
    history: Sequence[Mapping[str, Any]]
    choice: Choice | None
    counts: Mapping[str, Mapping[str, int]]
    findings: Sequence[str] | None
    facts: Mapping[str, Sequence[tuple[str, str]]]
    commands: Sequence[str]
    trained_on: int
    album: Album | None
    notes: Sequence[str] = ()
    heat: Sequence[HeatOnError] = ()
    heat_note: str = ""
    picture_side: int = 224


def write_page(content: Content, path: Path) -> None:
    """Write the page to `path`, whole or not at all."""
    files.write_text(path, render(content))


def render(content: Content) -> str:
    """Return the page as HTML; every name from outside is escaped, and none can steer the text around it."""
    return page_templates().get_template("page.html").render(_values(content))


@cache
def page_templates() -> Environment:
    """Return what renders our pages: every value is escaped, and none can steer the text around it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("resnetkit.report.pages")
    templates = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_tame,
        keep_trailing_newline=True,
    )  # fmt: skip
    templates.globals |= {name: _own_text(templates, file) for name, file in _OWN.items()}
    return templates


_OWN = {"style": "style.css", "script": "script.js"}


def _own_text(templates: Any, file: str) -> Any:
    """Return a part of the page that we wrote and that is not escaped."""
    from markupsafe import Markup

    assert templates.loader is not None
    return Markup(templates.loader.get_source(templates, file)[0])


def _tame(value: Any) -> Any:
    """Replace what would turn the direction of other words, end a line, or cannot be written as UTF-8."""
    if type(value) is not str or (value.isascii() and value.isprintable()):  # Markup is ours
        return value
    return "".join("\ufffd" if steers_terminal(letter) else letter for letter in value)


def _values(content: Content) -> dict[str, Any]:
    """Return everything the template shows."""
    metrics, several = content.metrics, page_labels.is_of_labels(content.metrics)
    values = {
        "name": content.name, "version": content.version, "what": _what(content),
        "crisp": content.picture_side <= _CRISP_SIDE, "footer": f"Written by ResNetKit {content.version}.",
        "headline": _headline(metrics) if metrics else None, "tiles": _tiles(metrics) if metrics else [],
        "label_tables": page_labels.tables(metrics) if metrics and page_labels.is_of_labels(metrics) else [],
        "counts": _counts(content.counts, last="all labels" if several else "all classes"),
        "findings": _plain(content.findings), "commands": content.commands,
        "curves": _curves(content), "curves_words": _curves_words(content), "looks": _looks(metrics),
        "photo_notes": content.notes, "heat_note": content.heat_note, "heat": [_heat(one) for one in content.heat],
        "trust": _trust(metrics or {}),
        **{name: content.facts[name] for name in ("training", "machine", "size", "speed", "versions")},
    }  # fmt: skip
    values |= _tables(content) if metrics else {"classes": [], "galleries": []}
    return values | {"contents": list(_contents(values))}


def _tables(content: Content) -> dict[str, Any]:
    assert content.metrics is not None
    if page_labels.is_of_labels(content.metrics):
        return _errors_in_labels(content)
    matrix = page_tables.Matrix(content.metrics, page_tables.cells(content.rows), content.album)
    wrong, here = confident_errors(content.rows), content.album.pictures if content.album else {}
    shown = [number for number in wrong if number in here][: page_tables.MOST_ERRORS]
    return {
        "classes": page_tables.classes(content.metrics), "class_count": len(content.metrics["classes"]),
        "matrix": matrix.table, "pairs": matrix.pairs(), "worst_pairs": matrix.pairs(5), "any_errors": bool(wrong),
        "confident": [page_tables.picture(content.rows[number], here[number]) for number in shown],
        "galleries": matrix.galleries(content.rows),
        "gallery_words": _gallery_words(len(content.metrics["classes"])),
    }  # fmt: skip


def _errors_in_labels(content: Content) -> dict[str, Any]:
    shown = page_labels.shown(content.rows, content.album, most=page_tables.MOST_ERRORS)
    return {
        "classes": [], "galleries": [], "worst_pairs": [], "matrix": None,
        "any_errors": any(not row["correct"] for row in content.rows),
        "confident": [page_tables.picture(content.rows[number], content.album.pictures[number])
                      for number in shown if content.album is not None],
    }  # fmt: skip


def _gallery_words(num_classes: int) -> str:
    if num_classes > page_tables.LARGEST_MATRIX:
        return f"Of {num_classes:,} classes, those of the pairs that are confused most often; predictions.csv has all."
    return "Errors first, the most confident before all; right answers begin with the least sure."


def _what(content: Content) -> str:
    training = dict(content.facts["training"])
    several = page_labels.is_of_labels(content.metrics)
    what = "labels" if several else "classes"
    return f"{training['network']}, trained on {content.trained_on:,} pictures of {len(content.counts):,} {what}"


def _headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    choice = " ".join(filter(None, [*fold_lines(metrics), _words_of_choice(metrics)]))
    if page_labels.is_of_labels(metrics):
        return page_labels.headline(metrics, choice=choice)
    low, high = metrics["top1_interval"]
    majority = metrics["majority"]
    warning = ""
    if low <= majority["top1"]:
        warning = "That lies inside the interval: the model is not clearly better than always giving that answer."
    return {
        "percent": percent(metrics["top1"]),
        "words": _words_of_accuracy(metrics),
        "choice": choice,
        "legend": "Dot: accuracy. Band: 95 % interval. Upright line: always answering the largest class.",
        "interval": f"95 % interval {100 * low:.1f} to {percent(high)}.",
        "majority": f"Always answering “{majority['label']}” would be right for {percent(majority['top1'])}.",
        "warning": warning, "at": round(100 * metrics["top1"], 2), "low": round(100 * low, 2),
        "width": round(100 * (high - low), 2), "majority_at": round(100 * majority["top1"], 2),
    }  # fmt: skip


def _words_of_accuracy(metrics: Mapping[str, Any]) -> str:
    if not is_corrected(metrics):
        return f"named right: {num_correct(metrics):,} of {photos(metrics['split'], metrics['count'])}"
    chosen = choice_in(metrics.get("chosen") or {})
    among = "" if chosen is None else f" among {chosen.looks:,} epochs"
    return (
        f"of new photos, corrected for the choice{among} on these {metrics['count']:,} photos, of which the chosen one "
        f"has {percent(counted(metrics))} right"
    )


def _words_of_choice(metrics: Mapping[str, Any]) -> str:
    """Say which epoch is scored and what chose it, and which figures that makes too good."""
    chosen = choice_in(metrics.get("chosen") or {})
    words = "" if chosen is None else f"The model is {chosen.words}."
    if is_optimistic(metrics, "top1") or is_optimistic(metrics, "map"):
        return f"{words} The photos scored here chose it: all figures here are too good.".strip()
    if metrics.get("optimistic"):
        return f"{words} The photos scored here chose it: all figures but this accuracy are too good.".strip()
    return words


def _tiles(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    if page_labels.is_of_labels(metrics):
        return page_labels.tiles(metrics)
    intervals = metrics.get("intervals") or {}
    areas = (metrics.get("roc_auc") or {}).get("macro")
    calibration = metrics.get("calibration") or {}
    balanced = _between(intervals, "balanced_accuracy") or "mean over classes"
    tiles = [
        ("balanced accuracy", percent(metrics["balanced_accuracy"]), balanced),
        ("loss", f"{metrics['loss']:.3f}", _between(intervals, "loss", factor=1) or "cross-entropy, nats"),
    ]  # fmt: skip
    if metrics.get("top5") is not None:
        tiles.append(("among first five", percent(metrics["top5"]), _between(intervals, "top5") or "the right name"))
    if areas is not None:
        tiles.append(
            ("area under ROC", f"{areas:.3f}", _between(intervals, "roc_auc", factor=1) or "mean over classes")
        )
    if calibration:
        tempered = is_tempered(calibration)
        before = f"; {100 * calibration['before']['ece']:.1f} before its temperature" if tempered else ""
        off = 100 * calibration["after" if tempered else "before"]["ece"]
        tiles.append(("off in confidence", f"{off:.1f} points", f"calibration error{before}"))
    if "tta" in metrics:
        tiles.append(("with averaging", percent(metrics["tta"]["top1"]), f"over views ({metrics['tta']['views']})"))
    return [{"name": name, "value": value, "note": note} for name, value, note in tiles]


def _between(intervals: Mapping[str, Any], key: str, *, factor: int = 100) -> str:
    if not intervals.get(key):
        return ""
    low, high = (factor * bound for bound in intervals[key])
    return f"{low:.1f} to {high:.1f} %" if factor == 100 else f"{low:.3f} to {high:.3f}"


def _counts(counts: Mapping[str, Mapping[str, int]], *, last: str) -> dict[str, Any]:
    """Return the table of classes and parts; of many classes only the smallest."""
    parts = [part for part in _PARTS if any(part in of for of in counts.values())]
    rows = [(label, [of.get(part, 0) for part in parts]) for label, of in counts.items()]
    total = [sum(numbers[i] for _, numbers in rows) for i in range(len(parts))]
    caption = "Pictures"
    if len(rows) > _MOST_COUNTED:
        caption = f"Pictures: the {_MOST_COUNTED} smallest of {len(rows):,} classes"
        rows = sorted(rows, key=lambda row: row[1][0])[:_MOST_COUNTED]
    shown = [(label, [f"{number:,}" for number in numbers]) for label, numbers in [*rows, (last, total)]]
    return {"parts": [_PARTS[part] for part in parts], "rows": shown, "caption": caption}


def _plain(findings: Sequence[str] | None) -> list[str] | None:
    return None if findings is None else [sentence.strip() for sentence in findings]


def _curves(content: Content) -> list[Chart]:
    """Return the charts of the epochs; one epoch alone has no curve."""
    model_epoch = content.choice.epoch if content.choice else None
    return run_curves.curves(content.history, model_epoch=model_epoch) if len(content.history) > 1 else []


def _curves_words(content: Content) -> str:
    words = "" if content.choice is None else f"The model is {content.choice.words}. "
    return (words + (below_its_head(content.history) if content.choice and not content.choice.selected else "")).strip()


def _looks(metrics: Mapping[str, Any] | None) -> str:
    count = (metrics or {}).get("test_looks")
    if metrics is None or count is None:
        return ""
    times = "once" if count == 1 else f"{count:,} times"
    more = "" if count == 1 else " Each look makes it likelier that choices were fitted to these very pictures."
    return f"Figures of the test part were computed {times} for this run.{more}"


def _trust(metrics: Mapping[str, Any]) -> dict[str, Any]:
    words = [_temperature_words(metrics)] if metrics.get("calibration") else []
    return {
        "charts": run_curves.trust(metrics),
        "sentences": words,
        "tables": page_tables.folds(metrics) + page_tables.unsure(metrics),
    }


def _temperature_words(metrics: Mapping[str, Any]) -> str:
    calibration = metrics["calibration"]
    elsewhere = calibration["fitted_on"] == "val"
    where = "the validation part" if elsewhere else "these pictures"
    if is_tempered(calibration):
        checked = "" if elsewhere else ", and each fifth of them is scored at that of the others"
        return (
            f"The temperature that divides its logits is {calibration['temperature']:.2f}, fitted on {where}{checked}."
        )
    if elsewhere or metrics["split"] == "val":
        return f"A temperature that divides its logits was fitted on {where} and helps nothing: there is none."
    return "No pictures were held out to fit a temperature: there is none."


def _heat(one: HeatOnError) -> dict[str, Any]:
    return page_tables.picture(one.row, one.picture) | {
        "maps": [
            {
                **shown, "alt": f"heat map for {shown['label']}", "probability": percent(shown["probability"]),
                "deletion": f"{shown['deletion']:.2f}", "random": f"{shown['random']:.2f}",
                "role": "is" if shown["label"] in one.row.get("truths", (one.row["label"],)) else "called",
                "look": "" if str(shown["verdict"]).startswith("better") else "wrong",
            }
            for shown in one.maps
        ]
    }  # fmt: skip


def _contents(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    there = (
        ("result", "Result", True), ("setup", "Setup and data", True), ("curves", "Curves", values["curves"]),
        ("classes", "Classes", values["classes"]), ("labels", "Labels", values["label_tables"]),
        ("confusion", "Confusion", values["classes"]),
        ("errors", "Errors", values["headline"]), ("heat", "Heat maps", values["heat"]),
        ("confidence", "Confidence", any(values["trust"].values())),
        ("galleries", "Pictures", values["galleries"]), ("speed", "Speed", True), ("again", "The same again", True),
    )  # fmt: skip
    return [(anchor, words) for anchor, words, shown in there if shown]
