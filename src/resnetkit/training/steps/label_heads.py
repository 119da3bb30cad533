"""Logistic regressions on frozen features, one for each of several labels, under one penalty."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.data.stratified import stratified
from resnetkit.data.units import Unit, height_of
from resnetkit.training.steps.linear import FOLDS, INVERSE_PENALTIES, MOST_FOR_THE_CHOICE, MOST_ITERATIONS, Scaling

# Largest part of the gradient where a fit ends. On 5,000 pictures with 512 features and 20 labels, which take 14 s on
# one core, probabilities are then within 0.005 of the end for the choice, and within 0.0002 for the fit.
_NEAR_FOR_THE_CHOICE = 1e-4
_NEAR = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelHeads:
    """What the heads came to: `weight` `[K, features]` and `bias` `[K]`, float64, for features as they come.

    `loss` is the mean binary cross-entropy of all answers that are known in what they were fitted to.
    """

    weight: np.ndarray
    bias: np.ndarray
    loss: float
    inverse_penalty: float


def fit_label_heads(features: np.ndarray, targets: np.ndarray, *, groups: Sequence[str], balanced: bool) -> LabelHeads:
    """Fit a logistic regression of each label to scaled features, all under the penalty that cross-validation chooses.

    `features`: `[N, features]`; `targets`: `[N, K]`, 1 for yes, 0 for no, NaN where it is not known: such a picture is
    left out of that label. `groups` are the `[N]` names of what stays together. `balanced` gives the yes and the no of
    a label the same weight in all. A label without a yes or without a no cannot be fitted: it gets weight 0 and the
    bias of how often it is, with half a picture added to both.
    """
    penalty = choose_label_penalty(features, targets, groups=groups, balanced=balanced)
    features = features.astype(np.float64)
    scaling = Scaling.of(features)
    features = scaling.transform(features)
    fitted = _fit(features, targets, penalty, balanced=balanced, near=_NEAR)
    weight, bias = scaling.folded(fitted[:-1].T, fitted[-1])
    loss = _losses(fitted, features, targets).sum() / max(1, np.count_nonzero(~np.isnan(targets)))
    return LabelHeads(weight=weight, bias=bias, loss=float(loss), inverse_penalty=penalty)


def choose_label_penalty(features: np.ndarray, targets: np.ndarray, *, groups: Sequence[str], balanced: bool) -> float:
    """Return the inverse penalty of the lowest cross-entropy, summed over labels, on folds that are held out.

    Folds keep groups together and labels in proportion; equal ones: the strongest penalty. Shapes as for
    `fit_label_heads`.
    """
    chosen = _for_the_choice(targets)
    features, targets, groups = features[chosen].astype(np.float64), targets[chosen], [groups[i] for i in chosen]
    num_folds = min(FOLDS, len(set(groups)))
    if num_folds < 2 or not _fittable(targets).any():
        return INVERSE_PENALTIES[1]
    losses = np.zeros(len(INVERSE_PENALTIES))
    for fitted, held_out in _folds(num_folds, targets, groups):
        scaling = Scaling.of(features[fitted])
        learnt, seen = scaling.transform(features[fitted]), scaling.transform(features[held_out])
        head = None
        for number, penalty in enumerate(INVERSE_PENALTIES):  # from strong to weak: each begins where the last ended
            head = _fit(learnt, targets[fitted], penalty, balanced=balanced, near=_NEAR_FOR_THE_CHOICE, start=head)
            losses[number] += _losses(head, seen, targets[held_out]).sum()
    return INVERSE_PENALTIES[int(losses.argmin())]


def _for_the_choice(targets: np.ndarray) -> np.ndarray:
    """Return the pictures that choose the penalty: at random, some of each label's yes and no."""
    order = np.random.default_rng(0).permutation(len(targets))
    taken = np.arange(len(targets)) < MOST_FOR_THE_CHOICE
    for answer in (0, 1):
        given = targets[order] == answer
        taken |= (given & (given.cumsum(0) <= FOLDS)).any(1)
    return order[taken]


def _folds(count: int, targets: np.ndarray, groups: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what to fit and what to hold out, the same every time; groups stay together, labels in proportion."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    units = []
    for group, own in members.items():
        times = np.nansum(targets[own], axis=0).astype(int)
        labels = Counter({str(label): int(times[label]) for label in np.flatnonzero(times)})
        units.append(Unit(members=own, free=True, labels=labels, height=height_of(group, seed=0)))
    fold = np.empty(len(targets), int)
    for unit, number in zip(units, stratified(units, [1 / count] * count), strict=True):
        fold[unit.members] = number
    for number in range(count):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _fittable(targets: np.ndarray) -> np.ndarray:
    """Return which labels have a yes and a no."""
    return (targets == 1).any(0) & (targets == 0).any(0)


def _fit(
    features: np.ndarray, targets: np.ndarray, penalty: float, *, balanced: bool, near: float,
    start: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Return `[features + 1, K]` for scaled features: coefficients, and intercepts in the last row.

    All labels are fitted at once, by L-BFGS: one product of matrices serves them all. `start`: where to begin.
    """
    from scipy.optimize import minimize

    yes, no = (targets == 1).sum(0), (targets == 0).sum(0)
    head = np.zeros((features.shape[1] + 1, targets.shape[1]))
    head[-1] = np.log((yes + 0.5) / (no + 0.5))
    fitted = _fittable(targets)
    if not fitted.any():
        return head
    targets, yes, no = targets[:, fitted], yes[fitted], no[fitted]
    weights = (~np.isnan(targets)).astype(np.float64)
    if balanced:
        weights *= np.where(targets == 1, (yes + no) / (2 * yes), (yes + no) / (2 * no))
    arguments = (features, np.nan_to_num(targets.astype(np.float64)), weights, penalty)
    begin = (head if start is None else start)[:, fitted]
    options = {"maxiter": MOST_ITERATIONS, "maxfun": 2 * MOST_ITERATIONS, "gtol": near, "ftol": 0.0}
    found = minimize(_objective, begin.ravel(), arguments, method="L-BFGS-B", jac=True, options=options)
    head[:, fitted] = found.x.reshape(begin.shape)
    return head


def _objective(
    flat: np.ndarray, features: np.ndarray, targets: np.ndarray, weights: np.ndarray, penalty: float
) -> tuple[float, np.ndarray]:
    """Return scikit-learn's objective of a logistic regression, summed over labels, over the pictures; its gradient."""
    count = len(features)
    head = flat.reshape(features.shape[1] + 1, -1)
    logits = features @ head[:-1] + head[-1]
    small = np.exp(-np.abs(logits))  # never overflows
    losses = np.maximum(logits, 0) + np.log1p(small) - targets * logits
    off = (np.where(logits > 0, 1, small) / (1 + small) - targets) * (weights / count)
    gradient = np.empty_like(head)
    gradient[:-1] = features.T @ off + head[:-1] / (penalty * count)
    gradient[-1] = off.sum(0)
    value = np.vdot(weights, losses) / count + np.vdot(head[:-1], head[:-1]) / (2 * penalty * count)
    return float(value), gradient.ravel()


def _losses(head: np.ndarray, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the binary cross-entropy of each answer that is known."""
    logits, known = features @ head[:-1] + head[-1], ~np.isnan(targets)
    return np.logaddexp(0, logits[known]) - targets[known] * logits[known]
