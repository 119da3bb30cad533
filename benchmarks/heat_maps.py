"""Do heat maps name what the answer hangs on? Deletion and insertion of our maps against random ones, paired.

    python benchmarks/heat_maps.py --model RUN --data DATA [--part test] [--count 200] [--threads 1]

The map is that of the class the model answers with, on `count` pictures spread over the part. On each picture the
scores of the map and of the random maps are compared: mean difference with a 95 % bootstrap interval over pictures
(10,000 draws), and the share of pictures where the map is better. Two kinds of random maps: as smooth as heat maps are
(the mean of three, what `resnetkit explain` shows), and one of single pixels, which removes detail everywhere at once.
"""

import argparse
import time

import numpy as np
import torch

from resnetkit.api.explaining import Maker, open_explainable
from resnetkit.data.sources import open_data
from resnetkit.explaining.heatmaps import METHODS
from resnetkit.explaining.scores import areas, random_maps
from resnetkit.runtime import cpu_name

KINDS = ("smooth random", "random pixels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--part", default="test")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    model = open_explainable(options.model, device="cpu", threads=options.threads)
    dataset = open_data(options.data)
    items = [item for item in dataset.items if item.split == options.part]
    items = [items[i] for i in np.unique(np.linspace(0, len(items) - 1, options.count).round().astype(int))]
    pictures = [model.header.preprocess.pixels(dataset.open(item)) for item in items]
    print(f"{cpu_name()}, {options.threads} threads, torch {torch.__version__}; {model!r}")
    print(f"{len(pictures)} pictures of {options.data}, {options.part}")
    scores = {
        kind: np.array([random_scores(Maker(model, "gradcam"), pixels, kind) for pixels in pictures]) for kind in KINDS
    }
    for method in METHODS:
        maker = Maker(model, method)
        started = time.perf_counter()
        heats = [maker.explainer.heat(pixels, [answer(maker, pixels)], method=method)[0] for pixels in pictures]
        seconds = (time.perf_counter() - started) / len(pictures)
        scores[method] = np.array([scored(maker, pixels, heat) for pixels, heat in zip(pictures, heats, strict=True)])
        told(method, scores, seconds)


def answer(maker: Maker, pixels: np.ndarray) -> int:
    return int(maker.probabilities(pixels[None])[0].argmax())


def scored(maker: Maker, pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return deletion and insertion of the class that is answered."""
    fill = np.round(255 * np.array(maker.preprocess.mean))
    return areas(heat, pixels, maker.probabilities, fill=fill)[:, answer(maker, pixels)]


def random_scores(maker: Maker, pixels: np.ndarray, kind: str) -> np.ndarray:
    if kind == "smooth random":
        return np.mean([scored(maker, pixels, heat) for heat in random_maps(pixels)], axis=0)
    return scored(maker, pixels, np.random.default_rng(int(pixels.sum())).random(pixels.shape[:2]))


def told(method: str, scores: dict[str, np.ndarray], seconds: float) -> None:
    print(f"{method}: {1000 * seconds:.0f} ms a map")
    for column, (name, better) in enumerate((("deletion", -1), ("insertion", 1))):
        own = scores[method][:, column]
        for kind in KINDS:
            gain = better * (own - scores[kind][:, column])
            low, high = interval(gain)
            print(
                f"  {name:9} {own.mean():.3f}, {kind} {scores[kind][:, column].mean():.3f}: better by "
                f"{gain.mean():+.3f} ({low:+.3f} to {high:+.3f}), on {100 * (gain > 0).mean():.0f} % of {len(gain)}"
            )


def interval(gain: np.ndarray) -> tuple[float, float]:
    generator = np.random.default_rng(0)
    means = gain[generator.integers(0, len(gain), (10_000, len(gain)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    main()
