"""`resnetkit predict`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import ConsoleWatcher, watching


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--model", help="A catalog name (default: resnet18), a run or a checkpoint file.")
@click.option("--weights", metavar="FILE", help="A file with the published weights, where there is no network.")
@click.option("--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Classes per picture.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Pictures per pass; default: what suits the device.")
@click.option("--output", metavar="FILE", help="Write .csv, .json or .jsonl in place of stdout.")
@click.option("--sort-into", metavar="DIR", help="Copy the pictures into a folder per predicted class.")
@options.engine
@options.format_option("table", "json", "jsonl", "csv")
@options.computing
def predict(
    sources: tuple[str, ...], model: str | None, top_k: int, batch_size: int | None, output: str | None,
    sort_into: str | None, form: str, quiet: bool, **given: Any,
) -> int:  # fmt: skip
    """Name what is on pictures: files, folders, archives, globs.

    Pictures that cannot be read are reported and the rest go on; the exit code is then 4 (3 when none could be read).
    """
    from resnetkit import api
    from resnetkit.data.sources import open_pictures
    from resnetkit.inference import output as outputs
    from resnetkit.inference import sorting

    if output is not None:
        wanted = outputs.format_of(Path(output))
        if form not in ("table", wanted):
            raise click.UsageError(f"--format {form} contradicts --output {output}: the suffix sets the format")
    pictures = open_pictures(*sources)
    if sort_into is not None:
        sorting.refuse_own_output(pictures, Path(sort_into))
    with watching(quiet=quiet) as console:
        if model is None and given["weights"] is None:
            console.note(_which_model(api.runs()))
        if model is None and given["weights"] is not None:
            model = given.pop("weights")  # the file says which network it is
        opened = api.load(model or "resnet18", watcher=console, **given)
        console.note(opened.computes)
        predictions, tally = [], outputs.Tally()
        with contextlib.ExitStack() as stack:
            if output is not None:
                write = stack.enter_context(outputs.to_file(Path(output), top_k=top_k))
            else:
                write = stack.enter_context(outputs.to_stream(sys.stdout, format=form, top_k=top_k))  # type: ignore[arg-type]
            show = stack.enter_context(console.counting("naming pictures"))
            for prediction in opened.predictor.predict_many(
                pictures, top_k=top_k, batch_size=batch_size, threads=opened.runtime.threads
            ):
                write(prediction)
                tally.add(prediction)
                show(tally.total, len(pictures))
                if sort_into is not None:
                    predictions.append(prediction)
        if pictures.ignored:
            console.note(f"{outputs.counted(len(pictures.ignored), 'file')} left out, being no pictures")
        if output is not None or tally.errors:
            console.note(f"{tally}" + (f"; rows in {output}" if output else ""))
        if sort_into is not None:
            _sort(predictions, Path(sort_into), pictures, opened.classes, console)
    return tally.exit_code


def _which_model(runs: list[Any]) -> str:
    """Say which model answers where none was asked for, and which might have been meant."""
    newest = f"; for your newest run: --model {runs[0].path}" if runs else ""
    return f"answering: resnet18 with its ImageNet weights{newest}"


def _sort(predictions: list[Any], directory: Path, pictures: Any, classes: Any, console: ConsoleWatcher) -> None:
    from resnetkit.inference import sorting

    plan = sorting.sort_into(predictions, directory, pictures, classes=classes)
    console.note(f"copying {plan}")
    with console.counting("copying") as show:
        for done, _ in enumerate(sorting.execute(plan, pictures), start=1):
            show(done, len(plan.copies))
