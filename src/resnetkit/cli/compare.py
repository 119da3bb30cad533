"""`resnetkit compare`."""

from __future__ import annotations

import json
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching
from resnetkit.cli.tables import print_table
from resnetkit.words import percent


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--output", metavar="FILE.csv", help="Write what each run said of each picture.")
@options.engine
@options.format_option("table", "json")
@options.computing
def compare(runs: tuple[str, ...], output: str | None, form: str, quiet: bool, **computing: Any) -> None:
    """Compare runs with the first one, on the pictures that all were scored on."""
    from resnetkit import api

    with watching(quiet=quiet) as console:
        found = api.compare(*runs, output=output, watcher=console, **computing)
    if form == "json":
        click.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1))
        return
    several = found.task == "multilabel"
    figures = ["all right", "95 %", "mean AP", "worst label"] if several else ["accuracy", "95 %", "worst class"]
    print_table(
        ["run", "network", "model", *figures, "trained", "photos/s"], [_cells(row, several) for row in found.rows]
    )
    click.echo(f"\n{found.count:,} pictures that all runs were scored on and none was trained on.")
    for line in (*found.notes, *(row.verdict for row in found.rows[1:])):
        click.echo(line)
    if output is not None:
        click.echo(f"What each run said of each picture: {output}")


def _cells(row: object, several: bool) -> list[str]:
    from resnetkit.api import Compared

    assert isinstance(row, Compared)
    low, high = row.top1_interval
    name, share = row.worst
    return [
        row.run,
        row.network,
        row.chosen,
        percent(row.top1) + (", too good" if row.chosen_here else ""),
        f"{100 * low:.1f}-{100 * high:.1f}",
        *([percent(row.map)] if several else []),
        f"{name} {100 * share:.0f} %",
        f"{row.training_seconds / 60:.1f} min",
        f"{row.images_per_second:,.0f}",
    ]
