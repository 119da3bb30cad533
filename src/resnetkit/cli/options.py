"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def stacked(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator that applies several, the first outermost."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


debug = click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback when something fails.")
quiet = click.option("--quiet", is_flag=True, help="No progress, only results and errors.")
device = click.option("--device", default="auto", metavar="auto|cpu|cuda|mps", help="Where to compute.")
threads = click.option("--threads", type=click.IntRange(min=1), help="CPU threads; default: all this process may use.")
computing = stacked(device, threads, quiet, debug)
engine = stacked(
    click.option(
        "--engine", type=click.Choice(["auto", "openvino", "torch"]), default="auto",
        help="What computes; auto: OpenVINO on the processor, PyTorch on a GPU.",
    ),
    click.option(
        "--precision", type=click.Choice(["auto", "fp32", "bf16", "int8"]), default="auto",
        help="Arithmetic; auto: bf16 where the hardware has it, else fp32.",
    ),
)  # fmt: skip
set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change the recipe, the network or the preprocessing."
)
aggregate = click.option(
    "--aggregate", metavar="HOW",
    help="How pictures of a group become one answer: mean (default), 'max CLASS', 'top 3 CLASS'.",
)  # fmt: skip
by = click.option(
    "--by", multiple=True, metavar="COLUMN|TAG[:EDGES]",
    help="Compare by a column of the list or a DICOM tag, as sex or age:40,60; may be given several times.",
)  # fmt: skip
cost = click.option(
    "--cost", multiple=True, metavar="TRUE:TOLD=NUMBER",
    help="What an error costs where others cost 1, as red:green=100: the class that costs least is told; may be given "
    "several times, * is any class.",
)  # fmt: skip
rename = click.option("--rename", multiple=True, metavar="OLD=NEW", help="Read class OLD as NEW.")


def format_option(*formats: str) -> Callable[[F], F]:
    """Return `--format`, for stdout."""
    return click.option("--format", "form", type=click.Choice(formats), default=formats[0], help="Format of stdout.")


def renamed(pairs: tuple[str, ...]) -> dict[str, str]:
    """Read `OLD=NEW` pairs."""
    for pair in pairs:
        if pair.count("=") != 1:
            raise click.UsageError(f"--rename {pair}: write it as OLD=NEW")
    return dict(pair.split("=") for pair in pairs)


def _say_task(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        names = {"one": "classification", "several": "multilabel"}
        raise click.UsageError(f"--labels {value} is --task {names.get(value, 'NAME')} now", context)


task = stacked(
    click.option(
        "--task", type=click.Choice(["auto", "classification", "multilabel", "detection"]), default="auto",
        metavar="NAME", help="classification, multilabel or detection; auto: as the data say.",
    ),
    click.option("--labels", hidden=True, expose_value=False, callback=_say_task),
)  # fmt: skip
