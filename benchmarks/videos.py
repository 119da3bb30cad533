"""Videos made of real pictures with known switches: flicker and lag, frames a second beside files, memory, kills.

    python benchmarks/videos.py flicker --model RUN [--rounds 3]
    python benchmarks/videos.py speed --model RUN [--rounds 5]
    python benchmarks/videos.py memory --model RUN [--minutes 20]
    python benchmarks/videos.py kills --model RUN [--kills 5]
    python benchmarks/videos.py tracks --model DETECTOR --data DATA [--pictures 72] [--frames 12]

RUN names traffic lights (`train ../shared/data/traffic_lights`). Each made video shows test pictures of one class for
4 to 12 seconds, a picture for 1 second, moved by some pixels from frame to frame; 15 % of the frames show a picture of
another class instead (planted flicker). `flicker`: changes of state beyond the true ones, and the frames until a true
switch is told, for each smoothing. `speed`: the command on a video and on the same frames as JPEG files, in turns, the
time that loading the model takes left out; also of `highway.mp4`. `memory`: the largest memory of the command on 1 and
on so many minutes. `kills`: killed at a random time and given again until it ends; the rows must be the same.
`tracks`: a clip of each picture of the part `test` of DATA, a window that moves, grows and shrinks, with noise and
changing light; the share of a track's boxes that are right (half of an object of its label, one to one) against the
probability that is stated, and against the mean of its boxes'. DETECTOR is calibrated, and neither trained nor
calibrated on that part.
"""

import argparse
import csv
import itertools
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

import resnetkit as rk
from cold_runs import SHARED, machine
from resnetkit.data.marks import Truth
from resnetkit.evaluation.calibration import errors_by_chance
from resnetkit.evaluation.detection.tracks import Judged, judged
from resnetkit.inference.video.tracks import Tracker, with_unsure

CLASSES = ("green", "red", "yellow")
RATE, SIZE, WRONG = 25, 96, 0.15
SMOOTHINGS = ("none", "exponential 0.5s", "median 0.5s", "median 1s", "3 of 5", "8 of 15", "hmm 10s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("flicker", "speed", "memory", "kills", "tracks"))
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--data")
    parser.add_argument("--pictures", type=int, default=72)
    parser.add_argument("--frames", type=int, default=12)
    asked = parser.parse_args()
    print(machine(None))
    with tempfile.TemporaryDirectory() as place:
        {"flicker": flicker, "speed": speed, "memory": memory, "kills": kills, "tracks": tracks}[asked.what](
            Path(place), asked
        )


def scenes(seconds: float, seed: int) -> tuple[list[str], list[str], list[Image.Image]]:
    """Return the true class of each frame, what it shows, and the pictures."""
    rng = random.Random(seed)
    pictures = {name: sorted((SHARED / "traffic_lights" / "test" / name).iterdir()) for name in CLASSES}
    truth: list[str] = []
    while len(truth) < seconds * RATE:
        others = [name for name in CLASSES if not truth or name != truth[-1]]
        truth += [rng.choice(others)] * round(rng.uniform(4, 12) * RATE)
    truth = truth[: round(seconds * RATE)]
    shown, images = [], []
    for number, name in enumerate(truth):
        if number % RATE == 0 or name != truth[number - 1]:
            now = picture(rng.choice(pictures[name]))
        flickers = rng.random() < WRONG
        other = rng.choice([one for one in CLASSES if one != name])
        image = picture(rng.choice(pictures[other])) if flickers else now
        dx, dy = rng.randint(-3, 3), rng.randint(-3, 3)
        images.append(image.crop((4 + dx, 4 + dy, 4 + dx + SIZE, 4 + dy + SIZE)))
        shown.append(other if flickers else name)
    return truth, shown, images


def picture(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB").resize((SIZE + 8, SIZE + 8), Image.Resampling.BILINEAR)


def written(path: Path, images: list[Image.Image], repeats: int = 1) -> Path:
    """Write a video; with repeats the same frames again and again."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE, options={"q": "3"})
        stream.width, stream.height = images[0].size
        stream.pix_fmt, stream.codec_context.bit_rate = "yuv420p", 4_000_000
        for number, image in enumerate(itertools.chain.from_iterable(itertools.repeat(images, repeats))):
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def predict(*given: str | Path, model: str) -> tuple[float, int]:
    """Run the command and return its seconds and its largest memory in bytes."""
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "resnetkit", "predict", *map(str, given), "--model", model, "--quiet"],
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"predict {given} ended with {status}")
    return time.monotonic() - begin, used.ru_maxrss * 1024


def flicker(place: Path, asked: argparse.Namespace) -> None:
    print(
        "| Smoothing | Changes beyond the true ones | Left | Lag: stated | measured: median, largest | Frames right |"
    )
    print("|---|---|---|---|---|---|")
    found: dict[str, list[tuple[int, list[int], int, float]]] = {words: [] for words in SMOOTHINGS}
    stated = {}
    for seed in range(asked.rounds):
        truth, _, images = scenes(60, seed)
        path = written(place / f"{seed}.mp4", images)
        for words in SMOOTHINGS:
            rows = place / f"{seed} {words}.csv"
            said = subprocess.run(
                [sys.executable, "-m", "resnetkit", "predict", path, "--model", asked.model, "--smooth", words,
                 "--output", rows], capture_output=True, text=True, check=True,
            ).stderr  # fmt: skip
            stated[words] = next((line.strip() for line in said.splitlines() if "states change" in line), "")
            states = [row["state"] for row in csv.DictReader(rows.open())]
            found[words].append(of_states(states, truth))
    before = sum(one[0] for one in found["none"])
    for words, rounds in found.items():
        left, lags = sum(one[0] for one in rounds), [lag for one in rounds for lag in one[1]]
        missed, right = sum(one[2] for one in rounds), statistics.mean(one[3] for one in rounds)
        told = f"{statistics.median(lags):g}, {max(lags)}" + (f", {missed} missed" if missed else "")
        print(f"| {words} | {left} | {left / before:.1%} | {stated[words]} | {told} | {right:.1%} |")
    print(f"{asked.rounds} videos of a minute, {WRONG:.0%} of the frames of another class")


def of_states(states: list[str], truth: list[str]) -> tuple[int, list[int], int, float]:
    """Return changes beyond the true ones, the lag of each true switch, how many were missed, and frames right."""
    told = [state for state in states if state]
    extra = changes(told) - changes(truth)
    begins = [number for number in range(1, len(truth)) if truth[number] != truth[number - 1]]
    lags, missed = [], 0
    for first, after in itertools.pairwise([*begins, len(truth)]):
        there = next((n for n in range(first, after) if states[n] == truth[first]), None)
        lags += [] if there is None else [there - first]
        missed += there is None
    return extra, lags, missed, statistics.mean(map(str.__eq__, states, truth))


def changes(states: list[str]) -> int:
    return sum(one != other for one, other in itertools.pairwise(states))


def speed(place: Path, asked: argparse.Namespace) -> None:
    highway = str(SHARED / "video" / "highway.mp4")
    with av.open(highway) as container:
        road = [frame.to_image() for frame in container.decode(video=0)]
    for name, images in (("a made minute, 96x96", scenes(60, 0)[2]), ("highway.mp4 four times, 960x540", road * 4)):
        path, folder = written(place / "clip.mp4", images), place / "frames"
        folder.mkdir()
        for number, image in enumerate(images):
            image.save(folder / f"{number:06}.jpg", quality=92)
        short = written(place / "short.mp4", images[:1])
        times: dict[str, list[float]] = {"video": [], "files": [], "one frame": []}
        for number in range(asked.rounds):
            for kind, source in (("video", path), ("files", folder), ("one frame", short)):
                rows = place / f"{kind}{number}.csv"
                times[kind].append(predict(source, "--output", rows, model=asked.model)[0])
                rows.unlink()
        begin = statistics.median(times["one frame"])
        of_video, of_files = (len(images) / (statistics.median(times[kind]) - begin) for kind in ("video", "files"))
        print(
            f"{name}: {of_video:.0f} frames a second from the video, {of_files:.0f} from JPEG files: "
            f"{of_video / of_files:.2f} times"
        )
        for left in (*folder.iterdir(), path, short):
            left.unlink()
        folder.rmdir()


def memory(place: Path, asked: argparse.Namespace) -> None:
    images = scenes(60, 0)[2]
    used = []
    for minutes in (1, round(asked.minutes)):
        path = written(place / "clip.mp4", images, repeats=minutes)
        seconds, memory = predict(
            path, "--smooth", "median 0.5s", "--output", place / "rows.csv", "--events", place / "events.csv",
            model=asked.model,
        )  # fmt: skip
        frames = sum(1 for _ in (place / "rows.csv").open()) - 1
        for left in place.iterdir():
            left.unlink()
        used.append(memory)
        print(f"{minutes} minutes, {frames:,} frames: {memory / 1e6:.0f} MB at most, {frames / seconds:.0f} a second")
    print(f"{used[1] / used[0]:.3f} times")


def kills(place: Path, asked: argparse.Namespace) -> None:
    path, rng = written(place / "clip.mp4", scenes(60, 0)[2]), random.Random(0)
    how = ("--smooth", "median 0.5s")
    seconds, _ = predict(path, *how, "--output", place / "whole.csv", "--events", place / "e.csv", model=asked.model)
    done = 0
    rows, events = place / "rows.csv", place / "events.csv"
    while not rows.exists():
        process = subprocess.Popen(
            [sys.executable, "-m", "resnetkit", "predict", path, *how, "--output", rows, "--events", events, "--model",
             asked.model, "--quiet"], stdout=subprocess.DEVNULL,
        )  # fmt: skip
        if done < asked.kills:
            time.sleep(rng.uniform(0.2, 0.35) * seconds)
            process.send_signal(signal.SIGKILL)
            done += process.wait() == -signal.SIGKILL
        else:
            process.wait()
    same = (
        rows.read_bytes() == (place / "whole.csv").read_bytes()
        and events.read_bytes() == (place / "e.csv").read_bytes()
    )
    print(f"{done} kills: the rows and events are {'the same' if same else 'DIFFERENT'}")
    sys.exit(not same)


def tracks(place: Path, asked: argparse.Namespace) -> None:
    from resnetkit.data.sources import open_data
    from resnetkit.data.targets import object_targets

    model = rk.load(asked.model, threads=1)
    dataset = open_data(asked.data, task="detection")
    items = [item for item in dataset.items if item.split == "test"]
    random.Random(0).shuffle(items)
    items = items[: asked.pictures]
    found = []
    for number, (item, truth) in enumerate(zip(items, object_targets(items, model.classes, where="test"), strict=True)):
        found += [(number, one) for one in tracks_of(model, dataset.open(item).convert("RGB"), truth, number, asked)]
    kept = [(number, one) for number, one in found if not one.cut]
    told = [one.track for _, one in kept]
    picture, right = np.array([number for number, _ in kept]), np.array([one.right for _, one in kept])
    frames = np.array([track.frames for track in told])
    print(f"{asked.frames} frames of each of {len(items)} pictures: {len(kept)} tracks of {frames.sum():,} boxes;")
    print(f"{len(found) - len(kept)} that touch a cut object are left out; {model.decision.tracks}")
    print("| stated | tracks | mean stated | boxes found right | 95 % |")
    print("|---|---|---|---|---|")
    ways = {"probability": [track.probability for track in told], "mean of boxes": [track.mean for track in told],
            "score": [track.score for track in told]}  # fmt: skip
    off = []
    for name, figures in ways.items():
        if None in figures:
            print(f"no {name} is stated")
            continue
        stated = np.array(figures, np.float64)
        for low, high in itertools.pairwise((0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.01)):
            own = (stated >= low) & (stated < high)
            row(f"{name} {100 * low:.0f} to {min(100, 100 * high):.0f} %", own, stated, right, picture)
        row(f"{name}: all", stated >= 0, stated, right, picture)
        row(f"{name}, on fewer than half of the frames", frames < asked.frames / 2, stated, right, picture)
        bins = np.ceil(stated * 15)
        away = sum(abs((stated - right)[bins == n].sum()) for n in np.unique(bins)) / len(right)
        chance = np.median(errors_by_chance(stated[:, None]))
        squared = np.mean((stated - right) ** 2)
        off.append(f"{name}: {100 * away:.1f} points off (chance {100 * chance:.1f}), squared {squared:.4f}")
    print("; ".join(off), f"; of the mean share {right.var():.4f}")


def row(name: str, own: np.ndarray, stated: np.ndarray, right: np.ndarray, picture: np.ndarray) -> None:
    """Print what is stated and found of tracks, with an interval of pictures drawn anew."""
    if not own.any():
        print(f"| {name} | 0 | | | |")
        return
    rng, each = np.random.default_rng(0), [np.flatnonzero(own & (picture == n)) for n in np.unique(picture[own])]
    drawn = [
        right[np.concatenate([each[n] for n in rng.integers(0, len(each), len(each))])].mean() for _ in range(1000)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    print(f"| {name} | {own.sum()} | {stated[own].mean():.1%} | {right[own].mean():.1%} | {low:.1%} to {high:.1%} |")


def tracks_of(model: rk.Model, image: Image.Image, truth: Truth, seed: int, asked: argparse.Namespace) -> list[Judged]:
    """Return the tracks of a clip that is made of a picture, judged."""
    rng, (width, height) = np.random.default_rng(seed), image.size
    decision, count = model.decision, len(model.classes)
    sure = dict(zip(model.classes, decision.of(count).tolist(), strict=True))
    tracker, images, truths = Tracker(rate=RATE, sure=sure, calibrated=decision.tracks), [], []
    sizes = rng.uniform(0.72, 0.95) + rng.uniform(-0.006, 0.006) * np.arange(asked.frames)
    sizes[asked.frames // 2 :] *= rng.choice([0.95, 1.05])
    begin, step = rng.uniform(0.3, 0.7, 2), rng.uniform(-0.02, 0.02, 2)
    for number, part in enumerate(sizes.clip(0.6, 1)):
        side = part * np.array([width, height])
        corner = (begin + step * number).clip(0, 1) * (np.array([width, height]) - side)
        seen = image.resize((width, height), Image.Resampling.BILINEAR, box=(*corner, *(corner + side)))
        pixels = np.asarray(seen) * rng.uniform(0.92, 1.08) + rng.normal(0, 4, (height, width, 3))
        images.append(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
        boxes = (truth.boxes.reshape(-1, 2, 2) - corner) / part
        cut = boxes.clip(0, (width, height))
        share = (cut[:, 1] - cut[:, 0]).prod(axis=1) / (boxes[:, 1] - boxes[:, 0]).prod(axis=1)
        kept = share > 0.05  # what is cut to a third is counted neither way
        truths.append(
            replace(truth, boxes=cut.reshape(-1, 4)[kept].astype(np.float32), labels=truth.labels[kept], masks=(),
                    crowd=(truth.crowd | (share < 1 / 3))[kept])
        )  # fmt: skip
    told, predictor = [], replace(model.predictor, decision=with_unsure(decision, count))
    for number, said in enumerate(predictor.predict_many(images, threads=1)):
        told += tracker.add(number, number / RATE, said.objects)
    told += tracker.end()
    return judged(told, truths, classes=model.classes)


if __name__ == "__main__":
    main()
