"""Objects on pictures: boxes around them, and their outlines where these were drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnetkit.evaluation.detection.metrics import headline
from resnetkit.evaluation.detection.rows import COLUMNS
from resnetkit.models.checkpoint import DETECTION
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.models.detection.sureness import Sureness
from resnetkit.tasks.detection import scoring
from resnetkit.tasks.detection.planning import CHOICES, decide, weights_wanted
from resnetkit.tasks.detection.tracks import with_tracks
from resnetkit.training.task import Task

if TYPE_CHECKING:
    from torch import nn

    from resnetkit.data.prepared import Prepared
    from resnetkit.runtime import Runtime
    from resnetkit.training.learning import Learning
    from resnetkit.training.planning.plan import Plan
    from resnetkit.training.recipe import Recipe
    from resnetkit.training.task import Weights
    from resnetkit.training.together.ranks import Ranks


def _learning(recipe: Recipe, prepared: Prepared, *, runtime: Runtime, ranks: Ranks) -> Learning:
    from resnetkit.tasks.detection.learning import learning

    return learning(
        recipe, train=prepared.parts["train"], val=prepared.parts.get("val"), classes=prepared.classes,
        preprocess=prepared.preprocess, runtime=runtime, ranks=ranks, masks=prepared.objects == "masks",
    )  # fmt: skip


def _first_network(plan: Plan, weights: Weights | None, prepared: Prepared, *, seed: int) -> tuple[nn.Module, str]:
    """Return the detector before its first step, and which layers of given weights came along."""
    import torch

    from resnetkit.models.detection.network import Detector
    from resnetkit.models.detection.trunk import begin_from

    torch.manual_seed(seed)
    assert isinstance(plan.spec, DetectorSpec), "what is to be found is found by a detector"
    network = Detector(plan.spec)
    return network, "" if weights is None else begin_from(network, weights.tensors)


TASK = Task(
    name=DETECTION,
    weights_wanted=weights_wanted,
    decide=decide,
    nearness=False,
    first_network=_first_network,
    figures=("val_map", "val_map50"),
    choices=CHOICES,
    columns=COLUMNS[:-1],
    optimistic=scoring.OPTIMISTIC,
    learning=_learning,
    undecided=Sureness(),
    fit=scoring.fitted,
    score=scoring.scored,
    headline=headline,
    fold=scoring.folded,
    fit_more=with_tracks,
)
