"""What a run's page says of one class per picture, where that of labels or objects says other things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resnetkit.evaluation.metrics import counted, is_corrected, is_tempered, num_correct, photos
from resnetkit.evaluation.told_of_cases import is_by_case, right_of
from resnetkit.models.choice import choice_in
from resnetkit.report.pages import figures, tables
from resnetkit.report.pages.content import Answer, Content, Opener, Sections
from resnetkit.report.pages.figures import bounds
from resnetkit.report.pages.thumbnails import ERROR_SIDE, Album, album, confident_errors
from resnetkit.words import percent


def headline(metrics: Mapping[str, Any], *, choice: str) -> dict[str, Any]:
    """Return the accuracy at the top of the page, of groups where there are any, with what takes no learning."""
    first = metrics["cases"] if is_by_case(metrics) else metrics
    label, right = first["majority"]["label"], first["majority"]["top1"]
    return figures.headline(
        first["top1"], first["top1_interval"], figure="accuracy", words=_words_of_accuracy(metrics), choice=choice,
        chance=right, chance_words=f"Always answering “{label}” would be right for {percent(right)}.",
        line="always answering the largest class", than="always giving that answer",
    )  # fmt: skip


def _words_of_accuracy(metrics: Mapping[str, Any]) -> str:
    if is_by_case(metrics):
        return f"groups named right: {right_of(metrics['cases'])}"
    if not is_corrected(metrics):
        return f"named right: {num_correct(metrics):,} of {photos(metrics['split'], metrics['count'])}"
    chosen = choice_in(metrics.get("chosen") or {})
    among = "" if chosen is None else f" among {chosen.looks:,} epochs"
    return (
        f"of new photos, corrected for the choice{among} on these {metrics['count']:,} photos, of which the chosen one "
        f"has {percent(counted(metrics))} right"
    )


def tiles(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the figures beside that at the top."""
    intervals = metrics.get("intervals") or {}
    areas = (metrics.get("roc_auc") or {}).get("macro")
    calibration = metrics.get("calibration") or {}
    balanced = bounds(intervals.get("balanced_accuracy")) or "mean over classes"
    found = []
    if is_by_case(metrics):
        found.append(("accuracy of pictures", percent(metrics["top1"]), bounds(metrics["top1_interval"])))
    found += [
        ("balanced accuracy", percent(metrics["balanced_accuracy"]), balanced),
        ("loss", f"{metrics['loss']:.3f}", _plain(intervals.get("loss")) or "cross-entropy, nats"),
    ]  # fmt: skip
    if metrics.get("top5") is not None:
        found.append(("among first five", percent(metrics["top5"]), bounds(intervals.get("top5")) or "the right name"))
    if areas is not None:
        found.append(("area under ROC", f"{areas:.3f}", _plain(intervals.get("roc_auc")) or "mean over classes"))
    if calibration:
        tempered = is_tempered(calibration)
        before = f"; {100 * calibration['before']['ece']:.1f} before its temperature" if tempered else ""
        off = 100 * calibration["after" if tempered else "before"]["ece"]
        found.append(("off in confidence", f"{off:.1f} points", f"calibration error{before}"))
    if "tta" in metrics:
        found.append(("with averaging", percent(metrics["tta"]["top1"]), f"over views ({metrics['tta']['views']})"))
    return [{"name": name, "value": value, "note": note} for name, value, note in found]


def _plain(interval: Sequence[float] | None) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""


def values(content: Content) -> dict[str, Any]:
    """Return the tables, and the pictures behind each of their cells."""
    assert content.metrics is not None
    matrix = tables.Matrix(content.metrics, tables.cells(content.rows), content.album)
    wrong, here = confident_errors(content.rows), content.album.pictures if content.album else {}
    shown = [number for number in wrong if number in here][: tables.MOST_ERRORS]
    return {
        "classes": tables.classes(content.metrics), "class_count": len(content.metrics["classes"]),
        "matrix": matrix.table, "pairs": matrix.pairs(), "worst_pairs": matrix.pairs(5), "any_errors": bool(wrong),
        "confident": [tables.picture(content.rows[number], here[number]) for number in shown],
        "galleries": matrix.galleries(content.rows),
        "gallery_words": _gallery_words(len(content.metrics["classes"])),
    }  # fmt: skip


def _gallery_words(num_classes: int) -> str:
    if num_classes > tables.LARGEST_MATRIX:
        return f"Of {num_classes:,} classes, those of the pairs that are confused most often; predictions.csv has all."
    return "Errors first, the most confident before all; right answers begin with the least sure."


def _told(row: Mapping[str, str]) -> dict[str, Any]:
    return {"probability": float(row["probability"]), "correct": row["correct"] == "true"}


def _album(
    rows: Sequence[Answer], opener: Opener, *, metrics: Mapping[str, Any] | None, seconds: float | None
) -> Album:
    among = None if metrics is None else tables.with_a_place(metrics, rows)
    return album(rows, lambda row: opener(row, at_least=2 * ERROR_SIDE), among=among, seconds=seconds)


SECTIONS = Sections(
    unit="classes", headline=headline, tiles=tiles, values=values, told=_told, album=_album, explained=True
)
