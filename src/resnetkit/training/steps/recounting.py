"""Count BatchNorm's statistics anew, on training pictures, for the weights as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from resnetkit.data.batches import normalise
from resnetkit.data.batches.augment import centre
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.models.resnet import ResNet
from resnetkit.runtime import Runtime

_MOST = 256  # pictures that are counted
_BATCH = 64


@torch.inference_mode()
def recount(
    network: ResNet, part: Part, *, learning: nn.Module, preprocess: Preprocess, runtime: Runtime,
    check: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Give BatchNorm, in the layers that are `learning`, the mean statistics of batches of up to 64 training pictures.

    Of larger parts 256 are taken, evenly over the part; each batch reaches over all of these, and so over all classes
    where pictures lie by class. Pictures are not augmented. The network is left in evaluation mode. `check` is called
    between batches. Precise BatchNorm of Wu and Johnson 2021, arXiv:2105.07576.
    """
    norms = [module for module in learning.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # which counts every batch alike
        norm.train()
    try:
        for where in _batches(len(part)):
            check()
            pixels = centre([torch.from_numpy(picture) for picture in part.pixels.take(where)], preprocess=preprocess)
            with runtime.autocast():
                network(normalise(pixels.to(runtime.device), preprocess, memory_format=runtime.memory_format()))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _batches(count: int) -> list[np.ndarray]:
    """Return the places of the pictures that are counted, batch by batch."""
    places = np.unique(np.linspace(0, count - 1, min(count, _MOST)).round().astype(np.int64))
    number = -(-len(places) // _BATCH)
    return [places[start::number] for start in range(number)]
