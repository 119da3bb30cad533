"""Whether a model serves some people worse than others: figures by the values of a column, as age, sex or scanner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.evaluation.areas import under_roc
from resnetkit.evaluation.pairs import adjusted, is_real
from resnetkit.evaluation.screening import Estimate, called, roc_auc, share
from resnetkit.evaluation.uncertainty import groups_where, units_of, variance_of

_SHUFFLES, _AT_ONCE, _SEED = 2_000, 200, 0
_NOTHING = 1e-20  # a variance that is rounding


@dataclass(frozen=True, kw_only=True, slots=True)
class Subgroup:
    """The figures of the pictures with one value; `auc` is None but where both classes are there."""

    value: str
    count: int
    positives: int
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    accuracy: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """Whether a figure differs between the values of a column: its p-value, and that adjusted for all contrasts.

    `figure` is `auc`, `sensitivity`, `specificity` or `accuracy`.
    """

    column: str
    figure: str
    p_value: float
    adjusted: float

    @property
    def is_real(self) -> bool:
        """Tell whether it is beyond chance."""
        return is_real(self.adjusted)


@dataclass(frozen=True, slots=True)
class SubgroupTable:
    """The subgroups of each column, largest first, and what differs between them."""

    columns: dict[str, list[Subgroup]]
    contrasts: list[Contrast]

    @property
    def warnings(self) -> list[str]:
        """Return a line for each figure that differs between the values of a column beyond chance."""
        return [self._line(contrast) for contrast in self.contrasts if contrast.is_real]

    def _line(self, contrast: Contrast) -> str:
        known = [(one.value, getattr(one, contrast.figure).value) for one in self.columns[contrast.column]]
        each = ", ".join(f"{value} {100 * figure:.1f} %" for value, figure in known if figure is not None)
        return (
            f"{contrast.figure} differs between the values of {contrast.column!r} beyond chance: {each} "
            f"(p = {contrast.adjusted:.2g}, adjusted for {len(self.contrasts)} comparisons)."
        )


def subgroups(
    scores: np.ndarray,
    of_class: np.ndarray,
    columns: Mapping[str, Sequence[str | None]],
    *,
    threshold: float,
    groups: Sequence[str | None] | None = None,
) -> SubgroupTable:
    """Return figures by the values of each of `columns`, N values each, None where one is not known and left out.

    `scores`: `[N]`; `of_class`: `[N]` bool. Areas are compared on their log-odds by Welch's test (1951), with the
    variance and degrees of freedom of `variance_of`; a value without two pictures or groups of each class, or with an
    area of 1 or 0, cannot be. Shares are compared by Pearson's chi-square against 2,000 permutations of the values
    among pictures, with groups among groups (Good 2005, 3.7): its level holds however few there are. A group with
    several values counts as one in each, which is cautious. All p-values together are adjusted by Holm.
    """
    said = called(scores, threshold)
    tables, asked = {}, []
    for name, values in columns.items():
        own = np.array([value is not None for value in values], bool)
        named = np.array([str(value) for value in values])
        tables[name] = [
            _figures(value, own & (named == value), scores, said, of_class, groups) for value in _by_size(named[own])
        ]
        tests = _tests(own, named, scores, said, of_class, groups)
        asked += [(name, figure, p_value) for figure, p_value in tests.items() if p_value is not None]
    corrected = adjusted([p_value for _, _, p_value in asked])
    contrasts = [
        Contrast(column=name, figure=figure, p_value=p_value, adjusted=together)
        for (name, figure, p_value), together in zip(asked, corrected, strict=True)
    ]
    return SubgroupTable(tables, contrasts)


def _by_size(values: np.ndarray) -> list[str]:
    names, counts = np.unique(values, return_counts=True)
    return [str(names[place]) for place in np.argsort(-counts, kind="stable")]


def _figures(
    value: str,
    own: np.ndarray,
    scores: np.ndarray,
    said: np.ndarray,
    of_class: np.ndarray,
    groups: Sequence[str | None] | None,
) -> Subgroup:
    return Subgroup(
        value=value,
        count=int(own.sum()),
        positives=int((own & of_class).sum()),
        auc=roc_auc(scores[own], of_class[own], groups_where(own, groups)),
        sensitivity=share(said, own & of_class, groups),
        specificity=share(~said, own & ~of_class, groups),
        accuracy=share(said == of_class, own, groups),
    )


def _tests(
    own: np.ndarray,
    values: np.ndarray,
    scores: np.ndarray,
    said: np.ndarray,
    of_class: np.ndarray,
    groups: Sequence[str | None] | None,
) -> dict[str, float | None]:
    """Return the p-value of each figure's differences, None where there is nothing to compare."""
    shares = {"sensitivity": (said, of_class), "specificity": (~said, ~of_class), "accuracy": (said == of_class, own)}
    return {
        "auc": _areas_differ(values[own], scores[own], of_class[own], groups_where(own, groups)),
        **{
            figure: _shares_differ(right[own & among], values[own & among], groups_where(own & among, groups))
            for figure, (right, among) in shares.items()
        },
    }


def _areas_differ(
    values: np.ndarray, scores: np.ndarray, of_class: np.ndarray, groups: Sequence[str | None] | None
) -> float | None:
    """Return the p-value of Welch's test (1951) that the areas under the ROC of all values are one."""
    from scipy.special import fdtrc, logit

    found = []
    for value in np.unique(values):
        own = values == value
        units, true = units_of(int(own.sum()), groups_where(own, groups)), of_class[own]
        if min(len(np.unique(units[true])), len(np.unique(units[~true]))) < 2:
            continue
        area, influence = under_roc(true, scores[own])
        variance, freedom = variance_of(influence, true.astype(np.int64), groups_where(own, groups))
        if 0 < area < 1 and variance > _NOTHING:
            found.append((logit(area), (area * (1 - area)) ** 2 / variance, max(1.0, freedom)))
    number = len(found)
    if number < 2:
        return None
    odds, weights, freedoms = np.array(found).T
    part = weights / weights.sum()
    spread = float((weights * (odds - (part * odds).sum()) ** 2).sum()) / (number - 1)
    doubt = float(((1 - part) ** 2 / freedoms).sum())
    statistic = spread / (1 + 2 * (number - 2) / (number**2 - 1) * doubt)
    return float(fdtrc(number - 1, (number**2 - 1) / (3 * doubt), statistic))


def _shares_differ(right: np.ndarray, values: np.ndarray, groups: Sequence[str | None] | None) -> float | None:
    """Return the share of permutations whose chi-square is at least that of the values as they are."""
    names, value = np.unique(values, return_inverse=True)
    if len(names) < 2 or right.all() or not right.any():
        return None
    units = units_of(len(right), groups)
    _, first, unit = np.unique(units * len(names) + value, return_index=True, return_inverse=True)
    hits, counts = np.bincount(unit, right), np.bincount(unit).astype(np.float64)
    random, as_far = np.random.default_rng(_SEED), 0
    seen = _chi_square(value[first][None], hits, counts, len(names))[0]
    for _ in range(_SHUFFLES // _AT_ONCE):
        shuffled = random.permuted(np.tile(value[first], (_AT_ONCE, 1)), axis=1)
        as_far += int((_chi_square(shuffled, hits, counts, len(names)) >= seen * (1 - 1e-12)).sum())
    return (1 + as_far) / (1 + _SHUFFLES)


def _chi_square(values: np.ndarray, hits: np.ndarray, counts: np.ndarray, number: int) -> np.ndarray:
    """Return Pearson's statistic, but for a constant, of `[P, U]` values of units with `hits` among `counts` ([U])."""
    share, total = hits.sum() / counts.sum(), np.zeros(len(values))
    for value in range(number):
        own = (values == value).astype(np.float64)
        size = own @ counts
        total += (own @ hits - share * size) ** 2 / size
    return total
