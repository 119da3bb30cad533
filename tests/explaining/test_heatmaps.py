"""A heat map lies on what speaks for the class, for every network, and leaves the network as it was."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, UsageError
from resnetkit.explaining.heatmaps import METHODS, Explainer, Method, known_method
from resnetkit.models.resnet import ResNet
from resnetkit.models.spec import ResNetSpec
from tests.models.test_resnet import KINDS, randomised

pytest.importorskip("captum")
SIZE = 32


def red_or_blue() -> ResNet:
    """A network that counts red pixels for class 0, blue ones for class 1, and nothing for class 2."""
    spec = ResNetSpec(block="basic", blocks=(1,), width=2, stem="cifar", num_classes=3)
    network = ResNet(spec).eval()
    with torch.no_grad():
        for parameter in (network.conv1.weight, network.layer1[0].conv2.weight, network.fc.weight, network.fc.bias):
            parameter.zero_()
        network.conv1.weight[0, 0, 1, 1] = network.conv1.weight[1, 2, 1, 1] = 1
        network.fc.weight[0, 0] = network.fc.weight[1, 1] = 1
        network.fc.weight[2] = -1
    return network


def two_squares() -> np.ndarray:
    """Red in the top left, blue in the bottom right, on the mean colour."""
    pixels = np.full((SIZE, SIZE, 3), 124, np.uint8)
    pixels[4:12, 4:12] = (255, 0, 0)
    pixels[20:28, 20:28] = (0, 0, 255)
    return pixels


def preprocess_of(spec: ResNetSpec) -> Preprocess:
    return Preprocess.for_size(SIZE, channels=spec.in_channels)


@pytest.mark.parametrize("method", METHODS)
def test_the_heat_lies_on_what_speaks_for_the_class(method: Method) -> None:
    network = red_or_blue()
    red, blue, nothing = Explainer(network, preprocess_of(network.spec)).heat(two_squares(), [0, 1, 2], method=method)
    assert red[4:12, 4:12].mean() > 5 * red[14:, 14:].mean() + 0.2
    assert blue[20:28, 20:28].mean() > 5 * blue[:18, :18].mean() + 0.2
    assert red.max() == blue.max() == 1
    assert not nothing.any()


@pytest.mark.parametrize(
    ("kind", "method"),
    [*((kind, "gradcam") for kind in KINDS), ("resnet50", "occlusion"), ("plain20 of 1 channel", "occlusion")],
)
def test_every_network_can_be_explained(kind: str, method: Method) -> None:
    spec = KINDS[kind]
    network = randomised(ResNet(spec)).eval()
    assert isinstance(network, ResNet)
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, spec.in_channels), dtype=np.uint8)
    heat = Explainer(network, preprocess_of(spec)).heat(pixels, [0, 3], method=method)
    assert heat.shape == (2, SIZE, SIZE)
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    assert heat.max() <= 1


def hooks_of(network: nn.Module) -> dict[str, list[int]]:
    """Every kind of hook of every module and parameter, by the identity of the functions."""
    found = {}
    for name, module in network.named_modules():
        kinds = [kind for kind in vars(module) if kind.endswith("_hooks")]
        assert "_forward_hooks" in kinds
        found |= {f"{name} {kind}": list(map(id, getattr(module, kind).values())) for kind in kinds}
    for name, parameter in network.named_parameters():
        found[name] = list(map(id, (parameter._backward_hooks or {}).values()))
    return found


@contextmanager
def unchanged(network: nn.Module) -> Iterator[None]:
    """Check that values, modes, gradients, what asks for them and hooks are the same, in the same objects."""

    def seen() -> dict[str, object]:
        tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        return {
            "identity": {name: id(tensor) for name, tensor in tensors.items()},
            "version": {name: tensor._version for name, tensor in tensors.items()},
            "gradients": {name: (p.requires_grad, p.grad) for name, p in network.named_parameters()},
            "layout": {name: (tensor.dtype, tensor.stride()) for name, tensor in tensors.items()},
            "modes": {name: module.training for name, module in network.named_modules()},
            "hooks": hooks_of(network),
            "random": torch.get_rng_state().tolist(),
            "enabled": torch.is_grad_enabled(),
        }

    before = seen()
    values = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    yield
    assert seen() == before
    assert all(torch.equal(tensor, values[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_as_it_was(method: Method) -> None:
    network = randomised(ResNet(KINDS["resnet18"]))
    network.train()
    network.layer2.eval()  # type: ignore[union-attr]
    network.fc.weight.requires_grad_(False)  # type: ignore[union-attr]
    heard: list[int] = []
    network.layer4.register_forward_hook(lambda *_: heard.append(1))  # type: ignore[union-attr]
    pixels = two_squares()
    with unchanged(network):
        Explainer(network, preprocess_of(KINDS["resnet18"])).heat(pixels, [1, 2], method=method)  # type: ignore[arg-type]
    assert (pixels == two_squares()).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_as_it_was_after_an_interruption(method: Method) -> None:
    network = randomised(ResNet(KINDS["resnet50"])).eval()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    network.fc.register_forward_hook(stop)  # type: ignore[union-attr]
    with unchanged(network), pytest.raises(KeyboardInterrupt):
        Explainer(network, preprocess_of(KINDS["resnet50"])).heat(two_squares(), [0], method=method)  # type: ignore[arg-type]


def test_the_same_picture_has_the_same_map() -> None:
    network = randomised(ResNet(KINDS["resnet18"])).eval()
    explainer = Explainer(network, preprocess_of(KINDS["resnet18"]))  # type: ignore[arg-type]
    assert (explainer.heat(two_squares(), [1]) == explainer.heat(two_squares(), [0, 1])[1]).mean() > 0.99
    assert (explainer.heat(two_squares(), [1]) == explainer.heat(two_squares(), [1])).all()


def test_a_network_of_broken_numbers_is_refused() -> None:
    network = red_or_blue()
    with torch.no_grad():
        network.fc.weight[0] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        Explainer(network, preprocess_of(network.spec)).heat(two_squares(), [0])


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'gradcam'"):
        known_method("grad-cam")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(UsageError, match=r'pip install "resnetkit\[explain\]"'):
        Explainer(red_or_blue(), preprocess_of(red_or_blue().spec))
