"""The recipe's augmentation as functions on a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import torch

from resnetkit.data.batches import Augmenter, Mixer, augment, mixing
from resnetkit.data.batches.augment import Pictures
from resnetkit.data.chances import Chances
from resnetkit.data.preprocess import Preprocess
from resnetkit.training.recipe import Augment

_MIRRORS = {"random": augment.random_mirror, "alternating": augment.alternating_mirror}


def build_augmenter(config: Augment, preprocess: Preprocess, *, device: str) -> Augmenter:
    """Return the function that turns decoded pictures of a batch into `[N, height, width, C]` uint8 on `device`.

    Pictures are cropped and resized where they lie, all else is done on the device. What is blank (the border of a
    shift, a cutout) has the mean colour, which is nearly zero after normalisation.
    """
    assert config.crop != "auto", "Recipe.for_pictures decides this"
    size = min(preprocess.frame)
    by = min(round(config.shift * size), size - 1)
    mean = torch.tensor([round(255 * value) for value in preprocess.mean], dtype=torch.uint8).to(device)
    border = mean if config.border == "mean" else None
    policy = None if config.policy == "none" else _policy(config.policy, fill=mean.tolist())

    def apply(pictures: Pictures, chances: Chances) -> torch.Tensor:
        mirrored = None if config.flip == "none" else _MIRRORS[config.flip](chances)
        if config.crop == "random_resized":
            crops = augment.random_resized_crop(
                pictures, chances, frame=preprocess.frame, scale=config.scale, crop=preprocess.crop, mirrored=mirrored
            )
            pixels = _on(device, crops)
        else:
            assert isinstance(pictures, torch.Tensor), "only random crops take pictures of several shapes"
            pixels = _on(device, pictures)
            pixels = pixels if mirrored is None else augment.flip(pixels, mirrored)
        if config.vertical_flip == "random":
            pixels = augment.flip(pixels, augment.random_mirror(chances, axis="vertical flip"), upside_down=True)
        if config.turn:
            pixels = augment.turn(pixels, chances, degrees=config.turn)
        if config.colour:
            pixels = augment.colour(pixels, chances, by=config.colour)
        if policy is not None:
            pixels = augment.one_by_one(pixels, chances, change=policy)
        if config.crop == "shift" and by:
            pixels = augment.shift(pixels, chances, by=by, fill=border)
        if config.cutout:
            pixels = augment.cutout(pixels, chances, side=config.cutout, fill=mean)
        return pixels

    return apply


def _policy(name: str, *, fill: Sequence[int]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return an automatic augmentation of one picture; what it lets in has the mean colour."""
    from torchvision.transforms import v2

    made: dict[str, type[v2.Transform]] = {"trivial": v2.TrivialAugmentWide, "rand": v2.RandAugment}
    policy: Callable[[torch.Tensor], torch.Tensor] = made[name](fill=[float(value) for value in fill])
    return policy


def _on(device: str, pixels: torch.Tensor) -> torch.Tensor:
    """Return the pixels on a device; to CUDA from pinned memory, or the copy would wait for the steps before it."""
    return (pixels.pin_memory() if device == "cuda" else pixels).to(device, non_blocking=True)


def build_mixer(config: Augment, *, num_classes: int) -> Mixer | None:
    """Return the function that mixes each picture of a batch but the first with the one before it, None without need.

    A batch has one weight, from the Beta distribution of its method; where a recipe has both methods, a fair coin
    chooses for each batch, as in torchvision's reference recipes.
    """
    if not (config.mixup or config.cutmix):
        return None

    def mix(pixels: torch.Tensor, targets: torch.Tensor, chance: Random) -> tuple[torch.Tensor, torch.Tensor]:
        cuts = not config.mixup or (config.cutmix > 0 and chance.random() < 0.5)
        alpha = config.cutmix if cuts else config.mixup
        weight = chance.betavariate(alpha, alpha)
        own, others = pixels[1:], pixels[:-1]
        if cuts:
            mixed, weight = mixing.cutmix(own, others, weight=weight, chance=chance)
        else:
            mixed = mixing.mixup(own, others, weight=weight)
        return mixed, mixing.soft_targets(targets[1:], targets[:-1], weight=weight, num_classes=num_classes)

    return mix
