"""One class per picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnetkit.models.checkpoint import CLASSIFICATION
from resnetkit.tasks.task import Task

if TYPE_CHECKING:
    from resnetkit.data.prepared import Prepared
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


TASK = Task(name=CLASSIFICATION, learning=_learning)
