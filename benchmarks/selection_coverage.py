"""Does the interval of an epoch that was chosen hold its accuracy on new pictures, when the same pictures score it?

    python benchmarks/selection_coverage.py [--simulations 10000] [--kinds alike ...] [--counts 15 ...]
                                            [--epochs 10 100] [--accuracies 0.3333 ...]

Each simulated run answers n pictures after each epoch, and the epoch with the most right answers is chosen, among
equals by lot. A picture is right where a normal variable lies below the epoch's threshold: a part that is the
picture's own (how hard it is) and a part that walks from epoch to epoch (AR(1)). The truth is the share of all pictures
below the threshold of the chosen epoch. Kinds of runs:

    independent   each epoch answers anew, all are equally good: nothing but luck is chosen
    alike         difficulty 0.7 of the variance, steps correlated by 0.9
    very alike    0.9 and 0.97
    rising        0.5 and 0.7; the threshold rises by one standard deviation, most of it in the first fifth
    wandering     0.5 and 0.5; the threshold of each epoch differs, standard deviation 0.15
    leaping       independent answers; standard deviation 0.3

"in groups": pictures come in groups of five, in which both parts are alike (intraclass correlation 0.3).

Columns, in percent of the runs: "last" is an epoch that nothing chose, by Wilson's interval and by the plain one of
`metrics.json`; "best" is the chosen epoch, by Wilson's around the share as seen, by Wilson's around the corrected
share, and by the interval of `after_choosing`. "width": median of that over the median of Wilson's around the corrected
share, and over Wilson's around the share as seen. The standard error of 93 % is 0.26 points of 10,000 runs.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr, ndtri

from resnetkit.evaluation.selection import after_choosing
from resnetkit.evaluation.uncertainty import Interval, accuracy_interval, worth

# own share of the variance, correlation of steps, rise and spread of the thresholds
KINDS = {
    "independent": (0.0, 0.0, 0.0, 0.0),
    "alike": (0.7, 0.9, 0.0, 0.0),
    "very alike": (0.9, 0.97, 0.0, 0.0),
    "rising": (0.5, 0.7, 1.0, 0.0),
    "wandering": (0.5, 0.5, 0.0, 0.15),
    "leaping": (0.0, 0.0, 0.0, 0.3),
}
KINDS |= {f"{kind} in groups": KINDS[kind] for kind in ("independent", "alike", "wandering")}
IN_GROUP, WITHIN_GROUP = 5, 0.3
AT_ONCE = 2**23
COLUMNS = "last: Wilson plain | best: Wilson, corrected, ours | width"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--counts", type=int, nargs="+", default=[15, 30, 100, 400])
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--accuracies", type=float, nargs="+", default=[1 / 3, 0.7, 0.9, 0.99])
    options = parser.parse_args()
    for kind in options.kinds:
        print(f"{kind}\n   n  epochs  accuracy  {COLUMNS}", flush=True)
        rows = []
        for count in options.counts:
            for epochs in options.epochs:
                for accuracy, row in cells(kind, count, epochs, options.accuracies, options.simulations):
                    rows.append(row)
                    print(f"{count:4}{epochs:8}{accuracy:10.2f}  {told(row)}", flush=True)
        worst = np.concatenate([np.min([row[:5] for row in rows], axis=0), np.max([row[5:] for row in rows], axis=0)])
        print(f"worst of {len(rows):2} cells       {told(worst)}\n", flush=True)


def told(row: np.ndarray) -> str:
    held = [f"{100 * share:5.1f}" for share in row[:5]]
    return f"      {held[0]} {held[1]} |      {held[2]}      {held[3]} {held[4]} | {row[5]:.2f} {row[6]:.2f}"


def cells(
    kind: str, count: int, epochs: int, accuracies: list[float], simulations: int
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield for each accuracy how often the five intervals hold the truth, and the two ratios of widths."""
    random = np.random.default_rng(1)
    groups = [str(i // IN_GROUP) for i in range(count)] if "groups" in kind else None
    held, widths = defaultdict(list), defaultdict(list)
    for start in range(0, simulations, at_once := max(1, AT_ONCE // (count * epochs))):
        latent, away = runs(random, kind, min(at_once, simulations - start), epochs, count)
        for accuracy in accuracies:
            thresholds = float(ndtri(accuracy)) + away
            for answers, truths in zip(latent < thresholds[..., None], ndtr(thresholds), strict=True):
                chosen = int(np.argmax(answers.sum(axis=1) + random.random(epochs) / 2))
                found = intervals(answers, chosen, groups)
                held[accuracy].append(
                    [
                        interval.low <= truth <= interval.high
                        for interval, truth in zip(found, [truths[-1]] * 2 + [truths[chosen]] * 3, strict=True)
                    ]
                )
                widths[accuracy].append([interval.high - interval.low for interval in found[2:]])
    for accuracy in accuracies:
        seen, corrected, ours = np.median(widths[accuracy], axis=0)
        yield accuracy, np.array([*np.mean(held[accuracy], axis=0), ours / corrected, ours / seen])


def runs(random: np.random.Generator, kind: str, many: int, epochs: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return unit normals `[runs, epochs, pictures]`, and how far the thresholds `[runs, epochs]` are from the one."""
    own, step, rise, spread = KINDS[kind]
    latent = np.empty((many, epochs, count), np.float32)
    walk = normals(random, kind, many, count)
    difficulty = math.sqrt(own) * normals(random, kind, many, count)
    for epoch in range(epochs):
        latent[:, epoch] = difficulty + math.sqrt(1 - own) * walk
        walk = step * walk + math.sqrt(1 - step**2) * normals(random, kind, many, count)
    away = spread * random.standard_normal((many, epochs)) - rise * np.exp(-5 * np.arange(epochs) / epochs)
    return latent, away.astype(np.float32)


def normals(random: np.random.Generator, kind: str, many: int, count: int) -> np.ndarray:
    each = random.standard_normal((many, count), np.float32)
    if "groups" not in kind:
        return each
    together = random.standard_normal((many, -(-count // IN_GROUP)), np.float32).repeat(IN_GROUP, axis=1)[:, :count]
    return math.sqrt(1 - WITHIN_GROUP) * each + math.sqrt(WITHIN_GROUP) * together


def intervals(answers: np.ndarray, chosen: int, groups: list[str] | None) -> list[Interval]:
    """Return Wilson's and the plain one of the last epoch; Wilson's, Wilson's corrected and ours of the chosen."""
    last, best = answers[-1], answers[chosen]
    plain, ours = accuracy_interval(last, groups), after_choosing(answers, chosen, groups)
    told = worth(best, groups)
    return [
        wilson(float(last.mean()), worth(last, groups)),
        plain,
        wilson(float(best.mean()), told),
        wilson(ours.top1, told),
        ours.interval,
    ]


def wilson(share: float, n: float, z: float = 1.959964) -> Interval:
    """Return Wilson's interval of a share of n pictures, or of what grouped ones are worth (Wilson 1927)."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    away = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(0.0 if share == 0 else centre - away, 1.0 if share == 1 else centre + away)


if __name__ == "__main__":
    main()
