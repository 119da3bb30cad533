"""Does the forecast from half of the pictures hold what all of them reach?

    python benchmarks/forecast.py [SET...] [--trials 200] [--pools 200 500 1000] [--cache DIR]

Sets: cifar10, pneumonia, traffic_lights, which score; digits, breast, hymenoptera, on which the forecast's constants
were chosen; `noise`, pneumonia's pictures with labels at random. Features are those of the bundled ImageNet trunk, of
pictures enlarged to 112 pixels, computed once and kept in DIR. Each trial draws a pool and disjoint test pictures (all
others, 4,000 at most) anew, forecasts from half of the pool what all of it reach, and fits a head to all of the pool,
whose accuracy on the test pictures is the truth. The head's penalty is chosen once for each size of pool, by a draw
that scores nothing. Pools take turns. Prints for each set how often the 95 % interval holds the truth, with the 95 %
interval of that share, how wide it is, how far its middle is off, and the same for what half of the pool reaches; how
often it says that the curve rises, is flat, or cannot tell; and the gain as foretold and as it was.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from resnetkit import runtime
from resnetkit.checking.features import Described
from resnetkit.checking.forecast import Estimate, Forecast, forecast
from resnetkit.data.sources import open_data
from resnetkit.evaluation.metrics import clopper_pearson
from resnetkit.inference.engines import TorchEngine
from resnetkit.models.surgery import Headless
from resnetkit.models.weights import open_weights
from resnetkit.training.steps.linear import FOLDS, choose_penalty, fit_linear, out_of_fold

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TRUNK = Path(__file__).resolve().parents[1] / "src/resnetkit/models/bundled/resnet_2223.imagenet1k.safetensors"
SETS = {
    "cifar10": SHARED / "cifar10.zip",
    "pneumonia": SHARED / "medmnist" / "pneumoniamnist.npz",
    "traffic_lights": SHARED / "traffic_lights",
    "digits": Path("digits"),
    "breast": SHARED / "medmnist" / "breastmnist.npz",
    "hymenoptera": SHARED / "hymenoptera",
    "noise": SHARED / "medmnist" / "pneumoniamnist.npz",
}
SIDE, BATCH, MOST, MOST_TESTED = 112, 32, 12_000, 4_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", default=["cifar10", "pneumonia", "traffic_lights"])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--pools", type=int, nargs="+", default=[200, 500, 1000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/forecast"))
    options = parser.parse_args()
    for name in options.sets:
        features, targets = described(name, options.cache)
        pools = [pool for pool in options.pools if pool <= len(targets) * 2 // 3]
        penalties = {pool: penalty(features, targets, pool // 2, seed=options.seed) for pool in pools}
        begin, trials = time.monotonic(), []
        for number in range(options.trials):
            pool = pools[number % len(pools)]
            trials.append(trial(features, targets, pool, penalties[pool], seed=(options.seed, number)))
        for pool in pools:
            print(f"{name}, pools of {pool}: {words([one for one in trials if one['pool'] == pool])}")
        print(f"{name}: {words(trials)}; {time.monotonic() - begin:.0f} s", flush=True)


def described(name: str, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return features `[N, 512]` and targets `[N]` of a set, from the cache where they are there."""
    path = cache / f"{'pneumonia' if name == 'noise' else name}.npz"
    if not path.exists():
        compute(SETS[name], path)
    stored = np.load(path)
    targets = stored["targets"]
    return stored["features"], np.random.default_rng(0).permutation(targets) if name == "noise" else targets


def compute(source: Path, path: Path) -> None:
    """Compute the features of a set, the training part alone where there are more than `MOST` pictures."""
    dataset = open_data(str(source))
    items = list(dataset.items)
    if len(items) > MOST:
        items = [item for item in items if item.split == "train"]
        items = [items[number] for number in np.random.default_rng(0).permutation(len(items))[:MOST]]
    network, header = open_weights(TRUNK)
    preprocess = header.preprocess.changed(size=SIDE, crop="squash")
    engine = TorchEngine(Headless(network), preprocess, runtime.resolve(device="cpu", precision="fp32", threads=1))
    features = [
        engine.logits(np.stack([preprocess.pixels(dataset.open(item)) for item in items[start : start + BATCH]]))
        for start in range(0, len(items), BATCH)
    ]
    names = sorted({str(item.label) for item in items})
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path, features=np.concatenate(features), targets=[names.index(str(item.label)) for item in items], names=names
    )  # fmt: skip


def penalty(features: np.ndarray, targets: np.ndarray, count: int, *, seed: int) -> float:
    chosen = np.random.default_rng((seed, 10**6, count)).permutation(len(targets))[:count]
    return choose_penalty(
        features[chosen], targets[chosen], groups=[str(number) for number in chosen], balanced=False
    )  # fmt: skip


def trial(
    features: np.ndarray, targets: np.ndarray, pool: int, penalty: float, *, seed: tuple[int, int]
) -> dict[str, Any]:  # fmt: skip
    """Forecast from half of a pool that is drawn anew, and see what half of it and all of it reach.

    Classes with fewer than five pictures in the half are left out, as `check` leaves them out.
    """
    drawn = np.random.default_rng(seed).permutation(len(targets))
    large = np.flatnonzero(np.bincount(targets[drawn[: pool // 2]], minlength=targets.max() + 1) >= FOLDS)
    tested = _of(drawn[pool:], targets, large)[:MOST_TESTED]
    half, whole = _of(drawn[: pool // 2], targets, large), _of(drawn[:pool], targets, large)
    own = np.searchsorted(large, targets)
    groups = tuple(str(number) for number in half)
    told, notes = forecast(
        Described(
            network="trunk", items=(), names=tuple(map(str, large)), groups=groups, features=features[half],
            targets=own[half], learnt=np.zeros(len(half), bool), penalty=penalty,
            probabilities=out_of_fold(features[half], own[half], groups=groups, penalty=penalty),
        )
    )  # fmt: skip
    assert told is not None, notes
    reached = []
    for fitted in (half, whole):
        scaling, model = fit_linear(features[fitted], own[fitted], penalty, balanced=False)
        reached.append(float((model.predict(scaling.transform(features[tested])) == own[tested]).mean()))
    return {"pool": pool, "told": told, "half": reached[0], "whole": reached[1]}


def _of(numbers: np.ndarray, targets: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return numbers[np.isin(targets[numbers], classes)]


def words(trials: list[dict[str, Any]]) -> str:
    """Return how the forecasts of `trials` fare."""
    told: list[Forecast] = [one["told"] for one in trials]
    whole, half = (np.array([one[key] for one in trials]) for key in ("whole", "half"))
    widths = [one.twice.high - one.twice.low for one in told]
    off = np.mean([one.twice.value for one in told] - whole)
    pools = np.array([one["pool"] for one in trials])
    gained = [float((whole - half)[pools == pool].mean()) for pool in pools]
    said = Counter(one.verdict for one in told)
    return "; ".join([
        f"half and all reach {100 * half.mean():.1f} and {100 * whole.mean():.1f} %",
        f"all held in {_held([one.twice for one in told], whole)}, width {100 * np.median(widths):.1f} points, "
        f"middle off by {100 * off:+.1f}",
        f"half held in {_held([one.now for one in told], half)}",
        f"gain foretold {100 * np.mean([one.gain.value for one in told]):.1f}, was {100 * np.mean(gained):.1f}, its "
        f"mean held in {_held([one.gain for one in told], gained)}",
        ", ".join(f"{verdict} {count}" for verdict, count in said.most_common()),
    ])  # fmt: skip


def _held(estimates: list[Estimate], truths: Iterable[float]) -> str:
    inside = [one.low <= truth <= one.high for one, truth in zip(estimates, truths, strict=True)]
    low, high = clopper_pearson(sum(inside), len(inside))
    return f"{100 * np.mean(inside):.1f} % ({100 * low:.1f} to {100 * high:.1f}) of {len(inside)}"


if __name__ == "__main__":
    main()
