"""Pixels on their way to the network: the one normalisation that training, evaluation and prediction share."""

from __future__ import annotations

import torch

from resnetkit.data.preprocess import Preprocess


def normalise(pixels: torch.Tensor, preprocess: Preprocess, *, memory_format: torch.memory_format) -> torch.Tensor:
    """Turn `[N, H, W, C] uint8` pixels into the `[N, C, H, W] float32` a network reads: (x / 255 - mean) / std.

    Runs on the device of `pixels`, so that only bytes travel to it. The order of operations is torchvision's, so the
    result equals its `ImageClassification` preset bit for bit. H and W are free: training crops need not be square.
    """
    assert pixels.dtype == torch.uint8, f"pixels are {pixels.dtype}, not uint8"
    assert pixels.ndim == 4, f"pixels have shape {tuple(pixels.shape)}, not [N, H, W, C]"
    assert pixels.shape[-1] == preprocess.channels, f"{pixels.shape[-1]} channels, expected {preprocess.channels}"
    mean = torch.tensor(preprocess.mean, dtype=torch.float32, device=pixels.device).view(-1, 1, 1)
    std = torch.tensor(preprocess.std, dtype=torch.float32, device=pixels.device).view(-1, 1, 1)
    scaled = pixels.permute(0, 3, 1, 2).to(dtype=torch.float32, memory_format=memory_format)
    return scaled.div_(255).sub_(mean).div_(std)
