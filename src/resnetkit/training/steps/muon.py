"""Muon: steps of equal strength in every direction of a filter bank, and plain SGD for all that is no filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# Coefficients of the quintic whose iteration drives singular values towards 1, and how often it is applied
# (https://kellerjordan.github.io/posts/muon; three times is what airbench94_muon.py uses).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 3


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for the groups marked `filters`, SGD with Nesterov momentum for the others.

    A bank of filters `[out, in, k, k]` is a matrix `[out, in * k * k]`: its momentum is replaced by the nearest matrix
    with orthonormal rows, times the rate. Before each step the bank is scaled to norm `sqrt(out)`: BatchNorm behind a
    convolution makes its scale irrelevant, so the rate alone says how far the filters turn, and they need no weight
    decay. `torch.optim.Muon` takes matrices only and scales them otherwise.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"momentum": 0.9, "filters": False, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do one step; `closure` is not supported."""
        assert closure is None
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if group["filters"]:
                for bank in _by_shape(parameters):
                    self._turn(bank, group)
            elif parameters:
                self._descend(parameters, group)

    def _turn(self, bank: list[Tensor], group: dict[str, Any]) -> None:
        """Step the filters of one shape together."""
        matrices = torch.stack([step.flatten(1) for step in self._momentum(bank, group)])
        for filters, step in zip(bank, _orthogonal(matrices), strict=True):
            filters.mul_(len(filters) ** 0.5 / filters.norm())
            filters.sub_(step.view(filters.shape), alpha=group["lr"])

    def _descend(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        steps = self._momentum(parameters, group)
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, steps, alpha=-group["lr"])

    def _momentum(self, parameters: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Add the gradients to the momenta and return where Nesterov's rule would step."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        momenta = [self.state[p].setdefault("momentum_buffer", torch.zeros_like(p)) for p in parameters]
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, gradients)
        return list(torch._foreach_add(gradients, momenta, alpha=group["momentum"]))


def _by_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
    banks: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        banks.setdefault(parameter.shape, []).append(parameter)
    return list(banks.values())


def _orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices `[B, m, n]` with their singular values brought near 1 (0.7 to 1.2), by Newton-Schulz."""
    a, b, c = _QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
