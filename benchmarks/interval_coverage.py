"""Do 95 % intervals hold the truth 95 times of 100, and does `compare` call equal models different 5 times of 100?

    python benchmarks/interval_coverage.py [--simulations 2000] [--pairs 1000] [--only N]

A simulated model of 10 classes, some harder than others, answers a million pictures; these are the truth. Each
simulation scores n of them and asks every interval of `metrics.json` whether it holds the figure of the million. Its
logits are taken `--sharpness` times, from too unsure of itself to too sure; the calibration error is that of its own
confidence. In the rows "groups of 10" pictures come from patients with 10 each, one of every class, who differ in how
hard they are. The error of a share near 95 % over 2,000 simulations is 0.5 points, so cells outside 93.5 to 96.5 %
are marked. Intervals of shares promise at least 95 %: near 100 % they hold more.
"""

import argparse
from collections import Counter
from collections.abc import Iterator

import numpy as np

from resnetkit.evaluation.calibration import binned, expected_error
from resnetkit.evaluation.doubt import intervals, rankings
from resnetkit.evaluation.pairs import is_real, paired_difference
from resnetkit.evaluation.uncertainty import accuracy_interval, balanced_interval
from resnetkit.models.decision import softmax

COUNTS, ACCURACIES = (150, 2000), (0.8, 0.95, 0.99)
CLASSES, POOL, IN_GROUP = 10, 1_000_000, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--sharpness", type=float, nargs="+", default=[1.5, 2.4, 3.5])
    parser.add_argument("--only", type=int, choices=COUNTS)
    options = parser.parse_args()
    for accuracy in ACCURACIES:
        pools = [Pool(accuracy, sharpness) for sharpness in options.sharpness]
        for count in COUNTS if options.only is None else (options.only,):
            print(f"n = {count:,}, accuracy {accuracy}, {options.simulations:,} simulations", flush=True)
            for pool in pools:
                print(f" logits x {pool.sharpness}: calibration error {100 * pool.truth['ece']:.2f} points", flush=True)
                held(pool.samples(count, options.simulations), pool.truth, options.simulations)
            grouped(accuracy, count, options.simulations)
            alarms(accuracy, count, options.pairs)


class Pool:
    """A million answers of a model with the given accuracy, and their figures."""

    def __init__(self, accuracy: float, sharpness: float) -> None:
        random = np.random.default_rng(1)
        self.sharpness = sharpness
        self.targets = np.arange(POOL) % CLASSES
        logits = random.normal(size=(POOL, CLASSES)).astype(np.float32)
        of_truth = (
            logits[np.arange(POOL), self.targets] + np.linspace(-0.5, 0.5, CLASSES, dtype=np.float32)[self.targets]
        )
        logits[np.arange(POOL), self.targets] = -np.inf
        # Added to the true class, this makes exactly the wanted share of answers right.
        margin = np.quantile(logits.max(axis=1) - of_truth, accuracy)
        logits[np.arange(POOL), self.targets] = of_truth + margin
        self.probabilities = softmax(sharpness * logits)
        self.truth = self._figures()

    def _figures(self) -> dict[str, float]:
        right = self.probabilities.argmax(axis=1) == self.targets
        of_truth = self.probabilities[np.arange(POOL), self.targets].astype(np.float64)
        first = (self.probabilities > of_truth[:, None].astype(np.float32)).sum(axis=1) < 5
        return {
            "accuracy": right.mean(),
            "balanced_accuracy": np.mean([right[self.targets == index].mean() for index in range(CLASSES)]),
            "loss": -np.log(of_truth).mean(),
            "top5": first.mean(),
            "ece": self._calibration_error(),
            **{name: found.macro for name, found in rankings(self.probabilities, self.targets).items()},
        }

    def _calibration_error(self) -> float:
        sums = sum(
            binned(self.probabilities[start : start + 100_000], self.targets[start : start + 100_000]).sum(axis=0)
            for start in range(0, POOL, 100_000)
        )
        return float(expected_error(np.asarray(sums)))

    def samples(self, count: int, simulations: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield probabilities and targets of `count` pictures, anew each time."""
        random = np.random.default_rng(2)
        for _ in range(simulations):
            drawn = random.integers(0, POOL, count)
            yield self.probabilities[drawn], self.targets[drawn]


def held(samples: Iterator[tuple[np.ndarray, np.ndarray]], truth: dict[str, float], simulations: int) -> None:
    """Print how often the interval of each figure holds it, and on which side it misses."""
    below: Counter[str] = Counter()
    above: Counter[str] = Counter()
    for probabilities, targets in samples:
        found = intervals(probabilities, targets, after=probabilities, ranked=rankings(probabilities, targets))
        alone = accuracy_interval(probabilities.argmax(axis=1) == targets)
        for name, (low, high) in (found | {"accuracy": [alone.low, alone.high]}).items():
            below[name] += high < truth[name]
            above[name] += low > truth[name]
    for name in truth:
        told(name, 1 - (below[name] + above[name]) / simulations, below[name], above[name])


def told(name: str, share: float, below: int, above: int) -> None:
    mark = "" if 0.935 <= share <= 0.965 else "  <- outside 93.5 to 96.5"
    print(f"  {name:18} {100 * share:5.1f} %  (below the truth {below}, above {above}){mark}", flush=True)


def grouped(accuracy: float, count: int, simulations: int) -> None:
    """Print the same for pictures of patients: accuracy by group, and with pictures taken as independent."""
    random = np.random.default_rng(3)
    names = [f"patient {i // IN_GROUP}" for i in range(count)]
    missed: Counter[tuple[str, bool]] = Counter()
    targets = np.arange(count) % CLASSES
    for _ in range(simulations):
        ease = random.beta(4 * accuracy, 4 * (1 - accuracy), count // IN_GROUP).repeat(IN_GROUP)
        right = random.random(count) < ease
        found = {
            "groups of 10": accuracy_interval(right, names),
            "the same, ungrouped": accuracy_interval(right),
            "balanced, by group": balanced_interval(right, targets, names),
        }
        for name, interval in found.items():
            missed[name, True] += interval.high < accuracy
            missed[name, False] += interval.low > accuracy
    for name in found:
        below, above = missed[name, True], missed[name, False]
        told(name, 1 - (below + above) / simulations, below, above)


def alarms(accuracy: float, count: int, pairs: int) -> None:
    """Print how often two models that are equally good, and right and wrong on much the same pictures, differ."""
    random = np.random.default_rng(4)
    called = outside = 0
    for _ in range(pairs):
        ease = random.beta(2 * accuracy, 2 * (1 - accuracy), count)
        one, other = (random.random(count) < ease for _ in range(2))
        difference = paired_difference(one, other)
        called += is_real(difference.p_value)
        outside += not difference.interval.low <= 0 <= difference.interval.high
    print(
        f"  {pairs:,} pairs of equal models: called different {100 * called / pairs:.1f} % (stated: at most 5); "
        f"interval of the difference without 0 {100 * outside / pairs:.1f} %",
        flush=True,
    )


if __name__ == "__main__":
    main()
