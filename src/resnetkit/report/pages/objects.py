"""What a run's page says of found objects, where that of classes and labels says other things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resnetkit.evaluation.detection.calibration import line_of
from resnetkit.evaluation.detection.mistakes import KINDS, Kind, Mistake
from resnetkit.evaluation.metrics import photos
from resnetkit.report import object_charts
from resnetkit.report.pages import figures
from resnetkit.report.pages.content import Content, Sections
from resnetkit.report.pages.figures import DASH, between, bounds, least_first, share
from resnetkit.report.pages.object_pictures import album, name_of
from resnetkit.report.pages.tables import folds
from resnetkit.words import counted, percent

_OF_AP = "AP@.50 and AP, the mean over overlaps of .50 to .95, need no such score."
_KINDS: dict[Kind, tuple[str, str]] = {
    "missed": ("Missed", "Objects that nothing was said of, the least seen first: in brackets how sure it was."),
    "imagined": ("Imagined", "Said, and nothing like it is there. Look here for objects that nobody marked."),
    "misnamed": ("Misnamed", "An object is there, of another class. Look here for wrong names first."),
    "misplaced": ("Misplaced", "The right class, but less than half of the object: a box too large, too small or off."),
    "doubled": ("Doubled", "An object that was found already."),
    "both": ("Misnamed and misplaced", "Another class, and less than half of the object."),
}


def headline(metrics: Mapping[str, Any], *, choice: str) -> dict[str, Any]:
    """Return the figure at the top of the page, with its interval and what noise would get."""
    noise = (metrics["noise"] or {}).get("map50") or 0.0
    return figures.headline(
        metrics["map50"], metrics["map50_interval"], figure="mAP@.50", choice=choice,
        words=(
            f"mAP@.50, mean average precision at an overlap of a half, of {counted(metrics['objects'], 'object')} of "
            f"{_classes(metrics)} on {photos(metrics['split'], metrics['count'])}"
        ),
        chance=noise, chance_words=f"Noise would get {percent(noise)}." if metrics["noise"] else "",
        line="what noise would get", than="noise",
    )  # fmt: skip


def _classes(metrics: Mapping[str, Any]) -> str:
    every, out = len(metrics["classes"]), len(metrics["left_out"])
    return f"{every - out} of {every} classes" if out else "1 class" if every == 1 else f"{every} classes"


def tiles(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the figures beside that at the top: how exact boxes are, and what a person gets at the working point."""
    alarms, counting = metrics["false_alarms_interval"], metrics["counting"]
    found = [
        ("mAP@.50:.95", percent(metrics["map"]), bounds(metrics["map_interval"]) or "how exact boxes are"),
        *_of_masks(metrics),
        ("found", percent(metrics["recall"]), bounds(metrics["recall_interval"]) or "of the objects"),
        ("right when said", percent(metrics["precision"]), bounds(metrics["precision_interval"]) or "of the boxes"),
        ("false alarms", _figure(metrics["false_alarms"]),
         f"per picture; {alarms[0]:.2g} to {alarms[1]:.2g}" if alarms else "per picture"),
        *_off_in_probability(metrics.get("calibration_of_boxes")),
        ("off in counts", _figure(counting["mean_error"]), _side(counting["bias"])),
    ]  # fmt: skip
    return [{"name": name, "value": value, "note": note} for name, value, note in found]


def _of_masks(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    if "mask_map50" not in metrics:
        return []
    return [
        (f"mask {name}", percent(metrics[f"mask_{key}"]), bounds(metrics[f"mask_{key}_interval"]) or "by outlines")
        for name, key in (("mAP@.50", "map50"), ("mAP@.50:.95", "map"))
    ]


def _off_in_probability(found: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    if found is None or found["after"] is None:
        return []
    scores = f"calibration error of boxes; {100 * found['before']['ece']:.1f} of scores"
    return [("off in probability", f"{100 * found['after']['ece']:.1f} points", scores)]


def _figure(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


def _side(bias: float | None) -> str:
    if bias is None or abs(bias) < 0.005:
        return "objects per picture"
    return f"objects per picture; {abs(bias):.2f} too {'many' if bias > 0 else 'few'}"


def values(content: Content) -> dict[str, Any]:
    """Return tables, charts, and the mistakes of each kind with the pictures that the album has."""
    metrics = content.metrics
    assert metrics is not None
    pictures = content.album.pictures if content.album else {}
    return {
        "objects": {
            "classes": _class_table(metrics), "folds": folds(metrics), "curves": object_charts.per_class(metrics),
            "curves_words": _curves_words(metrics), "work_words": _work_words(metrics),
            "calibration": object_charts.calibration(metrics), "calibration_words": _calibration_words(metrics),
            "counts": object_charts.counts(content.rows), "counts_words": _counts_words(metrics["counting"]),
            "count_table": _count_table(metrics),
            "kinds": [_kind(kind, number, content, pictures) for kind, number in metrics["mistakes"].items()],
            "whole": [_whole(content.rows[key], uri) for key, uri in pictures.items() if isinstance(key, int)],
        }
    }  # fmt: skip


def _class_table(metrics: Mapping[str, Any]) -> dict[str, Any]:
    masks = metrics.get("mask_per_class") or {}
    each = sorted(metrics["per_class"].items(), key=lambda one: least_first(one[1]["ap50"]))
    more = ["mask AP@.50", "mask AP"] if masks else []
    return {
        "title": "Figures of each class",
        "words": "Least AP@.50 first.",
        "header": ["class", "objects", "AP@.50", "AP", *more, "found", "right when said", "F1", "said from"],
        "rows": [(name, _figures(one, masks.get(name))) for name, one in each],
    }  # fmt: skip


def _figures(one: Mapping[str, Any], mask: Mapping[str, Any] | None) -> list[str]:
    return [
        f"{one['support']:,}", share(one["ap50"]), share(one["ap"]),
        *([share(mask["ap50"]), share(mask["ap"])] if mask else []),
        between(one["recall"], one["recall_interval"]), between(one["precision"], one["precision_interval"]),
        share(one["f1"]), percent(one["threshold"]),
    ]  # fmt: skip


def _curves_words(metrics: Mapping[str, Any]) -> str:
    drawn = sum(bool(curve["recall"]) for curve in metrics["curves"].values())
    most = object_charts.MOST_CLASSES
    return f"The {most} with the least AP@.50 of {drawn:,} classes." if drawn > most else ""


def _work_words(metrics: Mapping[str, Any]) -> str:
    """Say where the model works and what chose that."""
    fitted = metrics.get("thresholds") or {}
    if not fitted.get("fitted_on"):
        return f"No held-out pictures chose from which score on a class is said: it is a half for all. {_OF_AP}"
    own = ", each of these pictures by the scores that the others choose" if fitted["cross_fitted"] else ""
    own = ", these very ones: what follows from them is too good" if fitted.get("optimistic") else own
    aim = "the largest F1" if fitted["goal"] == "f1" else f"a {fitted['goal']}"
    on = f"{fitted['fitted_on']:,} pictures{own}"
    return f"The scores that classes are said from were chosen for {aim} on {on}. {_OF_AP}"


def _calibration_words(metrics: Mapping[str, Any]) -> str:
    """Say how probable boxes that are said are, and how often they are right."""
    lines = line_of(metrics.get("calibration_of_boxes"))
    return " ".join([*lines, "The pictures below have the scores."]) if lines else ""


def _counts_words(counting: Mapping[str, Any]) -> str:
    if counting["mean_error"] is None:
        return ""
    return (
        f"{counting['said']:,} objects are said where {counting['true']:,} are. The count of every class is right on "
        f"{percent(counting['right'])} of {counted(counting['pictures'], 'picture')}."
    )


def _count_table(metrics: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        (name, [
            f"{one['true']:,}", f"{one['said']:,}", _figure(one["mean_error"]),
            DASH if one["bias"] is None else f"{one['bias']:+.2f}", share(one["right"]),
        ])
        for name, one in metrics["counting"]["per_class"].items()
    ]  # fmt: skip
    return {
        "title": "Counts", "words": "Objects off per picture; above 0 too many are said.",
        "header": ["class", "there", "said", "off", "too many or few", "pictures right"], "rows": rows,
    }  # fmt: skip


def _kind(kind: Kind, number: int, content: Content, pictures: Mapping[Any, str]) -> dict[str, Any]:
    """Return a kind of mistake with those of its pictures that the page has, the worst first."""
    assert kind in KINDS
    title, words = _KINDS[kind]
    assert content.metrics is not None
    names = content.metrics["classes"]
    shown = [
        _mistake(one, uri, content, names) for one, uri in pictures.items()
        if isinstance(one, Mistake) and one.kind == kind
    ]  # fmt: skip
    more = f"the {len(shown)} worst of {number:,}" if 0 < len(shown) < number else ""
    return {"kind": kind, "title": title, "number": f"{number:,}", "words": words, "shown": shown, "more": more}


def _mistake(one: Mistake, uri: str, content: Content, names: Sequence[str]) -> dict[str, Any]:
    said = None if one.label is None else names[one.label]
    true = None if one.true_label is None else names[one.true_label]
    name = name_of(content.rows[one.picture])
    sure = "" if one.score is None else percent(one.score)
    note = f"{100 * one.overlap:.0f} % overlap" if one.kind in ("misplaced", "both", "doubled") else ""
    what = (
        f"{true}, missed" if said is None else f"{said} {sure}" + (f", is {true}" if true not in (None, said) else "")
    )
    return {
        "uri": uri, "name": name, "said": said, "true": true, "sure": sure, "note": note, "alt": f"{name}: {what}",
    }  # fmt: skip


def _whole(row: Mapping[str, Any], uri: str) -> dict[str, str]:
    name = name_of(row)
    missed, alarms = int(row["missed"]), int(row["false_alarms"])
    words = f"{counted(int(row['objects']), 'object')}: {row['right']} found, {missed} missed, {alarms} false alarms"
    return {"uri": uri, "name": name, "words": words, "alt": f"{name}: {words}"}


def _told(row: Mapping[str, str]) -> dict[str, Any]:
    numbers = {name: int(row[name]) for name in ("objects", "found", "right", "missed", "false_alarms")}
    return numbers | {"correct": numbers["missed"] == numbers["false_alarms"] == 0}


SECTIONS = Sections(
    unit="classes", headline=headline, tiles=tiles, values=values, told=_told, album=album, explained=False
)
