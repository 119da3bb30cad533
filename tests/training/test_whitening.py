import numpy as np
import pytest
import torch
from torch.nn import functional

from resnetkit.data.dataset import Item
from resnetkit.data.decoded.cache import Pixels
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.models.catalog import build
from resnetkit.training.steps import whitening
from resnetkit.training.steps.whitening import whiten, whitening_filters


@pytest.fixture
def smooth() -> torch.Tensor:
    """Pictures whose neighbouring pixels and channels go together, as in photos."""
    rough = torch.randn(200, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return functional.avg_pool2d(rough, 3, stride=1) + rough.mean(1, keepdim=True)[:, :, 1:-1, 1:-1]


def test_filtered_patches_are_uncorrelated_and_of_variance_one(smooth: torch.Tensor) -> None:
    filtered = functional.conv2d(smooth, whitening_filters(smooth, side=2)).transpose(0, 1).flatten(1)
    moments = filtered @ filtered.T / filtered.shape[1]
    assert torch.allclose(moments, torch.diag(torch.diagonal(moments)), atol=1e-3)
    assert torch.diagonal(moments)[0] > 0.99
    assert (torch.diagonal(moments) > 0.5).all()


def test_the_filters_are_those_of_pictures_from_the_whole_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whitening, "_NUM_PIXELS", 4 * 12**2)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)
    pixels[10:] //= 8  # another class, darker
    items = tuple(Item(source=str(i), labels=("a",), split="train", group=None) for i in range(20))

    def filters(chosen: slice) -> torch.Tensor:
        network = build("resnet8_fast", width=8)
        targets = np.zeros(20, np.int64)[chosen]
        part = Part(items=items[chosen], targets=targets, pixels=Pixels(pixels[chosen]))
        whiten(network, part, preprocess=Preprocess.for_size(12))
        return network.conv1.weight.detach()

    assert torch.equal(filters(slice(None)), filters(slice(None, None, 5)))
    assert not torch.allclose(filters(slice(None)), filters(slice(4)))


def test_the_stem_gets_each_filter_and_its_negative_and_keeps_them_fixed() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)
    items = tuple(Item(source=str(i), labels=("a",), split="train", group=None) for i in range(20))
    part = Part(items=items, targets=np.zeros(20, np.int64), pixels=Pixels(pixels))
    network = build("resnet8_fast", width=8)
    whiten(network, part, preprocess=Preprocess.for_size(12))
    weight = network.conv1.weight
    assert weight.shape == (24, 3, 2, 2)
    assert torch.equal(weight[:12], -weight[12:])
    assert not weight.requires_grad
