"""`resnetkit resume`."""

from __future__ import annotations

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching
from resnetkit.cli.train import show_run


@click.command()
@click.argument("run")
@click.option("--epochs", type=int, help="Go on to this many epochs in all.")
@click.option("--data", multiple=True, metavar="DATA", help="Where the pictures lie now, if they moved; repeatable.")
@options.format_option("table", "json")
@options.quiet
@options.debug
def resume(run: str, epochs: int | None, data: tuple[str, ...], form: str, quiet: bool) -> None:
    """Go on with RUN where it stopped: data, recipe and place come from the run.

    It ends with the same bits as a run that was never interrupted. With --epochs the schedule is stretched: from here
    on the learning rate is what a run of that length has at this place. Pictures that moved are found by their content
    under --data, whatever they are called now, and the next time there.
    """
    from resnetkit import api

    with watching(quiet=quiet) as console:
        finished = api.resume(run, epochs=epochs, data=data, watcher=console)
    show_run(finished, form=form)
