"""`resnetkit explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching
from resnetkit.words import percent

_MOST_ROWS = 50


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--model", required=True, help="A run, a checkpoint file or a catalog name.")
@click.option("--class", "label", metavar="NAME", help="Explain this class, in place of the most probable ones.")
@click.option(
    "--method", type=click.Choice(["gradcam", "occlusion"]), default="gradcam", show_default=True,
    help="gradcam: by gradients, quick and coarse; occlusion: by covering parts of the picture, slower.",
)  # fmt: skip
@click.option("--top-k", type=click.IntRange(min=1), default=3, show_default=True, help="Classes side by side.")
@click.option("--output", required=True, metavar="DIR", help="Folder for the pictures and explanations.json.")
@options.format_option("table", "json")
@options.computing
def explain(
    sources: tuple[str, ...], model: str, label: str | None, method: str, top_k: int, output: str, form: str,
    quiet: bool, device: str, threads: int | None,
) -> int:  # fmt: skip
    """Show what in a picture speaks for a class: a heat map over it, and a score that says how good the map is.

    Each picture becomes a PNG in DIR with the most probable classes side by side. Nothing is overwritten. Pictures
    that cannot be read are reported and the rest go on; the exit code is then 4 (3 when none could be read).
    """
    from resnetkit import api

    with watching(quiet=quiet) as console:
        rows, path = api.explain_into(
            Path(output), *sources, model=model, label=label, method=method, top_k=top_k, watcher=console,
            device=device, threads=threads,
        )  # fmt: skip
    if form == "json":
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        _show(rows, path)
    failed = sum(row["status"] == "error" for row in rows)
    return 0 if not failed else 3 if failed == len(rows) else 4


def _show(rows: list[dict[str, Any]], path: Path) -> None:
    from resnetkit.cli.tables import print_table
    from resnetkit.words import one_line, shortened

    lines = [
        (
            shortened(row["source"]), one_line(one["label"]), percent(one['probability']),
            f"{one['deletion']:.2f} ({one['random_deletion']:.2f})",
            f"{one['insertion']:.2f} ({one['random_insertion']:.2f})", one["verdict"],
        )
        for row in rows for one in row["classes"]
    ]  # fmt: skip
    if len(lines) > _MOST_ROWS:
        better = sum(line[-1].startswith("better") for line in lines)
        click.echo(f"{len(rows):,} pictures; {better:,} of {len(lines):,} heat maps are better than a random map")
    elif lines:
        print_table(("picture", "class", "probability", "deletion (random)", "insertion (random)", "the map is"), lines)
    for row in rows:
        if row["error"]:
            click.echo(f"resnetkit: {one_line(row['error'])}", err=True)
    click.echo(f"\nHeat maps and {path.name}: {path.parent}/")
