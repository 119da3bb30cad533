"""Convolutions as products: the same numbers and gradients, where they pay and nowhere else."""

import warnings

import pytest
import torch
from torch.nn import functional as F

from resnetkit.models import few_places
from resnetkit.models.few_places import FewPlacesConv2d

LAST = torch.channels_last


@pytest.fixture(autouse=True)
def _everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_places, "_PAYS", torch.backends.cpu.get_cpu_capability())


def made(stride: int) -> FewPlacesConv2d:
    torch.manual_seed(0)
    return FewPlacesConv2d(6, 10, 3, stride, 1, bias=False).to(memory_format=LAST)


@pytest.mark.parametrize(("size", "stride"), [((2, 2), 1), ((1, 1), 1), ((4, 3), 1), ((5, 8), 2), ((8, 7), 2)])
@pytest.mark.parametrize("layout", [LAST, torch.contiguous_format])
def test_numbers_and_gradients_are_those_of_a_convolution(
    size: tuple[int, int], stride: int, layout: torch.memory_format
) -> None:
    convolution = made(stride)
    pictures = torch.randn(3, 6, *size).to(memory_format=layout).requires_grad_()
    assert few_places._pays(pictures, convolution.weight, stride)
    found = convolution(pictures)
    wanted = F.conv2d(pictures, convolution.weight, None, stride, 1)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    given = torch.randn_like(wanted)
    ours, theirs = (torch.autograd.grad(one, (pictures, convolution.weight), given) for one in (found, wanted))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert ours[1].stride() == convolution.weight.stride(), "as the optimizer's one pass over memory needs it"


def test_a_second_derivative_is_refused() -> None:
    pictures = torch.randn(1, 6, 2, 2).requires_grad_()
    once = torch.autograd.grad(made(1)(pictures).square().sum(), pictures, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        once.sum().backward()


def test_frozen_filters_and_given_pictures_get_no_gradient() -> None:
    convolution = made(1).requires_grad_(False)
    pictures = torch.randn(2, 6, 2, 2).requires_grad_()
    convolution(pictures).sum().backward()
    assert pictures.grad is not None
    assert convolution.weight.grad is None
    convolution.requires_grad_()
    convolution(torch.randn(2, 6, 2, 2)).sum().backward()
    assert convolution.weight.grad is not None
    with torch.inference_mode():
        torch.testing.assert_close(convolution(pictures), F.conv2d(pictures, convolution.weight, None, 1, 1))


def test_elsewhere_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    convolution, small = made(1), torch.randn(1, 6, 2, 2)
    assert few_places._pays(small, convolution.weight, 1)
    assert not few_places._pays(torch.randn(1, 6, 5, 5), convolution.weight, 1), "25 places of few filters"
    assert not few_places._pays(small.double(), convolution.weight, 1)
    assert not few_places._pays(small, convolution.weight.contiguous(), 1), "a copy each time"
    for odd in (small[0], small[:, :5], small[:, :, :0]):
        assert not few_places._pays(odd, convolution.weight, 1), "said as of any convolution"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it is deprecated, and used by other programs
        traced = torch.jit.trace(convolution.eval(), small)
    assert "aten::_convolution" in str(traced.graph), "a graph for pictures of any size"
    with torch.autocast("cpu", torch.bfloat16):
        assert not few_places._pays(small, convolution.weight, 1)
    monkeypatch.setattr(few_places, "_PAYS", "another processor")
    assert not few_places._pays(small, convolution.weight, 1)
