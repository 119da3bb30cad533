"""Plain tables that keep their columns in a pipe and with wide letters."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.cells import cell_len


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print left-aligned columns two blanks apart; the last is never padded."""
    widths = [max(cell_len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())
