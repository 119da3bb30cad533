"""Logistic regression on frozen features: its penalty, its figures, and what it says of pictures it has not seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

# Inverse strengths of the head's L2 penalty on scaled features, from which cross-validation chooses.
INVERSE_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
FOLDS = 5
# Cross-validation fits 25 heads: beyond so many pictures a share of them says as well which penalty is best.
MOST_FOR_THE_CHOICE = 5000
MOST_ITERATIONS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """Features less their `mean`, `[features]`, over one `scale` for all of them: the root of their mean variance.

    One for each would make those that hardly vary as loud as the others: ants and bees 93.8 % in place of 95.9, traffic
    signs 52.9 in place of 56.3 (LOG.md).
    """

    mean: np.ndarray
    scale: float

    @classmethod
    def of(cls, features: np.ndarray) -> Scaling:
        """Return the scaling of `[N, features]`; features that are all alike keep their scale."""
        return cls(mean=features.mean(0), scale=float(np.sqrt(features.var(0).mean())) or 1.0)

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Return `[N, features]` scaled."""
        return (features - self.mean) / self.scale

    def folded(self, coefficients: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight `[K, features]` and bias `[K]` that say of features what these say of scaled ones."""
        weight = coefficients / self.scale
        return weight, intercept - weight @ self.mean


def choose_penalty(features: np.ndarray, targets: np.ndarray, *, groups: Sequence[str], balanced: bool) -> float:
    """Return the inverse penalty of the lowest cross-entropy on held-out folds; equal ones: the strongest penalty.

    Folds keep groups together and classes in proportion. `features`: `[N, features]`, `targets`: `[N]`.
    """
    chosen = _for_the_choice(targets)
    if len(np.unique(targets[chosen])) < 2:  # classes with a single picture
        return INVERSE_PENALTIES[1]
    features, targets, groups = features[chosen], targets[chosen], [groups[i] for i in chosen]
    num_folds = min(FOLDS, int(np.bincount(targets)[np.unique(targets)].min()), len(set(groups)))
    if num_folds < 2:  # all of one group
        return INVERSE_PENALTIES[1]
    losses = np.zeros(len(INVERSE_PENALTIES))
    for fitted, held_out in folds(num_folds, targets, groups):
        if len(np.unique(targets[fitted])) < len(np.unique(targets)):
            continue  # all of a class are of one group
        for number, penalty in enumerate(INVERSE_PENALTIES):
            scaling, model = fit_linear(features[fitted], targets[fitted], penalty, balanced=balanced)
            losses[number] += figures(scaling, model, features[held_out], targets[held_out])[0] * len(held_out)
    return INVERSE_PENALTIES[int(losses.argmin())] if losses.any() else INVERSE_PENALTIES[1]


def _for_the_choice(targets: np.ndarray) -> np.ndarray:
    """Return the pictures that choose the penalty: at random, some of each class, of classes that can be held out."""
    order = np.random.default_rng(0).permutation(len(targets))
    shuffled = targets[order]
    by_class = np.argsort(shuffled, kind="stable")
    counts = np.bincount(targets)
    number = np.empty(len(targets), int)  # of each picture in its class, in random order
    number[by_class] = np.arange(len(targets)) - (np.cumsum(counts) - counts)[shuffled[by_class]]
    taken = (np.arange(len(targets)) < MOST_FOR_THE_CHOICE) | (number < FOLDS)
    return order[taken & (counts[shuffled] > 1)]


def fit_linear(
    features: np.ndarray, targets: np.ndarray, penalty: float, *, balanced: bool
) -> tuple[Scaling, LogisticRegression]:
    """Fit a logistic regression to scaled features, `[N, features]`, and classes, `[N]`.

    Products of matrices take one thread: on two cores the threads of BLAS and of OpenMP, which scikit-learn uses both,
    wait for each other, and fits of 1,187 pictures take six times as long (LOG.md).
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    scaling = Scaling.of(features)
    model = LogisticRegression(
        C=penalty, max_iter=MOST_ITERATIONS, class_weight="balanced" if balanced else None
    )  # fmt: skip
    scaled = scaling.transform(features)
    with threadpool_limits(1, user_api="blas"):
        return scaling, model.fit(scaled, targets)


def figures(
    scaling: Scaling, model: LogisticRegression, features: np.ndarray, targets: np.ndarray
) -> tuple[float, float]:
    """Return mean cross-entropy and share of right ones."""
    probabilities = model.predict_proba(scaling.transform(features))
    where = np.searchsorted(model.classes_, targets)
    own = probabilities[np.arange(len(where)), where]
    return float(-np.log(np.maximum(own, 1e-12)).mean()), float((probabilities.argmax(1) == where).mean())


def out_of_fold(
    features: np.ndarray, targets: np.ndarray, *, groups: Sequence[str], penalty: float
) -> np.ndarray:  # fmt: skip
    """Return for each picture the probabilities by a head that was fitted without it, `[N, K]` float64.

    Folds keep groups together and classes in proportion; each class, 0 to K - 1, needs members of `FOLDS` groups, else
    a fold may have none of it and gives it the probability 0. `penalty`: the head's inverse penalty.
    """
    probabilities = np.zeros((len(targets), int(targets.max()) + 1))
    for fitted, held_out in folds(FOLDS, targets, groups):
        scaling, model = fit_linear(features[fitted], targets[fitted], penalty, balanced=False)
        probabilities[np.ix_(held_out, model.classes_)] = model.predict_proba(scaling.transform(features[held_out]))
    return probabilities


def folds(count: int, targets: np.ndarray, groups: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what to fit and what to hold out, the same every time; groups stay together, classes in proportion."""
    from sklearn.model_selection import StratifiedGroupKFold

    yield from StratifiedGroupKFold(count, shuffle=True, random_state=0).split(targets, targets, groups)
