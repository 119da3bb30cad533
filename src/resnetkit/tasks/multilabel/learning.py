"""What the training loop is told about several labels per picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch.nn import functional

from resnetkit.data.batches import Batch
from resnetkit.data.prepared import Part
from resnetkit.data.preprocess import Preprocess
from resnetkit.evaluation.labels import map_of
from resnetkit.models.resnet import ResNet
from resnetkit.models.thresholds import Thresholds
from resnetkit.runtime import Runtime
from resnetkit.tasks.held_out import answers
from resnetkit.training.choosing import Validation
from resnetkit.training.learning import Figures, Forward, Learning
from resnetkit.training.recipe import Recipe
from resnetkit.training.steps.head import fit_label_head
from resnetkit.training.steps.stored import stored_scoring
from resnetkit.training.together.ranks import Ranks
from resnetkit.watcher import Row


def learning(
    recipe: Recipe, *, train: Part, val: Part | None, preprocess: Preprocess, runtime: Runtime, ranks: Ranks
) -> Learning:
    """Return binary cross-entropy per label, mean average precision and exact match, on the device of `runtime`.

    Targets are `[N, K]` float32: 1 or 0, or a share of 1 in mixed pictures, NaN where nobody knows.
    """
    weights = None if recipe.class_weights == "none" else _weights(train.targets).to(runtime.device)
    stored = stored_scoring(recipe, preprocess=preprocess, runtime=runtime)

    def learn(forward: Forward, batch: Batch) -> tuple[torch.Tensor, Figures]:
        outputs, targets = forward(batch.images).float(), batch.targets
        assert isinstance(targets, torch.Tensor), "labels are a tensor"
        smooth = targets * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
        return loss_of(outputs, smooth, weights).sum(), {"exact": _exact(outputs, targets).sum()}

    def validate(network: ResNet, check: Callable[[], None]) -> Validation:
        if val is None:
            return Validation({"val_loss": None, "val_map": None})
        asked = answers(
            network, val, preprocess=preprocess, runtime=runtime, check=check, ranks=ranks, stored=stored
        )  # fmt: skip
        return score(asked, val.targets, ranks=ranks)

    def fit(network: ResNet, check: Callable[[], None]) -> Row:
        balanced = recipe.class_weights == "balanced"
        found = fit_label_head(network, train, preprocess=preprocess, runtime=runtime, balanced=balanced, check=check)
        network.fc.load_state_dict(ranks.by_first(network.fc.state_dict))  # libraries may differ between machines
        return {"train_loss": found.loss}

    return Learning(figures=("exact",), learn=learn, validate=validate, fit_head=fit)


def loss_of(outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Return of each picture, `[N]`, the mean binary cross-entropy over its known labels, 0 where none is known.

    `outputs`: `[N, K]` logits. `weights`: `[2, K]`, of labels that are absent and present.
    """
    known = torch.isfinite(targets)
    wanted = torch.where(known, targets, 0)
    each = functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
    if weights is not None:
        each = each * torch.lerp(weights[0].expand_as(wanted), weights[1].expand_as(wanted), wanted)
    return (each * known).sum(1) / known.sum(1).clamp(min=1)


def _exact(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Tell of each picture, `[N]` bool, whether all its known labels come out right at a probability of a half."""
    return (((outputs > 0) == (targets > 0.5)) | ~torch.isfinite(targets)).all(1)


def _weights(targets: np.ndarray) -> torch.Tensor:
    """Return `[2, K]`: n / 2 over the number of pictures that lack a label, and that have it; absent ones get 0."""
    present, known = np.nansum(targets, axis=0), np.isfinite(targets).sum(axis=0)
    counts = np.stack([known - present, present])
    return torch.tensor(np.where(counts > 0, known / 2 / np.maximum(counts, 1), 0.0), dtype=torch.float32)


def score(asked: Iterable[tuple[np.ndarray, np.ndarray]], targets: np.ndarray, *, ranks: Ranks) -> Validation:
    """Return `val_loss`, `val_map` (None where no label can be ranked) and `val_exact` of what was `asked`.

    Each picture is asked by one rank; all ranks get the same figures.
    """
    logits = torch.zeros(targets.shape, dtype=torch.float64)
    for where, found in asked:
        logits[torch.from_numpy(where)] = torch.from_numpy(found).double()
    ranks.add_up([logits])
    wanted = torch.from_numpy(targets)
    figures = {
        "val_loss": loss_of(logits, wanted.double()).mean().item(),
        "val_map": map_of(Thresholds().probabilities(logits.numpy()), targets),
        "val_exact": _exact(logits, wanted).double().mean().item(),
    }
    return Validation(figures)
