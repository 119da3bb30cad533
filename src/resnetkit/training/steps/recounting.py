"""Count BatchNorm's statistics anew, on training pictures, for the weights as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from resnetkit.data.batches import Batches
from resnetkit.models.resnet import ResNet
from resnetkit.models.surgery import split
from resnetkit.training.recipe import Recipe
from resnetkit.training.steps.stored import StoredBatches

MOST = 256  # pictures that are counted
_BATCH = 64


@torch.inference_mode()
def recount(
    network: ResNet, batches: Batches | StoredBatches, *, recipe: Recipe, epoch: int,
    check: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Give BatchNorm, in the layers that learn, the mean statistics of batches of up to 64 training pictures.

    These are the first 256 of an epoch, changed as it changes them: its weights have learnt from such pictures. The
    network is left in evaluation mode. `check` is called between batches; where it raises, the statistics are those
    of before. Precise BatchNorm of Wu and Johnson 2021,
    arXiv:2105.07576.
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
        for indices in _counted(batches, epoch):
            check()
            with batches.runtime.autocast():
                forward(batches.get(indices, epoch, 0).images)
    except BaseException:
        for norm, statistics in zip(norms, before, strict=True):
            norm.load_state_dict(statistics)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _counted(batches: Batches | StoredBatches, epoch: int) -> Iterator[np.ndarray]:
    """Yield the places of the pictures that are counted, in batches as even as can be."""
    order = np.concatenate([batches.indices(epoch, step) for step in range(min(batches.steps_per_epoch, MOST))])
    chosen = order[:MOST]
    yield from np.array_split(chosen, -(-len(chosen) // _BATCH))
