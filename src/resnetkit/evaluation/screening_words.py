"""What a model is worth as a test for a class, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_NAMES = {"ppv": "PPV", "npv": "NPV"}


def screening_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say what the model is worth as a test for the class that is looked for, of groups first where there are any."""
    found = metrics.get("screening") or {}
    if "finding" not in found:  # of a run that was scored before any class was looked for
        return []
    name = found["finding"]
    of_pictures = _as_test(found["pictures"][name])
    from_on = f", told from {found['threshold']:.3g} on ({found['goal']})" if found["goal"] else ""
    if "cases" in found:
        of_cases = _as_test(found["cases"][name])
        line = f"As a test for {name}{from_on}, of {found['count']:,} groups: {of_cases}; of pictures: {of_pictures}."
    else:
        why = f" Groups have no such figures: {found['mixed']}." if "mixed" in found else ""
        line = f"As a test for {name}{from_on}: {of_pictures}.{why}"
    return [line, *_stated(found)]


def _stated(found: Mapping[str, Any]) -> list[str]:
    """Say what its answers mean where the class is as frequent as stated."""
    there = found.get("at_prevalence")
    if there is None:
        return []
    values = " and ".join(f"{_NAMES[one]} {bounded(there[one], _percent, unit=' %')}" for one in _NAMES)
    share = f"{100 * there['prevalence']:.3g} %"
    return [f"Where {share} are {found['finding']}: {values}, if it finds as much there and is as rarely wrong."]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _as_test(figures: Mapping[str, Any]) -> str:
    told = [f"{name} {bounded(figures[name], _percent, unit=' %')}" for name in ("sensitivity", "specificity")]
    return ", ".join([*told, f"ROC-AUC {bounded(figures['roc_auc'], '{:.3f}'.format)}"])


def bounded(estimate: Mapping[str, Any], written: Callable[[float], str], *, unit: str = "") -> str:
    """Return a figure of `screening` with its interval, as `written`, or that it is unknown."""
    if estimate["value"] is None:
        return "unknown"
    bounds = estimate["interval"]
    between = "" if bounds is None else f" ({written(bounds[0])} to {written(bounds[1])})"
    return written(estimate["value"]) + between + unit
