import pytest
import torch

from resnetkit.models.catalog import build
from resnetkit.training.recipe import Optim, Schedule
from resnetkit.training.state import load_optimizer, optimizer_tensors
from resnetkit.training.steps.optim import build_optimizer, parameter_groups, rate_factor


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_the_rate_rises_to_full_and_falls_to_the_end(name: str) -> None:
    schedule = Schedule(name=name, warmup_epochs=1, final=0.1)
    factors = [rate_factor(schedule, step=s, steps_per_epoch=10, epochs=5) for s in range(50)]
    assert factors[:10] == sorted(factors[:10])
    assert factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0.1 < factors[-1] < 0.15
    assert min(factors) > 0


def test_a_warm_up_longer_than_the_run_still_rises() -> None:
    schedule = Schedule(warmup_epochs=5)
    factors = [rate_factor(schedule, step=s, steps_per_epoch=4, epochs=1) for s in range(4)]
    assert factors == sorted(factors)
    assert all(0 < factor <= 1 for factor in factors)


def test_more_epochs_give_the_curve_of_the_longer_run() -> None:
    schedule = Schedule()
    assert rate_factor(schedule, step=20, steps_per_epoch=10, epochs=4) == pytest.approx(0.5)
    assert rate_factor(schedule, step=20, steps_per_epoch=10, epochs=2) == pytest.approx(0.0)


def test_every_parameter_is_in_one_group_and_earlier_stages_learn_slower() -> None:
    network = build("resnet18", width=8, num_classes=2)
    groups = parameter_groups(network, Optim(lr=1.0, layer_decay=0.5, decay_norm_and_bias=False))
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(ids) == sorted(id(parameter) for parameter in network.parameters())
    rate_of = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rate_of[id(network.fc.weight)] == 1.0
    assert rate_of[id(network.conv1.weight)] == 0.5**5
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decays[id(network.bn1.weight)] == 0
    assert decays[id(network.conv1.weight)] > 0


def test_a_network_of_three_stages_has_its_head_right_behind_them() -> None:
    network = build("resnet8")
    rate_of = {id(p): g["lr"] for g in parameter_groups(network, Optim(lr=1.0, layer_decay=0.5)) for p in g["params"]}
    assert rate_of[id(network.fc.weight)] == 1.0
    assert rate_of[id(network.layer3[0].conv1.weight)] == 0.5


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_optimizers_are_torchs_own_with_the_recipes_numbers(name: str) -> None:
    network = build("resnet8")
    optimizer = build_optimizer(network, Optim(name=name, lr=0.3, weight_decay=0.2))  # type: ignore[arg-type]
    assert type(optimizer).__name__.lower() == name
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert optimizer.param_groups[0]["weight_decay"] == 0.2


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_steps_are_the_same_in_every_layout_and_after_the_state_was_read(name: str) -> None:
    # One pass over memory does not look at layouts: of parameters in channels_last beside a momentum that is not, it
    # would update other elements.
    made = []
    for layout, read in ((torch.contiguous_format, False), (torch.channels_last, False), (torch.channels_last, True)):
        torch.manual_seed(0)
        network = build("resnet8", width=8, num_classes=3).to(memory_format=layout)
        optimizer = build_optimizer(network, Optim(name=name, lr=0.01))  # type: ignore[arg-type]
        for _ in range(3):
            if read:
                saved = {key: value.contiguous() for key, value in optimizer_tensors(optimizer).items()}
                optimizer.state.clear()
                load_optimizer(optimizer, saved)
            optimizer.zero_grad()
            network(torch.linspace(-1, 1, 4 * 3 * 64).reshape(4, 3, 8, 8)).square().sum().backward()
            optimizer.step()
        made.append([parameter.detach().contiguous() for parameter in network.parameters()])
    for plain, turned, taken_up in zip(*made, strict=True):
        torch.testing.assert_close(turned, plain, rtol=1e-3, atol=1e-5)
        assert torch.equal(taken_up, turned)
