"""`resnetkit report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--no-photos", is_flag=True, help="Leave out pictures and file names, for those that may not leave.")
@click.option(
    "--checklist", is_flag=True, help="Also write checklist.md beside it: CLAIM 2024 and STARD-AI, as far as it knows."
)
@click.option("--output", metavar="FILE", help="The page; default: report.html in the run.")
@options.format_option("table", "json")
@options.computing
def report(
    run: str, no_photos: bool, checklist: bool, output: str | None, form: str, quiet: bool, **given: Any
) -> None:
    """Write the page of a run again: one file to open, print or send.

    Pictures are read again from where they were when the run was trained; the page says which are gone. Heat maps on
    errors need: pip install "resnetkit[explain]".
    """
    from resnetkit import api

    with watching(quiet=quiet) as console:
        page = api.report(run, photos=not no_photos, output=output, watcher=console, **given)
        beside = None if output is None else Path(output).with_name("checklist.md")
        lists = api.checklist(run, output=beside) if checklist else None
    if form == "json":
        told: dict[str, Any] = {"report": str(page), "bytes": page.stat().st_size}
        if lists is not None:
            told |= {"checklist": str(lists.path), "items": lists.counts}
        click.echo(json.dumps(told))
        return
    click.echo(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
    if lists is not None:
        click.echo("\n".join([str(lists.path), *(f"  {line}" for line in lists.words)]))
