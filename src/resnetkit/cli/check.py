"""`resnetkit check`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching

if TYPE_CHECKING:
    from resnetkit.checking.result import Check, Finding

_MOST_ROWS = 50


@click.command()
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option("--output", metavar="DIR", help="Folder for check.json and check.html, a page with the pictures.")
@click.option(
    "--write-clean-list", "clean_list", metavar="FILE.csv",
    help="List of the pictures to train from, without useless files and copies; no picture is changed.",
)  # fmt: skip
@click.option("--group-by", metavar="REGEX|COLUMN|TAG", help="Pictures of one group belong on one side of a split.")
@options.rename
@click.option(
    "--weights", default="auto", metavar="auto|none|MODEL",
    help="Network for wrong labels, the forecast and the border; none leaves these out.",
)  # fmt: skip
@options.by
@options.task
@click.option("--limit", type=int, help="Look at no more than this many pictures of each part.")
@options.format_option("table", "json")
@options.device
@options.threads
@options.quiet
@options.debug
def check(data: tuple[str, ...], rename: tuple[str, ...], form: str, quiet: bool, **given: Any) -> None:
    """Say what is wrong with a data set, before a run is wasted on it.

    Files that cannot be read or decode to damage, odd, blank, dark and blurred pictures, identical files and
    near-copies within and across parts, groups, classes, labels that may be wrong, and classes that the border or a
    column (--by) gives away; and what twice as many pictures would bring. Of annotated pictures: faults of the
    annotations, objects marked twice, tiny, of odd sizes. What is found is no failure: the exit code is 0, and 3 where
    no picture can be read.
    """
    from resnetkit import api

    with watching(quiet=quiet) as console:
        found = api.check(*data, watcher=console, rename=options.renamed(rename), **given)
    if form == "json":
        click.echo(json.dumps(found.to_json(), ensure_ascii=False))
        return
    _show(found)
    if given["output"] is not None:
        click.echo(f"\ncheck.html and check.json: {Path(given['output'])}/")


def _show(found: Check) -> None:
    from resnetkit.cli.tables import print_table
    from resnetkit.data.findings import wrapped
    from resnetkit.words import one_line

    click.echo(found.report)
    click.echo()
    _show_faults(found.of_kind("annotation"))
    others = [finding for finding in found.findings if finding.kind != "annotation"]
    if len(others) > _MOST_ROWS:
        print_table(("found", "what", "as"), list(_summary(found)))
    elif others:
        widest = max(len(finding.kind) for finding in others)
        print_table(("what", "picture", "why"), [_row(finding, 80 - 4 - widest) for finding in others])
    elif not found.findings:
        nothing = "Nothing else is wrong" if found.report.sentences else "Nothing is wrong"
        click.echo(f"{nothing} with these {len(found.items):,} images.")
    for line in wrapped(one_line(note) for note in found.notes):
        click.echo(line)
    if found.shortcuts is not None:
        for line in wrapped(one_line(words) for words in ("Shortcuts?", *found.shortcuts.sentences)):
            click.echo(line)
    if found.forecast is not None:
        for line in wrapped(one_line(words) for words in ("How many more pictures?", *found.forecast.sentences)):
            click.echo(line)


def _show_faults(faults: Sequence[Finding]) -> None:
    """Print the faults of annotations in full: what is to be mended, and how, does not fit a row of a table."""
    from resnetkit.data.findings import wrapped
    from resnetkit.words import counted, one_line

    if not faults:
        return
    said = [f"  {one_line(f'{fault.sources[0]}: {fault.why}')}" for fault in faults[:_MOST_ROWS]]
    more = [f"  and {len(faults) - len(said):,} more: --output DIR names them"] if len(faults) > len(said) else []
    for line in list(wrapped([f"{counted(len(faults), 'fault')} in the annotations:", *said, *more]))[1:]:
        click.echo(line)
    click.echo()


def _row(finding: Finding, width: int) -> tuple[str, str, str]:
    """Return kind, pictures and reason; the last two share `width` columns."""
    from resnetkit.words import one_line

    shown = finding.sources[:2]
    each = (width // 2 - 3 * (len(shown) - 1)) // len(shown)
    pictures = " = ".join(_end(source, each) for source in shown)
    return finding.kind, pictures, _start(one_line(finding.why), width - width // 2)


def _summary(found: Check) -> Any:
    for kind, count in found.counts.items():
        if kind == "annotation":
            continue
        yield f"{count:,}", kind, _end(found.of_kind(kind)[0].sources[0], 50)


def _end(name: str, width: int) -> str:
    """Return the end of a path, which tells files apart, in at most `width` columns."""
    from rich.cells import cell_len

    from resnetkit.words import one_line

    name = one_line(name)
    if cell_len(name) <= width:
        return name
    while cell_len(name) >= width:
        name = name[1:]
    return f"…{name}"


def _start(text: str, width: int) -> str:
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    while cell_len(text) >= width:
        text = text[:-1]
    return f"{text}…"
