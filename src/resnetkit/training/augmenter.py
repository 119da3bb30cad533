"""The recipe's augmentation as one function on a batch."""

from __future__ import annotations

import torch

from resnetkit.data import augment
from resnetkit.data.augment import Pictures
from resnetkit.data.batches import Augmenter
from resnetkit.data.chances import Chances
from resnetkit.data.preprocess import Preprocess
from resnetkit.training.recipe import Augment

_FLIPS = {"random": augment.flip, "alternating": augment.alternating_flip}


def build_augmenter(config: Augment, preprocess: Preprocess) -> Augmenter:
    """Return the function that turns pictures of a batch into `[N, size, size, C]` uint8, changed by chance.

    What is blank (the border of a shift, a cutout) has the mean colour, which is zero after normalisation.
    """
    assert config.crop != "auto", "Recipe.for_pictures decides this"
    size, by = preprocess.size, round(config.shift * preprocess.size)
    mean = torch.tensor([round(255 * value) for value in preprocess.mean], dtype=torch.uint8)
    border = mean if config.border == "mean" else None

    def apply(pictures: Pictures, chances: Chances) -> torch.Tensor:
        if config.crop == "random_resized":
            pixels = augment.random_resized_crop(pictures, chances, size=size, scale=config.scale)
        else:
            assert isinstance(pictures, torch.Tensor)
            pixels = pictures
        if config.flip != "none":
            pixels = _FLIPS[config.flip](pixels, chances)
        if config.crop == "shift" and by:
            pixels = augment.shift(pixels, chances, by=by, fill=border)
        if config.cutout:
            pixels = augment.cutout(pixels, chances, side=config.cutout, fill=mean)
        return pixels

    return apply
