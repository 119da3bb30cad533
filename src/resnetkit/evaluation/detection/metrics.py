"""The content of metrics.json of found objects, and the same in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resnetkit.data.marks import Truth
from resnetkit.evaluation.detection.average_precision import Averages, average_precision
from resnetkit.evaluation.detection.calibration import line_of
from resnetkit.evaluation.detection.coco_library import crowded_without_mask, masks_of, of_masks
from resnetkit.evaluation.detection.matching import Matches, matched
from resnetkit.evaluation.detection.mistakes import mistakes_of, numbers_of
from resnetkit.evaluation.detection.noise import noise_of
from resnetkit.evaluation.detection.operating import at_work, counts, curve_of, of_classes
from resnetkit.evaluation.detection.resampling import average_precisions, draws, interval_of, means
from resnetkit.evaluation.metrics import choice_in_short, fitted_here, fold_lines, photos
from resnetkit.models.detection.found import Found
from resnetkit.words import counted, one_line, percent


def map_of(truths: Sequence[Truth], founds: Sequence[Found], *, num_classes: int) -> tuple[float | None, float | None]:
    """Return mAP@.50:.95 and mAP@.50 of boxes, fast and without faster-coco-eval; None where nothing is there to find.

    Raises `DataError` where a number is not finite.
    """
    matches = matched(truths, founds, num_classes=num_classes)
    found = average_precisions(matches, np.ones((1, len(truths)), np.int64))
    if not np.isfinite(found).any():
        return None, None
    return float(means(found.mean(axis=1))[0]), float(means(found[:, 0])[0])


def detection_metrics(
    truths: Sequence[Truth], founds: Sequence[Found], *, matches: Matches, sizes: Sequence[tuple[int, int]],
    classes: Sequence[str], at: np.ndarray, split: str, judged_at: np.ndarray | None = None,
    groups: Sequence[str | None] | None = None, masks: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Return the content of `metrics.json` for what was found on pictures of `sizes` (width, height).

    `matches`: what `matched` makes of `truths` and `founds` by boxes. `at`: from which score on a class is said, `[K]`;
    `judged_at`, `[N, K]`: that of each picture, where these pictures fitted `at` (`cross_fitted`). Average precision is
    COCO's (`Averages`), its intervals those of draws of pictures, or of groups (`interval_of`); precision, recall,
    false alarms, counts and mistakes are those at the working point. Of folds there are no intervals: these share what
    they learnt from. With `masks` the figures of masks stand beside, each with `mask_` before its name. What is
    undefined is None, never NaN. Raises `DataError` where a number is not finite, `UsageError` without
    faster-coco-eval.
    """
    judged_at = at if judged_at is None else judged_at
    bounded = split != "folds"
    found = average_precision(truths, founds, num_classes=len(classes))
    times = draws(len(truths), groups) if bounded and len(truths) else None
    work = at_work(matches, judged_at, groups, bounded=bounded)
    return {
        "task": "detection", "split": split, "count": len(truths), "objects": work["objects"],
        **_averages(found), **_intervals(matches, found, times, groups),
        **(_of_masks(truths, founds, sizes, classes, times, groups) if masks else {}),
        **{name: work[name] for name in _OF_WORK},
        "counting": counts(matches, judged_at, classes),
        "mistakes": numbers_of(mistakes_of(matches, truths, founds, judged_at)),
        "per_class": _per_class(matches, found, at, judged_at, classes, groups, bounded=bounded),
        "classes": list(classes), "left_out": [n for n, ap in zip(classes, found.ap, strict=True) if ap is None],
        "noise": noise_of(truths, sizes, num_classes=len(classes)),
        "curves": {name: curve_of(matches, label) for label, name in enumerate(classes)},
    }  # fmt: skip


_OF_WORK = (
    "precision", "recall", "f1", "false_alarms", "precision_interval", "recall_interval", "false_alarms_interval",
)  # fmt: skip


def _averages(found: Averages, before: str = "") -> dict[str, Any]:
    plain = {
        "map": found.map, "map50": found.map50, "map75": found.map75,
        **{f"map_{name}": value for name, value in found.map_by_size.items()}, "average_recall": found.recall,
        **{f"average_recall_{name}": value for name, value in found.recall_by_size.items()},
        **{f"average_recall_of_{most}": value for most, value in found.recall_by_most.items() if most < 100},
    }  # fmt: skip
    return {before + name: value for name, value in plain.items()}


def _intervals(
    matches: Matches, found: Averages, times: np.ndarray | None, groups: Sequence[str | None] | None, before: str = ""
) -> dict[str, Any]:
    """Return the intervals of mAP@.50:.95 and mAP@.50, None where they cannot be told."""
    if times is None or found.map is None or found.map50 is None:
        return {f"{before}map_interval": None, f"{before}map50_interval": None}
    drawn = average_precisions(matches, times)
    each = (
        interval_of(means(drawn.mean(axis=1)), found.map, matches, groups),
        interval_of(means(drawn[:, 0]), found.map50, matches, groups),
    )
    whole, at_half = (None if one is None else [one.low, one.high] for one in each)
    return {f"{before}map_interval": whole, f"{before}map50_interval": at_half}


def _of_masks(
    truths: Sequence[Truth], founds: Sequence[Found], sizes: Sequence[tuple[int, int]], classes: Sequence[str],
    times: np.ndarray | None, groups: Sequence[str | None] | None,
) -> dict[str, Any]:  # fmt: skip
    masks = masks_of(truths, founds, sizes)
    found = average_precision(truths, founds, num_classes=len(classes), masks=masks, sizes=sizes)
    drawn = crowded_without_mask(truths)
    matches = matched(drawn, founds, num_classes=len(classes), overlaps=of_masks(drawn, masks))
    each = [{"ap": ap, "ap50": ap50} for ap, ap50 in zip(found.ap, found.ap50, strict=True)]
    return {
        **_averages(found, "mask_"), **_intervals(matches, found, times, groups, "mask_"),
        "mask_per_class": dict(zip(classes, each, strict=True)),
    }  # fmt: skip


def _per_class(
    matches: Matches, found: Averages, at: np.ndarray, judged_at: np.ndarray, classes: Sequence[str],
    groups: Sequence[str | None] | None, *, bounded: bool,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    of_each = of_classes(matches, judged_at, groups, bounded=bounded)
    return {
        name: {"ap": found.ap[k], "ap50": found.ap50[k], "threshold": round(float(at[k]), 6), **of_each[k]}
        for k, name in enumerate(classes)
    }


def headline(metrics: Mapping[str, Any]) -> str:
    """Return the content of `metrics.json` in plain words, one sentence per line."""
    if metrics["map"] is None:
        counts = "no figure says how well it is" if metrics["false_alarms"] is None else f"it gives {_alarms(metrics)}"
        return f"On {photos(metrics['split'], metrics['count'])} is nothing to find: {counts}."
    lines = [
        f"mAP@.50 {_with(metrics, 'map50')} and mAP@.50:.95 {_with(metrics, 'map')} on "
        f"{photos(metrics['split'], metrics['count'])} with {counted(metrics['objects'], 'object')}; noise would get "
        f"{percent(metrics['noise']['map50'])} and {percent(metrics['noise']['map'])}.",
        *_mask_line(metrics),
        *fold_lines(metrics),
        *choice_in_short(metrics, figure="map"),
        *_work_lines(metrics),
        *line_of(metrics.get("calibration_of_boxes")),
        *_count_lines(metrics["counting"]),
        *_mistake_lines(metrics["mistakes"]),
        *_class_lines(metrics),
    ]  # fmt: skip
    return "\n".join(one_line(line) for line in lines)


def _with(metrics: Mapping[str, Any], name: str) -> str:
    """Return a share and its interval."""
    between = metrics.get(f"{name}_interval")
    interval = f" ({100 * between[0]:.1f} to {100 * between[1]:.1f})" if between else ""
    return percent(metrics[name]) + interval


def _mask_line(metrics: Mapping[str, Any]) -> list[str]:
    if metrics.get("mask_map") is None:
        return []
    return [f"By masks: mAP@.50 {_with(metrics, 'mask_map50')} and mAP@.50:.95 {_with(metrics, 'mask_map')}."]


def _work_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say what a person gets at the working point."""
    alarms = _alarms(metrics)
    if metrics["precision"] is None:
        return ["It says nothing at the scores where it works: no object is found."]
    return [
        f"Of 100 objects {_hundred(metrics, 'recall')} are found, with {alarms}; of 100 that it says "
        f"{_hundred(metrics, 'precision')} are right.{fitted_here(metrics)}"
    ]


def _alarms(metrics: Mapping[str, Any]) -> str:
    between = metrics["false_alarms_interval"]
    interval = f" ({between[0]:.2g} to {between[1]:.2g})" if between else ""
    return f"{metrics['false_alarms']:.2g} false alarms per picture{interval}"


def _hundred(metrics: Mapping[str, Any], name: str) -> str:
    between = metrics[f"{name}_interval"]
    interval = f" ({100 * between[0]:.0f} to {100 * between[1]:.0f})" if between else ""
    return f"{100 * metrics[name]:.0f}{interval}"


def _count_lines(counting: Mapping[str, Any]) -> list[str]:
    if counting["mean_error"] is None:
        return []
    bias = counting["bias"]
    side = (
        "neither too many nor too few" if abs(bias) < 0.005 else f"{abs(bias):.2f} too {'many' if bias > 0 else 'few'}"
    )
    return [
        f"Counted, a picture is {counting['mean_error']:.2f} objects off ({side} on average); every class is counted "
        f"right on {percent(counting['right'])} of the pictures."
    ]


def _mistake_lines(mistakes: Mapping[str, int]) -> list[str]:
    there = [f"{number:,} {kind}" for kind, number in mistakes.items() if number]
    return [f"Mistakes: {', '.join(there)}." if there else "No mistakes."]


def _class_lines(metrics: Mapping[str, Any]) -> list[str]:
    judged = {name: one["ap50"] for name, one in metrics["per_class"].items() if one["ap50"] is not None}
    lines = []
    if len(judged) > 1:
        worst = min(judged, key=lambda name: judged[name])
        lines.append(f"Found worst: {worst}, AP@.50 {percent(judged[worst])}.")
    if out := metrics["left_out"]:
        named = ", ".join(out[:5]) + (f" and {len(out) - 5} more" if len(out) > 5 else "")
        lines.append(f"Left out of the means, since no picture here has any: {named}.")
    return lines
