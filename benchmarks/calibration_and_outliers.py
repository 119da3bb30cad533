"""Can confidence be believed, do the promises hold on new pictures, and what is answered for pictures of other things?

    python benchmarks/calibration_and_outliers.py --model RUN --data cifar10 --outliers DATA [--outliers DATA]...
        [--splits 50] [--threads 1]

The test part never trained the model. Its expected calibration error is that of the network's own confidence (before)
and at temperatures that each fifth of the pictures takes from the other four (after). Then the part is halved at
random `--splits` times: one half fits temperature and thresholds, the other is new. Of each promise the mean over
splits and the standard deviation of a single split are printed, and for outliers the share that gets an answer.
"""

import argparse

import numpy as np

from resnetkit.api import load
from resnetkit.api.model import Model
from resnetkit.api.to_score import part_to_score
from resnetkit.data.sources import open_data
from resnetkit.data.targets import class_targets
from resnetkit.evaluation.calibration import binned, cross_fitted, expected_error, fit_temperature, reliability
from resnetkit.evaluation.evaluate import part_logits
from resnetkit.evaluation.guarantees import fit_decision, kept
from resnetkit.evaluation.uncertainty import bootstrap
from resnetkit.models.decision import softmax


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--outliers", action="append", default=[])
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    model = load(options.model, device="cpu", engine="torch", precision="fp32", threads=options.threads)
    part, *_ = part_to_score(options.data, model=model, split="test")
    logits, targets = part_logits(model.engine, part)[0], class_targets(part.items, model.classes, where="test")
    print(f"{model!r}: {len(targets):,} pictures, {100 * (logits.argmax(axis=1) == targets).mean():.2f} % right")
    calibration(logits, targets)
    others = {name: outlier_logits(model, name) for name in options.outliers}
    promises(logits, targets, others, options.splits)


def calibration(logits: np.ndarray, targets: np.ndarray) -> None:
    print(f"temperature of all of them {fit_temperature(logits, targets):.3f}")
    after = cross_fitted(logits, targets)
    for when, probabilities in (("before", softmax(logits)), ("after", after)):
        interval = bootstrap(binned(probabilities, targets), expected_error)
        error = reliability(probabilities, targets)["ece"]
        low, high = 100 * interval.low, 100 * interval.high
        print(f"calibration error {when}: {100 * error:.2f} points ({low:.2f} to {high:.2f})")
    assert (after.argmax(axis=1) == logits.argmax(axis=1)).all()


def outlier_logits(model: Model, name: str) -> np.ndarray:
    dataset = open_data(name)
    pixels = np.stack([model.header.preprocess.pixels(dataset.open(item)) for item in dataset.items])
    return np.concatenate([model.engine.logits(pixels[start : start + 500]) for start in range(0, len(pixels), 500)])


def promises(logits: np.ndarray, targets: np.ndarray, others: dict[str, np.ndarray], splits: int) -> None:
    """Print what thresholds of one half do to the other half and to other things, over random halves."""
    measured: dict[str, list[float]] = {}
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(targets))
        fitting, new = np.split(order, [len(order) // 2])
        decision = fit_decision(logits[fitting], targets[fitting])
        said = kept(decision.probabilities(logits[new]), targets[new], decision)
        for coverage, figures in said["sets"].items():
            measured.setdefault(f"sets, {coverage} asked: coverage", []).append(figures["coverage"])
            measured.setdefault(f"sets, {coverage} asked: truth reaches the threshold", []).append(
                reached(decision.probabilities(logits[new]), targets[new], decision.sets[coverage])
            )
            measured.setdefault(f"sets, {coverage} asked: mean size, classes", []).append(figures["mean_size"] / 100)
        for rate, figures in said["rejects"].items():
            measured.setdefault(f"reject {rate}: right answers turned away", []).append(figures["false_reject"])
            measured.setdefault(f"reject {rate}: accuracy of the answered", []).append(figures["accuracy"])
            for name, foreign in others.items():
                accepted = decision.probabilities(foreign).max(axis=1) >= decision.rejects[rate]
                measured.setdefault(f"reject {rate}: {name} answered ({len(foreign):,})", []).append(accepted.mean())
    print(f"{splits} random halves: mean, standard deviation of one, least, most")
    for name in sorted(measured):
        values = 100 * np.array(measured[name])
        print(f"  {name:60} {values.mean():7.2f} {values.std(ddof=1):6.2f} {values.min():7.2f} {values.max():7.2f}")


def reached(probabilities: np.ndarray, targets: np.ndarray, least: float) -> float:
    return float((probabilities[np.arange(len(targets)), targets] >= least).mean())


if __name__ == "__main__":
    main()
