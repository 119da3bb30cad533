"""What all tasks share whose networks are classifiers: how they are decided and begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from resnetkit.errors import UsageError
from resnetkit.training.planning import plan as planning

if TYPE_CHECKING:
    from resnetkit.data.dataset import Dataset
    from resnetkit.data.decoded.survey import Survey
    from resnetkit.data.prepared import Prepared
    from resnetkit.models.resnet import ResNet
    from resnetkit.training.planning.plan import Plan
    from resnetkit.training.request import Request
    from resnetkit.training.task import Weights


def weights_wanted(request: Request, dataset: Dataset, surveyed: Survey) -> str | None:
    """Return the weights to start from: a published name, a path, or None for random ones."""
    if request.detector:
        raise UsageError(
            f"--model {request.named} finds objects, and these pictures have labels alone: give annotations, or use "
            f"--model {request.architecture}"
        )
    count = planning.num_to_train(dataset)
    return planning.weights_wanted(request, median_side=_side(surveyed), num_pictures=count)


def decide(
    request: Request, dataset: Dataset, surveyed: Survey, *, origin: planning.Origin | None,
    distance: float | None = None, choices: Sequence[str],
) -> Plan:  # fmt: skip
    """Return the plan of a run; see `planning.decide`."""
    plan = planning.decide(
        request if surveyed.sizes else replace(request, recipe=None), origin=origin, median_side=_side(surveyed),
        num_classes=max(1 if dataset.several else 2, len(dataset.classes)), sizes=surveyed.sizes,
        num_pictures=planning.num_to_train(dataset), distance=distance, choices=choices,
    )  # fmt: skip
    if dataset.several and plan.recipe.sampling == "balanced":
        raise UsageError(
            "sampling=balanced draws one class per picture, and these have several labels: use --set "
            "class_weights=balanced"
        )
    return plan


def _side(surveyed: Survey) -> int:
    """Return the pictures' median side; where none can be opened the preflight names each, and any side will do."""
    return surveyed.median_short_side if surveyed.sizes else 224


def first_network(plan: Plan, weights: Weights | None, prepared: Prepared, *, seed: int) -> tuple[ResNet, str]:
    """Return the network before its first step, freshly drawn or a new head on given weights; nothing is said of it."""
    import torch

    from resnetkit.models.detection.spec import trunk_of
    from resnetkit.models.resnet import ResNet
    from resnetkit.models.surgery import adapt_input, replace_head
    from resnetkit.training.steps.whitening import whiten

    torch.manual_seed(seed)
    if weights is None:
        network = ResNet(plan.spec.body)
        if plan.spec.stem == "whitening":
            whiten(network, prepared.parts["train"], preprocess=prepared.preprocess)
        return network, ""
    network = ResNet(weights.spec)
    network.load_state_dict(trunk_of(weights.tensors) or weights.tensors)
    replace_head(network, plan.spec.num_classes)
    if plan.spec.in_channels != weights.spec.in_channels:
        adapt_input(network, plan.spec.in_channels)
    return network, ""
