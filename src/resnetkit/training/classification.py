"""The classification task: what the loop is told about classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from resnetkit.data.preflight import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.inference.engines import TorchEngine
from resnetkit.runtime import Runtime
from resnetkit.training.loop import Task
from resnetkit.training.recipe import Recipe
from resnetkit.training.state import Row

_BATCH = 250


def classification_task(
    recipe: Recipe, *, train: Part, val: Part | None, preprocess: Preprocess, runtime: Runtime, num_classes: int
) -> Task:
    """Return cross-entropy, top-1 and the validation figures, all on the device of `runtime`."""
    weights = _class_weights(recipe, train, num_classes)
    weights = weights if weights is None else weights.to(runtime.device)

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(
            outputs, targets, weight=weights, label_smoothing=recipe.label_smoothing, reduction="sum"
        )

    def num_right(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs.argmax(1) == targets).sum()

    def validate(network: nn.Module, check: Callable[[], None]) -> Row:
        if val is None:
            return {"val_loss": None, "val_top1": None}
        return score(network, val, preprocess=preprocess, runtime=runtime, num_classes=num_classes, check=check)

    return Task(loss=loss, num_right=num_right, validate=validate)


def _class_weights(recipe: Recipe, part: Part, num_classes: int) -> torch.Tensor | None:
    """Return N / (K n_c) per class, which averages 1 over the images; absent classes get 0."""
    if recipe.class_weights == "none":
        return None
    counts = np.bincount(part.targets, minlength=num_classes)
    shares = np.where(counts > 0, len(part.targets) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)
    return torch.tensor(shares, dtype=torch.float32)


def score(
    network: nn.Module, part: Part, *, preprocess: Preprocess, runtime: Runtime, num_classes: int,
    check: Callable[[], None],
) -> Row:  # fmt: skip
    """Return `val_loss` (plain cross-entropy), `val_top1` and `val_balanced_accuracy` of a part."""
    engine = TorchEngine(network, preprocess, runtime)
    loss, predicted = 0.0, []
    for start in range(0, len(part.items), _BATCH):
        check()
        where = np.arange(start, min(start + _BATCH, len(part.items)))
        pixels = part.pixels.take(where)
        assert isinstance(pixels, np.ndarray), "Preprocess.pixels makes all pictures of validation one shape"
        logits = torch.from_numpy(engine.logits(pixels))
        loss += functional.cross_entropy(logits, torch.from_numpy(part.targets[where]), reduction="sum").item()
        predicted.append(logits.argmax(1).numpy())
    right = np.concatenate(predicted) == part.targets
    recalls = [right[part.targets == c].mean() for c in range(num_classes) if (part.targets == c).any()]
    return {
        "val_loss": loss / len(right),
        "val_top1": float(right.mean()),
        "val_balanced_accuracy": float(np.mean(recalls)),
    }
