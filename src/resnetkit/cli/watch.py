"""`resnetkit watch`."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import ConsoleWatcher, watching

if TYPE_CHECKING:
    from resnetkit.api.watching import Watched
    from resnetkit.checking.drift.alarm import Alarm

ALARM = 8
_LONGEST_S = 60  # that a program may take for an alarm
_STDERR = 2  # where its output goes: ours may be JSON


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
    "--still", metavar="N|SECONDS|none", default="10m", show_default=True,
    help="How long one picture may stand still: 600 copies in a row (600), or ten minutes (10m).",
)  # fmt: skip
@click.option(
    "--every", metavar="N|SECONDS",
    help="Of videos and streams: every fifth frame (5), or one in half a second (0.5s); default 1s.",
)  # fmt: skip
@click.option(
    "--order", type=click.Choice(["name", "time"]),
    help="Of pictures: by name (the default), or by when they were written.",
)  # fmt: skip
@click.option("--follow", is_flag=True, help="SOURCE is a folder: watch what comes into it, until Ctrl-C.")
@click.option("--keep-watching", is_flag=True, help="Begin anew after an alarm instead of ending.")
@click.option(
    "--call", metavar="PROGRAM", help="Run it with each alarm as JSON on its standard input, for 60 s at most."
)
@click.option("--report", metavar="DIR", help="Folder for watch.json and, of each alarm, its pictures and the chart.")
@options.format_option("table", "json")
@options.computing
def watch(sources: tuple[str, ...], call: str | None, form: str, quiet: bool, **given: Any) -> int:
    """Raise an alarm when today's pictures are no longer those the model was made for.

    SOURCE is pictures, a video, a stream (rtsp://...) or a camera (camera:0). The features of its pictures are compared
    with those of pictures that the run held out. A picture that stands still is an alarm too. The exit code is 8 after
    an alarm.
    """
    from resnetkit import api

    with watching(quiet=quiet) as console:
        program = None if call is None else _program(call, console)

        def told(alarm: Alarm) -> None:
            if form == "table":
                with _bar_aside(console):
                    click.echo(_wrapped(f"alarm: {alarm.words}"))
            if program is not None:
                program(alarm)

        found = api.watch(*sources, on_alarm=told, watcher=console, **given)
    _show(found, form, given["report"])
    if found.alarms:
        return ALARM
    if found.signal:
        return 128 + found.signal
    if not found.unreadable:
        return 0
    return 4 if found.counted else 3


@contextlib.contextmanager
def _bar_aside(console: ConsoleWatcher) -> Iterator[None]:
    """Take the progress bar away while a line goes to standard output."""
    bar = console.bar
    if bar is None:
        yield
        return
    bar.stop()
    try:
        yield
    finally:
        bar.start()


def _wrapped(text: str) -> str:
    """Return text for people on a terminal in lines of 80 columns, for programs in one."""
    from resnetkit.words import escaped

    text = escaped(text)
    if not sys.stdout.isatty():
        return text
    return textwrap.fill(text, 80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _program(call: str, console: ConsoleWatcher) -> Callable[[Alarm], None]:
    """Return what runs a program with an alarm; one that fails is told, and the watch goes on."""
    try:
        words = shlex.split(call)
    except ValueError as error:
        raise click.UsageError(f"--call {call}: {str(error).lower()}") from error
    if not words or shutil.which(words[0]) is None:
        raise click.UsageError(f"--call {call}: there is no such program")

    def failed(why: str) -> None:
        with _bar_aside(console), contextlib.suppress(BrokenPipeError):
            click.echo(f"resnetkit: --call {call}: {why}", err=True)

    def run(alarm: Alarm) -> None:
        told = json.dumps(alarm.to_json())
        try:
            done = subprocess.run(words, input=told, stdout=_STDERR, text=True, check=False, timeout=_LONGEST_S)
        except OSError as error:
            failed(f"cannot be run ({error.strerror})")
        except subprocess.TimeoutExpired:
            failed(f"was ended after {_LONGEST_S} s; let it start what takes longer")
        else:
            if done.returncode:
                failed(f"ended with {done.returncode}")

    return run


def _show(found: Watched, form: str, report: str | None) -> None:
    from resnetkit.words import one_line

    if form == "json":
        click.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1))
        return
    for line in found.unread:
        click.echo(f"resnetkit: {one_line(line)}", err=True)
    click.echo(found.words)
    kinds = {alarm.kind for alarm in found.alarms}
    if "still" in kinds:
        click.echo("Look at the camera; where scenes rest for longer: --still 2h, or none")
    if "drift" in kinds:
        click.echo(
            "Look at the camera and the pictures; label some of them, then: resnetkit evaluate DATA --model MODEL"
        )
    if report is not None:
        click.echo(f"\nAlarms, pictures and chart: {report}/")
