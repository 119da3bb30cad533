"""Several labels per picture, or none: each is present or absent by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resnetkit.models.checkpoint import MULTILABEL
from resnetkit.models.thresholds import Thresholds
from resnetkit.training.task import Task

if TYPE_CHECKING:
    import numpy as np

    from resnetkit.data.prepared import Part, Prepared
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


def _fit(logits: np.ndarray, part: Part, *, classes: tuple[str, ...], where: str, goal: str = "f1") -> Thresholds:
    from resnetkit.tasks.multilabel.scoring import fitted

    return fitted(logits, part, classes=classes, where=where, goal=goal)


def _score(*logits_and_part: Any, **how: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from resnetkit.tasks.multilabel.scoring import scored

    return scored(*logits_and_part, **how)


def _headline(metrics: Mapping[str, Any]) -> str:
    from resnetkit.evaluation.labels import headline

    return headline(metrics)


def _fold(*logits_part_numbers: Any) -> dict[str, Any]:
    from resnetkit.tasks.multilabel.scoring import folded

    return folded(*logits_part_numbers)


TASK = Task(
    name=MULTILABEL,
    figures=("train_exact", "val_loss", "val_map"),
    choices=("map", "loss"),
    columns=("source", "labels", "predicted", "correct", "split", "probabilities"),
    optimistic=("map", "exact_match", "hamming", "micro_f1", "macro_f1", "loss", "per_class", "tta"),
    learning=_learning,
    undecided=Thresholds(),
    fit=_fit,
    score=_score,
    headline=_headline,
    fold=_fold,
)
