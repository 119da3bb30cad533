"""Figures of several labels per picture: how well each is ranked, and how often it is right when it is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resnetkit.evaluation.metrics import choice_in_short, clopper_pearson, fitted_here, fold_lines, photos
from resnetkit.evaluation.uncertainty import keys, student, worth
from resnetkit.models.thresholds import Thresholds
from resnetkit.words import one_line, percent

_DRAWS = 400
_SEED = 0
_FEWEST = 5  # pictures with a label that an interval can come from


def map_of(probabilities: np.ndarray, targets: np.ndarray) -> float | None:
    """Return the mean average precision over the labels that have a picture with and one without; None without any.

    `probabilities`: `[N, K]`; `targets`: `[N, K]` 1, 0 or NaN for what is not known.
    """
    found = _precisions(probabilities, targets, np.ones((1, len(targets))))[0]
    return float(np.nanmean(found)) if np.isfinite(found).any() else None


def label_metrics(
    probabilities: np.ndarray, targets: np.ndarray, *, answers: np.ndarray, thresholds: Thresholds,
    classes: Sequence[str], split: str, groups: Sequence[str | None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the content of `metrics.json`; `answers`, `[N, K]` bool, are the labels that are said.

    Average precision is that of the ranking (no interpolation; ties count together), its mean over the labels that have
    a picture with and one without (`left_out` names the others). `chance` and `chance_map` are what noise gets
    (`by_chance`). Intervals of average precision come from 400 draws of pictures, or of groups, and of at least 5
    pictures with the label (`_of_precision`); those of precision and recall are Clopper and Pearson's; of folds there
    are none, as these share what they learnt from and theirs would be too narrow. What is not known counts nowhere.
    """
    known, true = np.isfinite(targets), targets == 1
    bounded = split != "folds"
    weights = [np.ones((1, len(targets))), *([_draws(len(targets), groups)] if bounded else [])]
    drawn = _precisions(probabilities, targets, np.concatenate(weights))
    ranked = np.isfinite(drawn[0])
    right = ((answers == true) | ~known).all(axis=1)
    each = [
        _of_label(name, true[:, k], known[:, k], answers[:, k], groups, drawn[:, k], float(at), bounded=bounded)
        for k, (name, at) in enumerate(zip(classes, thresholds.of(len(classes)), strict=True))
    ]
    rated = np.flatnonzero(known.any(axis=1)).tolist()  # of the others nothing is known that could be right
    right = right[rated]
    chances = [one["chance"] for one, is_ranked in zip(each, ranked, strict=True) if is_ranked]
    told = worth(right, None if groups is None else [groups[number] for number in rated]) if rated else 0
    said, missed = answers & known & true, known & (answers != true)
    f1 = [one["f1"] for one, is_ranked in zip(each, ranked, strict=True) if is_ranked]
    return {
        "task": "multilabel", "split": split, "count": len(targets),
        "map": float(drawn[0][ranked].mean()) if ranked.any() else None,
        "map_interval": _of_precision(_means(drawn[1:, ranked]), drawn[0][ranked], (true & known).sum(0)[ranked]),
        "chance_map": float(np.mean(chances)) if chances else None,
        "exact_match": float(right.mean()) if rated else None,
        "exact_match_interval": list(clopper_pearson(right.mean() * told, told)) if bounded and rated else None,
        "hamming": float(missed.sum() / max(1, known.sum())),
        "micro_f1": _share(2 * said.sum(), 2 * said.sum() + missed.sum()),
        "macro_f1": float(np.mean([value or 0.0 for value in f1])) if f1 else None,
        "loss": _loss(probabilities, targets), "per_class": each, "classes": list(classes),
        "left_out": [name for name, is_ranked in zip(classes, ranked, strict=True) if not is_ranked],
        "together": _together(true & known), "together_answered": _together(answers & known),
    }  # fmt: skip


def _of_label(
    name: str, true: np.ndarray, known: np.ndarray, said: np.ndarray, groups: Sequence[str | None] | None,
    drawn: np.ndarray, at: float, *, bounded: bool,
) -> dict[str, Any]:  # fmt: skip
    true, said = true & known, said & known
    both, positives = int((true & said).sum()), int(true.sum())
    ranked = bool(np.isfinite(drawn[0]))
    return {
        "class": name, "positives": positives, "known": int(known.sum()),
        "chance": by_chance(positives, int(known.sum())) if ranked else None, "ap": float(drawn[0]) if ranked else None,
        "ap_interval": _of_precision(drawn[1:], drawn[:1], np.array([positives])) if ranked else None,
        "threshold": round(at, 6), "precision": _share(both, said.sum()), "recall": _share(both, positives),
        "precision_interval": _interval(true[said], said, groups) if bounded else None,
        "recall_interval": _interval(said[true], true, groups) if bounded else None,
        "f1": _share(2 * both, positives + said.sum()),
    }  # fmt: skip


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _interval(right: np.ndarray, of: np.ndarray, groups: Sequence[str | None] | None) -> list[float] | None:
    """Return the interval of a share of the pictures `of` a part."""
    if not len(right):
        return None
    told = worth(right, None if groups is None else [groups[number] for number in np.flatnonzero(of).tolist()])
    return list(clopper_pearson(right.mean() * told, told))


def _draws(count: int, groups: Sequence[str | None] | None) -> np.ndarray:
    """Return how often each picture is drawn, `[draws, N]`; pictures of a group are drawn together."""
    _, unit = np.unique(keys(count, groups), return_inverse=True)
    generator, units = np.random.default_rng(_SEED), int(unit.max()) + 1
    return generator.multinomial(units, np.full(units, 1 / units), size=_DRAWS)[:, unit].astype(np.float64)


def _precisions(probabilities: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the average precision of each label for each row of picture weights, `[draws, K]`; NaN where undefined.

    Pictures that are equally probable come together, as scikit-learn has it.
    """
    found = np.full((len(weights), targets.shape[1]), np.nan)
    for k in range(targets.shape[1]):
        known = np.isfinite(targets[:, k])
        scores, true = probabilities[known, k], targets[known, k] == 1
        if not 0 < true.sum() < len(true):
            continue
        order = np.argsort(-scores, kind="stable")
        last = np.append(np.diff(scores[order]) != 0, True)  # of those that are equally probable
        drawn = weights[:, known][:, order]
        hits, all_drawn = np.cumsum(drawn * true[order], axis=1)[:, last], np.cumsum(drawn, axis=1)[:, last]
        more = np.diff(hits, axis=1, prepend=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[:, k] = (more * np.where(all_drawn > 0, hits / all_drawn, 0)).sum(axis=1) / hits[:, -1]
            found[(hits[:, -1] == 0) | (hits[:, -1] == all_drawn[:, -1]), k] = np.nan
    return found


def _means(drawn: np.ndarray) -> np.ndarray:
    """Return the mean over the labels that a draw has with and without, `[draws]`."""
    counted = np.isfinite(drawn)
    means: np.ndarray = np.where(counted, drawn, 0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    return means[counted.any(axis=1)]


def _of_precision(drawn: np.ndarray, found: np.ndarray, positives: np.ndarray) -> list[float] | None:
    """Return the interval of the mean of average precisions `found`, from drawn ones; None where that cannot be told.

    Average precision is too good on few pictures, and that of draws again by as much: the draws are put back by what
    they are above, with Student's t of as many pictures with the label as the rare ones allow. The bounds are the wider
    of those on the plain scale and on that of log-odds. Where nothing is out of order there is no variance: then the
    interval is Clopper and Pearson's of these pictures.
    """
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or not len(positives):
        return None
    fewest = len(positives) / float((1 / positives).sum())
    if fewest < _FEWEST:
        return None
    point = float(found.mean())
    told = fewest * len(positives)
    if found.min() == 1:
        return [clopper_pearson(told, told)[0], 1.0]
    wide = student(fewest - 1)
    plain = 2 * point - drawn.mean() + np.array([-wide, wide]) * drawn.std()
    odds = _log_odds(drawn, told)
    scaled = 2 * _log_odds(np.array(point), told) - odds.mean() + np.array([-wide, wide]) * odds.std()
    back = 1 / (1 + np.exp(-scaled))
    return [float(min(max(0.0, plain[0]), back[0])), float(max(min(1.0, plain[1]), back[1]))]


def _log_odds(shares: np.ndarray, told: float) -> np.ndarray:
    """Return log-odds of shares, none nearer to 0 or 1 than so many pictures can tell from it."""
    inside = np.clip(shares, 1 / (4 * told), 1 - 1 / (4 * told))
    return np.asarray(np.log(inside / (1 - inside)))


def by_chance(positives: int, known: int) -> float:
    """Return the average precision that noise gets in the mean, where `positives` of `known` pictures have the label.

    It is more than their share, for whatever comes first counts as if nothing came before it: the mean over ranks k of
    (1 + (k - 1) (P - 1) / (N - 1)) / k.

    >>> round(by_chance(5, 50), 3), round(by_chance(5_000, 50_000), 3)
    (0.164, 0.1)
    """
    if known < 2:
        return 1.0
    harmonic = float((1 / np.arange(1, known + 1)).sum())
    return (harmonic + (positives - 1) / (known - 1) * (known - harmonic)) / known


def _loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    known = np.isfinite(targets)
    own = np.where(targets == 1, probabilities, 1 - probabilities)[known]
    return float(-np.log(np.maximum(own.astype(np.float64), 1e-12)).mean()) if len(own) else 0.0


def _together(labels: np.ndarray) -> list[list[int]]:
    counts = labels.astype(np.int64)
    found: list[list[int]] = (counts.T @ counts).tolist()
    return found


def headline(metrics: Mapping[str, Any]) -> str:
    """Return the content of `metrics.json` in plain words, one sentence per line."""
    between = metrics["map_interval"]
    interval = f" (95 % interval {100 * between[0]:.1f} to {percent(between[1])})" if between else ""
    lines = [
        f"Mean average precision {percent(metrics['map'])}{interval} on {photos(metrics['split'], metrics['count'])}; "
        f"noise would get {percent(metrics['chance_map'])}.",
        *fold_lines(metrics),
        *choice_in_short(metrics, figure="map"),
        f"All labels are right on {percent(metrics['exact_match'])} of them; of all known labels "
        f"{percent(metrics['hamming'])} are wrong.{fitted_here(metrics)}",
    ]  # fmt: skip
    if "tta" in metrics:
        lines.append(f"Averaged over views ({metrics['tta']['views']}): {percent(metrics['tta']['map'])}.")
    judged = [one for one in metrics["per_class"] if one["ap"] is not None]
    if judged:
        worst = min(judged, key=lambda one: one["ap"])
        lines.append(
            f"Found worst: {worst['class']}, average precision {percent(worst['ap'])} (noise would get "
            f"{percent(worst['chance'])})."
        )
    if out := metrics["left_out"]:
        named = ", ".join(out[:5]) + (f" and {len(out) - 5} more" if len(out) > 5 else "")
        lines.append(f"Left out of the means, since no picture here has them, or all: {named}.")
    return "\n".join(one_line(line) for line in lines)
