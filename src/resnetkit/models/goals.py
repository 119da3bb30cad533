"""What thresholds are fitted for, as people write it."""

from __future__ import annotations

import math

from resnetkit.errors import UsageError


def goal_of(text: str, *, best: str = "f1", shares: tuple[str, str] = ("precision", "recall")) -> tuple[str, float]:
    """Return what thresholds shall reach, and how much of it: `("f1", 1.0)`, `("precision", 0.9)`, `("recall", 0.9)`.

    `best` is the name of what is made as large as it gets; `shares` those that are said with a number. Raises
    `UsageError` for anything else.
    """
    name, _, share = text.strip().partition(" ")
    try:
        wanted = float(share) if share else 1.0
    except ValueError:
        wanted = math.nan
    if (name == best and share) or name not in (best, *shares) or not 0 < wanted <= 1:
        raise UsageError(f"--goal {text!r}: choose {best}, '{shares[0]} 0.9' or '{shares[1]} 0.9'")
    if name != best and not share:
        raise UsageError(f"--goal {text}: say how much, as in '{name} 0.9'")
    return name, wanted


def screening_goal_of(text: str) -> tuple[str, float]:
    """Return likewise what a test for one class shall reach: `youden`, `sensitivity 0.95`, `specificity 0.9`."""
    return goal_of(text, best="youden", shares=("sensitivity", "specificity"))
