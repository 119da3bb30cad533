"""`resnetkit report`."""

from __future__ import annotations

import json
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--no-photos", is_flag=True, help="Leave out pictures and file names, for those that may not leave.")
@click.option("--output", metavar="FILE", help="The page; default: report.html in the run.")
@options.format_option("table", "json")
@options.computing
def report(run: str, no_photos: bool, output: str | None, form: str, quiet: bool, **given: Any) -> None:
    """Write the page of a run again: one file to open, print or send.

    Pictures are read again from where they were when the run was trained; the page says which are gone. Heat maps on
    errors need: pip install "resnetkit[explain]".
    """
    from resnetkit import api

    with watching(quiet=quiet) as console:
        page = api.report(run, photos=not no_photos, output=output, watcher=console, **given)
    if form == "json":
        click.echo(json.dumps({"report": str(page), "bytes": page.stat().st_size}))
    else:
        click.echo(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
