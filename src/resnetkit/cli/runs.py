"""`resnetkit runs`."""

from __future__ import annotations

import json
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.tables import print_table
from resnetkit.errors import ResNetKitError


@click.command()
@click.argument("folder", default="runs")
@options.format_option("table", "json")
@options.debug
def runs(folder: str, form: str) -> None:
    """List the runs of FOLDER: name, data, accuracy, date, newest first."""
    from resnetkit import api

    rows = [_row(run) for run in api.runs(folder)]
    if form == "json":
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    elif rows:
        table = [[row["name"], ", ".join(row["data"]), _accuracy(row), row["started"][:16]] for row in rows]
        print_table(["run", "data", "accuracy", "started"], table)
    else:
        click.echo(f"no runs in {folder}/: resnetkit train DATA makes one", err=True)


def _row(run: Any) -> dict[str, Any]:
    """Return what a run says of itself; a file that is broken is named on stderr and stops no other run."""
    found: dict[str, Any] = {
        "metrics": None, "description": {"data": [], "epochs": None, "epochs_done": None, "started": ""},
    }  # fmt: skip
    problems = []
    for what in found:
        try:
            found[what] = getattr(run, what)
        except (ResNetKitError, OSError) as error:
            problems.append(str(error))
    metrics, said = found["metrics"], found["description"]
    for problem in problems:
        click.echo(f"resnetkit: {problem}", err=True)
    return {
        "name": run.name,
        "path": str(run.path),
        "data": said["data"],
        "epochs": said["epochs"],
        "epochs_done": said["epochs_done"],
        "top1": metrics and metrics["top1"],
        "count": metrics and metrics["count"],
        "split": metrics and metrics["split"],
        "started": said["started"],
        "problem": "; ".join(problems) or None,
    }


def _accuracy(row: dict[str, Any]) -> str:
    reached = None if row["top1"] is None else f"{100 * row['top1']:.1f} % of {row['count']} ({row['split']})"
    if row["problem"] is not None:
        return f"{reached}, the rest unreadable" if reached else "unreadable"
    if reached is None or row["epochs_done"] < row["epochs"]:
        return f"unfinished, {row['epochs_done']} of {row['epochs']} epochs"
    return reached
