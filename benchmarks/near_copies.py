"""Which pictures does training keep on one side as copies? Copies are planted, and sets that have none are looked at.

    python benchmarks/near_copies.py planted DATA... [--seeds 3]
    python benchmarks/near_copies.py none DATA... [--sheet pairs.png]

`planted` adds 100 pictures saved again as JPEG (quality 75 to 95) and 100 made smaller (by half, four methods, every
third as JPEG) to the pictures of DATA, in one part, and prints how many training takes for copies, and how many lie on
one side with their originals in every one of the splits. `none` prints the pairs that training acts on in DATA, whose
pixels differ; --sheet draws at most 50 of them, to be judged by eye. `digits32` is scikit-learn's digits at 32 pixels.
"""

import argparse
import io
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from resnetkit.data.copies import Pairs, copies_of
from resnetkit.data.dataset import Dataset
from resnetkit.data.decoded.survey import survey
from resnetkit.data.preflight import prepare_training
from resnetkit.data.prepared import Division, Reading
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import open_data

EACH = 100
SHOWN = 50
WAYS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("planted", "none"))
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="pictures of each part")
    parser.add_argument("--sheet", type=Path, help="picture of the pairs that training acts on")
    asked = parser.parse_args()
    for data in asked.data:
        with tempfile.TemporaryDirectory() as folder:
            dataset = opened(data, Path(folder), limit=asked.limit)
            planted(dataset, Path(folder) / "planted", asked) if asked.what == "planted" else none(dataset, asked)


def opened(data: str, folder: Path, *, limit: int | None) -> Dataset:
    if data != "digits32":
        return open_data(data, limit=limit)
    digits = open_data("digits")
    for number, item in enumerate(digits.items):
        path = folder / "digits32" / str(item.label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        digits.open(item).resize((32, 32), Image.Resampling.BICUBIC).save(path)
    return open_data(folder / "digits32")


def in_one_part(dataset: Dataset) -> Dataset:
    return replace(dataset, items=tuple(replace(item, split="train") for item in dataset.items))


def pairs_of(dataset: Dataset) -> tuple[Pairs, float]:
    """Return the pairs that training acts on, of unequal pixels, and the seconds that finding them took."""
    dataset = in_one_part(dataset)
    surveyed = survey(dataset, threads=1)
    begin = time.process_time()
    return copies_of(dataset, surveyed, parts_alone=False), time.process_time() - begin


def none(dataset: Dataset, asked: argparse.Namespace) -> None:
    pairs, seconds = pairs_of(dataset)
    print(f"{dataset.name}: {len(dataset):,} pictures, {len(pairs):,} pairs of unequal pixels, {seconds:.2f} s")
    if asked.sheet and pairs:
        rows = []
        for pair in pairs[:SHOWN]:
            both = [dataset.open(item).convert("RGB").resize((96, 96)) for item in pair]
            rows.append(np.concatenate([np.asarray(picture) for picture in both], axis=1))
        Image.fromarray(np.concatenate(rows)).save(asked.sheet)


def planted(dataset: Dataset, folder: Path, asked: argparse.Namespace) -> None:
    rng, written = np.random.default_rng(0), 0
    for number in rng.permutation(len(dataset)):
        item = dataset.items[number]
        picture = dataset.open(item).convert("RGB")
        name = folder / str(item.label)
        name.mkdir(parents=True, exist_ok=True)
        suffix = Path(item.source).suffix
        data = dataset.read(item)
        assert isinstance(data, bytes)
        if min(picture.size) < 32 or written == 2 * EACH:
            (name / f"{number}{suffix}").write_bytes(data)
            continue
        kind = "again" if written < EACH else "smaller"
        (name / f"{kind}-{written}{suffix}").write_bytes(data)
        copy, end = altered(picture, kind, written, rng)
        (name / f"{kind}-{written}-copy{end}").write_bytes(copy)
        written += 1
    pairs, seconds = pairs_of(open_data(folder))
    found = {frozenset(Path(item.source).stem.removesuffix("-copy") for item in pair) for pair in pairs}
    parted: set[str] = set()
    for seed in range(asked.seeds):
        size = min(32, 4 * (survey_side(folder) // 4))
        items = prepare_training(
            open_data(folder), preprocess=Preprocess.for_size(size), reading=Reading(threads=1),
            division=Division(seed=seed),
        ).items  # fmt: skip
        side = {Path(item.source).stem: item.split for item in items}
        parted |= {name for name in side if side[name] != side[name.removesuffix("-copy")]}
    print(f"{dataset.name}: {len(dataset):,} pictures, {len(pairs):,} pairs, {seconds:.2f} s")
    for kind in ("again", "smaller"):
        hits = sum(len(names) == 1 and next(iter(names)).startswith(kind) for names in found)
        apart = sum(name.startswith(kind) for name in parted)
        print(
            f"  {kind:<8} {hits:>3} of {EACH} taken for copies, {EACH - apart:>3} never parted in {asked.seeds} splits"
        )
    print(f"  others   {sum(len(names) == 2 for names in found):>3} pairs that were not planted")


def survey_side(folder: Path) -> int:
    return survey(open_data(folder, limit=50), threads=1).median_short_side


def altered(picture: Image.Image, kind: str, number: int, rng: np.random.Generator) -> tuple[bytes, str]:
    """Return the copy and its suffix."""
    if kind == "smaller":
        size = max(1, picture.width // 2), max(1, picture.height // 2)
        picture = picture.resize(size, WAYS[number % len(WAYS)])
    file = io.BytesIO()
    if kind == "again" or number % 3 == 0:
        picture.save(file, "JPEG", quality=int(rng.integers(75, 96)))
        return file.getvalue(), ".jpg"
    picture.save(file, "PNG")
    return file.getvalue(), ".png"


if __name__ == "__main__":
    main()
