"""`resnetkit runs`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.tables import print_table
from resnetkit.errors import ResNetKitError, problem_line
from resnetkit.words import percent


@click.command()
@click.argument("folder", default="runs")
@options.format_option("table", "json")
@options.debug
def runs(folder: str, form: str) -> None:
    """List the runs of FOLDER: name, data, what was reached, date, newest first."""
    from resnetkit import api

    found = [_row(run) for run in api.runs(folder)]
    rows = [row for row, _ in found]
    if form == "json":
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    elif rows:
        table = [
            [row["name"], ", ".join(row["data"]), _accuracy(row, metrics), row["epoch"] or "", row["started"][:16]]
            for row, metrics in found
        ]
        figure = "accuracy" if not any("map" in row for row in rows) else "reached"
        print_table(["run", "data", figure, "model", "started"], table)
    else:
        click.echo(f"no runs in {folder}/: resnetkit train DATA makes one", err=True)


def _row(run: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return what a run says of itself, and its figures; a broken file is named on stderr and stops no other run."""
    found: dict[str, Any] = {
        "metrics": None, "choice": None, "header": None,
        "description": dict.fromkeys(("epochs", "epochs_done", "folds", "folds_begun")) | {"data": [], "started": ""},
    }  # fmt: skip
    problems: dict[str, None] = {}
    reads: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("metrics", run.folder.metrics), ("header", lambda: _header(run)),
        ("description", lambda: run.description), ("choice", lambda: run.choice),
        ("metrics", lambda: run.metrics),
    )  # fmt: skip
    for what, read in reads:
        if what == "choice" and not run.folder.state.is_dir():
            break  # which was said
        try:
            found[what] = read()
        except (ResNetKitError, OSError) as error:
            problems[problem_line(error, source=str(run.path))] = None
    metrics, said, chosen = found["metrics"], found["description"], found["choice"]
    for problem in problems:
        click.echo(f"resnetkit: {problem}", err=True)
    row = {
        "name": run.name,
        "path": str(run.path),
        "data": said["data"],
        "epochs": said["epochs"],
        "epochs_done": said["epochs_done"],
        "folds": said["folds"],
        "folds_begun": said["folds_begun"],
        "top1": metrics and metrics.get("top1"),
        **{name: metrics[name] for name in ("map", "map50") if metrics and name in metrics},
        "count": metrics and metrics["count"],
        "split": metrics and metrics["split"],
        "epoch": chosen and chosen.short,
        "chosen": chosen and chosen.to_json(),
        "judged": _judged(metrics or {}),
        "started": said["started"],
        "problem": "; ".join(problems) or None,
    }
    return row, metrics


def _header(run: Any) -> Any:
    """Return what the model of a run says of itself, None before there is one; raises `DataError` for a cut file."""
    from resnetkit.models.checkpoint import read_header

    return read_header(run.folder.best) if run.folder.best.is_file() else None


def _judged(metrics: dict[str, Any]) -> str:
    """Say what became of an accuracy whose pictures chose the epoch."""
    if "top1_counted" in metrics:
        return "corrected for the choice"
    return "too good: they chose the epoch" if {"top1", "map"} & {*metrics.get("optimistic", ())} else ""


def _accuracy(row: dict[str, Any], metrics: dict[str, Any] | None) -> str:
    from resnetkit.training.run import of_what
    from resnetkit.training.run import reached as reached_by

    part = f"by {row['folds']} folds" if row["split"] == "folds" else row["split"]
    judged = f"{part}, {row['judged']}" if row["judged"] else part
    reached = f"{percent(reached_by(metrics))} {of_what(metrics)} ({judged})" if metrics else None
    if row["problem"] is not None:
        return f"{reached}, the rest unreadable" if reached else "unreadable"
    if reached is None and row["folds"] and not row["epochs_done"]:
        return f"unfinished, fold {max(1, row['folds_begun'])} of {row['folds']}"
    if reached is None or row["epochs_done"] < row["epochs"]:
        return f"unfinished, {row['epochs_done']} of {row['epochs']} epochs"
    return reached
