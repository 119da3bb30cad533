"""The figures of patients, studies or series in words, for a headline and a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CHANCE = 0.5


def is_by_case(metrics: Mapping[str, Any]) -> bool:
    """Tell whether the first figure is that of groups: they have one, and that of pictures alone is not corrected."""
    corrected = "top1_counted" in metrics  # for the choice of the epoch on the scored pictures
    return "top1" in (metrics.get("cases") or {}) and not corrected and metrics["split"] != "train"


def case_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say how many groups are named right, each by one answer, or why they have none; nothing without groups."""
    cases = metrics.get("cases")
    if not cases:
        return []
    if "mixed" in cases:
        return [] if metrics.get("screening") else [f"Groups have no figures of their own: {cases['mixed']}."]
    low, high = (f"{100 * bound:.1f}" for bound in cases["top1_interval"])
    majority = cases["majority"]
    inside = ", which lies inside the interval" if cases["top1_interval"][0] <= majority["top1"] else ""
    return [
        f"Of groups {100 * cases['top1']:.1f} % are named right (95 % interval {low} to {high} %, {right_of(cases)}); "
        f'always answering "{majority["label"]}" would be right for {100 * majority["top1"]:.1f} %{inside}.',
        *_of_numbers(cases.get("number_alone") or {}, how=cases["how"]),
    ]


def _of_numbers(alone: Mapping[str, Any], *, how: str) -> list[str]:
    """Say so where the number of pictures of a group tells the classes apart, which `max` and `top` profit from."""
    if not alone.get("interval") or alone["interval"][0] <= _CHANCE <= alone["interval"][1]:
        return []
    low, high = alone["interval"]
    return [
        f"The number of their pictures alone tells groups apart (ROC-AUC {alone['value']:.3f}, {low:.3f} to "
        f"{high:.3f}), and '{how}' rises or falls with it: compare with the mean."
    ]


def right_of(cases: Mapping[str, Any]) -> str:
    """Return how many groups are named right, and how their pictures became one answer.

    >>> right_of({"how": "mean", "count": 9, "top1": 8 / 9, "pictures": {"fewest": 1, "most": 4}})
    '8 of 9, each by the mean of its 1 to 4 pictures'
    """
    fewest, most = cases["pictures"]["fewest"], cases["pictures"]["most"]
    between = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    how = "the mean" if cases["how"] == "mean" else f"'{cases['how']}'"
    right = round(cases["top1"] * cases["count"])
    pictures = "picture" if most == 1 else "pictures"
    return f"{right:,} of {cases['count']:,}, each by {how} of its {between} {pictures}"
