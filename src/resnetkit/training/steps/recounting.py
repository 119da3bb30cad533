"""Count BatchNorm's statistics anew, on training pictures, for the weights as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import nn

from resnetkit.data.batches import Batch, Batches
from resnetkit.models.resnet import ResNet
from resnetkit.models.surgery import split
from resnetkit.training.recipe import Recipe
from resnetkit.training.steps.stored import StoredBatches

MOST = 256  # pictures that are counted


@torch.inference_mode()
def recount(
    network: ResNet, batches: Batches | StoredBatches, *, recipe: Recipe, epoch: int,
    check: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Give BatchNorm, in the layers that learn, the mean statistics of an epoch's first batches, of 256 pictures.

    They are the batches that the weights have learnt from: pictures as they are scored have other statistics, and
    larger batches a larger variance. The network is left in evaluation mode. `check` is called between batches; where
    it raises, the statistics are those of before. Precise BatchNorm of Wu and Johnson 2021, arXiv:2105.07576.
    """
    learning = network if recipe.train == "all" else split(network, recipe.train)[1]
    norms = [module for module in learning.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    forward, momenta = learning if recipe.views else network, [norm.momentum for norm in norms]
    before = [copy.deepcopy(norm.state_dict()) for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # which counts every batch alike
        norm.train()
    try:
        for batch in _counted(batches, epoch):
            check()
            with batches.runtime.autocast():
                forward(batch.images)
    except BaseException:
        for norm, statistics in zip(norms, before, strict=True):
            norm.load_state_dict(statistics)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _counted(batches: Batches | StoredBatches, epoch: int) -> Iterator[Batch]:
    """Yield the first batches of an epoch, with at least `MOST` pictures where it has so many."""
    for step in range(batches.steps_per_epoch):
        if batches.num_before(step) >= MOST:
            return
        yield batches.get(batches.indices(epoch, step), epoch, step)
