"""`resnetkit recipes`."""

from __future__ import annotations

import inspect
import json

import click

from resnetkit.cli import options
from resnetkit.cli.tables import print_table


@click.command()
@click.argument("name", required=False)
@options.format_option("table", "json")
@options.debug
def recipes(name: str | None, form: str) -> None:
    """List the recipes, or show the one called NAME with every setting that --set takes."""
    from resnetkit.training.recipe import settable
    from resnetkit.training.recipes import RECIPES, recipe_named

    if name is None:
        first_lines = [[key, (inspect.getdoc(recipe) or "").splitlines()[0]] for key, recipe in RECIPES.items()]
        if form == "json":
            click.echo(json.dumps([recipe().to_json() for recipe in RECIPES.values()], indent=1))
        else:
            print_table(["recipe", "what it is for"], first_lines)
        return
    recipe = recipe_named(name)
    if form == "json":
        click.echo(json.dumps(recipe.to_json(), indent=1))
        return
    click.echo(inspect.getdoc(RECIPES[name]))
    click.echo("")
    flat = _flat(recipe.to_json())
    print_table(["--set", "value"], [[key, flat.get(key, "as the network's")] for key in settable()])


def _flat(values: dict, prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = (
                "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            )
    return flat
