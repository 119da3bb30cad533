"""A network as an ONNX graph, written from its description and its tensors: one graph for every runtime, and no torch.

Tests hold it to `models.resnet` on random weights of every kind of network, and each export compares the two on real
pictures; what is written here has to change with `ResNet.forward`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import UsageError
from resnetkit.models.spec import ResNetSpec

if TYPE_CHECKING:
    import onnx

Reads = Literal["images", "pixels", "picture"]
# Versions of the format and of the operators: what ONNX Runtime 1.17 (2024) and OpenVINO 2024 read.
_IR_VERSION, _OPSET = 9, 19
# BatchNorm's epsilon, as in torch.nn.BatchNorm2d.
_EPSILON = 1e-5
_FLOAT, _UINT8 = 1, 2  # onnx.TensorProto's numbers of these types
# Nodes whose names begin so resize the picture; they stay in fp32 whatever the network computes in.
RESIZING = "resizing_"
# What the resized picture and the logits are called within the graph that reads a whole picture.
RESIZED, LOGITS = f"{RESIZING}done", "logits"


def network_graph(
    spec: ResNetSpec,
    tensors: Mapping[str, np.ndarray],
    preprocess: Preprocess,
    *,
    reads: Reads,
    temperature: float = 1.0,
) -> onnx.ModelProto:
    """Return the graph of a network with the state dict `tensors`.

    - `reads="images"`: normalised `[N, C, S, S] float32` to logits `[N, K]`, the bare network;
    - `"pixels"`: `[N, S, S, C] uint8`, as `Preprocess.pixels` makes them, to logits;
    - `"picture"`: a decoded picture `[1, H, W, C] uint8` of any size to probabilities `[1, K]`: resize, crop,
      normalisation, softmax and `temperature` are inside.

    Input and output are called after what they are: `images`, `pixels`, `picture`; `logits`, `probabilities`. Raises
    `KeyError` where a tensor is missing or there is one too many; shapes are not checked here.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = Graph()
    size, channels = preprocess.size, preprocess.channels
    shapes: dict[Reads, list[int | str]] = {
        "images": ["N", channels, size, size],
        "pixels": ["N", size, size, channels],
        "picture": [1, "H", "W", channels],
    }
    images: str = reads
    if reads == "picture":
        images = resized(graph, reads, preprocess)
    if reads != "images":
        images = _normalised(graph, images, preprocess)
    answer = _network(graph, spec, tensors, images)
    assert answer == LOGITS
    used = {constant.name for constant in graph.constants}
    unused = [name for name in tensors if name not in used and not name.endswith("num_batches_tracked")]
    if unused:
        raise KeyError(f"the network has no {unused[0]}")
    if reads == "picture":
        tempered = graph.add("Div", answer, graph.constant(np.array(temperature, np.float32)))
        answer = graph.add("Softmax", tempered, called="probabilities", axis=-1)
    count = 1 if reads == "picture" else "N"
    kind = TensorProto.FLOAT if reads == "images" else TensorProto.UINT8
    made = helper.make_graph(
        graph.nodes,
        "resnetkit",
        [helper.make_tensor_value_info(reads, kind, shapes[reads])],
        [helper.make_tensor_value_info(answer, TensorProto.FLOAT, [count, spec.num_classes])],
        initializer=graph.constants,
    )
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION, producer_name="resnetkit"
    )
    onnx.checker.check_model(model)
    return model


class Graph:
    """Nodes and constants in the making; a value is known by its name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.prefix = ""

    def add(self, operator: str, *inputs: str, called: str | None = None, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        name = called or f"{self.prefix}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: np.ndarray | np.generic | list[int], *, name: str | None = None) -> str:
        """Add a constant, a list of integers as int64, and return its name."""
        from onnx import numpy_helper

        name = name or f"{self.prefix}constant_{len(self.constants)}"
        array = np.asarray(value, dtype=np.int64) if isinstance(value, list) else np.asarray(value)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name


def resized(graph: Graph, picture: str, preprocess: Preprocess) -> str:
    """Add what `Preprocess.pixels` does to an upright `[1, H, W, C] uint8` picture; returns `[1, S, S, C] uint8`.

    Resizing is two matrix products, across and then down as in Pillow, whose weights are built from the picture's own
    size. Both are rounded to whole grey levels as Pillow rounds; computed in fp32, a value that Pillow puts beside the
    middle between two levels may fall on its other side. What lies outside the picture is black.
    """
    graph.prefix = RESIZING
    shape = graph.add("Shape", picture)
    height, width = (graph.add("Gather", shape, graph.constant([axis])) for axis in (1, 2))
    new_height, new_width = _new_size(graph, height, width, preprocess)
    across = _weights(graph, width, new_width, preprocess)
    down = _weights(graph, height, new_height, preprocess)
    # [1, H, W, C] -> [1, C, H, W], so that both products are of plain matrices.
    planes = graph.add("Transpose", picture, perm=[0, 3, 1, 2])
    across = graph.add("Transpose", across, perm=[1, 0])
    planes = _whole_levels(graph, graph.add("MatMul", graph.add("Cast", planes, to=_FLOAT), across))
    planes = _whole_levels(graph, graph.add("MatMul", down, graph.add("Cast", planes, to=_FLOAT)))
    pixels = graph.add("Transpose", planes, called=RESIZED, perm=[0, 2, 3, 1])
    graph.prefix = ""
    return pixels


def _new_size(graph: Graph, height: str, width: str, preprocess: Preprocess) -> tuple[str, str]:
    """Add the height and width, `[1] int64`, to which a picture is resized before it is cropped or padded."""
    if preprocess.crop == "squash":
        side = graph.constant([preprocess.size])
        return side, side
    if preprocess.crop == "center":
        short, wanted = graph.add("Min", height, width), graph.constant([preprocess.resize])
        return tuple(graph.add("Div", graph.add("Mul", side, wanted), short) for side in (height, width))  # type: ignore[return-value]
    # To the nearest whole number, halves up: (2 * side * size + long) // (2 * long); at least one pixel.
    long, twice = graph.add("Max", height, width), graph.constant([2 * preprocess.size])
    double = graph.add("Mul", long, graph.constant([2]))
    one = graph.constant([1])
    return tuple(  # type: ignore[return-value]
        graph.add("Max", graph.add("Div", graph.add("Add", graph.add("Mul", side, twice), long), double), one)
        for side in (height, width)
    )


def _weights(graph: Graph, length: str, new_length: str, preprocess: Preprocess) -> str:
    """Add the `[size, length]` weights that resize a side of `length` to `new_length` and cut out or pad to `size`.

    Row i is Pillow's filter around the centre of output pixel i + offset; rows outside `new_length` are zeros. The
    distances are whole numbers over one denominator, which fp32 holds exactly up to 2^24.
    """
    size = preprocess.size
    rows = graph.add("Add", graph.constant(np.arange(size, dtype=np.int64)), _offset(graph, new_length, size))
    columns = graph.add(
        "Range",
        graph.constant(np.int64(0)),
        graph.add("Squeeze", length, graph.constant([0])),
        graph.constant(np.int64(1)),
    )
    distance = graph.add(
        "Sub",
        graph.add("Mul", _odd(graph, columns), new_length),
        graph.add("Unsqueeze", graph.add("Mul", _odd(graph, rows), length), graph.constant([1])),
    )
    # In output pixels where the picture shrinks, in input pixels where it grows: the filter never gets narrower.
    unit = graph.add("Mul", graph.add("Max", length, new_length), graph.constant([2]))
    x = graph.add("Abs", graph.add("Div", graph.add("Cast", distance, to=_FLOAT), graph.add("Cast", unit, to=_FLOAT)))
    weights = _triangle(graph, x) if preprocess.interpolation == "bilinear" else _cubic(graph, x)
    inside = graph.add(
        "And",
        graph.add("GreaterOrEqual", rows, graph.constant([0])),
        graph.add("Less", rows, new_length),
    )
    kept = graph.add("Unsqueeze", graph.add("Cast", inside, to=_FLOAT), graph.constant([1]))
    total = graph.add("ReduceSum", weights, graph.constant([1]), keepdims=1)
    # Far outside the picture there is nothing to divide by.
    total = graph.add("Add", total, graph.add("Sub", graph.constant(np.ones((1, 1), np.float32)), kept))
    return graph.add("Mul", graph.add("Div", weights, total), kept)


def _odd(graph: Graph, numbers: str) -> str:
    """Add 2 n + 1, twice the centre of pixel n."""
    return graph.add("Add", graph.add("Mul", numbers, graph.constant([2])), graph.constant([1]))


def _offset(graph: Graph, length: str, size: int) -> str:
    """Add the place of the first of `size` pixels in the middle of `length`, negative where it is padded.

    As torchvision: round((length - size) / 2) with halves to even, and -((size - length) // 2) where that is larger.
    """
    excess = graph.add("Sub", length, graph.constant([size]))
    zero, two = graph.constant([0]), graph.constant([2])
    cut = graph.add("Max", excess, zero)
    half = graph.add("Div", cut, two)
    up = graph.add("Mul", graph.add("Mod", cut, two), graph.add("Mod", half, two))
    pad = graph.add("Div", graph.add("Max", graph.add("Neg", excess), zero), two)
    return graph.add("Sub", graph.add("Add", half, up), pad)


def _triangle(graph: Graph, x: str) -> str:
    """Add max(0, 1 - x)."""
    return graph.add("Relu", graph.add("Sub", graph.constant(np.float32(1)), x))


def _cubic(graph: Graph, x: str) -> str:
    """Add Pillow's bicubic filter (a = -0.5): 1 - 2.5 x^2 + 1.5 x^3 up to 1, 2 - 4 x + 2.5 x^2 - 0.5 x^3 up to 2."""
    near = _polynomial(graph, x, [1.0, 0.0, -2.5, 1.5])
    far = _polynomial(graph, x, [2.0, -4.0, 2.5, -0.5])
    one, two, zero = (graph.constant(np.float32(value)) for value in (1, 2, 0))
    beyond = graph.add("Where", graph.add("Less", x, two), far, zero)
    return graph.add("Where", graph.add("Less", x, one), near, beyond)


def _polynomial(graph: Graph, x: str, coefficients: list[float]) -> str:
    """Add the polynomial with these coefficients, the constant first (Horner)."""
    value = graph.constant(np.float32(coefficients[-1]))
    for coefficient in reversed(coefficients[:-1]):
        value = graph.add("Add", graph.add("Mul", value, x), graph.constant(np.float32(coefficient)))
    return value


def _whole_levels(graph: Graph, values: str) -> str:
    """Add rounding to grey levels 0 to 255, halves up as Pillow.

    They are bytes again, from which OpenVINO goes on in fp32 where the network runs in bf16.
    """
    rounded = graph.add("Floor", graph.add("Add", values, graph.constant(np.float32(0.5))))
    clipped = graph.add("Clip", rounded, graph.constant(np.float32(0)), graph.constant(np.float32(255)))
    return graph.add("Cast", clipped, to=_UINT8)


def _normalised(graph: Graph, pixels: str, preprocess: Preprocess) -> str:
    """Add (x / 255 - mean) / std and channels first, as `data.batches.normalise`."""
    values = graph.add("Div", graph.add("Cast", pixels, to=_FLOAT), graph.constant(np.float32(255)))
    values = graph.add("Sub", values, graph.constant(np.array(preprocess.mean, np.float32)))
    values = graph.add("Div", values, graph.constant(np.array(preprocess.std, np.float32)))
    return graph.add("Transpose", values, perm=[0, 3, 1, 2])


def _network(graph: Graph, spec: ResNetSpec, tensors: Mapping[str, np.ndarray], images: str) -> str:
    """Add `ResNet.forward`."""
    layers = _Layers(graph, tensors)
    if spec.stem == "imagenet":
        x = layers.convolution("conv1", images, stride=2, padding=3)
        x = graph.add("Relu", layers.norm("bn1", x))
        x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    elif spec.stem == "cifar":
        x = graph.add("Relu", layers.norm("bn1", layers.convolution("conv1", images, padding=1)))
    else:
        x = graph.add("Relu", layers.convolution("conv1", images))
    for stage, num_blocks in enumerate(spec.blocks):
        for block in range(num_blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _block(layers, spec, f"layer{stage + 1}.{block}", x, stride=stride)
    x = graph.add("GlobalMaxPool" if spec.block == "pooled" else "GlobalAveragePool", x)
    x = graph.add("Flatten", x)
    weight, bias = (graph.constant(_floats(tensors[f"fc.{name}"]), name=f"fc.{name}") for name in ("weight", "bias"))
    return graph.add("Gemm", x, weight, bias, called=LOGITS, transB=1)


def _block(layers: _Layers, spec: ResNetSpec, name: str, x: str, *, stride: int) -> str:
    graph = layers.graph
    if spec.block == "pooled":
        x = graph.add("MaxPool", layers.convolution(f"{name}.conv1", x, padding=1), kernel_shape=[2, 2], strides=[2, 2])
        x = graph.add("Relu", layers.norm(f"{name}.bn1", x))
        out = graph.add("Relu", layers.norm(f"{name}.bn2", layers.convolution(f"{name}.conv2", x, padding=1)))
        return out if spec.shortcut == "none" else graph.add("Add", x, out)
    strides = [stride, 1]
    if spec.block == "bottleneck":
        strides = [stride, 1, 1] if spec.stride == "v1" else [1, stride, 1]
    out = x
    for number, step in enumerate(strides, start=1):
        padding = (layers.kernel(f"{name}.conv{number}") - 1) // 2
        out = layers.convolution(f"{name}.conv{number}", out, stride=step, padding=padding)
        out = layers.norm(f"{name}.bn{number}", out)
        if number < len(strides):
            out = graph.add("Relu", out)
    if spec.shortcut != "none":
        out = graph.add("Add", out, _shortcut(layers, spec, name, x, stride=stride))
    return graph.add("Relu", out)


def _shortcut(layers: _Layers, spec: ResNetSpec, name: str, x: str, *, stride: int) -> str:
    if f"{name}.downsample.0.weight" in layers.tensors:
        return layers.norm(f"{name}.downsample.1", layers.convolution(f"{name}.downsample.0", x, stride=stride))
    if spec.shortcut == "B" or stride == 1:
        return x
    graph = layers.graph
    new = layers.tensors[f"{name}.conv1.weight"].shape[0] - layers.tensors[f"{name}.conv1.weight"].shape[1]
    ends, axes, steps = graph.constant([2**31, 2**31]), graph.constant([2, 3]), graph.constant([stride, stride])
    sampled = graph.add("Slice", x, graph.constant([0, 0]), ends, axes, steps)
    return graph.add("Pad", sampled, graph.constant([0, new // 2, 0, 0, 0, new - new // 2, 0, 0]))


class _Layers:
    """Adds layers by the names of their parameters."""

    def __init__(self, graph: Graph, tensors: Mapping[str, np.ndarray]) -> None:
        self.graph, self.tensors = graph, tensors

    def kernel(self, name: str) -> int:
        return self.tensors[f"{name}.weight"].shape[-1]

    def convolution(self, name: str, x: str, *, stride: int = 1, padding: int = 0) -> str:
        names = [key for key in (f"{name}.weight", f"{name}.bias") if key in self.tensors]
        values = [self.graph.constant(_floats(self.tensors[key]), name=key) for key in names]
        return self.graph.add("Conv", x, *values, strides=[stride, stride], pads=[padding] * 4)

    def norm(self, name: str, x: str) -> str:
        keys = (f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
        values = [self.graph.constant(_floats(self.tensors[key]), name=key) for key in keys]
        return self.graph.add("BatchNormalization", x, *values, epsilon=_EPSILON)


def _floats(tensor: np.ndarray) -> np.ndarray:
    if not np.issubdtype(tensor.dtype, np.floating):
        raise UsageError(f"weights must be floating-point numbers, not {tensor.dtype}")
    return tensor.astype(np.float32)
