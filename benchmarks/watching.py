"""Does `watch` raise no more false alarms than it states, and how soon does it see a change?

    python benchmarks/watching.py [--shared ../shared/data] [--threads 1] [--copies]

Two sets and their features: the test part of CIFAR-10 by `resnet20.cifar10`, which never saw it, and traffic lights by
the bundled ImageNet trunk. Each of `REFERENCES` times the pictures are divided anew: some are the reference, streams
are drawn from others. In control: how many pictures lie between two false alarms where 10,000 are asked for.
Changed: from some picture on all pictures of a stream, or a share of them, are changed ones; how many until the alarm,
median (nine of ten), over all streams and references; `-` is more than 1,000. A new class: its pictures are in neither
the reference nor the stream before. Then how far the told beginning is from the true one. Copies (`--copies`: only
they): 30,000 pictures of each reference, each ten times in a row, and how soon a picture that stands still is told.
"""

import argparse
import io
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from resnetkit import Model, load
from resnetkit.api.references import feature_engine
from resnetkit.checking.drift.alarm import Sighting
from resnetkit.checking.drift.chart import WEIGHT, Chart, Space, components_of, limit, statistic
from resnetkit.checking.drift.lookout import Lookout
from resnetkit.checking.drift.reference import Reference
from resnetkit.checking.drift.still import asked
from resnetkit.data.sources import open_data

EVERY, REFERENCES, STREAMS, MOST = 10_000, 5, 100, 1_000
BLANK = np.zeros((8, 8, 3), np.uint8)


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


def lookout_of(known: np.ndarray, chosen: np.ndarray) -> Lookout:
    reference = Reference(
        features=known[chosen], looks=np.full((len(chosen), 4), 0.5, np.float32), groups=np.arange(len(chosen)),
        made=known[:1], counts={}, preprocess={},
    )  # fmt: skip
    return Lookout(reference, every=EVERY, still=asked("10m"))


def alarms_in(lookout: Lookout, rows: np.ndarray) -> Counter[str]:
    """Return how many alarms of each kind one picture a second raises."""
    raised = Counter[str]()
    for number, row in enumerate(rows):
        alarm = lookout.see(Sighting(number + 1, "", float(number)), BLANK, row)
        raised.update([alarm.kind] if alarm else [])
    return raised


def copies(name: str, known: np.ndarray, size: int, lasting: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Print what copies do, with and without the rule for them, and what `lasting` pictures do that stand still."""
    drift, still, plain, counted, as_copies, itself = 0, 0, 0, 0, 0, 0
    when: dict[str, list[str]] = {title: [] for title in (*lasting, "a usual scene")}
    for seed in range(REFERENCES):
        random = np.random.default_rng(seed)
        order = random.permutation(len(known))
        ours, others = known[order[:size]], known[order[size:]]
        rows = others[random.integers(0, len(others), 3_000)].repeat(10, axis=0)
        fresh = lookout_of(known, order[:size])
        lookout = deepcopy(fresh)
        raised = alarms_in(lookout, rows)
        drift, still, counted = drift + raised["drift"], still + raised["still"], counted + lookout.counted
        if seed == 0:
            space = Space.of(ours, components_of(ours))
            chart = Chart(lookout.chart.limit, width=space.scores(ours[:1]).shape[1], known_from=size)
            for row in space.scores(rows):
                if chart.add(row):
                    plain += 1
                    chart.restart()
        single = deepcopy(fresh)
        alarms_in(single, others[random.permutation(len(others))])
        as_copies, itself = as_copies + single.copies, itself + single.known
        for title in when:
            usual = others[random.integers(len(others))][None], BLANK[None]
            scene = lasting.get(title, usual)
            when[title].append(first_alarm(deepcopy(fresh), others[random.integers(0, len(others), 200)], scene))
    print(f"\n{name}: references of {size} pictures, each picture ten times in a row, {REFERENCES} times 30,000 in all")
    print(
        f"false alarms where all count (the first 30,000): {plain}; as `watch` counts: {drift} of drift, {still} of a "
        f"still picture ({counted:,} counted)"
    )
    print(
        f"other pictures taken for copies of those before them: {as_copies}, for pictures of the reference: {itself}, "
        f"of {REFERENCES * (len(known) - size):,}"
    )
    for title, told in when.items():
        print(f"one picture a second that stands still, alarm after: {title}: {', '.join(told)}")


def first_alarm(lookout: Lookout, before: np.ndarray, scene: tuple[np.ndarray, np.ndarray]) -> str:
    """Return after how many pictures of a scene, one a second for an hour, there is an alarm, and of which kind."""
    rows, pixels = scene
    alarms_in(lookout, before)
    for number in range(3_600):
        sighting = Sighting(len(before) + number + 1, "", float(len(before) + number))
        alarm = lookout.see(sighting, pixels[number % len(rows)], rows[number % len(rows)])
        if alarm is not None:
            return f"{number + 1} ({alarm.kind})"
    return "-"


def solid(size: tuple[int, int], grey: int, noise: float) -> list[Image.Image]:
    """Return what a covered or blinded camera shows: one grey and the noise of its sensor."""
    random = np.random.default_rng(0)
    shape = (60, size[1], size[0], 3)
    pixels = np.clip(random.normal(grey, noise, shape) if noise else np.full(shape, grey), 0, 255)
    return [Image.fromarray(one) for one in pixels.round().astype(np.uint8)]


def lasting(model: Model, image: Image.Image) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return features and pixels of pictures that stand still, but for noise, of the size of `image`."""
    random, shape = np.random.default_rng(1), (60, image.height, image.width, 3)
    noisy = np.clip(np.asarray(image, float) + random.normal(0, 4, shape), 0, 255).round().astype(np.uint8)
    scenes = {
        "black": solid(image.size, 0, 0), "white": solid(image.size, 255, 0),
        "black, noise of 4 of 255": solid(image.size, 4, 4),
        "black, noise of 12": solid(image.size, 12, 12),
        "the same scene, noise of 4": [Image.fromarray(one) for one in noisy],
    }  # fmt: skip
    prepared = model.header.preprocess.pixels
    return {
        title: (features(model, shown), np.stack([prepared(one) for one in shown])) for title, shown in scenes.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--copies", action="store_true", help="only copies and pictures that stand still")
    options = parser.parse_args()
    cifar10(options.shared, options.threads, tables=not options.copies)
    lights(options.shared, options.threads, tables=not options.copies)


def cifar10(shared: Path, threads: int, *, tables: bool) -> None:
    random = np.random.default_rng(0)
    model = load("resnet20.cifar10", precision="fp32", threads=threads)
    images, labels = images_of(shared / "cifar10.zip", "test")
    planted = random.permutation(len(images))[:1_500]
    known = features(model, images)
    if tables:
        changed = {name: features(model, [change(images[i]) for i in planted]) for name, change in CHANGES.items()}
        new = {f"a new class, {name}": (labels == name, known[labels == name]) for name in ("frog", "cat")}
        for size in (2_000, 500):
            measure("CIFAR-10", known, changed, planted, size=size, new=new)
    copies("CIFAR-10", known, 2_000, lasting(model, images[0]))


def lights(shared: Path, threads: int, *, tables: bool) -> None:
    random = np.random.default_rng(0)
    model = load("resnet_2223.imagenet1k", precision="fp32", threads=threads)
    images, labels = images_of(shared / "traffic_lights")
    planted = random.permutation(len(images))[:250]
    known = features(model, images)
    if tables:
        changed = {name: features(model, [change(images[i]) for i in planted]) for name, change in CHANGES.items()}
        signs = features(model, images_of(shared / "gtsrb")[0][::4])
        none = np.zeros(len(known), bool)
        new = {
            "a new class, traffic signs": (none, signs),
            "a new class, yellow": (labels == "yellow", known[labels == "yellow"]),
        }
        measure("Traffic lights", known, changed, planted, size=742, new=new)
    held_still = lasting(model, images[0])
    for size in (742, 208):
        copies("Traffic lights", known, size, held_still)


if __name__ == "__main__":
    main()
