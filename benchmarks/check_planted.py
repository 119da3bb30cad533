"""Does `check` find what is wrong? Faults are planted in a copy of a data set, and what it lists is held against them.

    python benchmarks/check_planted.py copies --data cifar10 [--sheet unplanted.png] [--limit 5000] [--threads 2]
    python benchmarks/check_planted.py labels --data cifar10 --weights RUN [--share 0.05] [--threads 2]

`copies` plants 100 training pictures as they are and 100 of each alteration in the test part (25 where there are fewer
than 500): saved again, resized, cut to 80 % of the area or more, and all three. It prints the share found of each, and
how many pairs are flagged that were not planted; --sheet draws 50 random ones of those, to be judged by eye. `labels`
gives a share of the test part another class; it prints precision and recall of the list, and of as many pictures drawn
at random. Both print minutes and peak memory of the check. The folder of --data is left alone: the set with faults is a
temporary archive.
"""

import argparse
import io
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import resnetkit as rk
from resnetkit.checking.result import Finding
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.sources import open_data
from resnetkit.runtime import peak_memory

EACH = 100
SHOWN = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("copies", "labels"))
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", default="auto", help="network whose features labels are held against")
    parser.add_argument("--share", type=float, default=0.05, help="labels to make wrong")
    parser.add_argument("--limit", type=int, help="pictures of each part")
    parser.add_argument("--sheet", type=Path, help="picture of pairs that were flagged and not planted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    dataset, rng = open_data(options.data, limit=options.limit), np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "planted.zip"
        (copies if options.what == "copies" else labels)(dataset, rng, archive, options)


def checked(archive: Path, options: argparse.Namespace, *, weights: str) -> rk.Check:
    begin = time.monotonic()
    found = rk.check(archive, weights=weights, threads=options.threads)
    minutes = (time.monotonic() - begin) / 60
    print(f"{len(found.items):,} pictures, {minutes:.2f} minutes, {peak_memory() / 2**20:,.0f} MiB at most")
    for note in found.notes:
        print(note)
    return found


# Copies


def copies(dataset: Dataset, rng: np.random.Generator, archive: Path, options: argparse.Namespace) -> None:
    train = [item for item in dataset.items if item.split in ("train", None)]
    each = EACH if len(train) >= EACH * (1 + len(ALTERED)) else EACH // len(ALTERED)
    kinds = ["as it is"] * EACH + [kind for kind in ALTERED for _ in range(each)]
    planted: dict[str, tuple[str, str]] = {}
    with zipfile.ZipFile(archive, "w") as out:
        names = dict(zip([item.source for item in dataset.items], written(dataset, dataset.items, out), strict=True))
        for number, (kind, place) in enumerate(zip(kinds, rng.permutation(len(train)), strict=False)):
            item = train[place]
            copy = f"test/{item.label}/planted-{number}"
            if kind == "as it is":
                copy += Path(item.source).suffix
                out.writestr(copy, dataset.read(item))
            else:
                copy += ".jpg"
                out.writestr(copy, encoded(ALTERED[kind](dataset.open(item).convert("RGB"), rng), rng))
            planted[f"{archive}::{copy}"] = (kind, f"{archive}::{names[item.source]}")
    found = checked(archive, options, weights="none")
    show_found(found, planted)
    others = [
        finding for kind in ("near across", "near", "near, two labels", "doubtful") for finding in found.of_kind(kind)
        if not planted.keys() & set(finding.sources)
    ]  # fmt: skip
    tested = {source for finding in others if len(set(finding.splits)) > 1 for source in finding.sources}
    tested = {source for source in tested if "::test/" in source}
    print(f"not planted: {len(others):,} pairs flagged, {len(tested):,} test pictures among those across parts")
    if options.sheet and others:
        drawn = [others[place] for place in rng.permutation(len(others))[:SHOWN]]
        sheet(sorted(drawn, key=lambda finding: finding.score or 0), archive, options.sheet)


def written(dataset: Dataset, items: tuple[Item, ...], out: zipfile.ZipFile) -> list[str]:
    """Copy the pictures and return their names in the archive."""
    names = []
    for number, item in enumerate(items):
        names.append(f"{item.split or 'train'}/{item.label}/{number}{Path(item.source).suffix}")
        out.writestr(names[-1], dataset.read(item))
    return names


def show_found(found: rk.Check, planted: Mapping[str, tuple[str, str]]) -> None:
    certain = pairs_of_kinds(found, "identical across", "near across")
    listed = certain | pairs_of_kinds(found, "doubtful")
    for kind in ("as it is", *ALTERED):
        own = [frozenset((copy, source)) for copy, (what, source) in planted.items() if what == kind]
        hits, sure = sum(pair in listed for pair in own), sum(pair in certain for pair in own)
        print(f"{kind:<32} {hits:>3} of {len(own)} found, {sure} of them certain")


def pairs_of_kinds(found: rk.Check, *kinds: str) -> set[frozenset[str]]:
    return {
        frozenset((first, other))
        for kind in kinds
        for finding in found.of_kind(kind)
        for first in finding.sources
        for other in finding.sources
        if other != first
    }


def saved_again(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture


def resized(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """From half to twice the size, by a method of any program."""
    by = 2 ** rng.uniform(-1, 1)
    method = Image.Resampling(
        int(rng.choice([Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]))
    )
    return picture.resize((max(16, round(picture.width * by)), max(16, round(picture.height * by))), method)


def cut(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Anywhere, to 80 % of the area or more."""
    area = rng.uniform(0.8, 0.98)
    width = rng.uniform(area, 1)
    size = int(np.ceil(picture.width * width)), int(np.ceil(picture.height * area / width))
    left, top = (int(rng.integers(0, whole - part + 1)) for whole, part in zip(picture.size, size, strict=True))
    return picture.crop((left, top, left + size[0], top + size[1]))


def all_three(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return resized(cut(picture, rng), rng)


ALTERED: Mapping[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "saved again, quality 50 to 95": saved_again, "resized": resized, "cut": cut, "cut and resized": all_three,
}  # fmt: skip


def encoded(picture: Image.Image, rng: np.random.Generator) -> bytes:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=int(rng.integers(50, 96)))
    return data.getvalue()


def sheet(findings: list[Finding], archive: Path, path: Path) -> None:
    """Draw the pairs side by side, numbered."""
    opened = open_data(archive)
    by_source = {item.source: item for item in opened.items}
    side, columns = 100, 5
    rows = -(-len(findings) // columns)
    page = Image.new("RGB", (columns * (2 * side + 12), rows * (side + 18)), "white")
    pen = ImageDraw.Draw(page)
    for number, finding in enumerate(findings):
        left, top = number % columns * (2 * side + 12), number // columns * (side + 18)
        pen.text((left, top + 2), f"{number + 1}  {finding.why}", fill="black")
        for place, source in enumerate(finding.sources[:2]):
            picture = opened.open(by_source[source]).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
            page.paste(picture, (left + place * (side + 2), top + 16))
    page.save(path)
    print(f"{path}: {len(findings)} pairs")


# Labels


def labels(dataset: Dataset, rng: np.random.Generator, archive: Path, options: argparse.Namespace) -> None:
    items = [item for item in dataset.items if item.split in ("test", None)]
    names = sorted({str(item.label) for item in items})
    wrong = set(rng.permutation(len(items))[: round(options.share * len(items))].tolist())
    sources = set()
    with zipfile.ZipFile(archive, "w") as out:
        for number, item in enumerate(items):
            others = [name for name in names if name != item.label]
            label = others[int(rng.integers(len(others)))] if number in wrong else item.label
            name = f"{label}/{number}{Path(item.source).suffix}"
            out.writestr(name, dataset.read(item))
            if number in wrong:
                sources.add(f"{archive}::{name}")
    found = checked(archive, options, weights=options.weights)
    listed = [finding.sources[0] for finding in found.of_kind("label")]
    show_list("the list", listed, sources)
    show_list(f"its first {len(sources):,}", listed[: len(sources)], sources)
    drawn = [found.items[place].source for place in rng.permutation(len(found.items))[: len(listed)]]
    show_list("as many drawn at random", drawn, sources)


def show_list(what: str, listed: list[str], wrong: set[str]) -> None:
    hits = len(wrong.intersection(listed))
    precision = f"{100 * hits / len(listed):.1f}" if listed else "-"
    print(f"{what:<24} {len(listed):>6,} pictures, precision {precision} %, recall {100 * hits / len(wrong):.1f} %")


if __name__ == "__main__":
    main()
