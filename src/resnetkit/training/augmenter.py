"""The recipe's augmentation as one function on a batch."""

from __future__ import annotations

import torch

from resnetkit.data import augment
from resnetkit.data.augment import Pictures
from resnetkit.data.batches import Augmenter
from resnetkit.data.preprocess import Preprocess
from resnetkit.training.recipe import Augment


def build_augmenter(config: Augment, preprocess: Preprocess) -> Augmenter:
    """Return the function that turns pictures of a batch into `[N, size, size, C]` uint8, changed by chance.

    What is blank (the border of a shift, a cutout) has the mean colour, which is zero after normalisation.
    """
    assert config.crop != "auto", "Recipe.for_size decides this"
    size, by = preprocess.size, round(config.shift * preprocess.size)
    fill = torch.tensor([round(255 * value) for value in preprocess.mean], dtype=torch.uint8)

    def apply(pictures: Pictures, generator: torch.Generator) -> torch.Tensor:
        if config.crop == "random_resized":
            pixels = augment.random_resized_crop(pictures, generator, size=size, scale=config.scale)
        else:
            assert isinstance(pictures, torch.Tensor)
            pixels = pictures
        if config.flip:
            pixels = augment.flip(pixels, generator)
        if config.crop == "shift" and by:
            pixels = augment.shift(pixels, generator, by=by, fill=fill)
        if config.cutout:
            pixels = augment.cutout(pixels, generator, side=config.cutout, fill=fill)
        return pixels

    return apply
