"""Pictures of pure noise: no accuracy above chance is true, whatever chooses the epoch and whatever weights began.

    python benchmarks/noise.py --seeds 100 --ways last top1 balanced_accuracy loss patience
    python benchmarks/noise.py --seeds 20 --ways chain

Three classes of 60 pictures each, 16 x 16, others for each seed; ResNet-8. Counts in how many runs the interval of the
headline holds a third. `chain`: a second run from the first one's weights, a third from the second's, an export of it
and a copy calibrated on all pictures, each run with another seed and so another split: pictures that an ancestor
learnt from are not counted, or the accuracy is that of chance.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import resnetkit as rk
from resnetkit.errors import ResNetKitError

CHANCE = 1 / 3
SETTINGS = {
    "last": (),
    "top1": ("select=top1",),
    "balanced_accuracy": ("select=balanced_accuracy",),
    "loss": ("select=loss",),
    "patience": ("budget.patience=8",),
}
Metrics = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--ways", nargs="+", default=list(SETTINGS), choices=[*SETTINGS, "chain"])
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    draw_nothing()
    for way in options.ways:
        begin = time.monotonic()
        found: dict[str, list[Metrics | str]] = {}
        with tempfile.TemporaryDirectory() as place:
            for seed in range(options.seeds):
                data = write_noise(Path(place) / f"noise-{seed}.npz", seed=seed)
                for name, scored in run(way, data, seed=seed, epochs=options.epochs, place=Path(place)):
                    found.setdefault(name, []).append(scored)
        for name, scores in found.items():
            report(name, scores)
        print(f"{way}: {time.monotonic() - begin:.0f} s for {options.seeds} seeds", flush=True)


def draw_nothing() -> None:
    """Leave out the pictures and the page of each run, which take longer than so short a training."""
    from resnetkit.api import evaluation, finishing
    from resnetkit.api import training as running

    for module, name in (
        (running, "draw_augmented"), (finishing, "draw_history"), (finishing, "write_at_the_end"),
        (evaluation, "draw_scores"),
    ):  # fmt: skip
        setattr(module, name, lambda *_, **__: None)


def write_noise(path: Path, *, seed: int) -> Path:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (180, 16, 16, 3), np.uint8)
    np.savez(path, train_images=images, train_labels=np.arange(180) % 3)
    return path


def run(way: str, data: Path, *, seed: int, epochs: int, place: Path) -> Iterator[tuple[str, Metrics | str]]:
    """Yield a name and metrics.json of each figure that a user would read, or why there is none."""

    def trained(name: str, number: int, **given: Any) -> rk.Run:
        output = place / f"{name}-{seed}-{number}"
        return rk.train(
            data, model="resnet8", epochs=epochs, seed=seed + 1000 * number, threads=1, output=output, **given
        )

    if way != "chain":
        yield way, trained(way, 0, settings=SETTINGS[way]).metrics or "nothing was scored"
        return
    weights = "none"
    for number, kept in enumerate(("last", "best", "best")):
        output = place / f"chain-{seed}-{number}"
        yield f"run {number + 1} of a chain", tried(lambda w=weights, n=number: trained("chain", n, weights=w).metrics)
        if not output.is_dir():
            return
        weights = str(output / f"{kept}.safetensors")
    yield (
        "its last weights, evaluated on all pictures",
        tried(lambda: rk.evaluate(data, model=weights, threads=1).metrics),
    )
    exported = place / f"export-{seed}"
    yield "an export of them, likewise", tried(lambda: scored_export(weights, data, exported))
    copy = place / f"copy-{seed}.safetensors"
    yield "a calibrated copy, likewise", tried(lambda: scored_copy(weights, data, copy))


def scored_export(weights: str, data: Path, output: Path) -> Metrics | None:
    rk.export(weights, output=output, images=[data])
    return rk.evaluate(data, model=output, threads=1).metrics


def scored_copy(weights: str, data: Path, copy: Path) -> Metrics | None:
    rk.evaluate(data, model=weights, threads=1, calibrated=copy)
    return rk.evaluate(data, model=copy, threads=1).metrics


def tried(score: Callable[[], Metrics | None]) -> Metrics | str:
    """Return metrics, or the sentence that says why these pictures are not counted."""
    try:
        return score() or "nothing was scored"
    except ResNetKitError as refused:
        return str(refused)


def report(name: str, scores: list[Metrics | str]) -> None:
    """Print how often the interval holds a third, and what was seen."""
    counted = [score for score in scores if not isinstance(score, str)]
    refused = [score for score in scores if isinstance(score, str)]
    if counted:
        held = sum(low <= CHANCE <= high for low, high in (score["top1_interval"] for score in counted))
        above = sum(score["top1_interval"][0] > CHANCE for score in counted)
        seen = [100 * score.get("top1_counted", score["top1"]) for score in counted]
        widths = [100 * (score["top1_interval"][1] - score["top1_interval"][0]) for score in counted]
        print(
            f"{name}: the interval holds 33.3 % in {held} of {len(counted)} (lies above it in {above}); accuracy "
            f"{statistics.mean(100 * score['top1'] for score in counted):.1f} % on average, counted "
            f"{statistics.mean(seen):.1f}, at most {max(seen):.1f} %, of {counted[0]['count']} pictures; median width "
            f"{statistics.median(widths):.1f} points",
            flush=True,
        )
    if refused:
        print(f"{name}: not counted in {len(refused)} of {len(scores)}: {refused[0]}", flush=True)


if __name__ == "__main__":
    main()
