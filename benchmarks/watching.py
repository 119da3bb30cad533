"""Does `watch` raise no more false alarms than it states, and how soon does it see a change?

    python benchmarks/watching.py [--shared ../shared/data] [--threads 1]

Two sets and their features: the test part of CIFAR-10 by `resnet20.cifar10`, which never saw it, and traffic lights by
the bundled ImageNet trunk. Each of `REFERENCES` times the pictures are divided anew: some are the reference, streams
are drawn from others. In control: how many pictures lie between two false alarms where 10,000 are asked for.
Changed: from some picture on all pictures of a stream, or a share of them, are changed ones; how many until the alarm,
median (nine of ten), over all streams and references; `-` is more than 1,000. A new class: its pictures are in neither
the reference nor the stream before. Then how far the told beginning is from the true one, and what copies do.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from resnetkit import Model, load
from resnetkit.api.references import feature_engine
from resnetkit.checking.drift.chart import WEIGHT, Chart, Space, components_of, limit, statistic
from resnetkit.checking.drift.lookout import Lookout, Sighting
from resnetkit.checking.drift.reference import Reference
from resnetkit.data.sources import open_data

EVERY, REFERENCES, STREAMS, MOST = 10_000, 5, 100, 1_000


def camera(image: Image.Image) -> Image.Image:
    """A little out of focus, another white balance, noise, JPEG."""
    width, height = image.size
    small = image.resize((max(1, round(0.9 * width)), max(1, round(0.9 * height))), Image.Resampling.BILINEAR)
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), float) * (1.06, 1.0, 0.92)
    noise = np.random.default_rng(int(pixels.sum()) % 2**31).normal(0, 4, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=70)
    return Image.open(file).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "brightness x 0.6": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "brightness x 1.5": lambda image: ImageEnhance.Brightness(image).enhance(1.5),
    "brightness x 0.85": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "blur, 1/32 of the width": lambda image: image.filter(ImageFilter.GaussianBlur(image.width / 32)),
    "blur, 1/64 of the width": lambda image: image.filter(ImageFilter.GaussianBlur(image.width / 64)),
    "another camera": camera,
}


def features(model: Model, images: list[Image.Image]) -> np.ndarray:
    rows, engine = [], feature_engine(model)
    for start in range(0, len(images), 64):
        pixels = [model.header.preprocess.pixels(image) for image in images[start : start + 64]]
        rows.append(engine.logits(np.stack(pixels)))
    return np.concatenate(rows)


def images_of(path: Path, part: str | None = None) -> tuple[list[Image.Image], np.ndarray]:
    data = open_data(str(path))
    items = [item for item in data.items if part is None or item.split == part]
    return [data.open(item).convert("RGB") for item in items], np.array([item.label for item in items])


def run(
    before: np.ndarray, after: np.ndarray, highest: float, *, since: int, share: float, most: int, seed: int
) -> tuple[np.ndarray, int]:
    """Return how many pictures after `since` each stream's alarm comes, and how many false ones there were before."""
    random = np.random.default_rng(seed)
    mean, delays, false = np.zeros((STREAMS, before.shape[1]), np.float32), np.full(STREAMS, most + 1), 0
    for number in range(since + most):
        rows = before[random.integers(0, len(before), STREAMS)]
        if number >= since:
            changed = random.random(STREAMS) < share
            rows = np.where(changed[:, None], after[random.integers(0, len(after), STREAMS)], rows)
        mean += np.float32(WEIGHT) * (rows - mean)
        over = statistic(mean) > highest
        if number < since:
            false += int(over.sum())
            mean[over] = 0
        else:
            delays[over] = np.minimum(delays[over], number - since + 1)
            if (delays <= most).all():
                break
    return delays, false


def told(delays: list[np.ndarray]) -> str:
    whole = np.concatenate(delays)
    words = [f"{round(value)}" if value <= MOST else "-" for value in np.quantile(whole, [0.5, 0.9])]
    return f"{words[0]} ({words[1]})"


def measure(
    name: str,
    known: np.ndarray,
    changed: dict[str, np.ndarray],
    planted: np.ndarray,
    *,
    size: int,
    new: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    """Print the tables; `planted`: the known pictures that were changed; `new`: which are left out, and features."""
    lengths, delays = [], dict[tuple[str, float, int], list[np.ndarray]]()
    began = list[float]()
    for seed in range(REFERENCES):
        random = np.random.default_rng(seed)
        free = np.setdiff1d(np.arange(len(known)), planted)
        chosen = random.permutation(free)[:size]
        others = np.setdiff1d(np.arange(len(known)), chosen)
        cases = {title: (chosen, others, rows) for title, rows in changed.items()}
        for title, (without, rows) in new.items():
            cases[title] = (chosen[~without[chosen]], others[~without[others]], rows)
        fitted: dict[bytes, tuple[Space, float]] = {}
        for title, (ours, stream, rows) in cases.items():
            key = ours.tobytes()
            if key not in fitted:
                reference = known[ours]
                fitted[key] = (
                    Space.of(reference, components_of(reference)),
                    limit(reference, np.arange(len(reference)), every=EVERY),
                )
                space, highest = fitted[key]
                _, false = run(space.scores(known[stream]), rows, highest, since=3_000, share=0, most=0, seed=seed)
                if title in changed:
                    lengths.append(3_000 * STREAMS / max(false, 1))
            space, highest = fitted[key]
            before, after = space.scores(known[stream]), space.scores(rows)
            for share, since in ((1.0, 0), (1.0, 200), (1.0, 1_000), (0.5, 200), (0.25, 200)):
                delay, _ = run(before, after, highest, since=since, share=share, most=MOST, seed=seed + 100)
                delays.setdefault((title, share, since), []).append(delay)
            if title == "brightness x 0.6":
                began += beginnings(before, after, highest, size=size, seed=seed)
    pictures = 3_000 * STREAMS
    print(f"\n{name}: references of {size} pictures, streams of {len(known) - size} others")
    whole = len(lengths) * pictures / sum(pictures / length for length in lengths)
    print(
        f"in control, {len(lengths)} references x {pictures:,} pictures: a false alarm once in {whole:,.0f} "
        f"(each reference: {', '.join(f'{length:,.0f}' for length in lengths)}; none counts as one)"
    )
    print(f"{'changed':28} {'from 1st on':>12} {'200 before':>12} {'1,000':>12} {'half, 200':>12} {'quarter':>12}")
    for title in dict.fromkeys(title for title, _, _ in delays):
        cells = [told(delays[key]) for key in delays if key[0] == title]
        print(f"{title:28} " + " ".join(f"{cell:>12}" for cell in cells))
    low, middle, high = np.quantile(began, [0.1, 0.5, 0.9])
    print(f"told beginning less the true one, brightness x 0.6: {middle:+.0f} pictures ({low:+.0f} to {high:+.0f})")


def beginnings(before: np.ndarray, after: np.ndarray, highest: float, *, size: int, seed: int) -> list[float]:
    """Return how far the told beginning lies behind the true one, by the chart itself."""
    random, off = np.random.default_rng(seed + 200), []
    for _ in range(20):
        chart = Chart(highest, width=before.shape[1], known_from=size)
        for row in before[random.integers(0, len(before), 500)]:
            if chart.add(row):
                chart.restart()
        seen = chart.seen
        while not chart.add(after[random.integers(len(after))]):
            pass
        off.append(chart.seen - chart.changed() - seen)
    return off


def copies(known: np.ndarray, size: int) -> None:
    """Print what a stream does each of whose pictures comes ten times, with and without the rule for copies."""
    random = np.random.default_rng(0)
    order = random.permutation(len(known))
    ours, others = known[order[:size]], known[order[size:]]
    reference = Reference(
        features=ours, looks=np.zeros((size, 4), np.float32), groups=np.arange(size), made=ours[:1], counts={},
        preprocess={},
    )  # fmt: skip
    space, blank = Space.of(ours, components_of(ours)), np.zeros((8, 8, 3), np.uint8)
    highest = limit(ours, np.arange(size), every=EVERY)
    rows = others[random.integers(0, len(others), 3_000)].repeat(10, axis=0)
    chart, plain = Chart(highest, width=space.scores(ours[:1]).shape[1], known_from=size), 0
    for row in space.scores(rows):
        if chart.add(row):
            plain += 1
            chart.restart()
    lookout, ruled = Lookout(reference, every=EVERY), 0
    for number, row in enumerate(rows, start=1):
        if lookout.see(Sighting(number, ""), blank, row) == "alarm":
            ruled += 1
            lookout.restart()
    print(
        f"each picture ten times in a row, 30,000 in all: {plain} false alarms where all count, {ruled} as `watch` "
        f"counts ({lookout.counted:,} counted)"
    )
    single = others[random.permutation(len(others))]
    lookout = Lookout(reference, every=EVERY)
    taken = sum(lookout.see(Sighting(number, ""), blank, row) == "copy" for number, row in enumerate(single))
    print(f"other pictures taken for copies of those before them: {taken} of {len(single):,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    random = np.random.default_rng(0)

    model = load("resnet20.cifar10", precision="fp32", threads=options.threads)
    images, labels = images_of(options.shared / "cifar10.zip", "test")
    planted = random.permutation(len(images))[:1_500]
    known = features(model, images)
    changed = {name: features(model, [change(images[i]) for i in planted]) for name, change in CHANGES.items()}
    new = {f"a new class, {name}": (labels == name, known[labels == name]) for name in ("frog", "cat")}
    for size in (2_000, 500):
        measure("CIFAR-10", known, changed, planted, size=size, new=new)
    copies(known, 2_000)

    model = load("resnet_2223.imagenet1k", precision="fp32", threads=options.threads)
    images, labels = images_of(options.shared / "traffic_lights")
    planted = random.permutation(len(images))[:250]
    known = features(model, images)
    changed = {name: features(model, [change(images[i]) for i in planted]) for name, change in CHANGES.items()}
    signs = features(model, images_of(options.shared / "gtsrb")[0][::4])
    none = np.zeros(len(known), bool)
    new = {
        "a new class, traffic signs": (none, signs),
        "a new class, yellow": (labels == "yellow", known[labels == "yellow"]),
    }
    measure("Traffic lights", known, changed, planted, size=742, new=new)
    copies(known, 742)


if __name__ == "__main__":
    main()
