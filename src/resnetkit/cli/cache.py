"""`resnetkit cache`."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.tables import print_table
from resnetkit.errors import ResourceError
from resnetkit.runtime import cache_folder


@click.command()
@click.argument("action", required=False, type=click.Choice(["clear"]), metavar="[clear]")
@options.format_option("table", "json")
@options.debug
def cache(action: str | None, form: str) -> None:
    """List the decoded photos, near-copies and prepared models that are kept, last used first; `clear` removes them.

    What is removed is made again when it is needed. Photos that a running process uses stay.
    """
    if action == "clear":
        _clear(form)
    else:
        _list(form)


def _list(form: str) -> None:
    from resnetkit import api
    from resnetkit.words import escaped

    entries = api.cached()
    if form == "json":
        click.echo(json.dumps([_row(entry) for entry in entries], ensure_ascii=False, indent=1))
        return
    if not entries:
        click.echo("nothing is kept", err=True)
        return
    rows = [
        [
            escaped(entry.data),
            entry.what,
            f"{entry.pictures:,}" if entry.pictures else "-",
            _size(entry.bytes),
            _row(entry)["last_used"][:16].replace("T", " "),
        ]
        for entry in entries
    ]
    total = ["total", "", f"{sum(e.pictures for e in entries):,}", _size(sum(e.bytes for e in entries)), ""]
    print_table(["data or model", "kept as", "pictures", "size", "last used"], [*rows, total])
    click.echo(f"in {escaped(str(cache_folder()))}")


def _row(entry: Any) -> dict[str, Any]:
    used = datetime.fromtimestamp(entry.last_used, UTC).astimezone()
    return asdict(entry) | {"last_used": used.isoformat(timespec="seconds")}


def _clear(form: str) -> None:
    from resnetkit import api

    cleared = api.clear_cache()
    if form == "json":
        click.echo(json.dumps(asdict(cleared), indent=1))
    else:
        click.echo(f"removed {_files(cleared.files)}, {_size(cleared.bytes)}")
    if cleared.kept:
        them = "it" if cleared.kept == 1 else "them"
        click.echo(f"{_files(cleared.kept)} kept: a running process uses {them}, or may", err=True)
    if cleared.failed:
        raise ResourceError(f"{_files(cleared.failed)} could not be removed: make {cache_folder()} writable for you")


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"
