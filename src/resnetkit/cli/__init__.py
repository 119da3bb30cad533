"""The command line: a thin skin over `resnetkit.api`, one module per verb, each imported only when it is used."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from resnetkit.errors import ResNetKitError, Terminated, ToldByAnotherRank, signal_of
from resnetkit.runtime import keep_to_the_cache

_VERBS = {
    "demo": "Train, evaluate and predict once, offline, in about a minute.",
    "check": "Say what is wrong with a data set, before a run is wasted on it.",
    "train": "Train or fine-tune a ResNet on pictures in class folders.",
    "resume": "Go on with a run where it stopped.",
    "evaluate": "Score a model on labelled pictures.",
    "compare": "Whether one run is better than another, or only luckier.",
    "predict": "Name what is on pictures and videos.",
    "explain": "Show what in a picture speaks for a class, as a heat map with a score.",
    "report": "Write the page of a run again: one file to open, print or send.",
    "export": "Hand a model over: a folder that needs nothing of this package.",
    "watch": "Raise an alarm when pictures are no longer those of training.",
    "rename": "Correct what the classes of a model are called, without training.",
    "benchmark": "Measure how fast a model answers here, every way to compute it.",
    "models": "List networks and published weights, or describe one.",
    "runs": "List the runs of this folder.",
    "recipes": "List the recipes, or show one in full.",
    "download": "Fetch published weights, also for another computer.",
    "cache": "List the decoded photos and prepared models that are kept, or clear them.",
}


class _Verbs(click.Group):
    """Commands by name; `--help` of the whole needs none of their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        return getattr(import_module(f"resnetkit.cli.{cmd_name}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from resnetkit.errors import near_miss

        if args and args[0] not in _VERBS and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}{near_miss(args[0], _VERBS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="resnetkit", message="resnetkit %(version)s")
def cli() -> None:
    """From a folder of pictures to a ResNet you can trust and ship.

    Try: resnetkit demo
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with the exit code of the design: one line on stderr says what went wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - closed by the caller, as in `>&-`
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # names of any language, whatever the locale
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        keep_to_the_cache()
        code = cli.main(arguments, prog_name="resnetkit", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # the reader of a pipe has seen enough; click's word for it is SystemExit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        code = 0
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments:
            traceback.print_exc()
        code = _explained(error)
    sys.exit(code if isinstance(code, int) else 0)


def _terminate(_number: int, _frame: object) -> None:
    raise Terminated


def _taking_no_files(error: OSError) -> Path | None:
    from resnetkit.files import takes_no_files

    return takes_no_files(Path(error.filename)) if isinstance(error.filename, str) and error.filename else None


def _explained(error: BaseException) -> int:
    """Print the one line for an error and return the exit code."""
    match error:
        case ToldByAnotherRank():
            return error.exit_code
        case ResNetKitError():
            line, code = str(error), error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return 2
        case click.UsageError():
            where = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
            line, code = f"{error.format_message().rstrip('.')}{where}", 2
        case KeyboardInterrupt():
            line, code = "interrupted", 128 + signal_of(error)
        case click.Abort():  # what click makes of a KeyboardInterrupt
            cause = error.__cause__
            line, code = "interrupted", 128 + signal_of(cause) if isinstance(cause, KeyboardInterrupt) else 130
        case MemoryError():
            line, code = "out of memory: use a smaller --batch-size, --image-size or --limit", 5
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            line, code = f"{error.filename or 'disk'}: {error.strerror}; free some space or choose another place", 5
        case OSError() if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            line, code = f"{error.filename or 'disk'}: {error.strerror}; ask for access or choose another place", 5
        case OSError() if error.errno == errno.ENAMETOOLONG:
            line, code = f"{str(error.filename)[:40]}...: {error.strerror}; choose a shorter name", 2
        case OSError() if (folder := _taking_no_files(error)) is not None:
            line, code = f"{error.filename}: {folder} takes no files ({error.strerror}); name another place", 2
        case _:
            kind = type(error).__name__
            line, code = f"a bug of ours: {kind}: {error}; the same command with --debug shows where", 1
    click.echo(f"resnetkit: {line}", err=True)
    return code
