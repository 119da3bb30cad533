"""`resnetkit models`."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections import Counter
from dataclasses import asdict
from typing import Any

import click

from resnetkit.cli import options
from resnetkit.cli.tables import print_table
from resnetkit.errors import UsageError
from resnetkit.words import percent

# How weights came to be, as far as their recipe says it.
_TRAINED = ("name", "epochs", "seed", "command", "hours", "machine", "address")


@click.command()
@click.argument("name", required=False, metavar="[NAME|FILE|RUN]")
@click.option("--layers", is_flag=True, help="List every layer with its output size and parameters.")
@click.option("--image-size", metavar="N|HxW", help="Pixels for --layers: a side, or height x width.")
@options.format_option("table", "json")
@options.debug
def models(name: str | None, layers: bool, image_size: str | None, form: str) -> None:
    """List networks and published weights, or describe one network, checkpoint file or run."""
    if image_size is not None and not layers:
        raise UsageError("--image-size is the size that --layers lists the layers at: add --layers, or leave it out")
    if name is None:
        _list(form)
    elif layers:
        _layers(name, image_size, form)
    else:
        _describe(name, form)


def _list(form: str) -> None:
    from resnetkit.inference.speed import kept_speeds
    from resnetkit.models import catalog

    records = catalog.records()
    if form == "json":
        click.echo(
            json.dumps(
                {
                    "networks": catalog.architectures(), "weights": [_record(r) for r in records],
                    "detectors": [_detector(r) for r in catalog.detectors()],
                },
                indent=1,
            )
        )  # fmt: skip
        return
    speeds = kept_speeds()
    rows = [
        [
            r.name, "-" if r.top1 is None else percent(r.top1),
            f"{r.num_params / 1e6:.1f} M" if r.num_params else "-",
            f"{_macs(r) / 1e9:.2f}", f"{(r.num_bytes or 0) / 1e6:.0f} MB", _fastest(speeds.get(r.name, {})),
        ]
        for r in records
    ]  # fmt: skip
    print_table(["weights", "top-1", "parameters", "GMACs", "file", "speed here"], rows)
    if not any(record.name in speeds for record in records):
        click.echo("\nspeed here: measured by resnetkit benchmark NAME")
    click.echo()
    _list_detectors()
    trained = {r.arch for r in records}
    others = [name for name in catalog.architectures() if name not in trained]
    click.echo("\nwithout published weights, and any other resnet{6n+2} or plain{6n+2}:")
    click.echo(textwrap.fill(", ".join(others), 78, initial_indent="  ", subsequent_indent="  "))


def _list_detectors() -> None:
    from resnetkit.models import catalog

    rows = [
        [
            r.name, percent(r.metrics["box_map"]), percent(r.metrics["mask_map"]) if "mask_map" in r.metrics else "-",
            f"{(r.num_params or 0) / 1e6:.1f} M", f"{(r.num_bytes or 0) / 1e6:.0f} MB",
        ]
        for r in catalog.detectors()
    ]  # fmt: skip
    print_table(["weights of detectors", "boxes", "masks", "parameters", "file"], rows)
    click.echo(
        "\nboxes, masks: mAP@.50:.95 on COCO. Any network with an ImageNet stem may stand\n"
        "  in the middle (maskrcnn_resnet18_fpn), and _light at the end, for a CPU"
    )


def _detector(record: Any) -> dict[str, Any]:
    return {
        "name": record.name, **record.metrics, "data": record.data, "url": record.url, "parameters": record.num_params,
        "giga_macs": record.giga_macs, "bytes": record.num_bytes, "license": record.license,
    }  # fmt: skip


def _record(record: Any) -> dict[str, Any]:
    from resnetkit.inference.speed import kept_speeds

    return {
        "name": record.name, "top1": record.top1, "top5": record.top5, "data": record.data, "url": record.url,
        "parameters": record.num_params, "giga_macs": round(_macs(record) / 1e9, 3), "bytes": record.num_bytes,
        "images_per_second_here": kept_speeds().get(record.name, {}), "license": record.license,
    }  # fmt: skip


def _macs(record: Any) -> int:
    from resnetkit.models import catalog
    from resnetkit.models.macs import num_macs

    return num_macs(catalog.spec_of(record.arch), record.preprocess.frame)


def _fastest(speeds: dict[str, float]) -> str:
    """Return the fastest way that was measured here."""
    if not speeds:
        return "-"
    way = max(speeds, key=lambda way: speeds[way])
    return f"{speeds[way]:,.0f}/s {way}"


def _describe(name: str, form: str) -> None:
    from resnetkit import api
    from resnetkit.data.preprocess import Preprocess
    from resnetkit.inference.speed import kept_speeds
    from resnetkit.models.choice import choice_in
    from resnetkit.models.macs import num_macs

    if (other := api.of_another_task(name)) is not None:
        unknown = f"{other.get('task')}: this version of resnetkit does not know that; upgrade it"
        _show({name: value for name, value in other.items() if name != "trained_on"} | {"task": unknown}, form)
        return
    spec, header = api.describe(name)
    preprocess = header.preprocess if header else Preprocess.for_size(224 if spec.stem == "imagenet" else 32)
    values: dict[str, Any] = {"spec": spec.to_json(), "layers": spec.num_layers}
    values |= {
        "GMACs": round(num_macs(spec, preprocess.frame) / 1e9, 4),
        "at pixels": preprocess.sides if preprocess.width else preprocess.size,
    }
    if name in kept_speeds():
        values["speed here"] = {way: f"{speed:,.0f}/s" for way, speed in kept_speeds()[name].items()}
    if header is not None:
        values |= {
            "classes": list(header.classes), "preprocess": header.preprocess.to_json(), "metrics": dict(header.metrics),
            "license": header.license if form == "json" else header.license_in_short, "data": dict(header.data),
            "trained": {key: header.recipe[key] for key in _TRAINED if key in header.recipe},
        }  # fmt: skip
    if header is not None:
        values["trained on"] = header.trained_on.words()
    chosen = choice_in(header.chosen) if header is not None else None
    if chosen is not None:
        values["chosen"] = chosen.to_json() if form == "json" else chosen.words
    if header is not None and not header.classes:
        values["use"] = f"a trunk without classes: resnetkit train DATA --weights {shlex.quote(name)} fits a head to it"
    _show(values, form)


def _show(values: dict[str, Any], form: str) -> None:
    from resnetkit.words import escaped

    if form == "json":
        click.echo(json.dumps(values, ensure_ascii=False, indent=1))
        return
    for key, value in values.items():
        if value in ([], {}):
            continue
        text = (
            ", ".join(value[:20]) + (f", ... ({len(value)})" if len(value) > 20 else "") if key == "classes" else value
        )
        if isinstance(text, dict):
            text = ", ".join(f"{k} {_short(v)}" for k, v in text.items())
        click.echo(f"{key:<12}{escaped(str(text))}")


def _layers(name: str, image_size: str | None, form: str) -> None:
    from resnetkit import api
    from resnetkit.data.preprocess import Preprocess
    from resnetkit.models.layers import layer_table, num_parameters
    from resnetkit.training.request import sides_of

    spec, header = api.describe(name)
    preprocess = header.preprocess if header else Preprocess.for_size(224 if spec.stem == "imagenet" else 32)
    height, width = sides_of(image_size)
    preprocess = preprocess if height is None else Preprocess.for_size(height, width=width)
    rows = layer_table(spec, preprocess.frame)
    if form == "json":
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    cells = [
        ["" if row.number is None else str(row.number), row.name, row.kind, "x".join(map(str, row.output)),
         f"{row.parameters:,}"]
        for row in rows
    ]  # fmt: skip
    print_table(["layer", "name", "kind", f"output at {preprocess.sides}", "parameters"], cells)
    left_out = Counter(row.why_not for row in rows if row.why_not)
    counted = sum(row.number is not None for row in rows)
    click.echo(
        f"\n{counted} layers are counted (convolutions and the classifier), {num_parameters(rows):,} parameters."
    )
    for why, count in left_out.items():
        click.echo(f"not counted: {count} {why}")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return f"({', '.join(f'{key} {_short(each)}' for key, each in value.items())})"
    return f"[{', '.join(map(_short, value))}]" if isinstance(value, list) else str(value)
