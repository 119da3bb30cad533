"""The graph of every kind of detector finds what the detector finds."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resnetkit.data.batches import normalise
from resnetkit.data.preprocess import Preprocess
from resnetkit.inference.graph import network_graph
from resnetkit.inference.openvino_library import core
from resnetkit.models.detection.found import Found
from resnetkit.models.detection.network import Detector
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.spec import ResNetSpec
from tests.inference.test_graph import arrays, session, some
from tests.models.test_detection import TINY, unlikely

KINDS: dict[str, dict[str, Any]] = {
    "boxes": {},
    "masks": {"masks": True},
    "masks v2": {"masks": True, "version": "v2"},
    "more rows than there can be": {"detections": 400},
    "one level": {"levels": ("layer4",), "anchor_sizes": ((32.0, 64.0), (90.0, 120.0)), "aspect_ratios": (1.0, 2.0)},
    "two levels, not the last": {"levels": ("layer3", "layer4"), "extra": False, "anchor_sizes": ((32.0,), (64.0,))},
    "BatchNorm of its own": {"epsilon": 0.1},
    "on a bottleneck": {"backbone": ResNetSpec(block="bottleneck", blocks=(1, 1, 1, 1), width=8, num_classes=0)},
}
SMALL = {
    "channels": 16, "box_width": 32, "mask_channels": 8, "mask_layers": 2, "detections": 40,
    # Of more proposals of a network that has learnt nothing two may lie at the very overlap that one survives.
    "proposals_before": (500, 300), "proposals_after": (300, 100),
}  # fmt: skip
FRAME = (96, 128)


def detector(**changes: Any) -> Detector:
    torch.manual_seed(0)
    network = Detector(DetectorSpec.light(TINY, num_classes=3).changed(**{**SMALL, **changes}))
    unlikely(network)
    return network.eval()


def preprocess_of(height: int, width: int) -> Preprocess:
    return Preprocess(size=height, width=width, resize=height, crop="pad")


def found_by(network: Detector, pixels: np.ndarray) -> np.ndarray:
    preprocess = preprocess_of(*pixels.shape[1:3])
    with torch.inference_mode():
        images = normalise(torch.from_numpy(pixels), preprocess, memory_format=torch.contiguous_format)
        return network(images).numpy()


def compiled(model: Any, precision: str = "f32") -> Any:
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
    return core().compile_model(core().read_model(model.SerializeToString()), "CPU", settings)


def check_same(rows: np.ndarray, expected: np.ndarray) -> None:
    """Every row has its like within the tolerance; rows as sure as each other may have changed places."""
    assert rows.shape == expected.shape
    for own, wanted in zip(rows, expected, strict=True):
        assert (own[:, 5] >= 0).sum() == (wanted[:, 5] >= 0).sum()
        np.testing.assert_allclose(own[:, 4], wanted[:, 4], atol=1e-5)
        apart = np.abs(own[:, None] - wanted).max(axis=2)
        assert (np.concatenate([apart.min(axis=0), apart.min(axis=1)]) < 1e-3).all()


OFTEN = ("masks", "one level", "two levels, not the last", "BatchNorm of its own")


@pytest.mark.parametrize(
    "kind", [kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_the_graph_of_every_kind_of_detector_finds_what_the_detector_finds(kind: str) -> None:
    network = detector(**KINDS[kind])
    pixels = some(3, *FRAME)
    expected = found_by(network, pixels)
    assert (expected[:, :, 5] >= 0).sum() > 30
    graph = network_graph(network.spec, arrays(network), preprocess_of(*FRAME), reads="pixels")
    check_same(session(graph).run(["logits"], {"pixels": pixels})[0], expected)
    check_same(compiled(graph)(pixels)[0], expected)


def test_a_frame_that_halves_unevenly_is_no_trouble() -> None:
    network, pixels = detector(), some(2, 100, 90)
    graph = network_graph(network.spec, arrays(network), preprocess_of(100, 90), reads="pixels")
    check_same(session(graph).run(["logits"], {"pixels": pixels})[0], found_by(network, pixels))
    check_same(compiled(graph)(pixels)[0], found_by(network, pixels))


@pytest.mark.parametrize("masks", [pytest.param(False, marks=pytest.mark.slow), True])
def test_where_nothing_is_sure_nothing_is_found(masks: bool) -> None:
    network = detector(masks=masks)
    network.roi_heads.box_predictor.cls_score.bias.data[0] = 50  # background
    pixels = some(2, *FRAME)
    graph = network_graph(network.spec, arrays(network), preprocess_of(*FRAME), reads="pixels")
    nothing = np.zeros((2, network.spec.detections, network.spec.num_outputs), np.float32)
    nothing[:, :, 5] = -1
    np.testing.assert_array_equal(found_by(network, pixels), nothing)
    np.testing.assert_array_equal(session(graph).run(["logits"], {"pixels": pixels})[0], nothing)
    np.testing.assert_array_equal(compiled(graph)(pixels)[0], nothing)


def test_what_is_found_on_a_picture_does_not_depend_on_the_others() -> None:
    network, pixels = detector(masks=True), some(3, *FRAME)
    runs = compiled(network_graph(network.spec, arrays(network), preprocess_of(*FRAME), reads="pixels"))
    together = runs(pixels)[0].copy()
    for number in range(3):
        check_same(runs(pixels[number : number + 1])[0], together[number : number + 1])


def test_a_graph_that_reads_pictures_tells_places_on_the_picture() -> None:
    network, preprocess = detector(masks=True), preprocess_of(*FRAME)
    graph = network_graph(network.spec, arrays(network), preprocess, reads="picture")
    by_onnx, by_openvino = session(graph), compiled(graph)
    for width, height in ((128, 96), (300, 200), (64, 210)):
        picture = some(1, height, width)
        row = found_by(network, preprocess.pixels(Image.fromarray(picture[0]))[None].copy())[0]
        expected = Found.of(row, preprocess.view(width, height), width=width, height=height).rows()
        for answer in (by_onnx.run(["objects"], {"picture": picture})[0], by_openvino(picture)[0]):
            rows = answer[0][answer[0][:, 5] >= 0]
            assert len(rows) == len(expected) > 20
            apart = np.abs(rows[:, None] - expected).max(axis=2)
            assert (apart.min(axis=0) < 2e-3).all()


def test_in_bf16_boxes_are_not_rounded() -> None:
    """bf16 has eight bits: coordinates above 128 would be whole pixels, those above 256 even ones."""
    network, pixels = detector(), some(1, 320, 320)
    graph = network_graph(network.spec, arrays(network), preprocess_of(320, 320), reads="pixels")
    nodes = compiled(graph, "bf16").get_runtime_model().get_ops()
    rounded = [node.get_friendly_name() for node in nodes if "_f32_bf16_" in node.get_friendly_name()]
    assert [name for name in rounded if name.startswith("boxes_")] == []
    far = found_by(network, pixels)[0]
    assert far[:, :4].max() > 256


def test_tensors_of_another_detector_are_refused() -> None:
    network = detector()
    tensors = arrays(network)
    with pytest.raises(KeyError, match="has no"):
        network_graph(
            network.spec,
            {**tensors, "more": tensors["backbone.body.bn1.weight"]},
            preprocess_of(*FRAME),
            reads="pixels",
        )
    tensors.pop("rpn.head.cls_logits.weight")
    with pytest.raises(KeyError):
        network_graph(network.spec, tensors, preprocess_of(*FRAME), reads="pixels")
