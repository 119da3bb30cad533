"""The layers of a network one by one: what each puts out, its parameters, and which number in the name it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from resnetkit.models.building import build
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.resnet import PadShortcut
from resnetkit.models.spec import ResNetSpec

_POOLS = (nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer as it ran: `output` without the batch dimension, `(channels, height, width)` or `(classes,)`.

    Heads of a detector have `(regions, ...)`, and a layer that runs on several levels has its parameters once.

    `number` counts the layers that give the network its name; for others it is None and `why_not` says why.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    number: int | None
    why_not: str | None

    @property
    def elements(self) -> int:
        """Numbers in the output for one image."""
        return int(torch.Size(self.output).numel())


def layer_table(spec: ResNetSpec | DetectorSpec, frame: tuple[int, int]) -> tuple[Layer, ...]:
    """Return the layers of the network in the order they run on one image of (height, width).

    The heads of a detector run on as many regions as a training step learns from.

    The network itself is run on PyTorch's `meta` device, which has shapes and no values, so the table cannot differ
    from it; PyTorch takes about a second to get ready for that, once. ReLUs and additions work in place, have no
    parameters and are not listed; a GELU is.
    """
    rows: list[Layer] = []
    with torch.device("meta"):
        network: Any = build(spec).eval()
        image = torch.empty(1, spec.in_channels, *frame)
    for name, module in network.named_modules():
        if isinstance(
            module, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, *_POOLS, nn.Linear, nn.GELU, PadShortcut)
        ):
            module.register_forward_hook(_recorder(name, rows))
    with torch.no_grad():
        _run(network, image) if isinstance(spec, DetectorSpec) else network(image)
    return tuple(rows)


def _run(network: Any, image: Tensor) -> None:
    """Run each layer of a detector; what it finds has no place on the `meta` device."""
    spec, heads = network.spec, network.roi_heads
    network.rpn.head(list(network.backbone(image).values()))
    regions = {"box": (spec.box_samples, heads.box_roi_pool), "mask": (spec.box_samples // 4, heads.mask_roi_pool)}
    for kind, (count, pool) in regions.items():
        if pool is not None:
            cut = image.new_empty(count, spec.channels, pool.side, pool.side)
            getattr(heads, f"{kind}_predictor")(getattr(heads, f"{kind}_head")(cut))


def activation_elements(layers: tuple[Layer, ...]) -> int:
    """Return the numbers one image leaves in memory while training: the outputs of all listed layers.

    Training keeps them for the backward pass; ReLUs and additions overwrite the output of the layer before. Multiply
    by the bytes of the dtype and the batch size for the memory of the activations.
    """
    return sum(layer.elements for layer in layers)


def num_parameters(layers: tuple[Layer, ...]) -> int:
    """Return the parameters of the network."""
    return sum(layer.parameters for layer in layers)


def _recorder(name: str, rows: list[Layer]) -> Callable[[nn.Module, Any, Tensor], None]:
    runs = 0

    def record(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal runs
        runs += 1
        why_not = _why_not_counted(name, module)
        rows.append(
            Layer(
                name=name,
                kind=_kind(module),
                output=tuple(output.shape if name.startswith("roi_heads.") else output.shape[1:]),
                parameters=sum(p.numel() for p in module.parameters()) if runs == 1 else 0,
                number=None if why_not else 1 + sum(row.number is not None for row in rows),
                why_not=why_not,
            )
        )

    return record


def _why_not_counted(name: str, module: nn.Module) -> str | None:
    if name.startswith(("backbone.fpn.", "rpn.", "roi_heads.")):
        return "of the detector, not of the ResNet in it"
    if ".downsample" in name:
        return "on the shortcut, beside the layers that are counted"
    if isinstance(module, nn.BatchNorm2d):
        return "normalisation"
    if isinstance(module, nn.GELU):
        return "activation"
    if isinstance(module, _POOLS):
        return "pooling"
    return None


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return f"convolution {module.kernel_size[0]}x{module.kernel_size[1]}{_stride(module.stride[0])}"
    if isinstance(module, nn.ConvTranspose2d):
        return f"transposed convolution {module.kernel_size[0]}x{module.kernel_size[1]}{_stride(module.stride[0])}"
    if isinstance(module, PadShortcut):
        return f"subsample and zero-pad{_stride(module.stride)}"
    if isinstance(module, nn.MaxPool2d):
        return f"max-pool {module.kernel_size}x{module.kernel_size}, stride 2"
    return {
        nn.BatchNorm2d: "batch norm", nn.AdaptiveAvgPool2d: "average pool", nn.AdaptiveMaxPool2d: "maximum",
        nn.Linear: "linear", nn.GELU: "GELU",
    }[type(module)]  # fmt: skip


def _stride(stride: int) -> str:
    return f", stride {stride}" if stride > 1 else ""
