"""`resnetkit export`."""

from __future__ import annotations

import json

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching


@click.command()
@click.argument("model")
@click.option(
    "--to", type=click.Choice(["openvino", "onnx", "torchvision"]), default="openvino", show_default=True,
    help="The runtime; torchvision: a .pth that its own networks load.",
)  # fmt: skip
@click.option(
    "--preprocess", type=click.Choice(["inside", "outside"]), default="inside", show_default=True,
    help="inside: reads a decoded picture of any size, answers with probabilities; outside: the bare network.",
)  # fmt: skip
@click.option("--images", multiple=True, metavar="SOURCE", help="Pictures to compare the export with the model on.")
@click.option("--output", metavar="DIR", help="The folder; default: named after model and format.")
@click.option("--weights", metavar="FILE", help="A file with the published weights, where there is no network.")
@options.format_option("table", "json")
@options.threads
@options.quiet
@options.debug
def export(model: str, images: tuple[str, ...], form: str, quiet: bool, **given: str) -> None:
    """Write MODEL as a folder to hand over: model, predict.py, README.txt, and how it was compared with the original.

    Nothing is written where the export answers otherwise than the model.
    """
    from resnetkit import api

    with watching(quiet=quiet) as console:
        made = api.export(model, images=images, watcher=console, **given)  # type: ignore[arg-type]
    parity = made.parity.to_json()
    if form == "json":
        click.echo(json.dumps({"folder": str(made.folder)} | parity, ensure_ascii=False))
        return
    click.echo(
        f"{made.folder}/ answers as {made.exported.name} on {parity['pictures']} files: first class the same for "
        f"{parity['same_top1']}, probabilities within {parity['largest_difference']:.1e}"
    )
    for line in _remarks(parity):
        click.echo(line, err=True)
    click.echo(f"\nNext:\n  python {made.folder}/predict.py PHOTO\n  resnetkit predict PHOTO --model {made.folder}")


def _remarks(parity: dict[str, object]) -> list[str]:
    """Say what the comparison leaves open."""
    lines = []
    if parity["ties"]:
        lines.append(f"{len(parity['ties'])} ties between two classes fell the other way")  # type: ignore[arg-type]
    if parity["unreadable"]:
        lines.append(f"{len(parity['unreadable'])} files could not be read by both and were left out")  # type: ignore[arg-type]
    if parity["untested_modes"]:
        lines.append(f"no picture was {', '.join(parity['untested_modes'])}: not compared")  # type: ignore[arg-type]
    return lines
