"""What the training loop asks a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from resnetkit.data.batches import Batch, Placer
from resnetkit.models.resnet import ResNet
from resnetkit.training.choosing import Validation
from resnetkit.watcher import Row

Forward = Callable[..., Any]
Figures = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What the loop does not know of a task: what is learnt of a batch, and how a validation part is scored.

    `learn(forward, batch)` puts the pictures through the network and returns the loss and the figures called `figures`,
    all of them sums over the pictures; their means over an epoch are `train_*` of its row. `validate(network, check)`
    scores what is held out and calls `check()` between batches so that a signal is obeyed there too;
    `fit_head(network, check)` fits the head to features of the training pictures, alike on all ranks, and returns the
    `train_*` figures of that. `forward` passes on what is given after the pictures. `place`: where the targets lie in
    a batch, if they lie anywhere on a picture.
    """

    figures: tuple[str, ...]
    learn: Callable[[Forward, Batch], tuple[torch.Tensor, Figures]]
    validate: Callable[[ResNet, Callable[[], None]], Validation]
    fit_head: Callable[[ResNet, Callable[[], None]], Row]
    place: Placer | None = None
