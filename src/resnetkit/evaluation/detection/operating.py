"""What a person gets at the working point: what is found, what is right of what is said, and false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnetkit.evaluation.detection.matching import Matches
from resnetkit.evaluation.uncertainty import accuracy_interval, keys, student, summed

_Z = 1.959964
_MOST_POINTS = 101


def at_work(
    matches: Matches, at: np.ndarray, groups: Sequence[str | None] | None = None, *, bounded: bool = True
) -> dict[str, Any]:
    """Return `precision`, `recall`, `f1`, `false_alarms` per picture and their intervals, where found objects are said.

    `at`: from which score on, `[K]`, or `[N, K]` of each picture. An object is found by half of it at least; what lies
    in a crowd counts neither way. Intervals take objects of a picture, or of a group, as what resembles each other; not
    `bounded` there are none.
    """
    said = matches.said(at)
    right, shown = matches.each(said & matches.right[0]).sum(axis=1), matches.each(said).sum(axis=1)
    objects = matches.objects.sum(axis=1)
    found = {"precision": share(right.sum(), shown.sum()), "recall": share(right.sum(), objects.sum())}
    return {
        "objects": int(objects.sum()), "said": int(shown.sum()), "right": int(right.sum()), **found,
        "precision_interval": share_interval(right, shown, groups) if bounded else None,
        "recall_interval": share_interval(right, objects, groups) if bounded else None,
        "f1": share(2 * right.sum(), shown.sum() + objects.sum()),
        "false_alarms": float((shown - right).mean()) if len(objects) else None,
        "false_alarms_interval": rate_interval(shown - right, groups) if bounded and len(objects) else None,
    }  # fmt: skip


def of_classes(
    matches: Matches, at: np.ndarray, groups: Sequence[str | None] | None = None, *, bounded: bool = True
) -> list[dict[str, Any]]:
    """Return the same for each class, and its `support`: how many objects there are of it."""
    said = matches.said(at)
    shown, right = matches.each(said), matches.each(said & matches.right[0])
    found = []
    for label, objects in enumerate(matches.objects.T):
        hits, of = right[:, label], shown[:, label]
        found.append({
            "support": int(objects.sum()), "said": int(of.sum()), "right": int(hits.sum()),
            "precision": share(hits.sum(), of.sum()), "recall": share(hits.sum(), objects.sum()),
            "f1": share(2 * hits.sum(), of.sum() + objects.sum()),
            "recall_interval": share_interval(hits, objects, groups) if bounded else None,
            "precision_interval": share_interval(hits, of, groups) if bounded else None,
        })  # fmt: skip
    return found


def counts(matches: Matches, at: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Return how far the counts that are said are from the true ones, of each class and of all together.

    `mean_error`: of objects a picture; `bias`: above 0 where too many are said; `r2` and `correlation`, None where all
    pictures have as many; `right`: the share of pictures with the true count, of all together that with the true count
    of every class. Pictures with a crowd of a class do not count for it, and for all together none with any.
    """
    said, true = matches.each(matches.said(at)), matches.objects
    clear = ~matches.crowds
    each = {name: _counted(said[clear[:, k], k], true[clear[:, k], k]) for k, name in enumerate(classes)}
    whole = clear.all(axis=1)
    together = _counted(said[whole].sum(axis=1), true[whole].sum(axis=1))
    together["right"] = share((said == true)[whole].all(axis=1).sum(), whole.sum())
    return {**together, "per_class": each}


def curve_of(matches: Matches, label: int) -> dict[str, list[float]]:
    """Return `recall`, `precision` and `score` of a class from each score on, at most 101 of them.

    They are what was counted, with nothing put between; without objects they are empty.
    """
    own = matches.of(label)
    own = own[~matches.ignored[0, own]]
    objects = int(matches.objects[:, label].sum())
    last = np.flatnonzero(np.append(np.diff(matches.scores[own]) != 0, True)) if len(own) and objects else own[:0]
    last = last[np.unique(np.linspace(0, len(last) - 1, min(len(last), _MOST_POINTS)).round().astype(int))]
    hits = matches.right[0, own].cumsum()[last]
    return {
        "recall": _rounded(hits / max(1, objects)), "precision": _rounded(hits / (last + 1)),
        "score": _rounded(matches.scores[own][last]),
    }  # fmt: skip


def share(part: float, whole: float) -> float | None:
    """Return a share, None of nothing."""
    return float(part / whole) if whole else None


def share_interval(parts: np.ndarray, wholes: np.ndarray, groups: Sequence[str | None] | None) -> list[float] | None:
    """Return the interval of the sum of `parts` over that of `wholes`, both `[N]` counts of pictures."""
    if not wholes.sum():
        return None
    correct = np.repeat(np.tile([True, False], len(parts)), np.stack([parts, wholes - parts], axis=1).ravel())
    found = accuracy_interval(correct, np.repeat(keys(len(parts), groups), wholes).tolist())
    return [found.low, found.high]


def rate_interval(numbers: np.ndarray, groups: Sequence[str | None] | None) -> list[float]:
    """Return the interval of the mean of numbers of events, `[N]` of pictures, after Garwood (1936).

    That is of events that come singly; of those that come in bunches it is that of as many fewer as make their sum vary
    as much.
    """
    from scipy.special import gammaincinv

    units = summed(np.stack([numbers, np.ones(len(numbers))], axis=1).astype(np.float64), groups)
    total, mean, bunch = float(numbers.sum()), float(numbers.mean()), 1.0
    if len(units) > 1 and total:
        away = units[:, 0] - mean * units[:, 1]
        spread = float((away**2).sum()) * len(units) / (len(units) - 1) / total
        bunch = max(1.0, spread) * (student(len(units) - 1) / _Z) ** 2
    told = total / bunch
    low = float(gammaincinv(told, 0.025)) if total else 0.0
    return [low * bunch / len(numbers), float(gammaincinv(told + 1, 0.975)) * bunch / len(numbers)]


def _counted(said: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    away = (said - true).astype(np.float64)
    spread = float(((true - true.mean()) ** 2).sum()) if len(true) else 0.0
    varies = spread > 0 and bool(np.ptp(said) > 0)
    return {
        "pictures": len(true), "true": int(true.sum()), "said": int(said.sum()),
        "mean_error": float(np.abs(away).mean()) if len(true) else None,
        "bias": float(away.mean()) if len(true) else None,
        "r2": 1 - float((away**2).sum()) / spread if spread > 0 else None,
        "correlation": float(np.corrcoef(said, true)[0, 1]) if varies else None,
        "right": share((away == 0).sum(), len(true)),
    }  # fmt: skip


def _rounded(values: np.ndarray) -> list[float]:
    found: list[float] = np.round(values, 6).tolist()
    return found
