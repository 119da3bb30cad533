"""`resnetkit train`."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching
from resnetkit.runtime import place


@click.command()
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option("--model", help="Network: resnet18, resnet50, ...; else that of the weights. See: resnetkit models.")
@click.option("--weights", default="auto", metavar="auto|none|NAME|FILE", help="Weights to start from.")
@click.option("--recipe", metavar="NAME", help="How to train; see: resnetkit recipes.")
@click.option("--epochs", type=int, help="Passes over the training pictures.")
@click.option("--batch-size", type=int, help="Pictures per step.")
@click.option("--image-size", metavar="N|HxW", help="Pixels of what the network sees: a side, or height x width.")
@click.option("--stem", type=click.Choice(["auto", "imagenet", "cifar"]), default="auto", help="First layers.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same bits.")
@click.option("--name", help="Name of the run, in runs/.")
@click.option("--output", metavar="DIR", help="Folder of the run, in place of --name.")
@options.task
@click.option("--bad-images", type=click.Choice(["stop", "skip"]), default="stop", help="When a file is unreadable.")
@click.option("--group-by", metavar="REGEX|COLUMN|TAG", help="Keep pictures of one group in one part.")
@click.option("--split-from", metavar="RUN", help="Hold out the pictures that RUN held out.")
@click.option("--folds", type=int, metavar="K", help="Hold out every picture once, in K parts; then fit on all.")
@options.rename
@click.option("--limit", type=int, help="Use at most this many pictures of each part.")
@click.option("--dry-run", is_flag=True, help="Read the data, print what would be done, and stop.")
@options.cost
@options.set_option
@options.format_option("table", "json")
@options.computing
def train(data: tuple[str, ...], rename: tuple[str, ...], **given: Any) -> None:
    """Train or fine-tune a ResNet.

    DATA is a folder with a folder per class (or with train/ and val/ of such), a .zip or .tar of one, two or more
    folders (one class each), a CSV (image_path,label; a;b in a cell or a column per label: several), a MedMNIST .npz,
    a name (cifar10, digits), or pictures with marked objects: COCO .json, Pascal VOC, YOLO, pictures of masks. Videos
    are in class folders, or in a CSV (video,start,end,label).
    """
    from resnetkit import api

    form, quiet, dry_run = given.pop("form"), given.pop("quiet"), given.pop("dry_run")
    target = {name: given.pop(name) for name in ("name", "output")}
    given |= {"rename": options.renamed(rename)}
    with watching(quiet=quiet) as console:
        command = place().command(*sys.argv[1:])
        if dry_run:
            decided, report = api.plan(*data, watcher=console, command=command, **given)
            if place().rank > 0:
                return
            if form == "json":
                page = {name: getattr(decided, name).to_json() for name in ("spec", "preprocess", "recipe")}
                page |= {"weights": decided.weights, "data": report.to_json()}
                page |= {"folds": list(decided.folds), "fits": 1 + len(decided.folds)}
                page |= {"seconds": round(decided.seconds or 0.0, 1)}
                click.echo(json.dumps(page, ensure_ascii=False))
            elif quiet:
                click.echo("\n".join([*decided.reasons, str(report)]))
            return
        run = api.train(*data, watcher=console, command=command, **target, **given)
    show_run(run, form=form)


def show_run(run: Any, *, form: str) -> None:
    """Print what a finished run reached, where its pictures are, and what to type next; of several ranks the first."""
    if place().rank > 0:
        return
    metrics = run.metrics
    if form == "json":
        click.echo(json.dumps({"run": str(run.path), "metrics": metrics}, ensure_ascii=False))
        return
    if metrics is not None:
        from resnetkit import api

        click.echo(api.headline(metrics))
    pictures = ", ".join(sorted(path.name for path in run.path.glob("*.png")))
    click.echo(f"\nPictures in {run.path}/:\n  {pictures}")
    if (page := run.path / "report.html").is_file():
        click.echo(f"All of it on one page: {page}")
    click.echo("Next:")
    click.echo(f"  resnetkit predict PICTURES --model {shlex.quote(str(run.path))}")
    click.echo(f"  resnetkit evaluate DATA --model {shlex.quote(str(run.path))}")
