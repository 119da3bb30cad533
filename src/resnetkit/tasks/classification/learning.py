"""What the training loop is told about classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from resnetkit.data.batches import Batch
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.models.resnet import ResNet
from resnetkit.runtime import Runtime
from resnetkit.tasks.held_out import answers
from resnetkit.training.choosing import Validation
from resnetkit.training.learning import Figures, Forward, Learning
from resnetkit.training.recipe import Recipe
from resnetkit.training.steps.head import fit_head
from resnetkit.training.steps.stored import StoredScoring, stored_scoring
from resnetkit.training.together.ranks import Ranks
from resnetkit.watcher import Row


def learning(
    recipe: Recipe, *, train: Part, val: Part | None, preprocess: Preprocess, runtime: Runtime, num_classes: int,
    ranks: Ranks,
) -> Learning:  # fmt: skip
    """Return cross-entropy, top-1 and the validation figures, all on the device of `runtime`."""
    weights = _class_weights(recipe, train, num_classes)
    weights = weights if weights is None else weights.to(runtime.device)

    def learn(forward: Forward, batch: Batch) -> tuple[torch.Tensor, Figures]:
        outputs, targets = forward(batch.images), batch.targets
        assert isinstance(targets, torch.Tensor), "classes are a tensor"
        loss = functional.cross_entropy(
            outputs.float(), targets, weight=weights, label_smoothing=recipe.label_smoothing, reduction="sum"
        )
        classes = targets if targets.ndim == 1 else targets.argmax(1)  # of mixed pictures, the class with most weight
        return loss, {"top1": (outputs.argmax(1) == classes).sum()}

    stored = stored_scoring(recipe, preprocess=preprocess, runtime=runtime)

    def validate(network: ResNet, check: Callable[[], None]) -> Validation:
        if val is None:
            return Validation({"val_loss": None, "val_top1": None})
        return score(
            network, val, preprocess=preprocess, runtime=runtime, num_classes=num_classes, check=check, ranks=ranks,
            stored=stored,
        )  # fmt: skip

    def fit(network: ResNet, check: Callable[[], None]) -> Row:
        found = fit_head(
            network, train, preprocess=preprocess, runtime=runtime, balanced=recipe.balances, check=check
        )  # fmt: skip
        network.fc.load_state_dict(ranks.by_first(network.fc.state_dict))  # libraries may differ between machines
        return {"train_loss": found.loss, "train_top1": found.top1}

    return Learning(figures=("top1",), learn=learn, validate=validate, fit_head=fit)


def _class_weights(recipe: Recipe, part: Part, num_classes: int) -> torch.Tensor | None:
    """Return N / (K n_c) per class, which averages 1 over the images; absent classes get 0."""
    if recipe.class_weights == "none":
        return None
    counts = np.bincount(part.targets, minlength=num_classes)
    shares = np.where(counts > 0, len(part.targets) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)
    return torch.tensor(shares, dtype=torch.float32)


def score(
    network: ResNet, part: Part, *, preprocess: Preprocess, runtime: Runtime, num_classes: int,
    check: Callable[[], None], ranks: Ranks, stored: StoredScoring | None = None,
) -> Validation:  # fmt: skip
    """Return `val_loss` (plain cross-entropy), `val_top1` and `val_balanced_accuracy` of a part, and what is right.

    Each image is scored by one rank; all ranks call `check` equally often and get the same figures. `stored`: keeps
    what frozen layers make of the pictures, for the next time.
    """
    loss, count = torch.zeros((), dtype=torch.float64), len(part.items)
    right = torch.zeros(count, dtype=torch.float64)
    asked = answers(
        network, part, preprocess=preprocess, runtime=runtime, check=check, ranks=ranks, stored=stored
    )  # fmt: skip
    for where, found in asked:
        logits, targets = torch.from_numpy(found), torch.from_numpy(part.targets[where])
        loss += functional.cross_entropy(logits, targets, reduction="sum")
        right[torch.from_numpy(where)] = (logits.argmax(1) == targets).double()
    ranks.add_up([loss, right])
    of_class = np.bincount(part.targets, minlength=num_classes)
    found = np.bincount(part.targets, weights=right.numpy(), minlength=num_classes)
    recalls = found[of_class > 0] / of_class[of_class > 0]
    figures = {
        "val_loss": loss.item() / count,
        "val_top1": right.sum().item() / count,
        "val_balanced_accuracy": float(recalls.mean()),
    }
    return Validation(figures, right > 0)
