"""The same objects on the same pictures, written as every kind of annotated set."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resnetkit.data.dataset import Dataset
from resnetkit.data.view import View

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Shot:
    """A picture of 40 x 30 pixels with objects that fill their boxes."""

    name: str
    part: str
    objects: tuple[tuple[str, Box], ...] = ()
    size: tuple[int, int] = (40, 30)


SHOTS = (
    Shot("one.jpg", "train", (("cat", (2, 3, 12, 9)), ("big dog", (20, 10, 40, 30)))),
    Shot("two words.png", "train", (("개미", (0, 0, 5, 5)), ("cat", (6, 20, 16, 28)))),
    Shot("empty.jpg", "train"),
    Shot("개미.jpg", "val", (("big dog", (10, 10, 30, 20)), ("cat", (0, 21, 40, 30)), ("개미", (1, 1, 4, 8)))),
)
CLASSES = ("big dog", "cat", "개미")
# COCO's ids leave gaps, and no kind numbers classes in the order of their names.
IDS = {"cat": 17, "개미": 3, "big dog": 90}
NUMBERS = {"cat": 0, "개미": 1, "big dog": 2}


def picture(shot: Shot, *, orientation: int = 1) -> bytes:
    """Return a picture whose pixels differ from those of others."""
    pixels = np.full((shot.size[1], shot.size[0], 3), sum(shot.name.encode()) % 200, np.uint8)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(buffer, "PNG" if shot.name.endswith("png") else "JPEG", exif=exif)
    return buffer.getvalue()


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def coco(shots: Sequence[Shot], *, outline: Callable[[Box, tuple[int, int]], Any] | None = None) -> dict[str, Any]:
    """Return the content of a COCO file."""
    images, annotations = [], []
    for number, shot in enumerate(shots, 100):
        width, height = shot.size
        images.append({"id": number, "file_name": shot.name, "width": width, "height": height})
        for label, box in shot.objects:
            left, top, right, bottom = box
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": IDS[label], "iscrowd": 0,
                "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top),
                "segmentation": outline(box, shot.size) if outline else [],
            })  # fmt: skip
    categories = [{"id": number, "name": name, "supercategory": "none"} for name, number in IDS.items()]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def polygon(box: Box, _: tuple[int, int]) -> list[list[float]]:
    left, top, right, bottom = box
    return [[left, top, right, top, right, bottom, (left + right) / 2, bottom, left, bottom]]


def run_lengths(box: Box, size: tuple[int, int]) -> dict[str, Any]:
    left, top, right, bottom = box
    bitmap = np.zeros((size[1], size[0]), bool)
    bitmap[top:bottom, left:right] = True
    flat = np.concatenate([[False], bitmap.ravel(order="F"), [not bitmap[-1, -1]]])
    counts = np.diff(np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1])]))
    return {"size": [size[1], size[0]], "counts": counts.tolist()}


def write_coco(root: Path, shots: Sequence[Shot] = SHOTS, **how: Any) -> Path:
    for part in dict.fromkeys(shot.part for shot in shots):
        own = [shot for shot in shots if shot.part == part]
        put(root / "annotations" / f"instances_{part}2017.json", json.dumps(coco(own, **how)))
        for shot in own:
            put(root / f"{part}2017" / shot.name, picture(shot))
    return root


def xml(shot: Shot) -> str:
    width, height = shot.size
    objects = "".join(
        f"<object><name>{label}</name><difficult>0</difficult><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>\n"
        for label, (left, top, right, bottom) in shot.objects
    )
    return (
        f"<annotation>\n<filename>{shot.name}</filename>\n<size><width>{width}</width><height>{height}</height>"
        f"<depth>3</depth></size>\n{objects}</annotation>\n"
    )


def write_voc(root: Path, shots: Sequence[Shot] = SHOTS) -> Path:
    for shot in shots:
        put(root / "JPEGImages" / shot.name, picture(shot))
        put(root / "Annotations" / f"{Path(shot.name).stem}.xml", xml(shot))
    for part in dict.fromkeys(shot.part for shot in shots):
        names = [Path(shot.name).stem for shot in shots if shot.part == part]
        put(root / "ImageSets" / "Main" / f"{part}.txt", "\n".join(names) + "\n")
    return root


def lines(shot: Shot) -> str:
    width, height = shot.size
    return "".join(
        f"{NUMBERS[label]} {(left + right) / 2 / width:.6f} {(top + bottom) / 2 / height:.6f} "
        f"{(right - left) / width:.6f} {(bottom - top) / height:.6f}\n"
        for label, (left, top, right, bottom) in shot.objects
    )


def write_yolo(root: Path, shots: Sequence[Shot] = SHOTS) -> Path:
    put(
        root / "data.yaml",
        "path: .\ntrain: images/train\nval: images/val\n\nnames:\n  0: cat\n  1: 개미\n  2: big dog\n",
    )
    for shot in shots:
        put(root / "images" / shot.part / shot.name, picture(shot))
        put(root / "labels" / shot.part / f"{Path(shot.name).stem}.txt", lines(shot))
    return root


def write_masks(root: Path, shots: Sequence[Shot] = SHOTS, *, mode: str = "P") -> Path:
    for shot in shots:
        put(root / "images" / shot.part / shot.name, picture(shot))
        for folder in CLASSES:
            values = np.zeros((shot.size[1], shot.size[0]), np.uint8)
            own = [box for label, box in shot.objects if label == folder]
            for number, (left, top, right, bottom) in enumerate(own, 1):
                values[top:bottom, left:right] = number
            drawn = Image.fromarray(values)
            if mode == "P":
                drawn = drawn.convert("P")
                drawn.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
            buffer = io.BytesIO()
            drawn.save(buffer, "PNG")
            put(root / "masks" / shot.part / folder / f"{Path(shot.name).stem}.png", buffer.getvalue())
    return root


WRITERS: dict[str, Callable[[Path], Path]] = {
    "coco": write_coco, "voc": write_voc, "yolo": write_yolo, "masks": write_masks,
}  # fmt: skip

Found = dict[str, tuple[str | None, tuple[str, ...], set[tuple[str, tuple[float, ...]]]]]


def found(data: Dataset) -> Found:
    """Return part, labels and objects of each picture by its name."""
    return {
        Path(item.source).name: (
            item.split, item.labels or (),
            {(one.label, tuple(round(side, 2) for side in one.box)) for one in item.marks or ()},
        )
        for item in data.items
    }  # fmt: skip


def expected(shots: Sequence[Shot] = SHOTS) -> Found:
    return {
        shot.name: (
            shot.part, tuple(name for name in CLASSES if any(name == label for label, _ in shot.objects)),
            {(label, tuple(float(side) for side in box)) for label, box in shot.objects},
        )
        for shot in shots
    }  # fmt: skip


def bitmaps(data: Dataset) -> dict[tuple[str, str, tuple[float, ...]], np.ndarray]:
    """Return which pixels each object has."""
    whole = View.whole(40, 30)
    return {
        (Path(item.source).name, one.label, tuple(round(side, 2) for side in one.box)): one.mask.into(whole)
        for item in data.items for one in item.marks or () if one.mask is not None
    }  # fmt: skip


def said(data: Dataset, words: str) -> str:
    """Return the one note with these words."""
    (note,) = [note for note in data.notes if words in note]
    return note
