"""From the description of a network, of any task, to the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.resnet import ResNet, with_memory
from resnetkit.models.spec import ResNetSpec

if TYPE_CHECKING:
    from resnetkit.models.detection.network import Detector

    Network = ResNet | Detector


def build(spec: ResNetSpec | DetectorSpec) -> Network:
    """Return the network that a spec describes, freshly drawn."""
    if not isinstance(spec, DetectorSpec):
        return ResNet(spec)
    # torchvision's detectors take as long to import as PyTorch itself: whoever names pictures does not wait for them.
    from resnetkit.models.detection.network import Detector

    return Detector(spec)


def without_values(spec: ResNetSpec | DetectorSpec) -> Network:
    """Return the network with memory for its weights and no values in it, for weights that are about to be loaded."""
    with torch.device("meta"):
        network = build(spec)
    return with_memory(network)
