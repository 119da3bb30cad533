"""`resnetkit download`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from resnetkit import files
from resnetkit.cli import options
from resnetkit.cli.progress import watching


@click.command()
@click.argument("name")
@click.option("--output", metavar="FILE", help="Also copy the verified file here, for a computer without network.")
@options.quiet
@options.debug
def download(name: str, output: str | None, quiet: bool) -> None:
    """Fetch the published weights NAME (resnet18.imagenet1k_v1, or resnet18 for the most accurate) and verify them."""
    from resnetkit.models import catalog
    from resnetkit.models.hub import fetch_weights

    record = catalog.default_record(name, purpose="accuracy") if "." not in name else None
    record = record or catalog.record(name)
    with watching(quiet=quiet) as console, console.counting(f"fetching {record.name}", " bytes") as progress:
        path = fetch_weights(record, progress=progress)
    if output is not None:
        place = Path(output) / path.name if Path(output).is_dir() else Path(output)
        with files.replacing(place) as temporary:
            shutil.copyfile(path, temporary)
        path = place
    click.echo(f"{path}")
    if not quiet:
        origin = f"verified against {record.checksum}" if record.checksum else "part of this package"
        click.echo(f"{origin}; licence: {record.license}", err=True)
        click.echo(f"on a computer without network: --model {record.arch} --weights {path.name}", err=True)
