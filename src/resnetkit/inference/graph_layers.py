"""The layers and stages of a residual network as nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from resnetkit.errors import UsageError
from resnetkit.inference.onnx_graph import Graph, Value
from resnetkit.models.spec import Block, ResNetSpec, Window

# BatchNorm's epsilon, as in torch.nn.BatchNorm2d.
_EPSILON = 1e-5
# What the logits and the probabilities are called, and the objects in pixels of the picture.
LOGITS, PROBABILITIES, OBJECTS = "logits", "probabilities", "objects"


def stages(layers: Layers, images: Value) -> list[Value]:
    """Add `ResNet.features` without the stem's: the output of each stage."""
    spec = layers.spec
    stem, is_pooled = spec.stem_convolution, spec.block == "pooled"
    x = layers.convolution("conv1", images, stem.filters)
    x = layers.activation(x if is_pooled else layers.norm("bn1", x))
    x = layers.pool(x, stem.pool) if stem.pool else x
    outputs = []
    for stage, blocks in enumerate(spec.stages, start=1):
        for number, block in enumerate(blocks):
            x = (_pooled_block if is_pooled else _block)(layers, block, f"layer{stage}.{number}", x)
        outputs.append(x)
    return outputs


def _pooled_block(layers: Layers, block: Block, name: str, x: Value) -> Value:
    first, second = block.convolutions
    assert first.pool is not None
    x = layers.pool(layers.convolution(f"{name}.conv1", x, first.filters), first.pool)
    x = layers.activation(layers.norm(f"{name}.bn1", x))
    out = layers.activation(layers.norm(f"{name}.bn2", layers.convolution(f"{name}.conv2", x, second.filters)))
    return out if block.shortcut == "none" else layers.graph.add("Add", x, out)


def _block(layers: Layers, block: Block, name: str, x: Value) -> Value:
    out = x
    for number, each in enumerate(block.convolutions, start=1):
        out = layers.norm(f"{name}.bn{number}", layers.convolution(f"{name}.conv{number}", out, each.filters))
        if number < len(block.convolutions):
            out = layers.activation(out)
    if block.shortcut != "none":
        out = layers.graph.add("Add", out, _shortcut(layers, block, name, x))
    return layers.activation(out)


def _shortcut(layers: Layers, block: Block, name: str, x: Value) -> Value:
    if block.shortcut == "projected":
        x = layers.convolution(f"{name}.downsample.0", x, block.projection.filters)
        return layers.norm(f"{name}.downsample.1", x)
    if block.shortcut == "identity":
        return x
    graph, (in_channels, channels, filters, _) = layers.graph, block.projection
    new = channels - in_channels
    slices = ([0, 0], [2**31, 2**31], [2, 3], [filters.stride] * 2)  # begins, ends, axes, steps
    sampled = graph.add("Slice", x, *(graph.constant(np.array(numbers)) for numbers in slices))
    return graph.add("Pad", sampled, graph.constant(np.array([0, new // 2, 0, 0, 0, new - new // 2, 0, 0])))


class Layers:
    """Adds layers by the names of their parameters, which begin with `prefix`."""

    def __init__(
        self, graph: Graph, spec: ResNetSpec, tensors: Mapping[str, np.ndarray], *, prefix: str = "",
        epsilon: float | None = None,
    ) -> None:  # fmt: skip
        self.graph, self.spec, self.tensors, self.prefix = graph, spec, tensors, prefix
        self.epsilon = _EPSILON if epsilon is None else epsilon
        self._parameters: dict[str, Value] = {}

    def parameter(self, name: str) -> Value:
        """A tensor of the state dict, the same one where several layers share it."""
        key = self.prefix + name
        if key not in self._parameters:
            self._parameters[key] = self.graph.constant(_floats(self.tensors[key]), name=key)
        return self._parameters[key]

    def parameters(self, name: str) -> list[Value]:
        """Weight and, where it has one, bias of a layer."""
        there = [part for part in ("weight", "bias") if part == "weight" or f"{self.prefix}{name}.bias" in self.tensors]
        return [self.parameter(f"{name}.{part}") for part in there]

    def convolution(self, name: str, x: Value, filters: Window) -> Value:
        """`torch.nn.Conv2d`."""
        return self.graph.add(
            "Conv", x, *self.parameters(name), strides=[filters.stride] * 2, pads=[filters.padding] * 4
        )

    def linear(self, name: str, x: Value, *, called: str | None = None) -> Value:
        """`torch.nn.Linear`."""
        return self.graph.add("Gemm", x, *self.parameters(name), called=called, transB=1)

    def pool(self, x: Value, window: Window) -> Value:
        """`torch.nn.MaxPool2d`."""
        size, stride, padding = window
        return self.graph.add("MaxPool", x, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[padding] * 4)

    def norm(self, name: str, x: Value) -> Value:
        """`torch.nn.BatchNorm2d`, in evaluation mode."""
        values = [self.parameter(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        return self.graph.add("BatchNormalization", x, *values, epsilon=self.epsilon)

    def activation(self, x: Value) -> Value:
        """What follows the convolutions of the residual network."""
        if self.spec.activation == "relu":
            return self.graph.add("Relu", x)
        # ONNX has no operator for it before opset 20; both runtimes know these five nodes as one.
        return x * ((x / 2**0.5).apply("Erf") + 1.0) * 0.5


def _floats(tensor: np.ndarray) -> np.ndarray:
    if not np.issubdtype(tensor.dtype, np.floating):
        raise UsageError(f"weights must be floating-point numbers, not {tensor.dtype}")
    return tensor.astype(np.float32)
