"""Several labels per picture, or none: each is present or absent by itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from resnetkit.evaluation.labels import headline
from resnetkit.models.checkpoint import MULTILABEL
from resnetkit.models.thresholds import Thresholds
from resnetkit.tasks import classifiers
from resnetkit.tasks.multilabel.scoring import fitted, folded, scored
from resnetkit.training.task import Task

if TYPE_CHECKING:
    from resnetkit.data.prepared import Prepared
    from resnetkit.runtime import Runtime
    from resnetkit.training.learning import Learning
    from resnetkit.training.recipe import Recipe
    from resnetkit.training.together.ranks import Ranks


def _learning(recipe: Recipe, prepared: Prepared, *, runtime: Runtime, ranks: Ranks) -> Learning:
    from resnetkit.tasks.multilabel.learning import learning

    return learning(
        recipe, train=prepared.parts["train"], val=prepared.parts.get("val"), preprocess=prepared.preprocess,
        runtime=runtime, ranks=ranks,
    )  # fmt: skip


_CHOICES = ("map", "loss")
TASK = Task(
    name=MULTILABEL,
    weights_wanted=classifiers.weights_wanted,
    decide=partial(classifiers.decide, choices=_CHOICES),
    nearness=True,
    first_network=classifiers.first_network,
    figures=("train_exact", "val_loss", "val_map"),
    choices=_CHOICES,
    columns=("source", "labels", "predicted", "correct", "split", "probabilities"),
    optimistic=("map", "exact_match", "hamming", "micro_f1", "macro_f1", "loss", "per_class", "tta"),
    learning=_learning,
    undecided=Thresholds(),
    fit=fitted,
    score=scored,
    headline=headline,
    fold=folded,
)
