"""A network as an ONNX graph, written from its description and its tensors: one graph for every runtime, and no torch.

Tests hold it to `models.resnet` on random weights of every kind of network, and each export compares the two on real
pictures; what is written here has to change with `ResNet.forward`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import UsageError
from resnetkit.inference.onnx_graph import Graph, Value
from resnetkit.inference.resizing import resized
from resnetkit.models.spec import Block, ResNetSpec, Window

if TYPE_CHECKING:
    import onnx

Reads = Literal["images", "pixels", "picture"]
# BatchNorm's epsilon, as in torch.nn.BatchNorm2d.
_EPSILON = 1e-5
# What the logits and the probabilities are called.
LOGITS, PROBABILITIES = "logits", "probabilities"


def network_graph(
    spec: ResNetSpec,
    tensors: Mapping[str, np.ndarray],
    preprocess: Preprocess,
    *,
    reads: Reads,
    temperature: float | None = 1.0,
) -> onnx.ModelProto:
    """Return the graph of a network with the state dict `tensors`.

    - `reads="images"`: normalised `[N, C, H, W] float32` to logits `[N, K]`, the bare network;
    - `"pixels"`: `[N, H, W, C] uint8`, as `Preprocess.pixels` makes them, to logits;
    - `"picture"`: a decoded picture `[1, H, W, C] uint8` of any size to probabilities `[1, K]`: resize, crop,
      normalisation, softmax and `temperature` are inside.

    Input and output are called after what they are: `images`, `pixels`, `picture`; `logits`, `probabilities`. Raises
    `KeyError` where a tensor is missing or there is one too many; shapes are not checked here.
    """
    graph = Graph()
    frame, channels = preprocess.frame, preprocess.channels
    shapes: dict[Reads, list[int | str]] = {
        "images": ["N", channels, *frame],
        "pixels": ["N", *frame, channels],
        "picture": [1, "H", "W", channels],
    }
    given = graph.input(reads, shapes[reads], "float32" if reads == "images" else "uint8")
    pixels = resized(graph, given, preprocess) if reads == "picture" else given
    images = given if reads == "images" else _normalised(pixels, preprocess)
    answer = _network(graph, spec, tensors, images)
    if reads == "picture":
        if temperature is None:
            answer = graph.add("Sigmoid", answer, called=PROBABILITIES)
        else:
            tempered = graph.add("Div", answer, graph.constant(np.array(temperature, np.float32)))
            answer = graph.add("Softmax", tempered, called=PROBABILITIES, axis=-1)
    used = {constant.name for constant in graph.constants}
    unused = [name for name in tensors if name not in used and not name.endswith("num_batches_tracked")]
    if unused:
        raise KeyError(f"the network has no {unused[0]}")
    return graph.model(answer, [1 if reads == "picture" else "N", spec.num_classes])


def _normalised(pixels: Value, preprocess: Preprocess) -> Value:
    """Add (x / 255 - mean) / std and channels first, as `data.batches.normalise`."""
    values = (pixels.cast("float32") / 255.0 - np.array(preprocess.mean)) / np.array(preprocess.std)
    return values.transposed(0, 3, 1, 2)


def _network(graph: Graph, spec: ResNetSpec, tensors: Mapping[str, np.ndarray], images: Value) -> Value:
    """Add `ResNet.forward`."""
    layers, stem, is_pooled = _Layers(graph, spec, tensors), spec.stem_convolution, spec.block == "pooled"
    x = layers.convolution("conv1", images, stem.filters)
    x = layers.activation(x if is_pooled else layers.norm("bn1", x))
    x = layers.pool(x, stem.pool) if stem.pool else x
    for stage, blocks in enumerate(spec.stages, start=1):
        for number, block in enumerate(blocks):
            x = (_pooled_block if is_pooled else _block)(layers, block, f"layer{stage}.{number}", x)
    x = graph.add("GlobalMaxPool" if is_pooled else "GlobalAveragePool", x)
    x = graph.add("Flatten", x)
    weight, bias = (graph.constant(_floats(tensors[f"fc.{name}"]), name=f"fc.{name}") for name in ("weight", "bias"))
    return graph.add("Gemm", x, weight, bias, called=LOGITS, transB=1)


def _pooled_block(layers: _Layers, block: Block, name: str, x: Value) -> Value:
    first, second = block.convolutions
    assert first.pool is not None
    x = layers.pool(layers.convolution(f"{name}.conv1", x, first.filters), first.pool)
    x = layers.activation(layers.norm(f"{name}.bn1", x))
    out = layers.activation(layers.norm(f"{name}.bn2", layers.convolution(f"{name}.conv2", x, second.filters)))
    return out if block.shortcut == "none" else layers.graph.add("Add", x, out)


def _block(layers: _Layers, block: Block, name: str, x: Value) -> Value:
    out = x
    for number, each in enumerate(block.convolutions, start=1):
        out = layers.norm(f"{name}.bn{number}", layers.convolution(f"{name}.conv{number}", out, each.filters))
        if number < len(block.convolutions):
            out = layers.activation(out)
    if block.shortcut != "none":
        out = layers.graph.add("Add", out, _shortcut(layers, block, name, x))
    return layers.activation(out)


def _shortcut(layers: _Layers, block: Block, name: str, x: Value) -> Value:
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


class _Layers:
    """Adds layers by the names of their parameters."""

    def __init__(self, graph: Graph, spec: ResNetSpec, tensors: Mapping[str, np.ndarray]) -> None:
        self.graph, self.spec, self.tensors = graph, spec, tensors

    def convolution(self, name: str, x: Value, filters: Window) -> Value:
        keys = [f"{name}.weight", *(key for key in [f"{name}.bias"] if key in self.tensors)]
        values = [self.graph.constant(_floats(self.tensors[key]), name=key) for key in keys]
        return self.graph.add("Conv", x, *values, strides=[filters.stride] * 2, pads=[filters.padding] * 4)

    def pool(self, x: Value, window: Window) -> Value:
        size, stride, padding = window
        return self.graph.add("MaxPool", x, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[padding] * 4)

    def norm(self, name: str, x: Value) -> Value:
        keys = (f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
        values = [self.graph.constant(_floats(self.tensors[key]), name=key) for key in keys]
        return self.graph.add("BatchNormalization", x, *values, epsilon=_EPSILON)

    def activation(self, x: Value) -> Value:
        if self.spec.activation == "relu":
            return self.graph.add("Relu", x)
        # ONNX has no operator for it before opset 20; both runtimes know these five nodes as one.
        return x * ((x / 2**0.5).apply("Erf") + 1.0) * 0.5


def _floats(tensor: np.ndarray) -> np.ndarray:
    if not np.issubdtype(tensor.dtype, np.floating):
        raise UsageError(f"weights must be floating-point numbers, not {tensor.dtype}")
    return tensor.astype(np.float32)
