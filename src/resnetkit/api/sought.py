"""What an evaluation is asked for, checked before any picture is read, and the class that it looks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnetkit.api.model import Model
from resnetkit.errors import UsageError, near_miss
from resnetkit.inference import aggregation
from resnetkit.models.decision import GIVEN, Decision
from resnetkit.models.goals import screening_goal_of
from resnetkit.models.point import odds_of


def check_asked(
    model: Model, *, tta: str, outliers: str | Path | None, calibrated: str | Path | None, goal: str | None,
    aggregate: str | None, finding: str | None, prevalence: float | None, by: Sequence[str],
) -> None:  # fmt: skip
    """Raise `UsageError` for what has no meaning for the answers of a model, before any picture is read."""
    gives = f"{model.name} gives {GIVEN[model.gives]}"
    if tta != "none" and model.gives == "objects":
        raise UsageError(f"--tta {tta} averages probabilities over views of a picture, and {gives}: leave it out")
    if outliers is not None and model.gives != "class":
        raise UsageError(f"--outliers: is for models of one class per picture, and {gives}")
    if outliers is not None and looks_for_one(model):
        raise UsageError(f"--outliers: counts what --reject lets through, and {model.name} looks for one class instead")
    if decides_by_costs(model):
        _check_with_costs(model, outliers=outliers, calibrated=calibrated, finding=finding, prevalence=prevalence)
    if by and model.gives != "class":
        raise UsageError(f"--by: is for models of one class per picture, and {gives}")
    if aggregate is not None and model.gives != "class":
        raise UsageError(f"--aggregate: is for models of one class per picture, and {gives}")
    if aggregate is not None:
        aggregation.asked(aggregate, model.classes, finding=looked_for(model, finding))
    if goal is not None and calibrated is None:
        raise UsageError("--goal says what thresholds are fitted for: give it with --calibrated FILE")


def sought_of(model: Model, *, finding: str | None, prevalence: float | None, goal: str | None) -> dict[str, Any]:
    """Return which class is looked for and how frequent it is, where asked; `UsageError` for what has no meaning."""
    option = "--finding" if finding is not None else "--prevalence" if prevalence is not None else None
    if option is not None and model.gives != "class":
        raise UsageError(
            f"{option}: is for models of one class per picture, and {model.name} gives {GIVEN[model.gives]}"
        )
    if finding is not None and finding not in model.classes:
        raise UsageError(f"--finding {finding}: {model.name} has no such class{near_miss(finding, model.classes)}")
    if model.gives == "class":
        if goal is not None and finding is None:
            raise UsageError("--goal: say for which class, as --finding CLASS")
        if goal is not None:
            screening_goal_of(goal)
        if prevalence is not None and finding is None and not looks_for_one(model):
            raise UsageError("--prevalence: say of which class, as --finding CLASS")
    if prevalence is not None:
        odds_of(prevalence)
    return {name: value for name, value in (("finding", finding), ("prevalence", prevalence)) if value is not None}


def looked_for(model: Model, finding: str | None) -> int | None:
    """Return the number of the class that is looked for, as asked, else as the model does."""
    if finding is not None:
        return model.classes.index(finding)
    point = model.decision.point if isinstance(model.decision, Decision) else None
    return None if point is None else point.finding


def looks_for_one(model: Model) -> bool:
    """Tell whether the model looks for one class, and tells it from a threshold on."""
    return isinstance(model.decision, Decision) and model.decision.point is not None


def decides_by_costs(model: Model) -> bool:
    """Tell whether the model tells the class that costs least on average."""
    return isinstance(model.decision, Decision) and model.decision.costs is not None


def _check_with_costs(
    model: Model, *, outliers: str | Path | None, calibrated: str | Path | None, finding: str | None,
    prevalence: float | None,
) -> None:  # fmt: skip
    by_costs = f"{model.name} decides by costs of errors"
    if outliers is not None:
        raise UsageError(f"--outliers: counts what --reject lets through, and {by_costs} instead")
    if prevalence is not None:
        raise UsageError(
            f"--prevalence: {by_costs}, weighed by how frequent classes are among its pictures: leave it out"
        )
    if finding is not None and calibrated is not None:
        raise UsageError(f"--finding with --calibrated fits a threshold, and {by_costs}: leave one of them out")
