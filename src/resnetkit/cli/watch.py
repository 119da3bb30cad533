"""`resnetkit watch`."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching

if TYPE_CHECKING:
    from resnetkit.api.watching import Watched
    from resnetkit.checking.drift.lookout import Alarm
    from resnetkit.watcher import Watcher

ALARM = 8


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--model", required=True, help="A run, a checkpoint file, an export or a catalog name.")
@click.option(
    "--reference", metavar="DATA|FILE",
    help="Pictures it did not learn from, or a reference.npz; default: the one beside the model.",
)  # fmt: skip
@click.option("--save-reference", metavar="FILE", help="Keep the reference as FILE.npz, for --reference.")
@click.option(
    "--false-alarm-every", type=int, default=10_000, show_default=True, metavar="N",
    help="So many pictures like the reference pass between two false alarms, or more.",
)  # fmt: skip
@click.option(
    "--every", metavar="N|SECONDS", default="1s", show_default=True,
    help="Of videos and streams: every fifth frame (5), or one in half a second (0.5s).",
)  # fmt: skip
@click.option(
    "--order", type=click.Choice(["name", "time"]), default="name", show_default=True,
    help="Of pictures: by name, or by when they were written.",
)  # fmt: skip
@click.option("--follow", is_flag=True, help="SOURCE is a folder: watch what comes into it, until Ctrl-C.")
@click.option("--keep-watching", is_flag=True, help="Begin anew after an alarm instead of ending.")
@click.option("--call", metavar="PROGRAM", help="Run it with each alarm as JSON on its standard input.")
@click.option("--report", metavar="DIR", help="Folder for watch.json and, of each alarm, its pictures and the chart.")
@options.format_option("table", "json")
@options.computing
def watch(sources: tuple[str, ...], call: str | None, form: str, quiet: bool, **given: Any) -> int:
    """Raise an alarm when today's pictures are no longer those the model was made for.

    SOURCE is pictures, a video, a stream (rtsp://...) or a camera (camera:0). The features of its pictures are compared
    with those of pictures that the run held out. The exit code is 8 after an alarm.
    """
    from resnetkit import api

    with watching(quiet=quiet) as console:
        program = None if call is None else _program(call, console)

        def told(alarm: Alarm) -> None:
            if form == "table":
                click.echo(f"alarm: {alarm.words}")
            if program is not None:
                program(alarm)

        found = api.watch(*sources, on_alarm=told, watcher=console, **given)
    _show(found, form, given["report"])
    if found.alarms:
        return ALARM
    if not found.unreadable:
        return 0
    return 4 if found.counted else 3


def _program(call: str, console: Watcher) -> Callable[[Alarm], None]:
    """Return what runs a program with an alarm; one that fails is told, and the watch goes on."""
    words = shlex.split(call)
    if not words or shutil.which(words[0]) is None:
        raise click.UsageError(f"--call {call}: there is no such program")

    def run(alarm: Alarm) -> None:
        try:
            done = subprocess.run(words, input=json.dumps(alarm.to_json()), text=True, check=False)
        except OSError as error:
            console.note(f"--call {call}: cannot be run ({error.strerror})")
            return
        if done.returncode:
            console.note(f"--call {call}: ended with {done.returncode}")

    return run


def _show(found: Watched, form: str, report: str | None) -> None:
    from resnetkit.words import one_line

    if form == "json":
        click.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1))
        return
    for line in found.unread:
        click.echo(f"resnetkit: {one_line(line)}", err=True)
    click.echo(found.words)
    if found.alarms:
        click.echo(
            "Look at the camera and the pictures; label some of them, then: resnetkit evaluate DATA --model MODEL"
        )
    if report is not None:
        click.echo(f"\nAlarms, pictures and chart: {report}/")
