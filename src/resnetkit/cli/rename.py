"""`resnetkit rename`."""

from __future__ import annotations

import json
import shlex

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching


@click.command()
@click.argument("model")
@click.argument("names", nargs=-1, required=True, metavar="OLD=NEW...")
@click.option("--output", required=True, metavar="FILE", help="The checkpoint to write, FILE.safetensors.")
@options.format_option("table", "json")
@options.quiet
@options.debug
def rename(model: str, names: tuple[str, ...], output: str, form: str, quiet: bool) -> None:
    """Correct what the classes of MODEL are called, without training: a copy with the same weights.

    MODEL stays as it is. Weights of other programs get names so: 0=cat 1=dog. All pairs are taken at once, so a=b b=a
    swaps two names.
    """
    from resnetkit import api
    from resnetkit.words import escaped

    with watching(quiet=quiet) as console:
        made = api.rename(model, _pairs(names), output=output, watcher=console)
    if form == "json":
        click.echo(json.dumps(made.to_json(), ensure_ascii=False))
        return
    for old, new in made.renamed.items():
        click.echo(escaped(f"{old} is now {new}"))
    click.echo(f"{made.path}: {len(made.renamed)} of {len(made.classes)} classes renamed, the weights as they were")
    click.echo(f"\nNext:\n  resnetkit predict PICTURES --model {shlex.quote(str(made.path))}")


def _pairs(names: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for pair in names:
        if pair.count("=") != 1:
            raise click.UsageError(f"{pair}: write it as OLD=NEW (names with = in them: resnetkit.rename in Python)")
        old, _, new = pair.partition("=")
        if old in pairs:
            raise click.UsageError(f"{pair}: {old} gets two names: leave one of them out")
        pairs[old] = new
    return pairs
