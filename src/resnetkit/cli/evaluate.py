"""`resnetkit evaluate`."""

from __future__ import annotations

import json
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching


@click.command()
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option("--model", required=True, help="A run, a checkpoint file or a catalog name.")
@click.option("--split", type=click.Choice(["auto", "train", "val", "test"]), default="auto", help="Part to score.")
@click.option(
    "--tta", type=click.Choice(["none", "flip", "flip_shift"]), default="none",
    help="Report what averaging over mirrored (and shifted) views reaches, beside the plain figures.",
)  # fmt: skip
@click.option("--output", metavar="DIR", help="Folder for metrics.json, predictions.csv and the pictures.")
@click.option("--bad-images", type=click.Choice(["stop", "skip"]), default="stop", help="When a file is unreadable.")
@click.option(
    "--group-by", metavar="REGEX|COLUMN|TAG",
    help="Figures by patient, study, series or folder too; default: as the run was trained.",
)  # fmt: skip
@options.aggregate
@options.rename
@click.option("--limit", type=int, help="Score at most this many pictures.")
@click.option("--outliers", metavar="FOLDER", help="Pictures of something else: how many get an answer all the same.")
@click.option(
    "--calibrated", metavar="FILE",
    help="Write a copy of the model whose temperature and thresholds are fitted on the pictures scored.",
)  # fmt: skip
@click.option(
    "--goal", metavar="AIM",
    help="Of labels or objects: thresholds for f1, 'precision 0.9' or 'recall 0.9'; of --finding: for youden, "
    "'sensitivity 0.95' or 'specificity 0.9'.",
)  # fmt: skip
@click.option("--finding", metavar="CLASS", help="The class that is looked for: --calibrated fits its threshold.")
@click.option("--prevalence", type=float, metavar="SHARE", help="How frequent it is where the model shall be used.")
@options.cost
@options.by
@options.engine
@options.format_option("table", "json")
@options.computing
def evaluate(data: tuple[str, ...], rename: tuple[str, ...], form: str, quiet: bool, **given: Any) -> None:
    """Score a model on labelled pictures.

    --split auto takes the test part, else the validation part, else everything.
    """
    from resnetkit import api

    with watching(quiet=quiet) as console:
        result = api.evaluate(*data, watcher=console, rename=options.renamed(rename), **given)
    if form == "json":
        click.echo(json.dumps(result.metrics, ensure_ascii=False))
        return
    click.echo(result.headline)
    if result.folder is not None:
        click.echo(f"\nFigures and pictures: {result.folder}/")
