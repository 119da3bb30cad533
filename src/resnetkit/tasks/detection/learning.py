"""What the training loop is told about objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from resnetkit.data.batches import Batch
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.evaluation.detection.metrics import map_of
from resnetkit.models.detection.found import BOX
from resnetkit.models.resnet import ResNet
from resnetkit.runtime import Runtime
from resnetkit.tasks.detection.placing import placer
from resnetkit.tasks.detection.scoring import founds
from resnetkit.tasks.held_out import answers
from resnetkit.training.choosing import Validation
from resnetkit.training.learning import Figures, Forward, Learning
from resnetkit.training.recipe import Recipe
from resnetkit.training.together.ranks import Ranks
from resnetkit.watcher import Row


def learning(
    recipe: Recipe, *, train: Part, val: Part | None, classes: tuple[str, ...], preprocess: Preprocess,
    runtime: Runtime, ranks: Ranks, masks: bool,
) -> Learning:  # fmt: skip
    """Return the losses of Faster R-CNN or Mask R-CNN, summed over pictures, and COCO's mean average precision."""
    names = ("objectness", "rpn_box_reg", "classifier", "box_reg", *(["mask"] if masks else []))

    def learn(forward: Forward, batch: Batch) -> tuple[torch.Tensor, Figures]:
        targets = [target.to(runtime.device, non_blocking=True) for target in batch.targets]
        losses = forward(batch.images, targets)
        summed = {name: losses[f"loss_{name}"].sum() for name in names}
        return torch.stack(list(summed.values())).sum(), {
            f"{name}_loss": loss.detach() for name, loss in summed.items()
        }

    def validate(network: Any, check: Callable[[], None]) -> Validation:
        if val is None:
            return Validation({"val_map": None, "val_map50": None})
        rows = torch.zeros(len(val), network.spec.detections, BOX)  # each picture is asked by one rank
        for where, found in answers(network, val, preprocess=preprocess, runtime=runtime, check=check, ranks=ranks):
            rows[torch.from_numpy(where)] = torch.from_numpy(found[:, :, :BOX])
        ranks.add_up([rows])
        whole, half = map_of(list(val.targets), founds(rows.numpy(), val), num_classes=len(classes))
        return Validation({"val_map": whole, "val_map50": half})

    def fit(network: ResNet, check: Callable[[], None]) -> Row:
        raise AssertionError("a detector has no head that is fitted before or after its epochs")

    place = placer(train, augment=recipe.augment, preprocess=preprocess, masks=masks)
    figures = tuple(f"{name}_loss" for name in names)
    return Learning(figures=figures, learn=learn, validate=validate, fit_head=fit, place=place)
