"""Smoothing on a made video with known switches and planted flicker: what it removes, and how much later it tells.

    python benchmarks/flicker.py
    python benchmarks/flicker.py --rate 5

Ten minutes of three classes; each lasts 4 to 20 seconds. A frame's probabilities are the softmax of random logits,
about 0.9 for its class. Then frames are told to be another class, as surely: 15 % of them, each drawn by itself
(`single`), or as many in bursts of 2 to 10 frames (`bursts`), which no smoothing can tell from a short true state.
Flicker are the changes of state beyond the true ones. The lag of a switch counts from the first frame of the new state
to the first that is told to be it; `stated` is what `predict` prints, measured by itself on a clean switch; `clean`
are the same switches without flicker and noise. Beside them the share of frames told right when always the commonest
class is said. Lags are in frames. Leaves with 1 where a smoothing leaves more than half of the single flicker, or where
a clean lag is further than one frame from the one stated.
"""

import argparse
import itertools
import statistics
import sys
from collections.abc import Sequence

import numpy as np

from resnetkit.inference.video.lag import measured
from resnetkit.inference.video.smoothing import asked
from resnetkit.inference.video.states import OneClass, States
from resnetkit.models.decision import Decision, softmax

CLASSES = ("red", "yellow", "green")
SMOOTHINGS = (
    "none", "exponential 0.25s", "exponential 0.5s", "median 0.5s", "median 1s", "3 of 5", "8 of 15", "hmm 2s",
    "hmm 10s", "hmm 60s",
)  # fmt: skip
WRONG = 0.15
BURST = (2, 10)


def truth_of(seconds: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Return the true class of each frame, `[N]`: states of 4 to 20 seconds."""
    frames: list[int] = []
    state = 0
    while len(frames) < seconds * rate:
        frames += [state] * round(rng.uniform(4, 20) * rate)
        state = (state + rng.integers(1, len(CLASSES))) % len(CLASSES)
    return np.array(frames[: round(seconds * rate)])


def flickering(truth: np.ndarray, *, burst: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return what each frame looks like, `[N]`: the truth, but `WRONG` of all frames in runs of another class."""
    seen = truth.copy()
    begins = rng.random(len(truth)) < WRONG / statistics.mean(burst)
    for first in np.flatnonzero(begins).tolist():
        last = first + int(rng.integers(burst[0], burst[1] + 1))
        seen[first:last] = (truth[first] + rng.integers(1, len(CLASSES))) % len(CLASSES)
    return seen


def probabilities_of(seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noisy probabilities, `[N, K]`, that are about 0.9 for what is seen."""
    return softmax(3.5 * np.eye(len(CLASSES))[seen] + rng.normal(size=(len(seen), len(CLASSES))))


def told_of(words: str, rows: np.ndarray, rate: float) -> np.ndarray:
    """Return the class told at each frame, `[N]`, -1 for none."""
    states = States(asked(words), OneClass(Decision(), CLASSES))
    told = (states.add(row, time=number / rate).state for number, row in enumerate(rows))
    return np.array([CLASSES.index(one.labels[0]) if one.labels else -1 for one in told])


def num_changes(states: np.ndarray) -> int:
    return int((states[1:] != states[:-1]).sum())


def lags_of(told: np.ndarray, truth: np.ndarray) -> list[int | None]:
    """Return the frames after each true switch until it is told, None where it is not before the next."""
    begins = [*(np.flatnonzero(truth[1:] != truth[:-1]) + 1).tolist(), len(truth)]
    found = []
    for first, after in itertools.pairwise(begins):
        there = np.flatnonzero(told[first:after] == truth[first])
        found.append(int(there[0]) if len(there) else None)
    return found


def words_of(lags: Sequence[int | None]) -> str:
    known = [lag for lag in lags if lag is not None]
    missed = f", {len(lags) - len(known)} missed" if len(known) < len(lags) else ""
    return f"{statistics.median(known):g}, {max(known)}{missed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=25.0, help="frames a second")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, failed = np.random.default_rng(options.seed), False
    truth = truth_of(60 * options.minutes, options.rate, rng)
    commonest = np.bincount(truth).max() / len(truth)
    clean = np.eye(len(CLASSES))[truth] * 0.85 + 0.05
    print(f"{len(truth):,} frames at {options.rate:g} a second, {num_changes(truth)} true switches")
    print(f"always the commonest class: {commonest:.1%} of the frames right")
    print("| Flicker | Smoothing | Changes | Beyond the true | Left | Lag stated | clean | median, max | Right |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, burst in (("single", (1, 1)), ("bursts", BURST)):
        rows = probabilities_of(flickering(truth, burst=burst, rng=rng), rng)
        flicker = num_changes(rows.argmax(axis=1)) - num_changes(truth)
        for words in SMOOTHINGS:
            told = told_of(words, rows, options.rate)
            left = num_changes(told[told >= 0]) - num_changes(truth)
            stated = measured(asked(words), OneClass(Decision(), CLASSES), rate=options.rate).slowest
            exact = lags_of(told_of(words, clean, options.rate), truth)
            right = (told == truth).mean()
            print(
                f"| {name} | {words} | {left + num_changes(truth)} | {left} | {left / flicker:.1%} | {stated} | "
                f"{words_of(exact)} | {words_of(lags_of(told, truth))} | {right:.1%} |"
            )
            off = any(one is None or stated is None or abs(one - stated) > 1 for one in exact)
            failed |= off or (name == "single" and words != "none" and left > flicker / 2)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
