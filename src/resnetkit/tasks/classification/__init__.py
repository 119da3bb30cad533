"""One class per picture."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from resnetkit.data.targets import class_targets
from resnetkit.evaluation.evaluate import scored
from resnetkit.evaluation.guarantees import fit_decision
from resnetkit.evaluation.metrics import headline
from resnetkit.models.checkpoint import CLASSIFICATION
from resnetkit.models.choice import OPTIMISTIC
from resnetkit.models.decision import Decision
from resnetkit.tasks import classifiers
from resnetkit.tasks.classification.folds import folded
from resnetkit.training.task import Task

if TYPE_CHECKING:
    import numpy as np

    from resnetkit.data.prepared import Part, Prepared
    from resnetkit.runtime import Runtime
    from resnetkit.training.learning import Learning
    from resnetkit.training.recipe import Recipe
    from resnetkit.training.together.ranks import Ranks


def _learning(recipe: Recipe, prepared: Prepared, *, runtime: Runtime, ranks: Ranks) -> Learning:
    from resnetkit.tasks.classification.learning import learning

    return learning(
        recipe, train=prepared.parts["train"], val=prepared.parts.get("val"), preprocess=prepared.preprocess,
        runtime=runtime, num_classes=len(prepared.classes), ranks=ranks,
    )  # fmt: skip


def _fit(
    logits: np.ndarray, part: Part, *, classes: tuple[str, ...], where: str, finding: str | None = None,
    goal: str = "youden",
) -> Decision:  # fmt: skip
    targets = class_targets(part.items, classes, where=where)
    sought = None if finding is None else classes.index(finding)
    return fit_decision(logits, targets, part.groups, finding=sought, goal=goal)


_CHOICES = ("top1", "balanced_accuracy", "loss")
TASK = Task(
    name=CLASSIFICATION,
    weights_wanted=classifiers.weights_wanted,
    decide=partial(classifiers.decide, choices=_CHOICES),
    nearness=True,
    first_network=classifiers.first_network,
    figures=("train_top1", "val_loss", "val_top1"),
    choices=_CHOICES,
    columns=("source", "label", "predicted", "probability", "correct", "split"),
    optimistic=OPTIMISTIC,
    learning=_learning,
    undecided=Decision(),
    fit=_fit,
    score=scored,
    headline=headline,
    fold=folded,
)
