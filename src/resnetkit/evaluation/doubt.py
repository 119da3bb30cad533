"""What `metrics.json` says beyond counts: intervals, calibration, ranking, and what thresholds would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resnetkit.evaluation.areas import Areas, areas, average_precision, under_roc
from resnetkit.evaluation.calibration import (
    binned,
    errors_by_chance,
    expected_error,
    reliability,
)
from resnetkit.evaluation.cases import case_figures
from resnetkit.evaluation.costs import cost_figures
from resnetkit.evaluation.guarantees import cross_decisions, cross_kept, cross_probabilities, kept
from resnetkit.evaluation.metrics import ranks
from resnetkit.evaluation.ranking import area_figures, curves, selective
from resnetkit.evaluation.two_classes import screening
from resnetkit.evaluation.uncertainty import (
    Interval,
    accuracy_interval,
    area_interval,
    balanced_interval,
    bootstrap,
    distance_interval,
)
from resnetkit.inference.aggregation import MEAN, Aggregation
from resnetkit.models.decision import Decision


class Answers:
    """What a model says of pictures by its decision, honestly: one that these very pictures fitted is cross-fitted.

    `logits`: `[N, K]`, `targets`: `[N]` classes; `own`: whether these are the pictures that fitted the decision.
    `probabilities`: what every figure is made of but those of an order; `ranked`: for these, of one temperature, since
    several would put pictures into another order; `after`: with a temperature, where the decision has none; `told`:
    `[N]` classes.
    """

    def __init__(
        self, logits: np.ndarray, targets: np.ndarray, groups: Sequence[str | None], decision: Decision, *, own: bool
    ) -> None:
        self.logits, self.targets, self.decision = logits, targets, decision
        self.groups = list(groups) if any(group is not None for group in groups) else None
        self.others: list[tuple[np.ndarray, Decision]] | None = None
        if own or decision.fitted_on is None:
            self.others = cross_decisions(logits, targets, self.groups, point=decision.point)
        self.probabilities = self.of(logits)
        self.ranked = decision.probabilities(logits)
        self.told = self.told_of(self.probabilities, np.arange(len(targets)))
        self.after = self.probabilities
        if self.others is not None and decision.fitted_on is None:
            self.after = cross_probabilities(logits, self.others)

    def of(self, logits: np.ndarray) -> np.ndarray:
        """Return the probabilities of other logits of the same pictures."""
        fitted_here = self.others is not None and self.decision.fitted_on is not None
        if fitted_here and self.decision.temperature != 1:
            assert self.others is not None
            return cross_probabilities(logits, self.others)
        return self.decision.probabilities(logits)

    def told_of(self, probabilities: np.ndarray, pictures: np.ndarray) -> np.ndarray:
        """Return the class told, `[C]`, of `[C, K]` probabilities, each by what may judge the picture so numbered."""
        if self.others is None or self.decision.point is None:
            return self.decision.told(probabilities)
        told = np.empty(len(probabilities), np.int64)
        for inside, decision in self.others:
            own = inside[pictures]
            told[own] = decision.told(probabilities[own])
        return told

    def of_cases(self, means: np.ndarray, pictures: np.ndarray) -> np.ndarray:
        """Return `[C, K]` probabilities of cases of means, each by what may judge the picture so numbered."""
        if self.others is None or self.decision.fitted_on is None:
            return self.decision.of_cases(means)
        found = np.empty(means.shape)
        for inside, decision in self.others:
            own = inside[pictures]
            found[own] = decision.of_cases(means[own])
        return found

    def kept(self) -> dict[str, Any]:
        """Return what the thresholds of the decision do, `rejects` and `sets`."""
        if self.others is None:
            return kept(self.probabilities, self.targets, self.decision)
        return cross_kept(self.logits, self.targets, self.decision, self.others)


def doubts(
    answers: Answers, metrics: Mapping[str, Any], *, finding: int | None = None, prevalence: float | None = None,
    how: Aggregation = MEAN,
) -> dict[str, Any]:  # fmt: skip
    """Return more figures of answers, beside those in `metrics`.

    `top1_interval` takes the place of the one for independent pictures where some come in groups, and `grouped` says
    so. `intervals`: 95 %, of the figures they are named after. `calibration`: how far confidence is from accuracy
    `before` (the network's own) and `after`: at the decision's temperature where that was fitted on others, not `own`,
    `fitted_on` "val", else at one that these pictures fix for each other, "crossfit", where it helps.
    `rejects` and `sets`: what each threshold of the decision does, cross-fitted likewise. `cases`: of groups, each
    answered as `how` says from its pictures, see `case_figures`. `screening`: of two classes, or where one, the
    `finding`, is looked for, at a stated `prevalence`, see `two_classes`. `cost`: of errors, see `cost_figures`.
    """
    probabilities, targets, after, groups = answers.probabilities, answers.targets, answers.after, answers.groups
    ranked = rankings(answers.ranked, targets)
    return {
        "top1_interval": _plain(accuracy_interval(answers.told == targets, groups)),
        "grouped": groups is not None,
        "intervals": intervals(
            probabilities, targets, groups, after=after, ranked=ranked, found=answers.told == targets
        ),
        "calibration": {
            "temperature": answers.decision.temperature,
            "fitted_on": "val" if answers.others is None else "crossfit",
            "before": reliability(Decision().probabilities(answers.logits), targets),
            "after": reliability(after, targets),
        },
        **{name: area_figures(found, metrics["classes"]) for name, found in ranked.items()},
        "curves": curves(answers.ranked, targets, metrics["classes"]),
        "selective": selective(probabilities, targets),
        **case_figures(
            probabilities,
            targets,
            metrics["classes"],
            groups,
            how=how,
            by_folds=metrics.get("split") == "folds",
            tells=answers.told_of,
            sures=answers.of_cases if how == MEAN and answers.decision.point is None else None,
        ),
        **screening(
            probabilities,
            targets,
            metrics["classes"],
            groups,
            finding=finding,
            prevalence=prevalence,
            decision=answers.decision,
            told=answers.told,
            tells=answers.told_of,
            ranked=answers.ranked,
            how=how,
        ),
        **cost_figures(probabilities, targets, answers.told, metrics["classes"], groups, decision=answers.decision),
        **answers.kept(),
    }


def rankings(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, Areas]:
    """Return the areas under the curves of each class, `roc_auc` and `average_precision`."""
    return {
        "roc_auc": areas(under_roc, probabilities, targets),
        "average_precision": areas(average_precision, probabilities, targets),
    }


def intervals(
    probabilities: np.ndarray,
    targets: np.ndarray,
    groups: Sequence[str | None] | None = None,
    *,
    after: np.ndarray,
    ranked: Mapping[str, Areas],
    found: np.ndarray,
) -> dict[str, list[float]]:
    """Return the 95 % intervals of balanced accuracy, loss, calibration error, mean areas and, of many classes, top-5.

    `[N, K]` probabilities of pictures of the classes `targets`, those `after` calibration, for its error, the areas of
    `rankings`, and which are `found`, named right. There is no interval of areas that no class has, of top-5 among five
    classes, nor of loss and calibration error of a single picture or group.
    """
    smallest = np.finfo(np.float32).tiny
    of_truth = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    losses = np.stack([-np.log(np.maximum(of_truth, smallest)), np.ones(len(targets))], axis=1)
    bounds = {
        "balanced_accuracy": balanced_interval(found, targets, groups),
        "loss": bootstrap(losses, lambda sums: sums[..., 0] / sums[..., 1], groups=groups, least=0.0),
        "ece": distance_interval(binned(after, targets), expected_error, errors_by_chance(after), groups),
    }
    for name, areas_found in ranked.items():
        if areas_found.macro is not None:
            bounds[name] = area_interval(areas_found, targets, groups)
    if probabilities.shape[1] > 5:
        bounds["top5"] = accuracy_interval(ranks(probabilities, targets) < 5, groups)
    return {name: _plain(interval) for name, interval in bounds.items() if interval is not None}


def _plain(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
