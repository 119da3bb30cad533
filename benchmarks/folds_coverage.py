"""What the interval of pooled folds is worth: how often it holds the accuracy that the shipped classifier really has.

Pictures are random features, noise alone or with classes that differ; the classifier is a ridge regression on them or
the nearest neighbour. Of each data set every picture is named by the fold that did not learn it (stratified folds, as
`splits.into_folds` makes them); the truth is the accuracy of the classifier fitted on all of it, on 4,000 new ones.

    python benchmarks/folds_coverage.py [--trials 1000] [--only ridge]
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from resnetkit.data.dataset import Item
from resnetkit.data.splits import into_folds
from resnetkit.evaluation.uncertainty import accuracy_interval, folds_interval

_FEATURES, _NEW = 64, 4_000


def ridge(x: np.ndarray, y: np.ndarray, new: np.ndarray, classes: int) -> np.ndarray:
    """Return the classes that least squares with a penalty names."""
    targets, mean = np.eye(classes)[y], x.mean(axis=0)
    weights = np.linalg.solve((x - mean).T @ (x - mean) + 10 * np.eye(x.shape[1]), (x - mean).T @ targets)
    return ((new - mean) @ weights + targets.mean(axis=0)).argmax(axis=1)


def nearest(x: np.ndarray, y: np.ndarray, new: np.ndarray, classes: int) -> np.ndarray:
    """Return the class of the nearest picture."""
    return y[((new**2).sum(axis=1)[:, None] - 2 * new @ x.T + (x**2).sum(axis=1)).argmin(axis=1)]


def trial(learn, generator, folds, *, classes: int, signal: float) -> tuple[float, ...]:
    """Return pooled accuracy, its interval, that of single pictures, and the truth of one data set."""
    count = len(folds)
    centres = signal * generator.standard_normal((classes, _FEATURES))
    y = np.arange(count) % classes
    x = generator.standard_normal((count, _FEATURES)) + centres[y]
    said = np.empty(count, int)
    for fold in np.unique(folds):
        inside = folds == fold
        said[inside] = learn(x[~inside], y[~inside], x[inside], classes)
    truth = 1 / classes
    if signal:
        new = generator.integers(0, classes, _NEW)
        truth = float((learn(x, y, generator.standard_normal((_NEW, _FEATURES)) + centres[new], classes) == new).mean())
    ours, plain = folds_interval(said == y), accuracy_interval(said == y)
    return float((said == y).mean()), ours.low, ours.high, plain.low, plain.high, truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--only", choices=["ridge", "nearest"])
    options = parser.parse_args()
    trials = options.trials
    for name, learn in (("ridge", ridge), ("nearest", nearest)):
        for count in (50, 100, 400) if options.only in (None, name) else ():
            for classes, num_folds, signals in ((2, 5, (0.0, 0.2)), (2, 10, (0.0,)), (5, 5, (0.0, 0.3))):
                items = [Item(f"{n}", (f"{n % classes}",), "train") for n in range(count)]
                folds = np.array(into_folds(items, [f"{n:032x}" for n in range(count)], count=num_folds, seed=0))
                for signal in signals:
                    generator = np.random.default_rng(0)
                    found = np.array(
                        [trial(learn, generator, folds, classes=classes, signal=signal) for _ in range(trials)]
                    )
                    pooled, low, high, plain_low, plain_high, truth = found.T
                    row = {
                        "classifier": name, "pictures": count, "classes": classes, "folds": num_folds,
                        "pooled": round(float(pooled.mean()), 4), "truth": round(float(truth.mean()), 4),
                        "sd": round(float(pooled.std()), 4),
                        "sd_binomial": round(float(np.sqrt(truth.mean() * (1 - truth.mean()) / count)), 4),
                        "held": round(float(((low <= truth) & (truth <= high)).mean()), 4),
                        "plain": round(float(((plain_low <= truth) & (truth <= plain_high)).mean()), 4),
                        "above": round(float((low > truth).mean()), 4), "below": round(float((high < truth).mean()), 4),
                        "trials": trials,
                    }  # fmt: skip
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
