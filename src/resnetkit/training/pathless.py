"""What a run keeps of a request and of a command line where no path may be kept, since paths tell who is pictured."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable

from resnetkit.data.dataset import NUMBERED
from resnetkit.training.request import Request

Tells = Callable[[str], bool]


def pathless(request: Request, tells: Tells) -> Request:
    """Return the request without a path, and without what `tells` who is pictured."""
    rename = {old: new for old, new in request.rename.items() if not tells(old)}
    group_by = NUMBERED if request.group_by is not None and tells(request.group_by) else request.group_by
    split_from = None if request.split_from is None else _name(request.split_from, tells, otherwise="a run")
    return dataclasses.replace(
        request, data=(NUMBERED,), rename=rename, group_by=group_by, split_from=split_from,
        weights=_name(request.weights, tells, otherwise="a file"),
    )  # fmt: skip


def pathless_command(command: str, data: tuple[str, ...], tells: Tells) -> str:
    """Return a command line with DATA for the data and PATH for whatever else is a path, or tells who is pictured.

    >>> pathless_command("resnetkit train a/b --output c/d --epochs 1", ("a/b",), lambda text: False)
    'resnetkit train DATA --output PATH --epochs 1'
    """
    program, *words = shlex.split(command)
    return shlex.join([os.path.basename(program), *(_word(word, data, tells) for word in words)])


def _word(word: str, data: tuple[str, ...], tells: Tells) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if value in data:
        return f"{option}{equals}DATA"
    path = os.sep in value or "/" in value or ("." in value and os.path.exists(value)) or tells(value)
    return f"{option}{equals}{'PATH' if path else value}"


def _name(path: str, tells: Tells, *, otherwise: str) -> str:
    name = os.path.basename(os.path.normpath(path))
    return otherwise if tells(name) else name
