"""Writes a network in the format of a runtime, with its record in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from resnetkit.errors import UsageError
from resnetkit.exporting.folder import Exported
from resnetkit.inference.graph import network_graph
from resnetkit.inference.openvino_library import core, library
from resnetkit.models import catalog
from resnetkit.models.detection.names import Named, form_of
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.spec import ResNetSpec

if TYPE_CHECKING:
    import onnx
    import openvino

# The networks of torchvision.models that a spec can be.
_TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2")
_KEY = "resnetkit"
_EPSILON = 1e-5  # of torchvision's BatchNorm


def torchvision_network(spec: ResNetSpec) -> str:
    """Return what of torchvision.models builds this network, but for `num_classes`: a function, or `ResNet` itself.

    Raises `UsageError` where nothing does.

    >>> torchvision_network(catalog.spec_of("resnet18")), torchvision_network(catalog.spec_of("resnet_2223"))
    ('resnet18', 'ResNet(BasicBlock, [2, 2, 2, 3])')
    """
    for name in _TORCHVISION:
        if catalog.spec_of(name, num_classes=spec.num_classes) == spec:
            return name
    is_basic = spec.block == "basic"
    theirs = catalog.spec_of("resnet18" if is_basic else "resnet50").changed(
        blocks=spec.blocks, widening=1 if is_basic else spec.widening, num_classes=spec.num_classes
    )
    if spec != theirs or len(spec.blocks) != 4:
        raise UsageError(
            "torchvision has no such network (its ResNets have four stages and an ImageNet stem for colour pictures): "
            "use --to onnx or --to openvino"
        )
    wide = f", width_per_group={64 * spec.widening}" if spec.widening > 1 else ""
    return f"ResNet({'BasicBlock' if is_basic else 'Bottleneck'}, {list(spec.blocks)}{wide})"


def torchvision_detector(spec: DetectorSpec) -> str:
    """Return what torchvision calls this detector: a function, or what its parts make of another of its ResNets.

    Raises `UsageError` where it has none.

    >>> torchvision_detector(DetectorSpec(backbone=catalog.spec_of("resnet18", num_classes=0)))
    'fasterrcnn_resnet18_fpn'
    """
    form, trunk = form_of(spec), _trunk(spec.backbone)
    usual = len(spec.levels) == 4 and spec.extra and spec.num_anchors == 3 and spec.epsilon == _EPSILON
    if not usual or trunk is None or not (form == "fpn" or (form == "fpn_v2" and trunk == "resnet50")):
        raise UsageError(
            "torchvision has no such detector (its own are fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2 and what "
            "its parts make of another of its ResNets): use --to onnx or --to openvino"
        )
    return str(Named(spec.masks, trunk, form))


def _trunk(spec: ResNetSpec) -> str | None:
    return next((name for name in _TORCHVISION if catalog.spec_of(name, num_classes=0) == spec), None)


def write(exported: Exported, tensors: Mapping[str, np.ndarray], *, temperature: float | None) -> None:
    """Write the model of `exported` with the state dict `tensors` into its folder."""
    if exported.format == "torchvision":
        _write_weights(exported, tensors)
        return
    if exported.format == "onnx":
        write_onnx(exported, _graph(exported, tensors, temperature))
    else:
        write_openvino(exported, openvino_model(exported, tensors, temperature=temperature))


def openvino_model(
    exported: Exported, tensors: Mapping[str, np.ndarray], *, temperature: float | None
) -> openvino.Model:
    """Return the model of `exported` as OpenVINO's."""
    return core().read_model(_graph(exported, tensors, temperature).SerializeToString())


def _graph(exported: Exported, tensors: Mapping[str, np.ndarray], temperature: float | None) -> onnx.ModelProto:
    return network_graph(
        exported.header.spec, tensors, exported.header.preprocess, reads=exported.reads, temperature=temperature
    )


def write_onnx(exported: Exported, graph: onnx.ModelProto) -> None:
    """Write an ONNX graph; its metadata has the record under `resnetkit`."""
    import onnx

    onnx.helper.set_model_props(graph, {_KEY: json.dumps(exported.metadata(), ensure_ascii=False)})
    onnx.save(graph, exported.model)


def write_openvino(exported: Exported, model: openvino.Model) -> None:
    """Write an OpenVINO model, its numbers as they are; its runtime information has the record under `resnetkit`."""
    model.set_rt_info(json.dumps(exported.metadata(), ensure_ascii=False), _KEY)
    library().save_model(model, exported.model, compress_to_fp16=False)


def _write_weights(exported: Exported, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a state dict that `load_state_dict` of torchvision's network takes as it is."""
    import torch

    state = {name: torch.from_numpy(np.array(values)) for name, values in tensors.items()}
    torch.save(state, exported.model)
