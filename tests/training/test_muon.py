import copy

import pytest
import torch

from resnetkit.models.catalog import build
from resnetkit.training.recipe import Optim
from resnetkit.training.state import load_optimizer, optimizer_tensors
from resnetkit.training.steps.muon import _orthogonal
from resnetkit.training.steps.optim import build_optimizer


@pytest.mark.parametrize("shape", [(16, 144), (64, 27), (32, 32)])
def test_a_step_is_of_like_strength_in_every_direction_of_the_gradient(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(*shape), full_matrices=False)
    gradient = left @ torch.diag(torch.logspace(0, -1, min(shape))) @ right
    values = torch.linalg.svdvals(_orthogonal(gradient[None])[0])
    assert 0.5 < values.min() < values.max() < 1.3


def test_the_directions_of_the_gradient_stay() -> None:
    torch.manual_seed(0)
    gradient = torch.randn(1, 8, 72)
    left, _, right = torch.linalg.svd(gradient[0], full_matrices=False)
    inner = left.T @ _orthogonal(gradient)[0] @ right.T
    assert torch.allclose(inner, torch.diag(torch.diagonal(inner)), atol=1e-4)
    assert (torch.diagonal(inner) > 0.5).all()


def test_filters_turn_at_their_rate_and_the_rest_descends_as_under_sgd() -> None:
    torch.manual_seed(0)
    network = build("resnet8")
    twin = copy.deepcopy(network)
    muon = build_optimizer(
        network, Optim(name="muon", lr=0.1, plain_lr=0.02, momentum=0.9, plain_momentum=0.6, weight_decay=0.0)
    )
    sgd = build_optimizer(twin, Optim(name="sgd", lr=0.02, momentum=0.6, weight_decay=0.0))
    images = torch.randn(4, 3, 16, 16)
    for each, optimizer in ((network, muon), (twin, sgd)):
        each(images).logsumexp(1).sum().backward()
        optimizer.step()
    for name, parameter in network.named_parameters():
        if parameter.ndim != 4:
            assert torch.allclose(parameter, twin.get_parameter(name), atol=1e-6), name
    filters = network.layer2[0].conv1.weight
    before = filters.detach().clone()
    network(images).logsumexp(1).sum().backward()
    muon.step()
    scaled = before * len(before) ** 0.5 / before.norm()
    assert 0.07 < (filters - scaled).norm() / scaled.norm() < 0.12


def test_weight_decay_shrinks_what_is_no_filter() -> None:
    network = build("resnet8")
    optimizer = build_optimizer(network, Optim(name="muon", lr=0.1, plain_lr=0.5, weight_decay=0.1))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = network.fc.weight.detach().clone()
    optimizer.step()
    assert torch.allclose(network.fc.weight, 0.95 * before)


def test_a_run_taken_up_from_its_saved_momenta_goes_on_with_the_same_bits() -> None:
    torch.manual_seed(0)
    network = build("resnet8").to(memory_format=torch.channels_last)
    optim = Optim(name="muon", lr=0.1, plain_lr=0.02, momentum=0.6, plain_momentum=0.8)
    optimizer = build_optimizer(network, optim)

    def step(each: torch.nn.Module, with_optimizer: torch.optim.Optimizer) -> None:
        with_optimizer.zero_grad()
        images = torch.ones(2, 3, 8, 8)
        images[1] += torch.arange(8)
        each(images).logsumexp(1).sum().backward()
        with_optimizer.step()

    step(network, optimizer)
    again = build("resnet8").to(memory_format=torch.channels_last)
    again.load_state_dict(network.state_dict())
    taken_up = build_optimizer(again, optim)
    load_optimizer(taken_up, optimizer_tensors(optimizer))
    for _ in range(2):
        step(network, optimizer)
        step(again, taken_up)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_frozen_parameters_are_left_alone() -> None:
    network = build("resnet8")
    network.requires_grad_(requires_grad=False)
    network.fc.requires_grad_(requires_grad=True)
    before = network.conv1.weight.clone()
    optimizer = build_optimizer(network, Optim(name="muon", lr=0.1, plain_lr=0.1))
    network(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    assert torch.equal(network.conv1.weight, before)
