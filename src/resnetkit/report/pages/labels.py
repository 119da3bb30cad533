"""What a run's page says of several labels per picture, where that of one class says other things."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from resnetkit.data.dataset import labels_written
from resnetkit.evaluation.metrics import photos
from resnetkit.report.pages import figures
from resnetkit.report.pages.content import Answer, Content, Opener, Sections
from resnetkit.report.pages.figures import between, bounds, least_first, share
from resnetkit.report.pages.tables import MOST_ERRORS, picture
from resnetkit.report.pages.thumbnails import ERROR_SIDE, Album, album, confident_errors
from resnetkit.words import percent

MOST_TOGETHER = 20


def headline(metrics: Mapping[str, Any], *, choice: str) -> dict[str, Any]:
    """Return the figure at the top of the page, with its interval and what noise would get."""
    noise = metrics["chance_map"] or 0.0
    return figures.headline(
        metrics["map"], metrics["map_interval"], figure="mean average precision", choice=choice,
        words=f"mean average precision of {_counted(metrics)} labels on {photos(metrics['split'], metrics['count'])}",
        chance=noise, chance_words=f"Noise would get {percent(noise)}.", line="what noise would get", than="noise",
    )  # fmt: skip


def _counted(metrics: Mapping[str, Any]) -> str:
    every, out = len(metrics["per_class"]), len(metrics["left_out"])
    return f"{every - out} of {every}" if out else f"{every}"


def tiles(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the figures beside that at the top."""
    found = [
        ("all labels right", percent(metrics["exact_match"]),
         bounds(metrics.get("exact_match_interval")) or "of the pictures"),
        ("wrong labels", percent(metrics["hamming"]), "of all known ones"),
        ("F1", percent(metrics["macro_f1"]), "mean over labels"),
        ("F1 of all", percent(metrics["micro_f1"]), "labels of all kinds together"),
        ("loss", f"{metrics['loss']:.3f}", "binary cross-entropy, nats"),
    ]  # fmt: skip
    if "tta" in metrics:
        found.append(("with averaging", percent(metrics["tta"]["map"]), f"over views ({metrics['tta']['views']})"))
    return [{"name": name, "value": value, "note": note} for name, value, note in found]


def tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table of labels, and of which come together."""
    aim = metrics.get("thresholds", {}).get("goal", "f1")
    each = sorted(metrics["per_class"], key=lambda one: least_first(one["ap"]))
    by_label = {
        "title": "Label by label", "header": [
            "label", "pictures", "average precision", "noise", "right when said", "found", "F1", "said from",
        ],
        "words": f"Least average precision first. Each label is said from its own probability on, fitted for {aim}.",
        "rows": [(one["class"], _figures(one)) for one in each],
    }  # fmt: skip
    return [by_label, *_together(metrics)]


def _figures(one: Mapping[str, Any]) -> list[str]:
    return [
        f"{one['positives']:,}", between(one["ap"], one["ap_interval"]), share(one["chance"]),
        between(one["precision"], one["precision_interval"]), between(one["recall"], one["recall_interval"]),
        share(one["f1"]), percent(one["threshold"]),
    ]  # fmt: skip


def _together(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how often each pair of labels is on one picture, as they are and as the model answers."""
    names = [one["class"] for one in metrics["per_class"]]
    true, said = metrics["together"], metrics["together_answered"]
    pairs = [
        (true[i][j], said[i][j], f"{names[i]} and {names[j]}")
        for i in range(len(names)) for j in range(i) if true[i][j] or said[i][j]
    ]  # fmt: skip
    if not pairs:
        return []
    pairs.sort(key=lambda pair: (-max(pair[:2]), pair[2]))
    more = f", the {MOST_TOGETHER} most frequent of {len(pairs):,}" if len(pairs) > MOST_TOGETHER else ""
    return [{
        "title": "Labels that come together", "header": ["labels", "pictures", "as answered"],
        "words": f"Pairs on one picture{more}.",
        "rows": [(name, [f"{of:,}", f"{answered:,}"]) for of, answered, name in pairs[:MOST_TOGETHER]],
    }]  # fmt: skip


def values(content: Content) -> dict[str, Any]:
    """Return the tables, and the pictures of the most confident errors."""
    assert content.metrics is not None
    here = content.album.pictures if content.album else {}
    shown = [number for number in confident_errors(content.rows) if number in here][:MOST_ERRORS]
    return {
        "label_tables": tables(content.metrics), "any_errors": any(not row["correct"] for row in content.rows),
        "confident": [picture(content.rows[number], here[number]) for number in shown],
    }  # fmt: skip


def _told(row: Mapping[str, str]) -> dict[str, Any]:
    """Return truth and answer in words; the probability is that of the wildest error."""
    reached = json.loads(row["probabilities"])
    labels, unknown = labels_written(row["labels"])
    off = [abs(p - (name in labels)) for name, p in reached.items() if name not in unknown]
    return {
        "label": ", ".join(labels) or "none", "predicted": row["predicted"].replace(";", ", ") or "none",
        "probability": max(off, default=0.0), "truths": labels, "correct": row["correct"] == "true",
        "differing": differing(labels, unknown, row["predicted"], reached),
    }  # fmt: skip


def differing(labels: Sequence[str], unknown: Sequence[str], predicted: str, reached: Mapping[str, float]) -> list[str]:
    """Return the labels that an answer has wrong, the wildest first."""
    said = set(predicted.split(";")) - {""}
    wrong = (said ^ set(labels)) - set(unknown)
    return sorted(wrong, key=lambda name: (-abs(reached[name] - (name in labels)), name))


def _album(
    rows: Sequence[Answer], opener: Opener, *, metrics: Mapping[str, Any] | None, seconds: float | None
) -> Album:
    among = set(confident_errors(rows)[:MOST_ERRORS])
    return album(rows, lambda row: opener(row, at_least=2 * ERROR_SIDE), among=among, seconds=seconds)


SECTIONS = Sections(
    unit="labels", headline=headline, tiles=tiles, values=values, told=_told, album=_album, explained=True
)
