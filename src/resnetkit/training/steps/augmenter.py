"""The recipe's augmentation as functions on a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import torch

from resnetkit.data.batches import Augmenter, Mixer, augment, mixing
from resnetkit.data.batches.augment import Pictures
from resnetkit.data.chances import Chances
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.view import View
from resnetkit.errors import UsageError
from resnetkit.training.recipe import Augment

_MIRRORS = {"random": augment.random_mirror, "alternating": augment.alternating_mirror}


def build_augmenter(config: Augment, preprocess: Preprocess, *, device: str) -> Augmenter:
    """Return the function that turns decoded pictures of a batch into `[N, height, width, C]` uint8 on `device`.

    Pictures are cropped and resized where they lie, all else is done on the device. What is blank (the border of a
    shift, a cutout) has the mean colour, which is nearly zero after normalisation.
    """
    assert config.crop != "auto", "Recipe.for_pictures decides this"
    by = _shift_by(config, preprocess)
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
        if by:
            pixels = augment.shift(pixels, chances, by=by, fill=border)
        if config.cutout:
            pixels = augment.cutout(pixels, chances, side=config.cutout, fill=mean)
        return pixels

    return apply


def build_viewer(config: Augment, preprocess: Preprocess) -> Callable[[Sequence[View], Chances], list[View]]:
    """Return the function that tells where the pixels lie that the augmenter makes of pictures.

    It takes the view that each decoded picture is of its original, and answers with that of what becomes of it: boxes
    and masks go `into` it, answers come `back`. What is blanked, coloured or mixed stays where it was. Raises
    `UsageError` for an automatic policy, which keeps to itself what it does.
    """
    if config.policy != "none":
        raise UsageError(f"augment.policy={config.policy} does not tell where it moves pixels: choose none")
    by, (height, width) = _shift_by(config, preprocess), preprocess.frame

    def views(begin: Sequence[View], chances: Chances) -> list[View]:
        shapes, never = np.array([(view.height, view.width) for view in begin]), np.zeros(len(begin), bool)
        boxes = augment.random_boxes(shapes, chances, frame=(height, width), scale=config.scale, crop=preprocess.crop)
        mirrored = never if config.flip == "none" else _MIRRORS[config.flip](chances)
        upside_down = augment.random_mirror(chances, axis="vertical flip")
        angles = augment.turns(chances, degrees=config.turn)
        made = []
        for number, (view, (down, right)) in enumerate(zip(begin, augment.shifts(chances, by=by).T, strict=True)):
            if config.crop == "random_resized":
                top, left, *sides = boxes[number].tolist()
                view = view.cropped(top=top, left=left, height=sides[0], width=sides[1])
                view = view.resized(height=height, width=width)
            if mirrored[number]:
                view = view.mirrored()
            if config.vertical_flip == "random" and upside_down[number]:
                view = view.mirrored(upside_down=True)
            view = view.turned(float(angles[number])) if config.turn else view
            made.append(view.cropped(top=-down, left=-right, height=view.height, width=view.width))
        return made

    return views


def _shift_by(config: Augment, preprocess: Preprocess) -> int:
    """Return by how many pixels pictures are moved at most."""
    size = min(preprocess.frame)
    return min(round(config.shift * size), size - 1) if config.crop == "shift" else 0


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
