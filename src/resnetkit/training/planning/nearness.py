"""How far pictures are from those that starting weights were trained on: what decides between two ways to fine-tune."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import nn

from resnetkit.data.batches import normalise
from resnetkit.data.dataset import Dataset
from resnetkit.data.decoded.survey import Survey
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import ResNetKitError
from resnetkit.models.resnet import ResNet
from resnetkit.runtime import Runtime
from resnetkit.training.planning.enlarging import LEAST_SIDE, side_for
from resnetkit.watcher import Progress

_LOOKED_AT = 128
_FEWEST = 16
_BATCH = 32


@torch.inference_mode()
def distance(
    network: ResNet, dataset: Dataset, surveyed: Survey, *, preprocess: Preprocess, runtime: Runtime,
    progress: Progress | None = None,
) -> float:  # fmt: skip
    """Return how far the statistics of 128 training pictures lie from those that BatchNorm keeps of the earlier ones.

    The divergence (Kullback-Leibler, in nats) of a channel's normal distribution from the one that is kept: the median
    over the channels of a layer, the mean over the layers, 0 without BatchNorm. Of pictures like those of the earlier
    training it is about 0.01. No label is looked at. Pictures that cannot be read are passed over; of fewer than 16 it
    is 0, as they do not tell.

    `preprocess`: that of the weights. They see the middle of the pictures, whatever the run will show, at most as large
    as they were trained and at the side that far pictures get.
    """
    readable = [item for item in dataset.items if item.split in (None, "train") and item.source in surveyed.digests]
    if len(readable) < _FEWEST:
        return 0.0
    usual = side_for(median_side=surveyed.median_short_side, num_pictures=len(readable)) or LEAST_SIDE
    side = min(*preprocess.frame, usual)
    preprocess = preprocess.changed(size=side, width=None, resize=side, crop="center", depth=None)
    chosen = np.sort(np.random.default_rng(0).permutation(len(readable))[:_LOOKED_AT])
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    sums: dict[nn.Module, list[torch.Tensor]] = {}
    hooks = [layer.register_forward_hook(_adding(sums)) for layer in layers]
    network = network.to(device=runtime.device, memory_format=runtime.memory_format()).eval()  # type: ignore[call-overload]
    for start in range(0, len(chosen), _BATCH):
        some = []
        for number in chosen[start : start + _BATCH]:
            with suppress(ResNetKitError):  # the preflight names it
                some.append(preprocess.pixels(dataset.open(readable[number])))
        if some:
            pixels = torch.from_numpy(np.stack(some)).to(runtime.device)
            with runtime.autocast():
                network(normalise(pixels, preprocess, memory_format=runtime.memory_format()))
        if progress is not None:
            progress(min(start + _BATCH, len(chosen)), len(chosen))
    for hook in hooks:
        hook.remove()
    return float(np.mean([_divergence(layer, *sums[layer]) for layer in layers])) if sums else 0.0


def _adding(sums: dict[nn.Module, list[torch.Tensor]]) -> Callable[..., None]:
    """Return a hook that adds up number, sum and sum of squares of what a layer reads, for each channel."""

    def add(layer: nn.Module, given: tuple[torch.Tensor, ...], _: Any) -> None:
        x = given[0].double()
        count = torch.tensor(float(x.numel() / x.shape[1]), dtype=torch.float64, device=x.device)
        new = [count, x.sum((0, 2, 3)), (x * x).sum((0, 2, 3))]
        sums[layer] = [old + one for old, one in zip(sums[layer], new, strict=True)] if layer in sums else new

    return add


def _divergence(layer: nn.BatchNorm2d, count: torch.Tensor, total: torch.Tensor, squares: torch.Tensor) -> float:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    mean = total / count
    kept = layer.running_var.double() + layer.eps
    ratio = (squares / count - mean**2).clamp(min=0) / kept + layer.eps / kept  # a channel that is dead in both is at 0
    shift = (mean - layer.running_mean.double()) ** 2 / kept
    return float((0.5 * (ratio + shift - 1 - torch.log(ratio))).median())
