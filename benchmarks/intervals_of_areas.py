"""Do intervals of the area under the ROC hold it 95 times of 100, and does its paired test reject 5 times of 100?

    python benchmarks/intervals_of_areas.py [--draws 10000] [--only alone|patients]

Two models score n pictures; those of the class are normal and lie higher by what makes the area .7 to .95, the others
are standard normal. Half of the variance of a score is common to both models, which are equally good. Each draw asks
the interval of the first model's area whether it holds the true one, and the paired test whether the two differ.
`alone`: n pictures, 30, 50 or 70 % of the class. `patients`: 20, 50 and 100 of them with 1 to 20 pictures each, half of
the variance that of the patient; either all pictures of a patient are of one class, or each for itself; sizes and
classes are drawn anew ten times. The error of a share near 95 % over 10,000 draws is 0.2 points; cells outside 93 to
97 % and 4 to 6 % are marked. The draws are computed many at a time; of each cell some are computed by the package too,
and must be the same.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtri, stdtr, stdtrit

from resnetkit.evaluation.pairs import paired_areas
from resnetkit.evaluation.screening import roc_auc

AREAS, COUNTS, SHARES = (0.7, 0.8, 0.9, 0.95), (100, 200, 500, 1000), (0.3, 0.5, 0.7)
PATIENTS, MOST_PICTURES, DESIGNS = (20, 50, 100), 20, 10
COMMON = OF_PATIENT = 0.5
AT_ONCE, CHECKED = 500, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--only", choices=["alone", "patients"])
    options = parser.parse_args()
    print(f"{options.draws:,} draws; by true area {AREAS}: held %, rejected %", flush=True)
    if options.only != "patients":
        for count in COUNTS:
            for share in SHARES:
                told(f"n {count}, {share:.0%} of the class", [alone(count, share)], options.draws)
    if options.only != "alone":
        for number in PATIENTS:
            for mixed in (False, True):
                what = "pictures of a patient differ in class" if mixed else "patients of one class"
                random = np.random.default_rng(1)
                designs = [patients(number, mixed, random) for _ in range(DESIGNS)]
                told(f"{number} {what}", designs, options.draws)


@dataclass(frozen=True)
class Design:
    """`[n]`: which pictures are of the class, and the number of each one's patient, in order."""

    of_class: np.ndarray
    patient: np.ndarray

    @property
    def names(self) -> list[str] | None:
        """The groups as the package takes them."""
        return None if self.is_alone else [str(number) for number in self.patient]

    @property
    def is_alone(self) -> bool:
        """Whether each patient has one picture."""
        return int(self.patient[-1]) + 1 == len(self.patient)


def alone(count: int, share: float) -> Design:
    return Design(np.arange(count) < round(count * share), np.arange(count))


def patients(number: int, mixed: bool, random: np.random.Generator) -> Design:
    patient = np.arange(number).repeat(random.integers(1, MOST_PICTURES + 1, number))
    with_it = random.permutation(number) < number // 2
    return Design(random.random(len(patient)) < 0.5 if mixed else with_it[patient], patient)


def told(name: str, designs: list[Design], draws: int) -> None:
    """Print the row of a cell for each true area."""
    cells, marked = [], False
    for area in AREAS:
        held = rejected = 0
        for design in designs:
            for found in answers(design, area, draws // len(designs)):
                held += int(((found.low <= area) & (area <= found.high)).sum())
                rejected += int((found.p_value < 0.05).sum())
        of = draws // len(designs) * len(designs)
        marked |= not 0.93 <= held / of <= 0.97 or not 0.04 <= rejected / of <= 0.06
        cells.append(f"{100 * held / of:5.1f} {100 * rejected / of:4.1f}")
    print(f"{name:45}  {'  |  '.join(cells)}{'  <- outside' if marked else ''}", flush=True)


@dataclass(frozen=True)
class Answers:
    """Of each draw, `[D]`: the interval of the first area, and the p-value of the difference."""

    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray


def answers(design: Design, area: float, draws: int) -> Iterator[Answers]:
    """Yield what draws of scores say, many at a time."""
    random = np.random.default_rng(2)
    for start in range(0, draws, AT_ONCE):
        first, second = scores(design, area, min(AT_ONCE, draws - start), random)
        (one, moved), (other, moved_too) = (placed(drawn, design.of_class) for drawn in (first, second))
        found = Answers(*bounds(one, *variances(moved, design)), p_values(one, other, moved, moved_too, design))
        if not start:
            agree(found, first, second, design)
        yield found


def scores(design: Design, area: float, draws: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return two models' `[D, n]` scores."""
    higher = ndtri(area) * np.sqrt(2) * design.of_class
    own = 0.0 if design.is_alone else OF_PATIENT
    common = noise(design, own, draws, random)
    first, second = (
        np.sqrt(COMMON) * common + np.sqrt(1 - COMMON) * noise(design, own, draws, random) + higher for _ in range(2)
    )
    return first, second


def noise(design: Design, own: float, draws: int, random: np.random.Generator) -> np.ndarray:
    """Return standard normal `[D, n]`, a share `own` of whose variance is the patient's."""
    of_picture = random.normal(size=(draws, len(design.patient)))
    if not own:
        return of_picture
    of_patient = random.normal(size=(draws, int(design.patient[-1]) + 1))[:, design.patient]
    return np.sqrt(own) * of_patient + np.sqrt(1 - own) * of_picture


def placed(drawn: np.ndarray, of_class: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the area `[D]` of scores without ties, and what each picture adds to its error, `[D, n]`."""
    order = np.argsort(drawn, axis=1)
    is_of = of_class[order]
    ahead = is_of.cumsum(axis=1)
    with_it, without = int(of_class.sum()), int((~of_class).sum())
    beats = np.where(is_of, (np.arange(1, len(of_class) + 1) - ahead) / without, 1 - ahead / with_it)
    area = np.where(is_of, beats, 0).sum(axis=1) / with_it
    moved = np.empty_like(drawn)
    np.put_along_axis(moved, order, (beats - area[:, None]) / np.where(is_of, with_it, without), axis=1)
    return area, moved


def variances(moved: np.ndarray, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance of the area and its degrees of freedom, `[D]`, as `variance_of` does."""
    begins = np.unique(design.patient, return_index=True)[1]
    number = len(begins)
    sums, parts, doubts, equal = [], [], [], []
    for own in (design.of_class, ~design.of_class):
        size = np.add.reduceat(own.astype(float), begins)
        members = int((size > 0).sum())
        sums.append(np.add.reduceat(moved * own, begins, axis=1))
        parts.append((sums[-1] ** 2).sum(axis=1) * members / (members - 1))
        doubts.append(parts[-1] ** 2 / (members - 1))
        times = (sums[-1] ** 2).sum(axis=1) / np.maximum(1e-20, ((moved * own) ** 2).sum(axis=1))
        times *= 1 + np.sqrt(2 / members)
        alike = np.clip((times - 1) / np.maximum(1e-20, (size**2).sum() / size.sum() - 1), 0, 1)[:, None]
        weight = size * (1 - alike) + size**2 * alike
        equal.append(weight.sum(axis=1) ** 2 / (weight**2).sum(axis=1))
    total = parts[0] + parts[1]
    if design.is_alone:
        return total, total**2 / (doubts[0] + doubts[1])
    shared = 2 * (sums[0] * sums[1]).sum(axis=1) * number / (number - 1)
    return total + shared, np.minimum(*equal) - 1


def bounds(area: np.ndarray, variance: np.ndarray, freedom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval on the log-odds; one of an area of 1 counts as a miss, though the package's may hold."""
    inside = (area > 0) & (area < 1)
    away = stdtrit(np.maximum(1, freedom), 0.975) * np.sqrt(variance) / np.where(inside, area * (1 - area), 1)
    odds = logit(np.where(inside, area, 0.5))
    low, high = expit(odds - away), expit(odds + away)
    return np.where(inside, low, 0.0), np.where(inside, high, 0.0)


def p_values(
    one: np.ndarray, other: np.ndarray, moved: np.ndarray, moved_too: np.ndarray, design: Design
) -> np.ndarray:
    """Return the p-value of each draw's difference, `[D]`, as `paired_areas` does."""
    inside = (np.minimum(one, other) > 0) & (np.maximum(one, other) < 1)
    steps = [np.where(inside, area * (1 - area), 1) for area in (one, other)]
    odds = [np.where(inside, logit(np.where(inside, area, 0.5)), area) for area in (one, other)]
    variance, freedom = variances(moved_too / steps[1][:, None] - moved / steps[0][:, None], design)
    members = [len(np.unique(design.patient[own])) for own in (design.of_class, ~design.of_class)]
    freedom = np.maximum(1, np.minimum(freedom, min(members) - 1))
    error = np.sqrt(np.where(variance > 0, variance, np.inf))  # two areas of 1 do not differ
    return 2 * stdtr(freedom, -np.abs(odds[1] - odds[0]) / error)


def agree(found: Answers, first: np.ndarray, second: np.ndarray, design: Design) -> None:
    """Raise unless the package says the same of the first draws."""
    for draw in range(CHECKED):
        interval = roc_auc(first[draw], design.of_class, design.names).interval
        difference = paired_areas(first[draw], second[draw], design.of_class, design.names)
        assert interval is not None
        told = [interval.low, interval.high, difference.p_value]
        np.testing.assert_allclose([found.low[draw], found.high[draw], found.p_value[draw]], told, rtol=1e-6)


if __name__ == "__main__":
    main()
