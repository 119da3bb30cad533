"""Measure what stands between `train` and its first step: seconds of the processor, and how often a picture is read.

    python benchmarks/first_step.py [CIFAR10.zip] [--photos FOLDER] [--work FOLDER]

In one run, each line in a process of its own with one thread: a bare loop that reads and decodes the same files with
Pillow; `train --dry-run` with an empty cache; `train` up to its first step with an empty cache, again, and `resume` of
the second. CIFAR10.zip is the set as an archive; of --photos, a folder of JPEGs, 1,000 are made that differ. Seconds
are user and system time of the whole process, its start and torch included, so that other work counts little. The
network is small and begins at random: no features are computed before the first step.
"""

import argparse
import io
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOS = 1_000
BARE = """
import io, sys, resource
from pathlib import Path
from zipfile import ZipFile
from PIL import Image
if sys.argv[1].endswith(".zip"):
    archive = ZipFile(sys.argv[1])
    files = (archive.read(name) for name in archive.namelist() if not name.endswith("/"))
else:
    files = (path.read_bytes() for path in sorted(Path(sys.argv[1]).rglob("*.jpg")))
begin, count = resource.getrusage(resource.RUSAGE_SELF), 0
for data in files:
    Image.open(io.BytesIO(data)).load()
    count += 1
end = resource.getrusage(resource.RUSAGE_SELF)
print(end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime, count, count)
"""
OURS = """
import os, resource, sys
from resnetkit.data.dataset import Dataset
reads, sources, original = 0, set(), Dataset.read

def read(dataset, item):
    global reads
    reads += 1
    sources.add(item.source)
    return original(dataset, item)

def told(*_):
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, reads, len(sources), file=sys.__stdout__, flush=True)
    os._exit(0)

Dataset.read = read
from resnetkit.cli import main
if "--dry-run" not in sys.argv:
    from resnetkit.training.loop import Loop
    Loop.run = told
sys.stdout = open(os.devnull, "w")  # reports go there
try:
    main()
finally:
    told()
"""
PLAIN = ("--model", "resnet8", "--weights", "none", "--recipe", "scratch", "--quiet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cifar10", nargs="?")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--work", help="folder for the photos and caches")
    asked = parser.parse_args()
    print(f"{processor()}, one thread")
    with tempfile.TemporaryDirectory(dir=asked.work) as work:
        if asked.cifar10:
            report(str(Path(asked.cifar10).resolve()), Path(work) / "cifar10")
        if asked.photos:
            make_photos(Path(work) / "photos", asked.photos)
            report(str(Path(work) / "photos"), Path(work) / "of_photos")


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def make_photos(folder: Path, photos: Path) -> None:
    """Write JPEGs in two classes: cut differently out of the photos, so that no two are one."""
    paths, rng = sorted(photos.rglob("*.jpg")), np.random.default_rng(0)
    for number in range(PHOTOS):
        with Image.open(paths[number % len(paths)]) as image:
            width, height = image.size
            share = rng.uniform(0.7, 1)
            left, top = (int(rng.uniform(0, side * (1 - share))) for side in (width, height))
            part = image.convert("RGB").crop((left, top, left + int(width * share), top + int(height * share)))
        path = folder / "ab"[number % 2] / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        part.resize((384, max(1, 384 * part.height // part.width)), Image.Resampling.BICUBIC).save(file, "JPEG")
        path.write_bytes(file.getvalue())


def report(data: str, work: Path) -> None:
    work.mkdir()
    bare = measured(BARE, (data,), work)
    print(f"{Path(data).name}: {bare[1]:,} pictures; the bare loop {bare[0]:.1f} s, one read of each")
    train = ("train", data, *PLAIN)
    runs = {
        "train --dry-run, empty cache": ((*train, "--dry-run"), "dry"), "train, empty cache": (train, "kept"),
        "train again": ((*train, "--seed", "1", "--name", "again"), "kept"),
        "resume": (("resume", "again", "--quiet"), "kept"),
    }  # fmt: skip
    for what, (arguments, cache) in runs.items():
        seconds, reads, pictures = measured(OURS, arguments, work, cache=cache)
        print(f"  {what:<30} {seconds:6.1f} s, {seconds / bare[0]:4.2f} x, {reads / pictures:.2f} reads of each")


def measured(program: str, arguments: tuple[str, ...], work: Path, *, cache: str = "none") -> tuple[float, int, int]:
    """Return seconds of the processor, reads, and how many pictures were read."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RESNETKIT_CACHE": str(work / cache)}
    threads = ("--threads", "1") if arguments[0] == "train" else ()
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, *threads], cwd=work, env=environment, capture_output=True, text=True
    )
    try:
        seconds, reads, pictures = done.stdout.split()[-3:]
    except ValueError:
        raise SystemExit(f"{' '.join(arguments)}:\n{done.stdout}{done.stderr}") from None
    return float(seconds), int(reads), int(pictures)


if __name__ == "__main__":
    main()
