"""95 % intervals of found objects hold the truth, and equal detectors are called different about 5 times of 100.

    python benchmarks/detection_coverage.py [--trials 150]

Pictures with about 6 objects of 1, 3 or 12 classes, the rarest a twelfth as frequent as the first, and what a network
finds on them: all objects of a picture are easy together, or hard. The truth is that of 6,000 pictures. Prints how
often the intervals of mAP@.50:.95, mAP@.50, recall, precision and false alarms hold it, and how often two networks
that are equally good differ by a p-value below .05 (mAP@.50:.95, mAP@.50, F1).
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from resnetkit.evaluation.detection.matching import Matches, matched
from resnetkit.evaluation.detection.operating import at_work
from resnetkit.evaluation.detection.pairing import paired_gaps
from resnetkit.evaluation.detection.resampling import average_precisions, draws, interval_of, means
from resnetkit.models.detection.found import Found

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.evaluation.detection.scenes import scenes

AT_WORK = ("recall", "precision", "false_alarms")
WORLD = 6_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=150)
    trials = parser.parse_args().trials
    print("classes  pictures  held: " + "  ".join(("map", "map50", *AT_WORK)) + "  called different: map  map50  f1")
    for classes in (1, 3, 12):
        truth = figures(matched(*scenes(10**6 + classes, WORLD, classes=classes), num_classes=classes))
        for count in (20, 72, 300):
            inside = np.mean([held(seed, count, classes, truth) for seed in range(trials)], axis=0)
            called = np.nanmean([different(10**5 + seed, count, classes) for seed in range(trials)], axis=0)
            shown = [*(f"{100 * share:5.0f}" for share in inside), "|", *(f"{100 * share:5.0f}" for share in called)]
            print(f"{classes:7} {count:9}  " + " ".join(shown), flush=True)


def figures(matches: Matches) -> list[float]:
    """Return mAP@.50:.95, mAP@.50, recall, precision and false alarms."""
    whole = average_precisions(matches, np.ones((1, len(matches.objects)), np.int64))
    work = at_work(matches, half(matches), bounded=False)
    return [*(float(means(one)[0]) for one in (whole.mean(axis=1), whole[:, 0])), *(work[name] for name in AT_WORK)]


def half(matches: Matches) -> np.ndarray:
    """Return the score from which on all classes are said."""
    return np.full(matches.objects.shape[1], 0.5)


def held(seed: int, count: int, classes: int, truth: list[float]) -> list[float]:
    """Return whether each interval holds the truth, NaN where there is none."""
    matches = matched(*scenes(seed, count, classes=classes), num_classes=classes)
    drawn, values = average_precisions(matches, draws(count, None, number=400)), figures(matches)
    each = [
        interval_of(means(one), value, matches, None)
        for one, value in zip((drawn.mean(axis=1), drawn[:, 0]), values, strict=False)
    ]
    work = at_work(matches, half(matches))
    bounds = [None if one is None else (one.low, one.high) for one in each] + [work[f"{n}_interval"] for n in AT_WORK]
    return [np.nan if one is None else float(one[0] <= true <= one[1]) for one, true in zip(bounds, truth, strict=True)]


def different(seed: int, count: int, classes: int) -> list[float]:
    """Return whether each figure of two equally good networks is called different, NaN where nothing is said."""
    truths, founds = scenes(seed, count, classes=classes)
    first, second = (
        matched(truths, [again(one, np.random.default_rng((seed, k, n))) for n, one in enumerate(founds)],
                num_classes=classes)
        for k in (1, 2)
    )  # fmt: skip
    gaps = paired_gaps(first, second, at=(half(first), half(second)))
    return [np.nan if gap is None else float(gap.p_value < 0.05) for gap in gaps.values()]


def again(found: Found, random: np.random.Generator) -> Found:
    """Return what another network finds that is as good: other scores, other corners, one of twenty not found."""
    logits = np.log(found.scores / (1 - found.scores + 1e-6)) + random.normal(0, 0.7, len(found))
    order = np.argsort(-logits)[random.random(len(found)) < 0.95]
    sides = np.tile(found.boxes[:, 2:] - found.boxes[:, :2], 2)
    corners = (found.boxes + random.normal(0, 0.03, (len(found), 4)) * sides).reshape(-1, 2, 2)
    return Found(
        boxes=np.sort(corners, axis=1).reshape(-1, 4)[order].astype(np.float32), labels=found.labels[order],
        scores=(1 / (1 + np.exp(-logits[order]))).astype(np.float32),
    )  # fmt: skip


if __name__ == "__main__":
    main()
