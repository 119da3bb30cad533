"""The optimizer's parameter groups and the learning rate as a pure function of the position."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from resnetkit.models.resnet import ResNet
from resnetkit.training.recipe import Optim, Schedule
from resnetkit.training.steps.muon import Muon


def build_optimizer(network: ResNet, optim: Optim) -> torch.optim.Optimizer:
    """Return the optimizer over the parameters that require a gradient; each group carries its `base_lr`.

    It updates in one pass over memory where torch can (`fused`). That pass goes through a parameter, its gradient and
    its momentum side by side without looking at their layouts: autograd gives gradients that of their parameter, and
    `state.load_optimizer` what was saved.
    """
    groups = parameter_groups(network, optim)
    if optim.name == "muon":
        return Muon(groups)
    fused = groups[0]["params"][0].device.type in ("cpu", "cuda")
    how: dict[str, Any] = {"lr": optim.lr, "fused": fused, "foreach": not fused}
    if optim.name == "sgd":
        return torch.optim.SGD(groups, momentum=optim.momentum, nesterov=optim.nesterov and optim.momentum > 0, **how)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optim.name](groups, **how)


def parameter_groups(network: ResNet, optim: Optim) -> list[dict[str, Any]]:
    """Group parameters by their depth in the network and by kind, which decide rate and weight decay.

    The head learns at `lr`, each part before it at `layer_decay` times the rate of the part after it. Under Muon, `lr`
    is that of the filters and all that is no filter learns by `plain_lr`, shifts by `bias_factor` times that (with as
    much less decay, so that they shrink as fast as the head); BatchNorm's scales do not decay.
    """
    groups: dict[tuple[int, bool, str], dict[str, Any]] = {}
    depths = network.depths()
    head = max(depths.values())
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        depth = depths[name]
        kind, full, slower = _kind(name, parameter, optim, in_head=depth == head)
        decays = kind != "scale" and (optim.decay_norm_and_bias or parameter.ndim > 1)
        rate = full * optim.layer_decay ** (head - depth)
        empty: dict[str, Any] = {
            "params": [], "lr": rate, "base_lr": rate, "weight_decay": optim.weight_decay / slower if decays else 0.0,
        }  # fmt: skip
        if optim.name == "muon":
            filters = kind == "filters"
            empty |= {"filters": filters, "momentum": optim.momentum if filters else optim.plain_momentum}
        groups.setdefault((depth, decays, kind), empty)["params"].append(parameter)
    return list(groups.values())


def _kind(name: str, parameter: nn.Parameter, optim: Optim, *, in_head: bool) -> tuple[str, float, float]:
    """Return what a parameter is to the optimizer, its full rate, and the factor that its weight decay is less by."""
    if optim.name != "muon":
        return "any", optim.lr, 1.0
    if parameter.ndim == 4:
        return "filters", optim.lr, 1.0
    if name.endswith(".bias") and not in_head:
        return "shift", optim.plain_lr * optim.bias_factor, optim.bias_factor
    return "scale" if parameter.ndim == 1 and not in_head else "plain", optim.plain_lr, 1.0


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group to `factor` times its full rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def current_rate(optimizer: torch.optim.Optimizer) -> float:
    """Return the rate that people are told: that of the filters under Muon, else the highest."""
    groups = optimizer.param_groups
    return float(max(group["lr"] for group in [group for group in groups if group.get("filters")] or groups))


def rate_factor(schedule: Schedule, *, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the factor on the learning rate at `step` (0-based, over the whole run).

    Warm-up rises linearly and reaches 1 at its end; the decay then runs to `final` at the last step. Going on to more
    epochs stretches the same curve: from that step on the rate is what a run of the new length has there.
    """
    warmup = min(round(schedule.warmup_epochs * steps_per_epoch), epochs * steps_per_epoch - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, epochs * steps_per_epoch - warmup)
    if schedule.name == "constant":
        return 1.0
    left = 1 - done if schedule.name == "linear" else (1 + math.cos(math.pi * done)) / 2
    return schedule.final + (1 - schedule.final) * left
