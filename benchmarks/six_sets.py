"""The sets that fine-tuning is measured on, each written once as what `train` takes, with the part that scores.

What scores is the test part that a set comes with; of the traffic signs, which have none, the tracks whose number a
hash names. Nothing is drawn by chance: the same pictures on every machine. Call `prepare(NAME, FOLDER)`.
"""

import csv
import hashlib
import shutil
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from cold_runs import SHARED
from resnetkit.data.copies import copies_of
from resnetkit.data.decoded.survey import survey
from resnetkit.data.sources import open_data

AROUND = 1.2  # side of a cell's square, times the longer side of its box
SMALLEST = 8  # pixels of a box's shorter side; some boxes are empty
Row = tuple[Path, str, str, str]  # picture, label, part, group


def share(*names: object) -> int:
    """Return a number that is even over names and the same everywhere."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, names)).encode()).digest())


def prepare(name: str, folder: Path) -> Path:
    """Return what `train` takes for a set of `SETS`; written below `folder` where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    done = next(iter(sorted(folder.glob(f"{name}.*"))), None)
    return done or SETS[name](folder.resolve(), name)


def signs(folder: Path, name: str) -> Path:
    """Traffic signs: a third of the tracks of each class scores; each track is one picture."""
    rows = []
    for path in sorted((SHARED / "gtsrb").glob("*/*.png")):
        kind, track = path.parent.name, path.stem.partition("_")[0]
        rows.append((path, kind, "test" if share(kind, track) % 3 == 0 else "train", f"{kind}/{track}"))
    return write_list(folder / f"{name}.csv", rows)


def blood(folder: Path, name: str) -> Path:
    """Blood cells cut from the boxes of `bccd`, by its own parts; the cells of a photo are one group.

    Squares around the cell, black outside the photo. Of the red cells, 85 % of all, one of each photo is taken.
    """
    rows = list[Row]()
    for part in ("train", "val", "test"):
        for photo in (SHARED / "bccd" / "ImageSets" / "Main" / f"{part}.txt").read_text().split():
            picture = Image.open(SHARED / "bccd" / "JPEGImages" / f"{photo}.jpg").convert("RGB")
            for number, (kind, box) in enumerate(cells_of(photo)):
                half = AROUND * max(box[2] - box[0], box[3] - box[1]) / 2
                x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
                path = folder / f"{name}-crops" / kind / f"{photo}-{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.crop((round(x - half), round(y - half), round(x + half), round(y + half))).save(path)
                rows.append((path, kind, part, photo))
    return write_list(folder / f"{name}.csv", rows)


def cells_of(photo: str) -> list[tuple[str, list[int]]]:
    """Return kind and box (left, top, right, bottom) of the cells of a photo that are taken."""
    cells = []
    for found in ElementTree.parse(SHARED / "bccd" / "Annotations" / f"{photo}.xml").iter("object"):
        box = [int(str(found.findtext(f"bndbox/{side}"))) for side in ("xmin", "ymin", "xmax", "ymax")]
        if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST:
            cells.append((str(found.findtext("name")), box))
    red = sorted((cell for cell in cells if cell[0] == "RBC"), key=lambda cell: share(photo, *cell[1]))
    return [cell for cell in cells if cell[0] != "RBC"] + red[:1]


def breast(folder: Path, name: str) -> Path:
    """Breast ultrasound of 28 pixels, by its own parts."""
    return Path(shutil.copy(SHARED / "medmnist" / "breastmnist.npz", folder / f"{name}.npz"))


def breast_without_copies(folder: Path, name: str) -> Path:
    """The same without the pictures of train and val that also lie, perhaps saved again, in a later part."""
    original = SHARED / "medmnist" / "breastmnist.npz"
    dataset, order = open_data(str(original)), ["train", "val", "test"]
    surveyed = survey(dataset, threads=1)
    identities, latest = surveyed.identities, defaultdict[str, int](int)
    pairs = [(one, other) for one, other in copies_of(dataset, surveyed, parts_alone=True)]
    for one, other in [*((item, item) for item in dataset.items), *pairs]:
        last = max(order.index(str(item.split)) for item in (one, other))
        for item in (one, other):
            latest[identities[item.source]] = max(latest[identities[item.source]], last)
    arrays = dict(np.load(original))
    for place, part in enumerate(order):
        items = [item for item in dataset.items if item.split == part]
        stays = np.array([latest[identities[item.source]] == place for item in items])
        assert len(stays) == len(arrays[f"{part}_images"])
        arrays |= {f"{part}_{what}": arrays[f"{part}_{what}"][stays] for what in ("images", "labels")}
    np.savez(folder / f"{name}.npz", **arrays)
    return folder / f"{name}.npz"


def lights(folder: Path, name: str) -> Path:
    """Traffic lights, by their own parts."""
    items = open_data(str(SHARED / "traffic_lights")).items
    return write_list(folder / f"{name}.csv", [(Path(i.source), str(i.label), str(i.split), "") for i in items])


def cifar(folder: Path, name: str) -> Path:
    """CIFAR-10: 10 or 50 training pictures of each class, as the name ends, and 2,000 of the test part."""
    most, count = {"train": int(name.rpartition("-")[2]), "test": 200}, defaultdict[tuple[str, str], int](int)
    dataset, images, labels = open_data(str(SHARED / "cifar10.zip")), defaultdict(list), defaultdict(list)
    for item in sorted(dataset.items, key=lambda item: share(Path(item.source).name, item.label, item.split)):
        part, kind = str(item.split), str(item.label)
        if count[part, kind] < most[part]:
            count[part, kind] += 1
            images[part].append(np.asarray(dataset.open(item).convert("RGB")))
            labels[part].append(dataset.classes.index(kind))
    arrays = {f"{part}_images": np.stack(found) for part, found in images.items()}
    np.savez(folder / f"{name}.npz", **arrays, **{f"{part}_labels": np.array(found) for part, found in labels.items()})
    return folder / f"{name}.npz"


def pneumonia(folder: Path, name: str) -> Path:
    """Chest X-rays of 28 pixels, by their own parts."""
    return Path(shutil.copy(SHARED / "medmnist" / "pneumoniamnist.npz", folder / f"{name}.npz"))


def write_list(path: Path, rows: Iterable[Row]) -> Path:
    """Write a list of pictures as `train` reads it."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "label", "split", "group"])
        writer.writerows((picture.resolve(), *others) for picture, *others in rows)
    return path


def with_test_held_out(data: Path) -> Path:
    """Return the set with its test part as the held-out one, so that each epoch is scored by it; val goes to train.

    Held-out pictures choose nothing where the last epoch is the model.
    """
    path = data.with_name(f"held-out-{data.name}")
    if data.suffix == ".csv":
        becomes = {"train": "train", "val": "train", "test": "val"}
        with open(data, newline="", encoding="utf-8") as file:
            rows = [(Path(r["image_path"]), r["label"], becomes[r["split"]], r["group"]) for r in csv.DictReader(file)]
        return write_list(path, rows)
    arrays = np.load(data)
    joined = {"train": [part for part in ("train", "val") if f"{part}_images" in arrays], "val": ["test"]}
    named = {
        f"{part}_{what}": np.concatenate([arrays[f"{each}_{what}"] for each in parts])
        for part, parts in joined.items()
        for what in ("images", "labels")
    }
    np.savez(path, **named)
    return path


SETS = {
    "signs": signs,
    "blood": blood,
    "breast": breast,
    "breast-clean": breast_without_copies,
    "lights": lights,
    "cifar-10": cifar,
    "cifar-50": cifar,
    "pneumonia": pneumonia,
}
