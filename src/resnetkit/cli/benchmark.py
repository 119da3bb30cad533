"""`resnetkit benchmark`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching
from resnetkit.cli.tables import print_table
from resnetkit.words import percent


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--data", multiple=True, metavar="SOURCE", help="Pictures to compare the answers on, best with labels.")
@click.option("--seconds", type=click.FloatRange(0.1), default=4.0, show_default=True, help="Time for each way.")
@click.option("--output", metavar="DIR", help="Folder for benchmark.json and benchmark.png.")
@options.format_option("table", "json")
@options.computing
def benchmark(models: tuple[str, ...], output: str | None, form: str, quiet: bool, **given: Any) -> None:
    """Measure how fast MODEL answers here: every engine and precision, each in a process of its own.

    Several models, such as a run and its int8 export, are compared with the first.
    """
    from resnetkit import api

    with watching(quiet=quiet) as console:
        rows = api.benchmark(*models, watcher=console, **given)
    best = api.recommended(rows)
    if output is not None:
        _write(rows, Path(output))
    if form == "json":
        click.echo(json.dumps([row.to_json() for row in rows], ensure_ascii=False, indent=1))
        return
    _print(rows)
    compared = "" if best.agreement is None else f", {percent(best.agreement)} of its answers are the reference's"
    click.echo(f"\nrecommended: --engine {best.engine} --precision {best.precision}{compared}")
    if best.agreement is None:
        click.echo("answers were not compared: add --data PICTURES")


def _print(rows: list[Any]) -> None:
    models = {row.model for row in rows}
    compared = any(row.agreement is not None for row in rows)
    labelled = any(row.accuracy is not None for row in rows)
    header = ["engine", "in", "alone p50", "p99", "many", "memory", "load", "cold start"]
    header = [*(["model"] if len(models) > 1 else []), *header]
    header += [*(["same"] if compared else []), *(["right"] if labelled else [])]
    table = []
    for row in rows:
        cells = [
            row.engine, row.precision, f"{1e3 * row.latency_p50_s:.1f} ms", f"{1e3 * row.latency_p99_s:.1f} ms",
            f"{row.images_per_second:,.0f}/s", f"{row.memory_bytes / 1e6:,.0f} MB", f"{row.load_s:.1f} s",
            f"{row.cold_start_s:.1f} s",
        ]  # fmt: skip
        cells = [*([Path(row.model).name] if len(models) > 1 else []), *cells]
        cells += [percent(row.agreement)] if compared else []
        cells += [percent(row.accuracy)] if labelled else []
        table.append(cells)
    print_table(header, table)


def _write(rows: list[Any], folder: Path) -> None:
    from resnetkit import files
    from resnetkit.report.drawing import plots
    from resnetkit.runtime import cpu_name

    figures = {"machine": cpu_name(), "rows": [row.to_json() for row in rows]}
    files.write_text(folder / "benchmark.json", json.dumps(figures, ensure_ascii=False, indent=1) + "\n")
    plots.speeds([row.to_json() for row in rows], folder / "benchmark.png", machine=cpu_name())
