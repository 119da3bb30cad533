"""The 95 % intervals of average precision of several labels hold the truth, from noise to nearly all right.

    python benchmarks/labels_coverage.py [--trials 120]

Seven labels that come together on pictures, as their probabilities have it, are drawn with a share of pictures and a
distance between those with the label and those without; the truth is that of 200,000 pictures. Prints how often the
interval of the mean and those of the labels hold it, and how wide they are.
"""

import argparse

import numpy as np

from resnetkit.evaluation.labels import label_metrics, map_of
from resnetkit.models.thresholds import Thresholds

LABELS = tuple("abcdefg")
TOGETHER = 0.7  # of the spread, shared by all labels of a picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=120)
    trials, generator = parser.parse_args().trials, np.random.default_rng(1)
    print("distance  share  pictures  truth  mean held  its width  labels held  their width")
    for distance in (0.0, 1.0, 2.5, 5.0):
        for share in (0.1, 0.3):
            whole = drawn(generator, 200_000, distance, share)
            each = [map_of(whole[0][:, [k]], whole[1][:, [k]]) or 0.0 for k in range(len(LABELS))]
            for count in (60, 150, 600):
                report(generator, trials, count, distance, share, np.array(each))


def drawn(generator: np.random.Generator, count: int, distance: float, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and targets, `[count, labels]`."""
    hidden = TOGETHER * (generator.normal(size=(count, 1)) + generator.normal(size=(count, len(LABELS))))
    limit = np.quantile(TOGETHER * np.sqrt(2) * np.random.default_rng(0).normal(size=200_000), share)
    targets = (hidden < limit).astype(np.float32)
    return 1 / (1 + np.exp(-(distance * targets + generator.normal(size=targets.shape)))), targets


def report(
    generator: np.random.Generator, trials: int, count: int, distance: float, share: float, truth: np.ndarray
) -> None:
    """Print how often the intervals of so many pictures hold the truth."""
    means, labels = [], []
    for _ in range(trials):
        probabilities, targets = drawn(generator, count, distance, share)
        found = label_metrics(
            probabilities, targets, answers=probabilities > 0.5, thresholds=Thresholds(), classes=LABELS, split="test"
        )
        means += [(found["map_interval"], truth.mean())] if found["map_interval"] else []
        labels += [
            (one["ap_interval"], true)
            for one, true in zip(found["per_class"], truth, strict=True) if one["ap_interval"]
        ]  # fmt: skip
    figures = [figure for kept in (means, labels) for figure in held(kept)]
    print(f"{distance:8.1f} {share:6.1f} {count:9} {truth.mean():6.3f} " + "  ".join(f"{f:9.2f}" for f in figures))


def held(kept: list[tuple[list[float], float]]) -> tuple[float, float]:
    """Return the share of intervals that hold the truth, and their mean width."""
    inside = [low <= true <= high for (low, high), true in kept]
    return float(np.mean(inside)), float(np.mean([high - low for (low, high), _ in kept]))


if __name__ == "__main__":
    main()
