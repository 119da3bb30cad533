"""Changing a built network: another head or none, another number of input channels."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from resnetkit.errors import UsageError
from resnetkit.models.resnet import ResNet, classifier, convolution


class Headless(nn.Module):
    """A network without its classifier: normalised images `[N, C, H, W]` to what that would read, `[N, features]`."""

    def __init__(self, network: ResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the pooled output of the last stage."""
        last = self.network.features(images)[self.network.feature_info[-1].name]
        return self.network.pool(last).flatten(1)


@contextmanager
def keeping_features(network: ResNet, wanted: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yield a list that gets what the head reads, `[n, features]` float32, of pictures that pass the network meanwhile.

    `wanted`: `[N]` bool, which of these are kept, in the order in which they come.
    """
    kept: list[np.ndarray] = []
    passed = 0

    def keep(head: nn.Module, read: tuple[Tensor, ...]) -> None:
        nonlocal passed
        count = len(read[0])
        chosen = torch.from_numpy(wanted[passed : passed + count])
        kept.append(read[0].float().cpu()[chosen].numpy())
        passed += count

    hook = network.fc.register_forward_pre_hook(keep)
    try:
        yield kept
    finally:
        hook.remove()


def layers_before(network: ResNet, stage: str) -> nn.Sequential:
    """Return the layers before `stage` (`layer1` to `layer4`, `head`); they are the network's own."""
    stem = [network.conv1, network.bn1, network.relu, network.maxpool]
    stages = [network.layer1, network.layer2, network.layer3, network.layer4]
    if stage == "head":
        return nn.Sequential(*stem, *stages, network.pool, nn.Flatten())
    return nn.Sequential(*stem, *stages[: int(stage.removeprefix("layer")) - 1])


def split(network: ResNet, stage: str) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the layers before `stage` (`layer1` to `layer4`, `head`) and those from it on; they are the network's own.

    The second part makes of what the first puts out what the network makes of the pictures, bit for bit.
    """
    before = layers_before(network, stage)
    if stage == "head":
        return before, nn.Sequential(network.fc)
    stages = [network.layer1, network.layer2, network.layer3, network.layer4]
    since = stages[int(stage.removeprefix("layer")) - 1 :]
    return before, nn.Sequential(*since, network.pool, nn.Flatten(), network.fc)


def replace_head(network: ResNet, num_classes: int) -> None:
    """Give `network` a new, randomly initialised classifier for `num_classes`, on its device; 0 leaves the trunk."""
    network.spec = network.spec.changed(num_classes=num_classes)
    stem = network.conv1.weight
    network.fc = classifier(network.spec, device=stem.device, dtype=stem.dtype)


def adapt_input(network: ResNet, in_channels: int) -> None:
    """Make `network` read `in_channels` channels, keeping what its first convolution has learned.

    One channel: the filters are summed, so a grey picture gives what it gave as R = G = B (under one normalisation).
    More: the filters of the old channels are repeated in turn, scaled so that the sum over channels keeps its size.
    Raises `UsageError` for a whitening stem, whose filters are those of its own channels.
    """
    if network.spec.stem == "whitening":
        raise UsageError(
            f"these weights read pictures of {network.spec.in_channels} channels and cannot be made to read "
            f"{in_channels}: leave preprocess.channels as it is, or train from scratch with --weights none"
        )
    spec, old = network.spec.changed(in_channels=in_channels), network.conv1
    weight = old.weight.detach()
    if in_channels == 1:
        adapted = weight.sum(dim=1, keepdim=True)
    else:
        turns = [i % old.in_channels for i in range(in_channels)]
        adapted = weight[:, turns] * (old.in_channels / in_channels)
    new = convolution(spec.stem_convolution, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        new.weight.copy_(adapted)
    network.spec, network.conv1 = spec, new
