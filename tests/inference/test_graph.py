"""The graph of every kind of network equals the network; resizing inside the graph equals Pillow's."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from resnetkit.data.batches import normalise
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import UsageError
from resnetkit.inference.graph import Reads, network_graph
from resnetkit.inference.onnx_graph import Graph
from resnetkit.inference.openvino_library import core
from resnetkit.inference.resizing import RESIZED, resized
from resnetkit.models.resnet import ResNet
from tests.models.test_resnet import KINDS, randomised

SIZES = ((40, 30), (30, 40), (31, 47), (47, 33), (32, 32), (28, 28), (20, 9), (9, 20), (301, 33), (33, 150), (5, 5))
SETTINGS = [
    Preprocess(size=size, resize=resize, crop=crop, interpolation=interpolation)
    for (size, resize), crop, interpolation in itertools.product(
        ((28, 32), (24, 24), (32, 25)), ("center", "pad", "squash"), ("bilinear", "bicubic")
    )
]
SETTINGS += [
    Preprocess(size=size, width=width, resize=resize, crop=crop)
    for (size, width, resize), crop in itertools.product(((20, 48, 24), (36, 13, 36)), ("center", "pad", "squash"))
]


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def some(count: int, height: int, width: int, channels: int = 3, *, seed: int = 0) -> np.ndarray:
    """Pictures with detail at every scale and both ends of the range."""
    generator = np.random.default_rng(seed)
    coarse = generator.normal(128, 90, (count, -(-height // 6), -(-width // 6), channels))
    grown = coarse.repeat(6, axis=1).repeat(6, axis=2)[:, :height, :width]
    return (grown + generator.normal(0, 25, (count, height, width, channels))).clip(0, 255).astype(np.uint8)


def arrays(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


def preprocess_for(channels: int, size: int = 33) -> Preprocess:
    return Preprocess.for_size(size, channels=channels).changed(resize=size + 3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_of_every_kind_of_network_answers_as_the_network(kind: str) -> None:
    spec = KINDS[kind]
    network = randomised(ResNet(spec)).eval()
    preprocess = preprocess_for(spec.in_channels)
    pixels = some(3, 33, 33, spec.in_channels)
    images = normalise(torch.from_numpy(pixels), preprocess, memory_format=torch.contiguous_format)
    with torch.inference_mode():
        expected = network(images).numpy()
    assert expected.std() > 0.01
    for reads, given in (("images", images.numpy()), ("pixels", pixels)):
        graph = network_graph(spec, arrays(network), preprocess, reads=reads)
        [answer] = session(graph).run(["logits"], {reads: given})
        np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def resizing(preprocess: Preprocess) -> onnx.ModelProto:
    """A graph that only resizes."""
    graph = Graph()
    picture = graph.input("picture", [1, "H", "W", preprocess.channels], "uint8")
    return graph.model(resized(graph, picture, preprocess), [1, "S", "S", preprocess.channels])


@pytest.mark.parametrize("preprocess", SETTINGS, ids=lambda p: f"{p.crop}-{p.interpolation}-{p.resize}-{p.sides}")
def test_resizing_in_the_graph_gives_pillows_bytes(preprocess: Preprocess) -> None:
    runs = session(resizing(preprocess))
    allowed = 0 if preprocess.interpolation == "bilinear" else 1
    for seed, (width, height) in enumerate(SIZES):
        picture = some(1, height, width, seed=seed)
        expected = preprocess.pixels(Image.fromarray(picture[0]))
        [answer] = runs.run(None, {"picture": picture})
        assert answer.shape == (1, *expected.shape)
        np.testing.assert_allclose(answer[0].astype(int), expected, atol=allowed, err_msg=f"{width}x{height}")


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_openvino_resizes_to_pillows_bytes_whatever_the_network_computes_in(precision: str) -> None:
    preprocess = Preprocess(resize=64, size=56)
    settings = {"INFERENCE_PRECISION_HINT": precision}
    spec = KINDS["resnet18"]
    graph = network_graph(spec, arrays(randomised(ResNet(spec))), preprocess, reads="picture")
    whole = core().read_model(graph.SerializeToString())
    [resized_pixels] = [out for node in whole.get_ops() for out in node.outputs() if RESIZED in out.get_names()]
    whole.add_outputs([resized_pixels])
    runs = core().compile_model(whole, "CPU", settings)
    for width, height in ((640, 480), (333, 500), (64, 64), (4000, 300), (375, 500)):
        picture = some(1, height, width)
        assert (runs(picture)[RESIZED][0] == preprocess.pixels(Image.fromarray(picture[0]))).all(), (width, height)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_decoded_picture_of_any_size_gives_the_probabilities_of_the_whole_path(channels: int) -> None:
    spec = KINDS["resnet20"].changed(in_channels=channels)
    network = randomised(ResNet(spec)).eval()
    preprocess = preprocess_for(channels)
    runs = session(network_graph(spec, arrays(network), preprocess, reads="picture", temperature=1.7))
    for width, height in ((33, 60), (90, 36), (33, 33)):
        picture = some(1, height, width, channels)
        array = picture[0] if channels == 3 else picture[0, :, :, 0]
        pixels = torch.from_numpy(preprocess.pixels(Image.fromarray(array)).copy())[None]
        images = normalise(pixels, preprocess, memory_format=torch.contiguous_format)
        with torch.inference_mode():
            expected = torch.softmax(network(images) / 1.7, dim=1).numpy()
        [answer] = runs.run(["probabilities"], {"picture": picture})
        np.testing.assert_allclose(answer, expected, atol=1e-5)
        assert answer.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("reads", ["images", "pixels"])
def test_a_picture_answers_alike_alone_and_in_a_batch(reads: Reads) -> None:
    spec = KINDS["resnet18"]
    preprocess = preprocess_for(3)
    runs = session(network_graph(spec, arrays(randomised(ResNet(spec))), preprocess, reads=reads))
    given = some(5, 33, 33) if reads == "pixels" else some(5, 33, 33).transpose(0, 3, 1, 2).astype(np.float32) / 64
    [together] = runs.run(None, {reads: given})
    alone = np.concatenate([runs.run(None, {reads: given[i : i + 1]})[0] for i in range(5)])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


def test_weights_of_whole_numbers_are_refused() -> None:
    network = randomised(ResNet(KINDS["resnet20"]))
    broken = arrays(network) | {"conv1.weight": np.ones((8, 3, 3, 3), np.int8)}
    with pytest.raises(UsageError, match="int8"):
        network_graph(KINDS["resnet20"], broken, preprocess_for(3), reads="images")
