"""How figures stand on a run's page: shares and their intervals in words, and the one at the top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resnetkit.words import percent

DASH = "–"


def headline(
    reached: float | None, interval: Sequence[float] | None, *, figure: str, words: str, choice: str,
    chance: float, chance_words: str, line: str, than: str,
) -> dict[str, Any]:  # fmt: skip
    """Return the figure at the top of the page with its interval, and `chance`, which takes no learning to reach.

    `figure`: its name; `line`: what reaches `chance`; `than`: what the model is then not clearly better than, where
    that lies inside the interval.
    """
    low, high = interval or (reached or 0.0, reached or 0.0)
    inside = f"That lies inside the interval: the model is not clearly better than {than}." if low <= chance else ""
    return {
        "percent": percent(reached), "words": words, "choice": choice,
        "interval": f"95 % interval {bounds(interval)}." if interval else "",
        "majority": chance_words,
        "legend": f"Dot: {figure}. Band: 95 % interval. Upright line: {line}.",
        "warning": inside, "at": round(100 * (reached or 0.0), 2), "low": round(100 * low, 2),
        "width": round(100 * (high - low), 2), "majority_at": round(100 * chance, 2),
    }  # fmt: skip


def share(value: float | None) -> str:
    """Return a share as tables have it."""
    return DASH if value is None else percent(value)


def between(value: float | None, interval: Sequence[float] | None) -> str:
    """Return a share with its interval, short enough for tables."""
    if value is None or not interval:
        return share(value)
    return f"{percent(value)} ({100 * interval[0]:.0f}–{100 * interval[1]:.0f})"


def bounds(interval: Sequence[float] | None) -> str:
    """Return an interval of shares, nothing where there is none."""
    return f"{100 * interval[0]:.1f} to {percent(interval[1])}" if interval else ""


def least_first(value: float | None) -> tuple[bool, float]:
    """Return what sorts by a figure: the least first, those that have none last."""
    return value is None, value or 0.0
