"""The fixed filters of a whitening stem, from the training pictures themselves."""

from __future__ import annotations

import numpy as np
import torch

from resnetkit.data.batches import normalise
from resnetkit.data.batches.augment import centre
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.models.resnet import ResNet

# 5,000 pictures of 32 pixels have 4.8 million patches, far more than the 12 x 12 numbers of their covariance ask for.
_NUM_PIXELS = 5000 * 32**2
# Added to the variances, so that directions in which patches hardly differ are not blown up (airbench94_muon.py).
_LEAST_VARIANCE = 5e-4


def whiten(network: ResNet, part: Part, *, preprocess: Preprocess) -> None:
    """Set the stem's filters so that what they make of training patches is uncorrelated and of variance 1.

    Each eigenvector of the patches' covariance becomes a filter, divided by its standard deviation, and each filter is
    there with its negative too (section 3.1 of https://arxiv.org/abs/2404.00498).
    """
    count = min(len(part), max(1, _NUM_PIXELS // (preprocess.frame[0] * preprocess.frame[1])))
    spread = np.linspace(0, len(part), count, endpoint=False, dtype=np.int64)  # over all classes
    taken = part.pixels.take(spread)
    pixels = centre([torch.from_numpy(picture) for picture in taken], preprocess=preprocess)
    images = normalise(pixels, preprocess, memory_format=torch.contiguous_format)
    filters = whitening_filters(images, side=network.conv1.weight.shape[-1])
    with torch.no_grad():
        network.conv1.weight.copy_(torch.cat([filters, -filters]))
        assert network.conv1.bias is not None
        network.conv1.bias.zero_()


def whitening_filters(images: torch.Tensor, *, side: int) -> torch.Tensor:
    """Return `[C k k, C, k, k]` filters for `images` `[N, C, H, W]`, those of the greatest variance first."""
    channels = images.shape[1]
    patches = images.unfold(2, side, 1).unfold(3, side, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, channels * side**2)
    variances, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    scaled = vectors.T / torch.sqrt(variances + _LEAST_VARIANCE)[:, None]
    return scaled.flip(0).reshape(-1, channels, side, side)
