"""What sets apart the network that learns 32x32 pictures in minutes: a whitening stem, pooled blocks and their start.

After airbench94_muon.py (https://arxiv.org/abs/2404.00498); `spec` has its sizes, LOG.md what was tried.
"""

from typing import Final

import torch
from torch import Tensor, nn

from resnetkit.models.spec import Block, Convolution


class PooledBlock(nn.Module):
    """A 3x3 convolution and a 2x2 max-pool, then a 3x3 convolution with a shortcut around it.

    Pooling before normalisation and one convolution on the larger size make it cheap for its accuracy
    (https://arxiv.org/abs/2404.00498, which has no shortcut).
    """

    has_shortcut: Final[bool]

    def __init__(self, block: Block, activation: nn.Module) -> None:
        super().__init__()
        first, second = block.convolutions
        self.has_shortcut = block.shortcut != "none"
        self.conv1 = nn.Conv2d(first.in_channels, first.channels, *first.filters, bias=False)
        self.pool = nn.MaxPool2d(2)
        # A training of 500 steps changes faster than BatchNorm's usual average over 10 batches follows.
        self.bn1 = nn.BatchNorm2d(first.channels, momentum=0.6)
        self.relu = activation
        self.conv2 = nn.Conv2d(second.in_channels, second.channels, *second.filters, bias=False)
        self.bn2 = nn.BatchNorm2d(second.channels, momentum=0.6)
        for norm in (self.bn1, self.bn2):
            norm.weight.requires_grad_(False)  # as in airbench94_muon.py: only shifts are learnt, at high rates

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, in_channels, H, W]` to `[N, width, H // 2, W // 2]`."""
        x = self.relu(self.bn1(self.pool(self.conv1(x))))
        out = self.relu(self.bn2(self.conv2(x)))
        return x + out if self.has_shortcut else out


def whitening_stem(convolution: Convolution) -> nn.Conv2d:
    """Return the stem whose filters no step changes; `training.steps.whitening` sets them from the pictures."""
    stem = nn.Conv2d(convolution.in_channels, convolution.channels, *convolution.filters)
    stem.weight.requires_grad_(False)
    return stem


def initialise(network: nn.Module) -> None:
    """Draw the weights of pooled blocks and of the head."""
    for module in network.modules():
        if isinstance(module, PooledBlock):
            nn.init.kaiming_uniform_(module.conv1.weight, a=5**0.5)
            nn.init.kaiming_uniform_(module.conv2.weight, a=5**0.5)
            with torch.no_grad():  # pass each channel on unchanged, so that the signal comes through from the start
                nn.init.dirac_(module.conv1.weight[: module.conv1.in_channels])
        if isinstance(module, nn.Linear):  # first answers near zero, so that high rates of the shifts do no harm
            nn.init.normal_(module.weight, std=1 / module.in_features)
            nn.init.zeros_(module.bias)
