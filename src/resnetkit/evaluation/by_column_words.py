"""What `metrics.json` says by the values of columns, as tables in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from resnetkit.data.columns import FEWEST
from resnetkit.words import counted, one_line

WIDTH = 80
WORDS = {"sensitivity": "sensitivity", "specificity": "specificity", "auc": "ROC-AUC", "accuracy": "accuracy"}
_ON_SCREEN = ("sensitivity", "specificity", "auc")  # of a test, as many as fit


def by_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines of at most 80 columns for each column that the figures were asked by, then what differs."""
    by = metrics.get("by")
    if by is None:
        return
    for name, column in by["columns"].items():
        of = f" as a test for {by['finding']}" if "finding" in by else ""
        yield f"By {name}{of}, in % with 95 % intervals:"
        yield from _table(column, _ON_SCREEN if of else ("accuracy",))
        yield from (f"  {line}" for line in notes(column))
    yield from by["warnings"]
    if not by["warnings"]:
        yield said_of_none(by, list(by["columns"]))


def said_of_none(by: Mapping[str, Any], columns: Collection[str]) -> str:
    """Say that nothing differs beyond chance between the values of these columns, or that nothing could be compared."""
    count = len(by["contrasts"])
    if not any(contrast["column"] in columns for contrast in by["contrasts"]):
        return (
            f"Nothing could be compared: that needs two values of {FEWEST} pictures each, some named wrong, some right."
        )
    return f"No figure differs beyond chance, adjusted for {counted(count, 'comparison')}; that proves no equality."


def notes(column: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is to be said of pictures that no figure of a column counts."""
    few = [one for one in column["values"] if "figures" not in one]
    if few:
        told = ", ".join(f"{one['value']} ({one['count']})" for one in few)
        yield f"fewer than {FEWEST} pictures, so no figures: {told}"
    if column["without"]:
        yield f"{counted(column['without'], 'picture')} without a value"
    if column["no_number"]:
        yield f"{counted(column['no_number'], 'picture')} whose value is no number"


def figure(name: str, estimate: Mapping[str, Any]) -> str:
    """Return a figure with its interval in whole points: `95.1 (91-98)` in percent, of an area `0.951 (0.91-0.98)`."""
    if estimate["value"] is None:
        return "unknown"
    area, interval = name == "auc", estimate["interval"]
    value = f"{estimate['value']:.3f}" if area else f"{100 * estimate['value']:.1f}"
    if interval is None:
        return value
    low, high = (f"{bound:.2f}" if area else f"{100 * bound:.0f}" for bound in interval)
    return f"{value} ({low}-{high})"


def _table(column: Mapping[str, Any], figures: Sequence[str]) -> Iterator[str]:
    """Yield a header and a row for each value that has figures; long values are cut."""
    header = ["pictures", *(WORDS[name] for name in figures)]
    rows = [
        (one_line(one["value"]), [f"{one['count']:,}", *(figure(name, one["figures"][name]) for name in figures)])
        for one in column["values"]
        if "figures" in one
    ]
    widths = [max(len(cell) for cell in cells) for cells in zip(header, *(cells for _, cells in rows), strict=True)]
    room = WIDTH - 2 - sum(width + 2 for width in widths)
    longest = min(room, max([cell_len(value) for value, _ in rows] + [5]))
    for value, cells in [("value", header), *rows]:
        if cell_len(value) > longest:
            value = set_cell_size(value, longest - 1) + "…"
        told = "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        yield "  " + set_cell_size(value, longest) + told
