"""What a model's errors cost, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnetkit.words import percent

_MOST_ERRORS = 6


def cost_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say what errors cost, and how often the costly ones came; nothing of a model that knows no costs."""
    found = metrics.get("cost")
    if not found:
        return []
    low, high = found["interval"]
    constant = found["constant"]
    line = (
        f"Errors cost {found['mean']:.3g} a picture (95 % interval {low:.2g} to {high:.2g}); its most probable classes "
        f'would cost {found["most_probable"]["mean"]:.3g}, always telling "{constant["label"]}" {constant["mean"]:.3g}'
    )
    if found["mean"] >= constant["mean"]:
        line += ": the model is no better than that"
    elif high >= constant["mean"]:
        line += ", which lies inside the interval: the model is not clearly better than that"
    lines = [f"{line}. Costs change what is told of {found['changed']:,}."]
    errors = sorted(found["errors"], key=lambda one: -one["cost"] * max(one["count"], 0.5))
    lines += [f"{error_words(one)}." for one in errors[:_MOST_ERRORS]]
    if len(errors) > _MOST_ERRORS:
        lines.append(f"{len(errors) - _MOST_ERRORS} more errors with a cost of their own are in metrics.json.")
    return lines if found["tempered"] else [*lines, untempered()]


def untempered() -> str:
    """Return what to say of costs that are weighed by probabilities of no fitted temperature."""
    return (
        "Its temperature was never fitted, so it may be too sure for costs to weigh much: --calibrated FILE on "
        "held-out pictures makes a model that was."
    )


def error_words(error: Mapping[str, Any]) -> str:
    """Return how often one error came, and how often it may, in words."""
    return f"{error['true']} told {error['told']}, at {error['cost']:g}: {costly(error)}"


def costly(error: Mapping[str, Any]) -> str:
    """Return how often it came among pictures of the true class, and the end of the interval of that share."""
    if error["interval"] is None:
        return f"no {error['true']} among these pictures"
    return f"{error['count']:,} of {error['of']:,}, {percent(error['interval'][1])} at most"
