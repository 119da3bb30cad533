"""Where no column matters, in how many sets does `evaluate --by` warn? At most 5 of 100 should be warned of.

    python benchmarks/by_columns.py [--sets 500]

Pictures of two or five classes get three columns that have nothing to do with them: sex, age (whose quartiles are
compared) and one of twelve sites, of which some are rare. `alone`: single pictures. `patients`: 1 to 6 pictures of one
patient, who is of one class, hard or easy as a whole and of one sex, age and site; named as groups, and, to see what
that is for, not named. The error of 5 % over 500 sets is one point. Then what a real difference does: the largest site,
three of ten pictures, answers at random for a share of its pictures.
"""

import argparse

import numpy as np

from resnetkit.data.columns import Column
from resnetkit.evaluation.by_column import by_column

WORSE = (0.1, 0.2, 0.4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=500)
    sets = parser.parse_args().sets
    for classes in (2, 5):
        for count in (150, 600):
            told(f"alone, {classes} classes, {count} pictures", sets, lambda r, k=classes, n=count: alone(r, k, n))
    for named in (True, False):
        words = "named as groups" if named else "not named"
        told(f"120 patients {words}, 2 classes", sets, lambda r, g=named: patients(r, 120, g))
    for worse in WORSE:
        told(f"one site worse by {worse}, 600 pictures", sets // 5, lambda r, w=worse: alone(r, 2, 600, w))


def told(name, sets, make) -> None:
    random, warned, figures = np.random.default_rng(0), 0, dict.fromkeys(("sex", "age", "site"), 0)
    for _ in range(sets):
        probabilities, targets, columns, groups = make(random)
        names = [str(number) for number in range(probabilities.shape[1])]
        found = by_column(probabilities, targets, names, columns, groups)["by"]
        warned += bool(found["warnings"])
        for column in figures:
            figures[column] += any(one["is_real"] for one in found["contrasts"] if one["column"] == column)
    by = ", ".join(f"{column} {100 * count / sets:.1f}" for column, count in figures.items())
    print(f"{name}: warned of {100 * warned / sets:.1f} % of {sets} sets ({by})", flush=True)


def columns_of(random, count: int) -> list[np.ndarray]:
    shares = np.array([0.3, 0.2, 0.15, 0.1, 0.08, 0.06, 0.04, 0.03, 0.02, 0.01, 0.005, 0.005])
    sites = np.array([f"site {number}" for number in range(len(shares))])
    return [
        random.choice(["F", "M"], count), np.round(random.normal(50, 20, count)).astype(int).astype(str),
        random.choice(sites, count, p=shares),
    ]  # fmt: skip


def named(values) -> list[Column]:
    names = ("sex", "age", "site")
    return [Column(name=name, values=tuple(map(str, column))) for name, column in zip(names, values, strict=True)]


def answers(random, targets: np.ndarray, classes: int, shift: np.ndarray) -> np.ndarray:
    logits = random.normal(size=(len(targets), classes)) + (1.2 + shift[:, None]) * np.eye(classes)[targets]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def alone(random, classes: int, count: int, worse: float = 0.0):
    targets = random.integers(0, classes, count)
    values = columns_of(random, count)
    probabilities = answers(random, targets, classes, np.zeros(count))
    if worse:
        struck = (values[2] == "site 0") & (random.random(count) < worse)
        probabilities[struck] = random.permutation(probabilities[struck].ravel()).reshape(-1, classes)
        probabilities[struck] /= probabilities[struck].sum(axis=1, keepdims=True)
    return probabilities, targets, named(values), None


def patients(random, number: int, told_apart: bool):
    patient = np.arange(number).repeat(random.integers(1, 7, number))
    targets = random.integers(0, 2, number)[patient]
    probabilities = answers(random, targets, 2, random.normal(0, 1.5, number)[patient])
    values = [column[patient] for column in columns_of(random, number)]
    return probabilities, targets, named(values), [str(one) for one in patient] if told_apart else None


if __name__ == "__main__":
    main()
