"""A network as an ONNX graph, written from its description and its tensors: one graph for every runtime, and no torch.

Tests hold it to `models.resnet` on random weights of every kind of network, and each export compares the two on real
pictures; what is written here has to change with `ResNet.forward`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from resnetkit.data.preprocess import Preprocess
from resnetkit.inference.detector_graph import objects, on_the_picture
from resnetkit.inference.graph_layers import LOGITS, PROBABILITIES, Layers, stages
from resnetkit.inference.onnx_graph import Graph, Value
from resnetkit.inference.resizing import resized, windowed
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.spec import ResNetSpec

if TYPE_CHECKING:
    import onnx

Reads = Literal["images", "pixels", "picture"]


def network_graph(
    spec: ResNetSpec | DetectorSpec,
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
      normalisation, softmax and `temperature` are inside. With `Preprocess.windows` it is `[1, H, W, 1] float32`, the
      measured values, and the windows are inside too.

    Input and output are called after what they are: `images`, `pixels`, `picture`; `logits`, `probabilities`. Raises
    `KeyError` where a tensor is missing or there is one too many; shapes are not checked here.
    """
    graph = Graph()
    frame, channels = preprocess.frame, preprocess.channels
    shapes: dict[Reads, list[int | str]] = {
        "images": ["N", channels, *frame],
        "pixels": ["N", *frame, channels],
        "picture": [1, "H", "W", 1 if preprocess.windows else channels],
    }
    measured = reads == "picture" and bool(preprocess.windows)
    given = graph.input(reads, shapes[reads], "float32" if reads == "images" or measured else "uint8")
    picture = windowed(graph, given, preprocess) if measured else given
    pixels = resized(graph, picture, preprocess) if reads == "picture" else given
    images = given if reads == "images" else _normalised(pixels, preprocess)
    outputs: list[int | str] = [1 if reads == "picture" else "N", spec.num_classes]
    if isinstance(spec, DetectorSpec):
        answer = objects(graph, spec, tensors, images, frame)
        outputs[1:] = [spec.detections, spec.num_outputs]
        if reads == "picture":
            answer = on_the_picture(graph, answer, given, preprocess)
    else:
        answer = _network(graph, spec, tensors, images)
    if reads == "picture" and isinstance(spec, ResNetSpec):
        if temperature is None:
            answer = graph.add("Sigmoid", answer, called=PROBABILITIES)
        else:
            tempered = graph.add("Div", answer, graph.constant(np.array(temperature, np.float32)))
            answer = graph.add("Softmax", tempered, called=PROBABILITIES, axis=-1)
    used = {constant.name for constant in graph.constants}
    unused = [name for name in tensors if name not in used and not name.endswith("num_batches_tracked")]
    if unused:
        raise KeyError(f"the network has no {unused[0]}")
    return graph.model(answer, outputs)


def _normalised(pixels: Value, preprocess: Preprocess) -> Value:
    """Add (x / 255 - mean) / std and channels first, as `data.batches.normalise`."""
    values = (pixels.cast("float32") / 255.0 - np.array(preprocess.mean)) / np.array(preprocess.std)
    return values.transposed(0, 3, 1, 2)


def _network(graph: Graph, spec: ResNetSpec, tensors: Mapping[str, np.ndarray], images: Value) -> Value:
    """Add `ResNet.forward`."""
    layers = Layers(graph, spec, tensors)
    x = stages(layers, images)[-1]
    x = graph.add("GlobalMaxPool" if spec.block == "pooled" else "GlobalAveragePool", x)
    x = graph.add("Flatten", x)
    return layers.linear("fc", x, called=LOGITS)
