"""Whether a model serves some people worse than others: figures by the values of a column, as age, sex or scanner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from resnetkit.evaluation.areas import under_roc
from resnetkit.evaluation.pairs import adjusted, is_real
from resnetkit.evaluation.screening import Estimate, roc_auc, share
from resnetkit.evaluation.uncertainty import groups_where, units_of, variance_of

_SHUFFLES, _SEED = 2_000, 0
_CELLS = 2**23  # of units shuffled at once
_NOTHING = 1e-20  # a variance that is rounding
FIGURES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "auc": "ROC-AUC",
    "accuracy": "Accuracy",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What is compared: shares of pictures by name, `right` ([N] bool) `among` some ([N] bool), and an area.

    `scores`, `[N]`, and `of_class`, `[N]` bool, have the area under the ROC; None where there is none.
    """

    shares: Mapping[str, tuple[np.ndarray, np.ndarray]]
    scores: np.ndarray | None = None
    of_class: np.ndarray | None = None

    @classmethod
    def of_test(cls, said: np.ndarray, scores: np.ndarray, of_class: np.ndarray) -> Answers:
        """Return those of a test: `auc`, and of what is `said` ([N] bool) `sensitivity`, `specificity`, `accuracy`."""
        shares = {
            "sensitivity": (said, of_class), "specificity": (~said, ~of_class),
            "accuracy": (said == of_class, np.ones(len(said), bool)),
        }  # fmt: skip
        return cls(shares=shares, scores=scores, of_class=of_class)

    @classmethod
    def of_names(cls, right: np.ndarray) -> Answers:
        """Return those of pictures that are named right or not, `[N]` bool: their `accuracy`."""
        return cls(shares={"accuracy": (right, np.ones(len(right), bool))})


@dataclass(frozen=True, kw_only=True, slots=True)
class Subgroup:
    """The figures of the pictures with one value by name; `positives` are None where no class is looked for."""

    value: str
    count: int
    positives: int | None
    figures: dict[str, Estimate]


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
        known = [(one.value, one.figures[contrast.figure].value) for one in self.columns[contrast.column]]
        each = ", ".join(f"{value} {_told(contrast.figure, figure)}" for value, figure in known if figure is not None)
        count = len(self.contrasts)
        among = f", adjusted for {count} comparisons" if count > 1 else ""
        return (
            f"{FIGURES[contrast.figure]} differs by {contrast.column} beyond chance: {each} "
            f"(p = {contrast.adjusted:.2g}{among})."
        )


def _told(figure: str, value: float) -> str:
    return f"{value:.3f}" if figure == "auc" else f"{100 * value:.1f} %"


def subgroups(
    answers: Answers, columns: Mapping[str, Sequence[str | None]], *, groups: Sequence[str | None] | None = None
) -> SubgroupTable:
    """Return figures by the values of each of `columns`, N values each, None where one is not known and left out.

    Areas are compared on their log-odds by Welch's test (1951), with the variance and degrees of freedom of
    `variance_of`; a value without two pictures or groups of each class, or with an area of 1 or 0, cannot be. Shares
    are compared by Pearson's chi-square against 2,000 permutations of the values among pictures, with groups among
    groups (Good 2005, 3.7): its level holds however few there are. A group with several values counts as one in each,
    which is cautious. All p-values together are adjusted by Holm.
    """
    tables, asked = {}, []
    for name, values in columns.items():
        own = np.array([value is not None for value in values], bool)
        named = np.array([str(value) for value in values])
        tables[name] = [_figures(value, own & (named == value), answers, groups) for value in _by_size(named[own])]
        tests = _tests(own, named, answers, groups)
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


def _figures(value: str, own: np.ndarray, answers: Answers, groups: Sequence[str | None] | None) -> Subgroup:
    figures = {name: share(right, own & among, groups) for name, (right, among) in answers.shares.items()}
    positives = None
    if answers.scores is not None and answers.of_class is not None:
        figures["auc"] = roc_auc(answers.scores[own], answers.of_class[own], groups_where(own, groups))
        positives = int((own & answers.of_class).sum())
    return Subgroup(value=value, count=int(own.sum()), positives=positives, figures=figures)


def _tests(
    own: np.ndarray, values: np.ndarray, answers: Answers, groups: Sequence[str | None] | None
) -> dict[str, float | None]:
    """Return the p-value of each figure's differences, None where there is nothing to compare."""
    found: dict[str, float | None] = {}
    if answers.scores is not None and answers.of_class is not None:
        found["auc"] = _areas_differ(values[own], answers.scores[own], answers.of_class[own], groups_where(own, groups))
    for figure, (right, among) in answers.shares.items():
        chosen = own & among
        found[figure] = _shares_differ(right[chosen], values[chosen], groups_where(chosen, groups))
    return found


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
    at_once = max(1, _CELLS // len(first))
    for done in range(0, _SHUFFLES, at_once):
        copies = np.tile(value[first], (min(at_once, _SHUFFLES - done), 1))
        shuffled = random.permuted(copies, axis=1)
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
