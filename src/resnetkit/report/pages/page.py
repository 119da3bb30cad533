"""The page of a run that a colleague can open: one file that needs nothing else, not even a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetkit import files
from resnetkit.evaluation.metrics import fold_lines, is_optimistic, is_tempered
from resnetkit.models.checkpoint import CLASSIFICATION, DETECTION, MULTILABEL
from resnetkit.models.choice import choice_in
from resnetkit.report import curves as run_curves
from resnetkit.report.pages import classes, labels, objects
from resnetkit.report.pages import tables as page_tables
from resnetkit.report.pages.content import Content, HeatOnError, Sections
from resnetkit.training.choosing import below_its_head
from resnetkit.words import NO_MEDICAL_DEVICE, percent, steers_terminal

if TYPE_CHECKING:
    from jinja2 import Environment

    from resnetkit.report.charts import Chart

_PARTS = {"train": "training", "val": "validation", "test": "test"}
_MOST_COUNTED = 30
_CRISP_SIDE = 40


_SECTIONS = {CLASSIFICATION: classes.SECTIONS, MULTILABEL: labels.SECTIONS, DETECTION: objects.SECTIONS}
# What the template shows of scored pictures, where a task has nothing of that kind.
_NOTHING: dict[str, Any] = {
    "classes": [], "galleries": [], "worst_pairs": [], "matrix": None, "label_tables": [], "confident": [],
    "any_errors": None, "objects": None,
}  # fmt: skip


def sections_of(metrics: Mapping[str, Any] | None) -> Sections:
    """Return what the task of these figures says on the page; without figures what all tasks do."""
    return _SECTIONS[(metrics or {}).get("task", CLASSIFICATION)]


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
    templates.globals["no_medical_device"] = NO_MEDICAL_DEVICE
    return templates


_OWN = {"style": "style.css", "objects_style": "objects.css", "script": "script.js"}


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
    metrics, own = content.metrics, sections_of(content.metrics)
    values = {
        "name": content.name, "version": content.version, "what": _what(content),
        "crisp": content.picture_side <= _CRISP_SIDE,
        "headline": own.headline(metrics, choice=_choice(metrics)) if metrics else None,
        "tiles": own.tiles(metrics) if metrics else [], "counts": _counts(content.counts, content.pictures),
        "findings": _plain(content.findings), "commands": content.commands,
        "curves": _curves(content), "curves_words": _curves_words(content), "looks": _looks(metrics),
        "photo_notes": content.notes, "heat_note": content.heat_note, "heat": [_heat(one) for one in content.heat],
        "trust": _trust(metrics or {}),
        "by_column": [table for name, by in content.by_column for table in page_tables.by_column(name, by)],
        **{name: content.facts[name] for name in ("training", "machine", "size", "speed", "versions")},
    }  # fmt: skip
    values |= _NOTHING | (own.values(content) if metrics else {})
    return values | {"contents": list(_contents(values))}


def _what(content: Content) -> str:
    training = dict(content.facts["training"])
    unit, count = sections_of(content.metrics).unit, content.pictures.get("train", 0)
    return f"{training['network']}, trained on {count:,} pictures of {len(content.counts):,} {unit}"


def _choice(metrics: Mapping[str, Any]) -> str:
    return " ".join(filter(None, [*fold_lines(metrics), _words_of_choice(metrics)]))


def _words_of_choice(metrics: Mapping[str, Any]) -> str:
    """Say which epoch is scored and what chose it, and which figures that makes too good."""
    chosen = choice_in(metrics.get("chosen") or {})
    words = "" if chosen is None else f"The model is {chosen.words}."
    if is_optimistic(metrics, "top1") or is_optimistic(metrics, "map"):
        return f"{words} The photos scored here chose it: all figures here are too good.".strip()
    if metrics.get("optimistic"):
        return f"{words} The photos scored here chose it: all figures but this accuracy are too good.".strip()
    return words


def _counts(counts: Mapping[str, Mapping[str, int]], pictures: Mapping[str, int]) -> dict[str, Any]:
    """Return the table of classes and parts; of many classes only the smallest."""
    parts = [part for part in _PARTS if part in pictures]
    rows = [(label, [of.get(part, 0) for part in parts]) for label, of in counts.items()]
    total = [pictures[part] for part in parts]  # one of several classes counts once
    caption = "Pictures"
    if len(rows) > _MOST_COUNTED:
        caption = f"Pictures: the {_MOST_COUNTED} smallest of {len(rows):,} classes"
        rows = sorted(rows, key=lambda row: row[1][0])[:_MOST_COUNTED]
    shown = [(label, [f"{number:,}" for number in numbers]) for label, numbers in [*rows, ("all pictures", total)]]
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
        "tables": page_tables.folds(metrics)
        + page_tables.as_test(metrics)
        + page_tables.by_costs(metrics)
        + page_tables.unsure(metrics),
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
        ("confusion", "Confusion", values["classes"]), *_of_objects(values["objects"]),
        ("errors", "Errors", values["any_errors"] is not None), ("heat", "Heat maps", values["heat"]),
        ("confidence", "Confidence", any(values["trust"].values())),
        ("columns", "By columns", values["by_column"]),
        ("galleries", "Pictures", values["galleries"]), ("speed", "Speed", True), ("again", "The same again", True),
    )  # fmt: skip
    return [(anchor, words) for anchor, words, shown in there if shown]


def _of_objects(values: Mapping[str, Any] | None) -> list[tuple[str, str, Any]]:
    if values is None:
        return []
    return [
        ("classes", "Classes", True), ("counts", "Counts", True), ("mistakes", "Mistakes", True),
        ("pictures", "Pictures", values["whole"]),
    ]  # fmt: skip
