"""Measure the way from a folder of JPEGs to batches for the network, at 224 pixels on one core.

    python benchmarks/input_path.py PHOTOS [--work FOLDER] [--only speed|memory] [--divide 1]

PHOTOS is any folder of JPEGs. Its files are repeated, each with a comment of its own, so that each is other content.
Measured, each in a process of its own:

- the first epoch (reading, decoding, keeping, random parts, mirror, normalising) against the second, which starts from
  what is kept, and against an epoch of the usual program: torchvision's ImageFolder with RandomResizedCrop, mirror,
  ToTensor and Normalize. With the photos as they are, and enlarged to what the web and cameras give. Seconds are those
  that the process computed, so that other work on the machine counts little;
- peak memory of the process itself (resident pages that lie in no file) with 2,000 and with 20,000 photos, in three
  epochs. `--divide 10` takes a tenth of the photos everywhere, for a look.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from resnetkit.runtime import Runtime

SPEEDS = ((None, 640), (1_600, 320), (4_000, 160))  # longer side of the photos (None: as they are), how many
COUNTS = (2_000, 20_000)
ROUNDS = 3
BATCH = 128


def enlarged(photo: Path, longer_side: int | None) -> bytes:
    """Return a JPEG like `photo` with this longer side."""
    if longer_side is None:
        return photo.read_bytes()
    buffer = io.BytesIO()
    with Image.open(photo) as image:
        scale = longer_side / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def make_photos(folder: Path, photos: list[Path], count: int, *, longer_side: int | None = None) -> None:
    """Fill `folder` with `count` JPEGs in two classes, a fifth of them for validation."""
    contents = [enlarged(photo, longer_side) for photo in photos[:: max(1, len(photos) // 50)]]
    for number in range(count):
        content = contents[number % len(contents)]
        note = f"{number:08}".encode()
        comment = b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note
        part = "val" if number % 5 == 4 else "train"
        path = folder / part / ("even", "odd")[number % 2] / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[:2] + comment + content[2:])


def on_one_core() -> Runtime:
    """Keep this process to one core, and set torch as a run does."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    runtime = Runtime(device="cpu", dtype="fp32", threads=1, channels_last=True)
    runtime.apply()
    return runtime


def seconds(what: Callable[[], object]) -> float:
    """Return the seconds that this process computed during `what`."""
    before = time.process_time()
    what()
    return time.process_time() - before


class Ours:
    """The training batches of this package: `begin` is what stands before the first of them."""

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        self.folder, self.runtime = folder, runtime

    def begin(self) -> None:
        """Read the folder and decode what no file has."""
        from resnetkit.data.batches import Batches
        from resnetkit.data.preflight import prepare_training
        from resnetkit.data.prepared import Division, Reading
        from resnetkit.data.preprocess import Preprocess
        from resnetkit.data.sources import open_data
        from resnetkit.training.recipe import Augment
        from resnetkit.training.steps.augmenter import build_augmenter

        preprocess = Preprocess.for_size(224)
        prepared = prepare_training(
            open_data(self.folder), preprocess=preprocess, reading=Reading(threads=1), whole_short_side=258,
            division=Division(holds_out=False),
        )  # fmt: skip
        self.batches = Batches(
            prepared.parts["train"], preprocess=preprocess,
            augment=build_augmenter(Augment(crop="random_resized"), preprocess, device="cpu"), batch_size=BATCH, seed=0,
            runtime=self.runtime,
        )  # fmt: skip

    def epoch(self, number: int) -> None:
        """Make every batch of an epoch."""
        for step in range(self.batches.steps_per_epoch):
            self.batches.get(self.batches.indices(number, step), number, step)


class Usual:
    """What is copied from tutorials, with one worker: this process."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.data import DataLoader
        from torchvision import transforms
        from torchvision.datasets import ImageFolder

        steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        steps.append(transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        self.loader = DataLoader(
            ImageFolder(str(folder / "train"), transforms.Compose(steps)), batch_size=BATCH, shuffle=True
        )

    def epoch(self) -> None:
        """Make every batch of an epoch."""
        for _ in self.loader:
            pass


def measure_speed(folder: Path, count: int) -> dict[str, list[float]]:
    """Return images/s of the kinds of epoch, by computed seconds; the two programs take turns."""
    runtime = on_one_core()
    images = count * 4 / 5
    usual = Usual(folder)
    rates: dict[str, list[float]] = {name: [] for name in ("first", "next run", "second", "usual")}
    Ours(folder, runtime).begin()  # imports, and the photos once into the page cache
    for number in range(ROUNDS):
        os.environ["RESNETKIT_CACHE"] = tempfile.mkdtemp(dir=folder.parent)
        for name in ("first", "next run"):
            ours = Ours(folder, runtime)
            rates[name].append(images / seconds(lambda ours=ours: (ours.begin(), ours.epoch(0))))
        rates["second"].append(images / seconds(lambda ours=ours, number=number: ours.epoch(number + 1)))
        rates["usual"].append(images / seconds(usual.epoch))
        shutil.rmtree(os.environ["RESNETKIT_CACHE"])
    return rates


def measure_memory(folder: Path) -> dict[str, float]:
    """Return the resident bytes that lie in no file: before, at most while decoding, at most in three epochs."""
    ours, peak, done = Ours(folder, on_one_core()), 0, threading.Event()
    before = anonymous_bytes()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    ours.begin()
    begun = max(peak, anonymous_bytes())
    for number in range(3):
        ours.epoch(number)
    done.set()
    watcher.join()
    return {"before": before, "decoding": begun, "peak": peak}


def anonymous_bytes() -> int:
    """Return the resident bytes of this process that lie in no file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no RssAnon: this measurement needs Linux")


def in_a_process(kind: str, folder: Path, count: int) -> dict[str, Any]:
    """Run one measurement in a process of its own, with a cache of its own."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as cache:
        done = subprocess.run(
            [sys.executable, __file__, str(folder), "--measure", kind, "--count", str(count)],
            env=os.environ | {"RESNETKIT_CACHE": cache, "OMP_NUM_THREADS": "1"},
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    return json.loads(done.stdout)


def report_speed(work: Path, photos: list[Path], divide: int) -> None:
    """Print images/s for photos of several sizes."""
    print("images/s on one core, by the seconds computed (least to most of three)")
    print(
        f"{'photos':<12} {'first epoch':>18} {'of the next run':>18} {'second epoch':>18} {'usual program':>18}", end=""
    )
    print("  second/first  second/usual")
    for longer_side, number in SPEEDS:
        count = number // divide
        make_photos(work / "speed", photos, count, longer_side=longer_side)
        rates = in_a_process("speed", work / "speed", count)
        shutil.rmtree(work / "speed")
        middle = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
        print(f"{longer_side or 'as they are':<12}", end="")
        for name in ("first", "next run", "second", "usual"):
            print(f" {middle[name]:>6.0f} ({min(rates[name]):.0f} to {max(rates[name]):.0f})".rjust(19), end="")
        print(f"  {middle['second'] / middle['first']:>12.1f}  {middle['second'] / middle['usual']:>12.1f}", flush=True)


def report_memory(work: Path, photos: list[Path], divide: int) -> None:
    """Print the memory of the process for sets of two sizes."""
    for number in COUNTS:
        count = number // divide
        make_photos(work / "memory", photos, count)
        memory = in_a_process("memory", work / "memory", count)
        shutil.rmtree(work / "memory")
        shown = ", ".join(f"{name} {value / 2**20:.0f} MiB" for name, value in memory.items())
        print(f"{count:>6} photos: memory {shown}", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--work", type=Path, help="where the folders are made (6 GB); else a temporary folder")
    parser.add_argument("--only", choices=("speed", "memory"))
    parser.add_argument("--divide", type=int, default=1)
    parser.add_argument("--measure", choices=("speed", "memory"), help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        speed = asked.measure == "speed"
        print(json.dumps(measure_speed(asked.photos, asked.count) if speed else measure_memory(asked.photos)))
        return
    photos = sorted(path for path in asked.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    with tempfile.TemporaryDirectory(dir=asked.work) as work:
        if asked.only != "memory":
            report_speed(Path(work), photos, asked.divide)
        if asked.only != "speed":
            report_memory(Path(work), photos, asked.divide)


if __name__ == "__main__":
    main()
