"""`resnetkit compare`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching
from resnetkit.cli.tables import print_table
from resnetkit.words import percent

if TYPE_CHECKING:
    from resnetkit.api import Compared


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
    figures = _FIGURES[found.task] + (_AREA,) * any(row.roc_auc is not None for row in found.rows)
    print_table(
        ["run", "network", "model", *figures, "trained", "photos/s"], [_cells(row, figures) for row in found.rows]
    )
    click.echo(f"\n{found.count:,} pictures that all runs were scored on and none was trained on.")
    for line in (*found.notes, *(row.verdict for row in found.rows[1:])):
        click.echo(line)
    if output is not None:
        click.echo(f"What each run said of each picture: {output}")


_AREA = "ROC-AUC"
_FIGURES = {
    "classification": ("accuracy", "95 %", "worst class"),
    "multilabel": ("all right", "95 %", "mean AP", "worst label"),
    "detection": ("mAP@.50", "95 %", "mAP@.50:.95", "F1", "worst class"),
}


def _cells(row: Compared, figures: tuple[str, ...]) -> list[str]:
    reached, interval = (row.top1, row.top1_interval) if row.map50 is None else (row.map50, row.map50_interval)
    name, share = row.worst
    more = {"mean AP": percent(row.map), "mAP@.50:.95": percent(row.map), "F1": percent(row.f1)}
    area = [] if _AREA not in figures else ["-" if row.roc_auc is None else f"{row.roc_auc:.3f}"]
    return [
        row.run,
        row.network,
        row.chosen,
        percent(reached) + (", too good" if row.chosen_here else ""),
        f"{100 * interval[0]:.1f}-{100 * interval[1]:.1f}" if interval else "-",
        *(more[figure] for figure in figures if figure in more),
        f"{name} {100 * share:.0f} %",
        *area,
        f"{row.training_seconds / 60:.1f} min",
        f"{row.images_per_second:,.0f}",
    ]
