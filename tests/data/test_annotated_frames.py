"""Boxes and the frame of their picture: what reaches over the border, and pictures that are turned by EXIF."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from resnetkit.data.sources import open_data
from resnetkit.data.view import View

from .annotated_sets import SHOTS, Shot, picture, polygon, put, run_lengths, write_coco, write_voc, write_yolo


def with_box(root: Path, box: list[float]) -> Path:
    """Give the first object of a COCO set another box."""
    file = write_coco(root) / "annotations/instances_train2017.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"] = box
    file.write_text(json.dumps(content))
    return root


@pytest.mark.parametrize(
    ("box", "inside", "note"),
    [
        ([-1.5, 3, 10, 6], (0, 3, 8.5, 9), "1 box over the border by a pixel or two"),
        ([35, 3, 7, 6], (35, 3, 40, 9), "1 box over the border by a pixel or two"),
        ([5, 20, 10, 14], (5, 20, 15, 30), "1 box far over the border, the middle inside: cut there"),
        ([0, 0, 40, 30], (0, 0, 40, 30), ""),
    ],
)
def test_boxes_that_reach_over_the_border_are_cut_and_counted(tmp_path, box, inside, note):
    data = open_data(with_box(tmp_path, box))
    assert data.items[0].marks[0].box == inside
    assert [words for words in data.notes if "border" in words][:1] == [
        words for words in data.notes if note and words.startswith(note)
    ]


def turned(shot: Shot, orientation: int) -> Shot:
    """Return a picture as it is stored, of which an EXIF orientation makes `shot`."""
    return Shot(shot.name, shot.part, size=(shot.size[1], shot.size[0]) if orientation >= 5 else shot.size)


def stored(box: tuple[int, ...], orientation: int, *, width: int, height: int) -> tuple[int, int, int, int]:
    """Return where a box of the upright picture lies on the stored one, found by turning pixels."""
    left, top, right, bottom = box
    size = (height, width) if orientation >= 5 else (width, height)
    for x0 in range(size[0]):
        for y0 in range(size[1]):
            pixels = np.zeros((size[1], size[0]), np.uint8)
            wide, high = (bottom - top, right - left) if orientation >= 5 else (right - left, bottom - top)
            if x0 + wide > size[0] or y0 + high > size[1]:
                continue
            pixels[y0 : y0 + high, x0 : x0 + wide] = 255
            image = Image.fromarray(pixels)
            image.getexif()[0x0112] = orientation
            if ImageOps.exif_transpose(image).getbbox() == box:
                return x0, y0, x0 + wide, y0 + high
    raise AssertionError


@pytest.mark.parametrize("orientation", range(2, 9))
def test_boxes_of_turned_pictures_are_in_the_frame_of_their_annotations_size(tmp_path, orientation):
    shot = Shot("1.jpg", "train", (("cat", (2, 3, 12, 9)), ("big dog", (10, 1, 15, 12))), size=(16, 12))
    frame = turned(shot, orientation)
    for kind, write in (("coco", write_coco), ("voc", write_voc)):
        upright, unturned = tmp_path / kind / "upright", tmp_path / kind / "unturned"
        moved = tuple((name, stored(box, orientation, width=16, height=12)) for name, box in shot.objects)
        for root, as_told in ((upright, shot), (unturned, Shot("1.jpg", "train", moved, size=frame.size))):
            write(root, [as_told])
            (file,) = root.rglob("1.jpg")
            put(file, picture(frame, orientation=orientation))
            data = open_data(root)
            said = [note for note in data.notes if "EXIF" in note]
            if orientation < 5:  # the size is the same either way
                assert "1 picture turned by EXIF to the same size: boxes are taken as drawn on the upright" in said[0]
                assert data.items[0].marks[0].box == as_told.objects[0][1]
                continue
            assert [one.box for one in data.items[0].marks] == [box for _, box in shot.objects]
            assert bool(said) == (root == unturned)
            assert all("1 picture turned by EXIF, with boxes of the picture as it is stored" in note for note in said)


@pytest.mark.parametrize("outline", ["polygons", "run lengths"])
def test_outlines_are_turned_with_their_picture(tmp_path, outline):
    shot = Shot("1.jpg", "train", (("cat", (2, 3, 9, 12)),), size=(12, 16))  # as it is stored
    write_coco(tmp_path, [shot], outline=polygon if outline == "polygons" else run_lengths)
    put(tmp_path / "train2017/1.jpg", picture(shot, orientation=6))
    (one,) = open_data(tmp_path).items[0].marks
    left, top, right, bottom = map(int, one.box)
    assert one.box == (4, 2, 13, 9)  # a quarter clockwise: x is 16 - y
    bitmap = one.mask.into(View.whole(16, 12))
    assert bitmap[top:bottom, left:right].all()
    assert bitmap.sum() == 63


def test_boxes_of_yolo_are_those_of_the_upright_picture(tmp_path):
    root = write_yolo(tmp_path)
    shot = SHOTS[0]
    put(root / "images/train/one.jpg", picture(turned(shot, 6), orientation=6))
    data = open_data(root)
    (item,) = [item for item in data.items if item.source.endswith("one.jpg")]
    assert [one.box for one in item.marks] == [box for _, box in shot.objects]
    (note,) = [note for note in data.notes if "EXIF" in note]
    assert note.startswith("1 picture turned by EXIF: boxes are taken as drawn on the upright picture")


def test_annotations_without_sizes_are_taken_as_of_their_picture(tmp_path):
    file = write_coco(tmp_path) / "annotations/instances_train2017.json"
    content = json.loads(file.read_text())
    for one in content["images"]:
        del one["width"]
    file.write_text(json.dumps(content))
    assert any("3 pictures without a size in the annotation" in note for note in open_data(tmp_path).notes)


def test_only_headers_are_read_of_pictures(tmp_path):
    root = write_voc(tmp_path)
    big = put(root / "JPEGImages/one.jpg", picture(SHOTS[0]) + b"\0" * 1_000_000)
    assert big.stat().st_size > 1_000_000
    assert len(open_data(root)) == 4
