"""How many more pictures: the learning curve of a linear head on frozen features, and what twice as many bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from resnetkit.checking.features import Described
from resnetkit.training.steps.linear import FOLDS, fit_linear, folds
from resnetkit.words import percent

# Heads are fitted to all pictures outside of the fold, and to nested halves of them.
_HALVINGS = 3
# Laws of the error, a + b n^-c, among which the pictures decide as far as they can.
_EXPONENTS = np.linspace(0.1, 1.0, 10)
_DRAWS = 1000
_AT_ONCE = 2**22  # cells of the matrix of the pictures' weights
# Two heads fitted to other n pictures differ in their error e by a variance of about this times e (1 - e) / n: measured
# 0 to 0.3 on digits, breast ultrasound, ants and bees.
_HEADS_DIFFER = 0.2
_LAW_IS_OFF = 0.03  # of the error: no curve follows a law exactly
_LEAST = 40  # pictures
_FLAT = 0.01  # a gain below it is none to collect pictures for
_SURE = 0.001  # a gain above it is one
_DOUBT = 0.05
_MOST_CLASSES = 3

ONE_CLASS = f"how many more pictures: cannot tell from fewer than two classes of {FOLDS} groups or single images"
Verdict = Literal["rises", "flat", "cannot tell"]
_WORDS: dict[Verdict, str] = {
    "rises": "twice as many pictures bring {gain}",
    "flat": "the curve is flat: twice as many pictures of this kind bring at most {most} points",
    "cannot tell": "whether more pictures help, the curve cannot tell: twice as many bring {gain}",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What a linear head on `network` reaches with the `count` pictures there are, and with twice as many.

    `curve`: pictures fitted to -> accuracy on pictures held out, as measured. `now` and `twice`: accuracy on new
    pictures of the same kind of a head fitted to `count` and 2 `count`; `gain`: their difference; `classes`: gain in
    each class's own accuracy, the largest first, with intervals that hold together.
    """

    network: str
    count: int
    curve: tuple[tuple[int, float], ...]
    now: Estimate
    twice: Estimate
    gain: Estimate
    classes: tuple[tuple[str, Estimate], ...]
    verdict: Verdict

    @property
    def most(self) -> tuple[tuple[str, Estimate], ...]:
        """Return the classes, three at most, that gain for certain; none where it cannot be told which."""
        return tuple((name, gain) for name, gain in self.classes if gain.low > _SURE)[:_MOST_CLASSES]

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return the forecast in words."""
        reached = (
            f"a linear head on {self.network} names {_percent(self.now)} of new pictures as they are labelled once "
            f"fitted to these {self.count:,}, and {_percent(self.twice)} if fitted to {2 * self.count:,} of this kind"
        )
        return (
            reached,
            _WORDS[self.verdict].format(gain=_points(self.gain), most=f"{100 * self.gain.high:.1f}"),
            (
                f"gain most: {', '.join(f'{name} {_points(gain)}' for name, gain in self.most)}"
                if self.most
                else "which classes gain most, the curve cannot tell"
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values, accuracies as fractions."""
        values = asdict(self)
        return values | {
            "curve": [{"pictures": pictures, "accuracy": accuracy} for pictures, accuracy in self.curve],
            "classes": [{"label": name, **asdict(gain)} for name, gain in self.classes],
        }


def forecast(described: Described) -> tuple[Forecast | None, tuple[str, ...]]:
    """Return the forecast, or None and why there is none. It draws at random, and the same every time."""
    known, units = int(described.learnt.sum()), len(set(described.groups))
    if known:
        return None, (
            f"how many more pictures: cannot tell, as {described.network} was trained on {known:,} of these images",
        )
    if units < _LEAST:
        return None, (
            f"how many more pictures: cannot tell from {units:,} groups or single images; {_LEAST} are the least",
        )
    return _forecast(described, *learning_curve(described)), ()


def _forecast(described: Described, sizes: np.ndarray, right: np.ndarray) -> Forecast:
    generator = np.random.default_rng(0)
    groups = np.unique(described.groups, return_inverse=True)[1]
    chance = 1 - float(((np.bincount(described.targets) / len(right)) ** 2).sum())
    now, twice, units = _foretold(right, groups, sizes / len(right), chance, generator)
    gain = _estimate(now - twice)
    classes = []
    for number, name in enumerate(described.names):
        own = described.targets == number
        before, after, _ = _foretold(right[own], groups[own], sizes / len(right), 1 - own.mean(), generator)
        classes.append((name, _estimate(before - after, doubt=_DOUBT / len(described.names))))
    return Forecast(
        network=described.network, count=len(right),
        curve=tuple((round(size), float(share)) for size, share in zip(sizes, right.mean(axis=0), strict=True))[::-1],
        now=_estimate(1 - _of_a_head(now, units, generator)),
        twice=_estimate(1 - _of_a_head(twice, 2 * units, generator)),
        gain=gain, classes=tuple(sorted(classes, key=lambda one: -one[1].value)),
        verdict="flat" if gain.high < _FLAT else "rises" if gain.low > _SURE else "cannot tell",
    )  # fmt: skip


def _estimate(draws: np.ndarray, *, doubt: float = _DOUBT) -> Estimate:
    low, high = np.quantile(draws, [doubt / 2, 1 - doubt / 2])
    return Estimate(value=float(draws.mean()), low=float(low), high=float(high))


def _percent(figure: Estimate) -> str:
    return f"{percent(figure.value)} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def _points(gain: Estimate) -> str:
    return f"{100 * gain.value:.1f} points ({100 * gain.low:.1f} to {100 * gain.high:.1f})"


def learning_curve(described: Described) -> tuple[np.ndarray, np.ndarray]:
    """Return how many pictures heads were fitted to, `[S]`, the most first, and what each named right, `[N, S]` bool.

    Each picture is named by heads that were fitted to other folds, and to nested halves of these: whole groups as far
    as they go, classes in proportion, one picture of each class at least.
    """
    right = np.empty((len(described.targets), _HALVINGS + 1), bool)
    right[:, 0] = described.right
    sizes = np.zeros(_HALVINGS + 1)
    for number, (fitted, held_out) in enumerate(folds(FOLDS, described.targets, described.groups)):
        sizes[0] += len(fitted) / FOLDS
        order = _shuffled(fitted, described.groups, seed=number)
        for halving in range(1, _HALVINGS + 1):
            part = _share(order, described.targets, 0.5**halving)
            scaling, model = fit_linear(
                described.features[part], described.targets[part], described.penalty, balanced=False
            )  # fmt: skip
            named = model.predict(scaling.transform(described.features[held_out]))
            right[held_out, halving] = named == described.targets[held_out]
            sizes[halving] += len(part) / FOLDS
    return sizes, right


def _shuffled(numbers: np.ndarray, groups: Sequence[str], *, seed: int) -> np.ndarray:
    """Return pictures at random, those of a group one after the other."""
    _, group = np.unique([groups[number] for number in numbers], return_inverse=True)
    return numbers[np.argsort(np.random.default_rng(seed).permutation(group.max() + 1)[group], kind="stable")]


def _share(order: np.ndarray, targets: np.ndarray, share: float) -> np.ndarray:
    """Return the first share of each class, one picture at least."""
    own = targets[order]
    by_class = np.argsort(own, kind="stable")
    counts = np.bincount(own)
    rank = np.empty(len(order), int)
    rank[by_class] = np.arange(len(order)) - (np.cumsum(counts) - counts)[own[by_class]]
    return order[rank < np.maximum(1, np.round(share * counts[own]))]


def _foretold(
    right: np.ndarray, groups: np.ndarray, shares: np.ndarray, chance: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the mean errors of heads fitted to all and to twice as many, `[draws]` each, and the number of groups.

    `right`: `[N, S]` bool, by heads fitted to `shares`, `[S]`, of all; `groups`: `[N]`; `chance`: the error by chance.
    There two pictures that are alike by chance are right, or wrong, of each other: the share of right ones varies twice
    as much as one of as many independent answers.
    """
    _, groups = np.unique(groups, return_inverse=True)
    units = int(groups.max()) + 1  # pictures of one group tell little more than one of them
    drawn = _drawn(right, groups, 1 + (1 - right[:, 0].mean()) ** 2 / chance**2, generator)
    return *_carried_on(drawn, shares * units, units, generator), units


def _drawn(right: np.ndarray, groups: np.ndarray, spread: float, generator: np.random.Generator) -> np.ndarray:
    """Return the error at each size, `[draws, S]`, had the groups come in other numbers.

    That is the Bayesian bootstrap (Rubin 1981), its variance times `spread`. `groups`: `[N]`, numbers from 0. One group
    more, half right at all sizes, stands for what none has shown: without it no error in a hundred would mean none in a
    million.
    """
    count = groups.max() + 1
    counted = np.zeros((count + 2, right.shape[1] + 1))
    np.add.at(counted, groups, np.column_stack([~right, np.ones(len(right))]))
    counted[count] = len(right) / count
    counted[count + 1, -1] = len(right) / count
    shape = np.append(np.ones(count), [0.5, 0.5]) / spread
    at_once = max(1, _AT_ONCE // len(shape))
    sums = np.concatenate([
        generator.standard_gamma(shape, (min(at_once, _DRAWS - start), len(shape))) @ counted
        for start in range(0, _DRAWS, at_once)
    ])  # fmt: skip
    return np.asarray(sums[:, :-1] / sums[:, -1:])


def _carried_on(
    errors: np.ndarray, sizes: np.ndarray, count: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean errors of heads fitted to `count` and to twice `count` pictures, `[draws]` each.

    Each draw follows one law: exponents are drawn by how well they agree with the errors as measured, the rest is
    generalised least squares. Errors that rise with the pictures are taken as level, and none falls faster than 1 / n.
    """
    mean = errors.mean(axis=0)
    alone = np.diag(_HEADS_DIFFER * mean * (1 - mean) / sizes + (_LAW_IS_OFF * mean) ** 2 + 1e-12)
    weights = np.linalg.inv(np.cov(errors.T) + alone)
    least = errors[:, 0] * sizes[0] / count
    errors = errors + generator.standard_normal(errors.shape) * np.sqrt(np.diag(alone))
    level = weights.sum(axis=0) / weights.sum()
    fits, agreement = [], []
    for exponent in _EXPONENTS:
        law = np.column_stack([np.ones_like(sizes), (sizes / count) ** -exponent])
        solve = np.linalg.solve(law.T @ weights @ law, law.T @ weights)
        away = mean - law @ (solve @ mean)
        agreement.append(-0.5 * float(away @ weights @ away))
        fits.append(errors @ solve.T)
    chances = np.exp(np.array(agreement) - max(agreement))
    chosen = generator.choice(len(_EXPONENTS), len(errors), p=chances / chances.sum())
    floor, slope = np.array(fits)[chosen, np.arange(len(errors))].T
    floor, slope = np.where(slope > 0, floor, errors @ level), np.maximum(slope, 0)
    now = np.clip(floor + slope, least, 1)
    twice = np.clip(floor + slope * 2 ** -_EXPONENTS[chosen], now / 2, 1)
    return now, twice


def _of_a_head(errors: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return the errors of single heads where their means are known."""
    spread = np.sqrt(_HEADS_DIFFER * errors * (1 - errors) / count)
    return np.clip(errors + spread * generator.standard_normal(len(errors)), 0, 1)
