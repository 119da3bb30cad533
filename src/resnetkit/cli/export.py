"""`resnetkit export`."""

from __future__ import annotations

import json
from typing import Any

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
    help="inside: reads a decoded picture of any size, answers with probabilities or boxes; outside: the bare network.",
)  # fmt: skip
@click.option("--images", multiple=True, metavar="SOURCE", help="Pictures to compare the export with the model on.")
@click.option("--int8", is_flag=True, help="In 8-bit whole numbers (OpenVINO), calibrated on your pictures.")
@click.option("--calibrate", multiple=True, metavar="DATA", help="Labelled pictures to calibrate and score int8 on.")
@click.option(
    "--max-loss", type=click.FloatRange(0, 1),
    help="Accuracy that int8 may lose, as a fraction, or mAP@.50 of a detector; default: 0.01, of a detector 0.005.",
)  # fmt: skip
@click.option("--output", metavar="DIR", help="The folder; default: named after model and format.")
@click.option("--weights", metavar="FILE", help="A file with the published weights, where there is no network.")
@options.format_option("table", "json")
@options.threads
@options.quiet
@options.debug
def export(model: str, form: str, quiet: bool, **given: Any) -> None:
    """Write MODEL as a folder to hand over: model, predict.py, README.txt, and how it was compared with the original.

    Nothing is written where the export answers otherwise than the model.
    """
    from resnetkit import api

    with watching(quiet=quiet) as console:
        made = api.export(model, watcher=console, **given)
    parity = made.parity.to_json()
    if form == "json":
        click.echo(json.dumps({"folder": str(made.folder)} | parity, ensure_ascii=False))
        return
    click.echo(f"{made.folder}/ answers as {made.exported.name} on {made.whose}: {made.parity.words}")
    if made.cost is not None:
        click.echo(f"in int8 {made.cost.words}")
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
