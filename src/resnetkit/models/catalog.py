"""Names of networks and of their published weights, detectors among them (`detection/names.py`). Needs no torch.

Networks by name: resnet18/34/50/101/152 and wide_resnet50_2/101_2 as in torchvision, for ImageNet; plain18/34, the
same without shortcuts; resnet_2223, a ResNet-18 with one block more in its last stage, whose ImageNet trunk is in this
package; resnet8_fast, made to learn 32x32 pictures in minutes; and for every n >= 1 the CIFAR family of section 4.2 of
the paper, `resnet{6n+2}` and `plain{6n+2}`: 3x3 stem, three stages of n basic blocks with 16, 32 and 64 channels,
shortcut A, 10 classes (resnet20, 32, 44, 56, 110, 1202, ...). Two names would mean both: resnet50 (n = 8) and resnet152
(n = 25) are the ImageNet networks. 18, 34 and 101 are not of the form 6n+2.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import UsageError, near_miss
from resnetkit.models.checkpoint import DETECTION, Header, read_header
from resnetkit.models.detection.names import form_of, named
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.detection.sureness import Sureness
from resnetkit.models.safetensors_file import read_safetensors_header
from resnetkit.models.spec import ResNetSpec

if TYPE_CHECKING:
    from resnetkit.models.resnet import ResNet

_FOLDER = Path(__file__).parent
# The size that torchvision's detectors give pictures of 4:3, in whole steps of the last stage.
_COCO_PREPROCESS = Preprocess(resize=800, size=800, width=1088, crop="pad")
_BOTTLENECK = ResNetSpec(block="bottleneck", blocks=(3, 4, 6, 3))
_NAMED: Mapping[str, ResNetSpec] = {
    "resnet18": ResNetSpec(blocks=(2, 2, 2, 2)),
    "resnet34": ResNetSpec(blocks=(3, 4, 6, 3)),
    "resnet50": _BOTTLENECK,
    "resnet101": _BOTTLENECK.changed(blocks=(3, 4, 23, 3)),
    "resnet152": _BOTTLENECK.changed(blocks=(3, 8, 36, 3)),
    "wide_resnet50_2": _BOTTLENECK.changed(widening=2),
    "wide_resnet101_2": _BOTTLENECK.changed(widening=2, blocks=(3, 4, 23, 3)),
    "plain18": ResNetSpec(blocks=(2, 2, 2, 2), shortcut="none"),
    "plain34": ResNetSpec(blocks=(3, 4, 6, 3), shortcut="none"),
    "resnet_2223": ResNetSpec(blocks=(2, 2, 2, 3)),
    "resnet8_fast": ResNetSpec(block="pooled", blocks=(1, 1, 1), stem="whitening", activation="gelu", num_classes=10),
}
# The sizes of the paper; the names of other sizes work as well.
_CIFAR_LAYERS = (20, 32, 44, 56, 110, 1202)

Purpose = Literal["accuracy", "transfer"]


def architectures() -> tuple[str, ...]:
    """Return the names people know; `resnet{6n+2}` and `plain{6n+2}` of other sizes work as well."""
    cifar = [f"resnet{n}" for n in _CIFAR_LAYERS] + [f"plain{n}" for n in _CIFAR_LAYERS[:4]]
    return (*_NAMED, *cifar)


def spec_of(name: str, **changes: Any) -> ResNetSpec:
    """Return the spec of a network by its name, with `changes` to its fields.

    Raises `UsageError` for an unknown name or field, naming the nearest one.

    >>> spec_of("resnet20", num_classes=100).blocks
    (3, 3, 3)
    """
    spec = _NAMED.get(name) or _cifar_spec(name)
    if spec is None:
        raise UsageError(_unknown(name))
    return spec.changed(**changes)


def _cifar_spec(name: str) -> ResNetSpec | None:
    found = re.fullmatch(r"(resnet|plain)([1-9]\d{0,5})", name)
    if not found or int(found[2]) < 8 or (int(found[2]) - 2) % 6:
        return None
    num_blocks = (int(found[2]) - 2) // 6
    return ResNetSpec(
        blocks=(num_blocks,) * 3,
        width=16,
        stem="cifar",
        shortcut="A" if found[1] == "resnet" else "none",
        num_classes=10,
    )


def detector_of(name: str, **changes: Any) -> DetectorSpec:
    """Return the spec of a detector by its name, with `changes` to its fields.

    Raises `UsageError` for a name that is no detector's, an unknown network in it, one without an ImageNet stem, and an
    unknown field.

    >>> detector_of("maskrcnn_resnet18_fpn", num_classes=3).backbone.blocks
    (2, 2, 2, 2)
    """
    said = named(name)
    if said is None:
        known = _known_detectors()
        raise UsageError(
            f"no detector is called {name!r}{near_miss(name, known)}; known: {', '.join(known)}, and each with another "
            "network in its middle"
        )
    return said.spec(spec_of(said.arch), **changes)


def described(name: str) -> ResNetSpec | DetectorSpec:
    """Return the spec of a network or of a detector by its name; raises `UsageError` for an unknown one."""
    return detector_of(name) if named(name) else spec_of(name)


def _known_detectors() -> list[str]:
    known = [*_published()["detectors"], "fasterrcnn_resnet_2223_light", "maskrcnn_resnet_2223_light"]
    return [each.partition(".")[0] for each in known]


def _unknown(name: str) -> str:
    arch, dot, _tag = name.partition(".")
    if (said := named(arch)) is not None:
        return f"{name!r} finds objects and is no network by itself; the network in it is {said.arch!r}"
    if dot and (arch in _NAMED or _cifar_spec(arch)):
        return f"{name!r} names published weights; the network alone is {arch!r}"
    listed = ", ".join(architectures())
    hint = nearest(name) or near_miss(name, _known_detectors())
    return f"no network is called {name!r}{hint}; known: {listed}, and any resnet{{6n+2}}"


def nearest(name: str, *, also: Iterable[str] = ()) -> str:
    """Return the hint at the network (or one of `also`) nearest to `name`: by number if only that is wrong.

    >>> nearest("resnet9"), nearest("my_rum", also=["my_run"])
    ("; did you mean 'resnet8'?", "; did you mean 'my_run'?")
    """
    found = re.fullmatch(r"(resnet|plain)(\d{1,6})", name.casefold())
    if not found:
        return near_miss(name, (*architectures(), *also))
    family, wanted = found[1], int(found[2])
    named = (known.removeprefix(family) for known in _NAMED)
    sizes = {int(text) for text in named if text.isdigit()} | {6 * max(1, round((wanted - 2) / 6)) + 2}
    return f"; did you mean '{family}{min(sizes, key=lambda size: (abs(size - wanted), size))}'?"


def build(name: str, **changes: Any) -> ResNet:
    """Return the untrained network called `name`; `changes` go to its spec.

    Raises `UsageError` for an unknown name or field.

    >>> build("resnet50", num_classes=10).fc.out_features
    10
    """
    from resnetkit.models.resnet import ResNet

    return ResNet(spec_of(name, **changes))


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsRecord:
    """Published weights of one network: where they are, how to check them, what they read and what they reach.

    `name` is `ARCH.TAG`. Weights are at `url` with `checksum` (`sha256:` and the published digits), or inside this
    package at `path`. `top1` and `top5` are fractions on the ImageNet validation set (for those at `path`: the test
    set of `data`; None for a trunk, which names nothing, and for a detector, whose `metrics` are mean average
    precisions on COCO's val2017: `box_map`, `mask_map`), `giga_macs` multiply-adds of one image in thousands of
    millions, `num_bytes` to download, `license` what is known of their licence, in a line.
    """

    name: str
    url: str | None = None
    checksum: str | None = None
    path: Path | None = None
    preprocess: Preprocess
    data: str
    top1: float | None
    top5: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    num_params: int | None = None
    giga_macs: float | None = None
    num_bytes: int | None = None
    recipe: str | None = None
    license: str
    most_accurate: bool
    best_for_transfer: bool

    @property
    def arch(self) -> str:
        """The name of the network."""
        return self.name.partition(".")[0]

    @property
    def tag(self) -> str:
        """What tells this record from others of the same network."""
        return self.name.partition(".")[2]


def records() -> tuple[WeightsRecord, ...]:
    """Return every record of published weights of networks that name pictures, in the order of the networks."""
    return tuple(_records().values())


def detectors() -> tuple[WeightsRecord, ...]:
    """Return every record of published weights of detectors."""
    return tuple(_detectors().values())


@functools.cache
def _detectors() -> dict[str, WeightsRecord]:
    return {name: _detector_record(name, values) for name, values in _published()["detectors"].items()}


def _detector_record(name: str, values: Mapping[str, Any]) -> WeightsRecord:
    return WeightsRecord(
        name=name,
        preprocess=_COCO_PREPROCESS,
        data="COCO",
        top1=None,
        top5=None,
        num_bytes=round(values["megabytes"] * 2**20),
        license=_published()["coco_license"],
        most_accurate=True,
        best_for_transfer=True,
        **{key: values[key] for key in ("url", "checksum", "metrics", "num_params", "giga_macs", "recipe")},
    )


@functools.cache
def _records() -> dict[str, WeightsRecord]:
    best: dict[str, str] = {}
    published = _published()["weights"]
    for name in sorted(published, key=lambda name: published[name]["top1"]):
        best[name.partition(".")[0]] = name
    downloaded = {
        name: _torchvision_record(name, values, most_accurate=name in best.values())
        for name, values in published.items()
    }
    return downloaded | {path.stem: _bundled_record(path) for path in sorted(_FOLDER.glob("bundled/*.safetensors"))}


@functools.cache
def _published() -> dict[str, Any]:
    return json.loads((_FOLDER / "published.json").read_text(encoding="utf-8"))


def _torchvision_record(name: str, values: dict[str, Any], *, most_accurate: bool) -> WeightsRecord:
    kept = ("url", "checksum", "top1", "top5", "num_params", "giga_macs", "recipe", "best_for_transfer")
    return WeightsRecord(
        name=name,
        preprocess=Preprocess.from_json(values["preprocess"]),
        data="ImageNet-1K",
        # torchvision's "_file_size" is in units of 2**20 bytes.
        num_bytes=round(values["megabytes"] * 2**20),
        license=_published()["license"],
        most_accurate=most_accurate,
        **{key: values[key] for key in kept},
    )


def _bundled_record(path: Path) -> WeightsRecord:
    header = read_header(path)
    return WeightsRecord(
        name=path.stem,
        path=path,
        preprocess=header.preprocess,
        data=str(header.data.get("name", path.stem.partition(".")[2])),
        top1=header.metrics.get("top1"),
        top5=header.metrics.get("top5"),
        num_params=_num_parameters(path),
        num_bytes=path.stat().st_size,
        license=header.license_in_short,
        most_accurate=True,
        best_for_transfer=True,
    )


def _num_parameters(path: Path) -> int:
    tensors = read_safetensors_header(path).items()
    return sum(math.prod(entry["shape"]) for name, entry in tensors if name.endswith((".weight", ".bias")))


def record(name: str) -> WeightsRecord:
    """Return the record `ARCH.TAG`; raises `UsageError` for an unknown one, naming the nearest or what there is."""
    if (found := _records().get(name) or _detectors().get(name)) is not None:
        return found
    arch = name.partition(".")[0]
    described(arch)
    tags = [each.name for each in (*records(), *detectors()) if each.arch == arch]
    if not tags:
        raise UsageError(
            f"no weights are published for {arch!r}; train it (resnetkit train DATA --model {arch}), "
            "or give a file of weights"
        )
    raise UsageError(f"no weights are called {name!r}{near_miss(name, tags)}; there are {', '.join(tags)}")


def default_record(arch: str, *, purpose: Purpose) -> WeightsRecord | None:
    """Return the record a bare `arch` means: its most accurate one to predict, the best for `transfer` to train.

    None where nothing is published; raises `UsageError` for an unknown network. V1 is the best for transfer: the
    regularisers of V2's recipe raise ImageNet accuracy and make the features under the head worse for other tasks
    (https://arxiv.org/abs/1805.08974; `published.py` says more).
    """
    described(arch)
    for each in (*records(), *detectors()):
        if each.arch == arch and (each.best_for_transfer if purpose == "transfer" else each.most_accurate):
            return each
    return None


def published_header(weights: WeightsRecord) -> Header:
    """Return what a checkpoint of these weights says about itself."""
    if weights.path is not None:
        return read_header(weights.path)
    if named(weights.arch) is not None:
        return _detector_header(weights)
    names = _published()["classes"]
    return Header(
        spec=spec_of(weights.arch),
        classes=tuple(names.values()),
        aliases=names,
        preprocess=weights.preprocess,
        metrics={"split": "val", "count": 50_000, "top1": weights.top1, "top5": weights.top5},
        recipe={"address": weights.recipe},
        data={"name": weights.data, "weights": weights.name, "address": weights.url},
        license=weights.license,
    )


def _detector_header(weights: WeightsRecord) -> Header:
    classes = tuple(_published()["coco_classes"])
    epsilon = _published()["detectors"][weights.name]["epsilon"]
    return Header(
        task=DETECTION,
        spec=detector_of(weights.arch, num_classes=len(classes), epsilon=epsilon),
        classes=classes,
        preprocess=weights.preprocess,
        metrics={"split": "val", "count": 5000, **weights.metrics},
        decision=Sureness(),
        recipe={"address": weights.recipe},
        data={"name": weights.data, "weights": weights.name, "address": weights.url},
        license=weights.license,
    )


def bare_detector(spec: DetectorSpec) -> Header:
    """Return what a checkpoint says of another program's detector; its classes have torchvision's numbers, from 1."""
    names = tuple(f"class {number}" for number in range(1, 1 + spec.num_classes))
    return Header(task=DETECTION, spec=spec, classes=names, preprocess=_COCO_PREPROCESS, decision=Sureness())


def name_of(spec: ResNetSpec | DetectorSpec) -> str | None:
    """Return the catalog's name of the network, whatever its classes, channels and stem; None where it has none."""
    if isinstance(spec, DetectorSpec):
        arch, form = name_of(spec.backbone), form_of(spec)
        return f"{'maskrcnn' if spec.masks else 'fasterrcnn'}_{arch}_{form}" if arch and form else None
    three_alike = len(spec.blocks) == 3 and len(set(spec.blocks)) == 1
    cifar = (f"resnet{spec.num_layers}", f"plain{spec.num_layers}") if three_alike and spec.block == "basic" else ()
    return next((name for name in (*architectures(), *cifar) if alike(spec_of(name), spec)), None)


def called(spec: ResNetSpec | DetectorSpec) -> str:
    """Return the catalog's name of the network, or its description."""
    if (name := name_of(spec)) is not None:
        return name
    if isinstance(spec, DetectorSpec):
        kind = f"{'Mask' if spec.masks else 'Faster'} R-CNN {spec.version} with a pyramid of {spec.channels}"
        return f"a {kind} on {called(spec.backbone)}"
    blocks = "-".join(map(str, spec.blocks))
    return (
        f"a ResNet of {spec.num_layers} layers ({spec.block} blocks {blocks}, width {spec.width}, "
        f"shortcut {spec.shortcut}, stride {spec.stride}, {spec.activation})"
    )


def alike(one: ResNetSpec, other: ResNetSpec) -> bool:
    """Tell whether two networks are the same but for the number of classes, the channels and the stem."""
    if one.block != other.block:
        return False
    return one.changed(num_classes=other.num_classes, in_channels=other.in_channels, stem=other.stem) == other
