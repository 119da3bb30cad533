"""Faults of annotations: each is one clear line with file, object and mend, before anything is learnt."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resnetkit.data.sources import annotated, open_data
from resnetkit.errors import DataError

from .annotated_sets import SHOTS, Shot, coco, picture, put, run_lengths, write_coco, write_voc, write_yolo, xml

# Where a picture or a class is left out, the others still have all classes of the validation part.
MORE = Shot("spare.jpg", "train", (("big dog", (1, 2, 30, 20)), ("개미", (3, 3, 9, 9))))
LAST = Shot("last.jpg", "val", (("개미", (0, 0, 7, 5)),))
SHOTS = (*SHOTS[:3], MORE, LAST)
OTHER = Shot("other.jpg", "train", size=(30, 20))


def refused(root: Path) -> str:
    """Return the one line with which a set is refused, and check what leaving the fault out leaves."""
    with pytest.raises(DataError) as raised:
        open_data(root)
    line = str(raised.value)
    assert "\n" not in line
    (fault,) = annotated.faults_of(root)
    assert line == f"{fault}, or leave it out with --bad-images skip"
    assert fault.file.startswith(str(root))
    assert fault.why
    assert fault.mend
    return line.replace(f"{root}/", "")


# COCO


def first(content: dict[str, Any]) -> dict[str, Any]:
    return content["annotations"][0]


def to_first(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: first(content).update(values)


def without(entry: Callable[[dict[str, Any]], dict[str, Any]], key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: entry(content).pop(key)


def image(content: dict[str, Any]) -> dict[str, Any]:
    return content["images"][0]


def category(content: dict[str, Any]) -> dict[str, Any]:
    return content["categories"][0]


def more(of: str, entry: Callable[[dict[str, Any]], Any], **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[of].append({**entry(content), **values})


OF_FIRST = r", image 100 \(one.jpg\), annotation 1 \(cat\): "
COCO_FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "negative width": (
        to_first(bbox=[12, 3, -10, 6]),
        OF_FIRST + r"its bbox has a negative size \(-10 x 6\); COCO boxes are",
    ),
    "negative height": (
        to_first(bbox=[2, 9, 10, -6]),
        OF_FIRST + r"its bbox has a negative size \(10 x -6\); COCO boxes are",
    ),
    "no width": (
        to_first(bbox=[2, 3, 0, 6]),
        OF_FIRST + r"its box is empty \(0 x 6 pixels\); draw it again, or delete it",
    ),
    "no height": (to_first(bbox=[2, 3, 10, 0]), OF_FIRST + r"its box is empty \(10 x 0 pixels\); draw it again, or"),
    "NaN": (to_first(bbox=[2, float("nan"), 10, 6]), OF_FIRST + "the top of its bbox is NaN; write a number of pixels"),
    "infinite": (
        to_first(bbox=[2, 3, float("inf"), 6]),
        OF_FIRST + "the width of its bbox is infinite; write a number",
    ),
    "huge": (to_first(bbox=[2, 3, 10**400, 6]), OF_FIRST + "the width of its bbox is larger than any picture; write"),
    "text": (
        to_first(bbox=["2", 3, 10, 6]),
        OF_FIRST + "the left of its bbox is '2', which is no number; write it without",
    ),
    "words": (
        to_first(bbox=["a", 3, 10, 6]),
        OF_FIRST + "the left of its bbox is 'a', which is no number; write a number",
    ),
    "null": (to_first(bbox=[2, 3, 10, None]), OF_FIRST + "the height of its bbox is null, which is no number; write a"),
    "three numbers": (
        to_first(bbox=[2, 3, 10]),
        OF_FIRST + "its bbox has 3 numbers; COCO boxes are .* mend or delete it",
    ),
    "five numbers": (to_first(bbox=[2, 3, 10, 6, 1]), OF_FIRST + "its bbox has 5 numbers; COCO boxes are"),
    "no box": (without(first, "bbox"), OF_FIRST + "has no bbox; COCO boxes are .* write it"),
    "box of words": (to_first(bbox="2 3 10 6"), OF_FIRST + "its bbox is '2 3 10 6'; COCO boxes are"),
    "outside": (
        to_first(bbox=[50, 3, 10, 6]),
        OF_FIRST + r"its box \(50, 3, 60, 9\) lies outside the picture of 40 x 30",
    ),
    "mostly outside": (
        to_first(bbox=[35, 3, 30, 6]),
        OF_FIRST + "its box .* lies mostly outside the picture of 40 x 30",
    ),
    "the same again": (
        more("annotations", first, id=77),
        r"annotation 77 \(cat\): it is the same as annotation 1 \(cat\): class and box; delete one of the two",
    ),
    "unknown category": (
        to_first(category_id=5),
        "annotation 1: its category_id is 5, an id .* write one of 17, 3, 90",
    ),
    "no category": (
        without(first, "category_id"),
        "annotation 1: its category_id is null, an id that no category has; add",
    ),
    "category without name": (without(category, "name"), "category 17: its name is missing; write the name"),
    "category with an empty name": (lambda c: category(c).update(name=" "), r"category 17 \( \): its name is missing"),
    "category of a number": (
        lambda c: category(c).update(name=3),
        "category 17: its name is 3, which is no text; write",
    ),
    "category of odd letters": (lambda c: category(c).update(name="a\ud800"), "its name is 'a.ud800', which cannot be"),
    "categories of one name": (
        more("categories", category, id=5),
        r"category 5 \(cat\): category 17 has the same name, 'cat'",
    ),
    "categories of one id": (
        more("categories", category, name="eel"),
        r"category 17 \(eel\): another category has the same id",
    ),
    "category without id": (without(category, "id"), "category number 1 .cat.: has no id; give it the number"),
    "annotation of no image": (
        to_first(image_id=7),
        "annotation 1: its image_id is 7, an id that no image has; mend or",
    ),
    "image id as text": (to_first(image_id="100"), "annotation 1: its image_id is '100', an id that no image has"),
    "images of one id": (
        more("images", image, file_name="other.jpg"),
        r"image 100 \(other.jpg\): another image has the same",
    ),
    "one picture twice": (
        more("images", image, id=5),
        r"image 5 \(one.jpg\): image 100 \(one.jpg\) is the same picture",
    ),
    "annotations of one id": (
        more("annotations", first, bbox=[20, 20, 5, 5]),
        "annotation 1 .cat.: another annotation has the same id; give each",
    ),
    "no file name": (without(image, "file_name"), "image 100: its file_name is missing; write which picture it is"),
    "missing picture": (
        more("images", image, id=5, file_name="gone.jpg"),
        r"image 5 \(gone.jpg\): the picture train2017/gone.jpg is not there.*; copy it there, or delete its entry",
    ),
    "picture of another suffix": (
        more("images", image, id=5, file_name="OTHER.png"),
        "the picture train2017/OTHER.png is not there, but train2017/other.jpg is; write that",
    ),
    "another size": (
        more("images", image, id=5, file_name="other.jpg"),
        r"image 5 \(other.jpg\): it is said to be 40 x 30, but train2017/other.jpg is 30 x 20; put the picture back",
    ),
    "negative size": (
        lambda c: image(c).update(width=-40),
        "image 100 .one.jpg.: its width is -40; write the size of the",
    ),
    "size of words": (
        lambda c: image(c).update(height="x"),
        "image 100 .one.jpg.: its height is 'x', which is no number",
    ),
    "odd outline": (
        to_first(segmentation=[[2, 3, 12, 3, 12, 9, 2]]),
        OF_FIRST + "its outline has 7 numbers, an odd number",
    ),
    "outline of two points": (
        to_first(segmentation=[[2, 3, 12, 9]]),
        OF_FIRST + "its outline has 2 points, and 3 are the",
    ),
    "outline without brackets": (
        to_first(segmentation=[2, 3, 12, 3, 12, 9]),
        OF_FIRST + "its outline holds 2 where a list",
    ),
    "outline of NaN": (
        to_first(segmentation=[[2, 3, 12, 3, 12, float("nan")]]),
        OF_FIRST + "a number of its outline is NaN; write",
    ),
    "outline of words": (
        to_first(segmentation="a"),
        OF_FIRST + "its segmentation is 'a'; write polygons or run lengths",
    ),
    "outline elsewhere": (
        to_first(segmentation=[[20, 20, 30, 20, 30, 25]]),
        OF_FIRST + r"its outline \(20, 20, 30, 25\) lies elsewhere than its box \(2, 3, 12, 9\); mend either",
    ),
    "run lengths of another size": (
        to_first(segmentation=run_lengths((2, 3, 12, 9), (30, 40))),
        OF_FIRST + "its run lengths are of 30 x 40 pixels, the picture is 40 x 30; draw the outline again",
    ),
    "run lengths that do not fill": (
        to_first(segmentation={"size": [30, 40], "counts": [3, 4]}),
        OF_FIRST + "its run lengths are 7 pixels, and 40 x 30 are 1,200; draw",
    ),
    "run lengths of odd letters": (
        to_first(segmentation={"size": [30, 40], "counts": "ab\x01"}),
        OF_FIRST + r"its run lengths hold the letter '.x01', which belongs to none; draw",
    ),
    "run lengths of nothing": (
        to_first(segmentation={"size": [30, 40], "counts": [1200]}),
        OF_FIRST + "its run lengths hold no pixel of it",
    ),
    "run lengths without size": (
        to_first(segmentation={"counts": [3, 4]}),
        OF_FIRST + 'its run lengths have no "size" of height and width; draw',
    ),
    "crowd of 7": (to_first(iscrowd=7), OF_FIRST + "its iscrowd is 7; write 0, or 1 for a region of many"),
    "annotation that is a number": (
        lambda c: c["annotations"].append(3),
        "annotation number 7: is 3 where an object belongs",
    ),
    "no categories": (lambda c: c.pop("categories"), ": has no list 'categories'; COCO files hold"),
    "annotations by name": (
        lambda c: c.update(annotations={"a": 1}),
        ": 'annotations' is an object and no list; COCO files hold",
    ),
}


@pytest.fixture
def coco_set(tmp_path: Path) -> Path:
    shutil.rmtree(tmp_path)
    return write_coco(tmp_path, SHOTS)


def plant(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = root / "annotations/instances_train2017.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("name", COCO_FAULTS)
def test_faults_of_coco_are_one_line_each(coco_set, name):
    change, line = COCO_FAULTS[name]
    put(coco_set / "train2017/other.jpg", picture(OTHER))
    plant(coco_set, change)
    assert re.search(f"^annotations/instances_train2017.json.*{line}", refused(coco_set))
    left = open_data(coco_set, faulty="skip")
    assert 1 <= len(left) <= 5
    assert sum("1 fault in the annotations" in note for note in left.notes) == 1


def test_a_picture_whose_objects_are_all_left_out_is_no_background(tmp_path):
    only = Shot("only.jpg", "train", (("cat", (2, 3, 12, 9)),))
    changes = {write_coco: _of_coco, write_voc: _of_voc, write_yolo: _of_yolo}
    for number, (write, change) in enumerate(changes.items()):
        root = write(tmp_path / str(number), (*SHOTS, only))
        change(root)
        read = open_data(root, faulty="skip")
        assert "only.jpg" not in {Path(item.source).name for item in read.items}
        assert any("left out 1 object, 1 picture" in note for note in read.notes)
        assert sum(not item.marks for item in read.items) == 1  # that which nobody marked anything on


def _of_coco(root: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        [image] = [one for one in content["images"] if one["file_name"] == "only.jpg"]
        [mark] = [one for one in content["annotations"] if one["image_id"] == image["id"]]
        mark["category_id"] = 4711

    plant(root, change)


def _of_voc(root: Path) -> None:
    file = root / "Annotations/only.xml"
    file.write_text(file.read_text().replace("<xmin>3", "<xmin>30"))


def _of_yolo(root: Path) -> None:
    [file] = root.rglob("only.txt")
    file.write_text("0 0.5 0.5 0 0.1\n")


def test_there_are_thirty_planted_faults_of_each_kind():
    assert min(len(COCO_FAULTS), len(VOC_FAULTS) + len(VOC_FILES), len(YOLO_FAULTS)) >= 30


# VOC

OF_CAT = r"^Annotations/one.xml, object 1 \(cat\): "
VOC_FAULTS: dict[str, tuple[str, str, str]] = {
    "reversed across": ("<xmin>3", "<xmin>30", OF_CAT + "its xmin 30 lies beyond its xmax 12; swap them, or delete it"),
    "reversed down": ("<ymin>4", "<ymin>40", OF_CAT + "its ymin 40 lies beyond its ymax 9; swap them, or delete it"),
    "empty": ("<xmin>3</xmin>", "<xmin>13</xmin>", OF_CAT + "its xmin 13 lies beyond its xmax 12; swap"),
    "outside": (
        "<xmin>3</xmin><ymin>4</ymin><xmax>12",
        "<xmin>53</xmin><ymin>4</ymin><xmax>62",
        OF_CAT
        + r"its box \(52, 3, 62, 9\) lies outside the picture of 40 x 30 pixels; VOC boxes are .*: mend or delete it",
    ),
    "mostly outside": (
        "<xmin>3</xmin><ymin>4</ymin><xmax>12",
        "<xmin>36</xmin><ymin>4</ymin><xmax>62",
        OF_CAT + "its box .* lies mostly outside the picture of 40 x 30 pixels; VOC boxes are",
    ),
    "NaN": ("<xmin>3", "<xmin>nan", OF_CAT + "its xmin is NaN; write a number of pixels, or delete the object"),
    "infinite": (
        "<xmax>12",
        "<xmax>inf",
        OF_CAT + "its xmax is infinite; write a number of pixels, or delete the object",
    ),
    "words": ("<xmin>3", "<xmin>three", OF_CAT + "its xmin is 'three', which is no number; write a number, or delete"),
    "number with a letter": ("<xmin>3", "<xmin>3px", OF_CAT + "its xmin is '3px', which is no number; write a number"),
    "empty number": ("<ymax>9", "<ymax>", OF_CAT + "its ymax is missing; write it, or delete the object"),
    "no xmin": ("<xmin>3</xmin>", "", OF_CAT + "its bndbox has no xmin; VOC boxes are xmin, ymin, xmax, ymax"),
    "two xmax": (
        "<xmax>12</xmax>",
        "<xmax>12</xmax><xmax>13</xmax>",
        OF_CAT + "its bndbox has 2 times xmax; VOC boxes are",
    ),
    "no box": (
        "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>12</xmax><ymax>9</ymax></bndbox>",
        "",
        OF_CAT + "has no bndbox; VOC boxes are .*: write it, or delete the object",
    ),
    "no name": (
        "<name>cat</name>",
        "",
        "^Annotations/one.xml, object 1: the name of its class is missing; write the name",
    ),
    "empty name": (
        "<name>cat</name>",
        "<name> </name>",
        "^Annotations/one.xml, object 1: the name of its class is missing",
    ),
    "the same again": (
        "</annotation>",
        "<object><name>cat</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>12</xmax><ymax>9</ymax></bndbox></object></annotation>",
        r"^Annotations/one.xml, object 3 \(cat\): it is the same as object 1 \(cat\): class and box; delete one",
    ),
    "another width": (
        "<width>40",
        "<width>50",
        "^Annotations/one.xml: it is said to be 50 x 30, but JPEGImages/one.jpg is 40",
    ),
    "another height": (
        "<height>30",
        "<height>20",
        "^Annotations/one.xml: it is said to be 40 x 20, but JPEGImages/one.jpg is",
    ),
    "negative width": (
        "<width>40",
        "<width>-40",
        "^Annotations/one.xml: its width is -40; write the size of the picture",
    ),
    "width of 0": (
        "<width>40",
        "<width>0",
        "^Annotations/one.xml: its width is 0; write the size of the picture in pixels",
    ),
    "width of words": (
        "<width>40",
        "<width>wide",
        "^Annotations/one.xml: its width is 'wide', which is no number; write",
    ),
    "no height": (
        "<height>30</height>",
        "",
        "^Annotations/one.xml: its height is missing; write the size of the picture",
    ),
    "cut off": (
        "</annotation>",
        "",
        "^Annotations/one.xml: is no XML: no element found in line 7, column 1; mend it there",
    ),
    "not closed": (
        "</name>",
        "",
        "^Annotations/one.xml: is no XML: mismatched tag in line 4, column .*; mend it there",
    ),
    "an ampersand": ("cat<", "cat & dog<", "^Annotations/one.xml: is no XML: not well-formed .* in line 4, column"),
    "entities": (
        "<annotation>",
        '<!DOCTYPE a [<!ENTITY b "c">]><annotation>',
        "^Annotations/one.xml: declares entities, which no annotation needs; export it again",
    ),
    "no encoding": (
        "<annotation>",
        '<?xml version="1.0" encoding="klingon"?><annotation>',
        "^Annotations/one.xml: is no XML.*(encoding|save it as UTF-8)",
    ),
    "another root": (
        "annotation>",
        "annotations>",
        "^Annotations/one.xml: holds 'annotations' where 'annotation' belongs; export it",
    ),
    "name of another picture": (
        "<filename>one.jpg",
        "<filename>empty.jpg",
        "^Annotations/one.xml: its filename is empty.jpg, which is there beside one.jpg; write one.jpg, or rename",
    ),
}

VOC_FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing picture": (
        lambda root: (root / "JPEGImages/one.jpg").unlink(),
        "^Annotations/one.xml: its picture JPEGImages/one.* is not there; copy it there, or delete this file",
    ),
    "picture in another case": (
        lambda root: (root / "JPEGImages/one.jpg").rename(root / "JPEGImages/One.jpg"),
        "^Annotations/one.xml: its picture JPEGImages/one.* is not there, but JPEGImages/One.jpg is; rename one",
    ),
    "annotation without picture": (
        lambda root: put(root / "Annotations/ones.xml", xml(SHOTS[0]).replace("one.jpg", "ones.jpg")),
        "^Annotations/ones.xml: its picture JPEGImages/ones.* is not there; copy it there, or delete this file",
    ),
    "listed without picture": (
        lambda root: put(root / "ImageSets/Main/train.txt", "one\ntwo words\nspare\nempty\nthree\n"),
        "^ImageSets/Main/train.txt, line 5: the picture three is not there.*; copy it there, or delete its entry",
    ),
    "listed in two parts": (
        lambda root: put(root / "ImageSets/Main/val.txt", "last\none\n"),
        "^ImageSets/Main/val.txt, line 2: one is listed again, first in .*train.txt, line 1; a picture is in one part",
    ),
    "list of bytes": (
        lambda root: put(root / "ImageSets/Main/val.txt", b"\xff\xfe\x00"),
        "^ImageSets/Main/val.txt: is no UTF-8 text; save it as UTF-8",
    ),
    "broken picture": (
        lambda root: put(root / "JPEGImages/one.jpg", picture(SHOTS[0])[:40]),
        "^JPEGImages/one.jpg: broken or cut-off JPEG .*; the picture with its annotation is left out otherwise",
    ),
    "empty picture": (
        lambda root: put(root / "JPEGImages/one.jpg", b""),
        "^JPEGImages/one.jpg: is empty",
    ),
    "two pictures of one name": (
        lambda root: (
            put(root / "JPEGImages/one.png", picture(SHOTS[1])),
            put(root / "Annotations/one.xml", xml(SHOTS[0]).replace("one.jpg", "")),
        ),
        "^Annotations/one.xml: there are one.jpg and one.png, and its filename is ''; write which it is",
    ),
}


@pytest.mark.parametrize("name", VOC_FAULTS)
def test_faults_of_voc_are_one_line_each(tmp_path, name):
    old, new, line = VOC_FAULTS[name]
    root = write_voc(tmp_path, SHOTS)
    file = root / "Annotations/one.xml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 2 if name == "another root" else 1))
    assert re.search(line, refused(root))
    assert 4 <= len(open_data(root, faulty="skip")) <= 5


@pytest.mark.parametrize("name", VOC_FILES)
def test_faults_of_the_files_of_voc_are_one_line_each(tmp_path, name):
    change, line = VOC_FILES[name]
    root = write_voc(tmp_path, SHOTS)
    change(root)
    assert re.search(line, refused(root))
    assert 4 <= len(open_data(root, faulty="skip")) <= 5


# YOLO

OF_LINE = r"^labels/train/one.txt, line 1 \(cat\): "
YOLO_FAULTS: dict[str, tuple[str, str]] = {
    "negative width": (
        "0 0.5 0.5 -0.2 0.2",
        OF_LINE + "its width is -0.2, below 0; YOLO boxes are .*: mend or delete it",
    ),
    "negative height": ("0 0.5 0.5 0.2 -0.2", OF_LINE + "its height is -0.2, below 0; YOLO boxes are"),
    "no width": ("0 0.5 0.5 0 0.2", OF_LINE + r"its box is empty \(0 x 6 pixels\); draw it again, or delete it"),
    "no height": ("0 0.5 0.5 0.2 0.0", OF_LINE + r"its box is empty \(8 x 0 pixels\); draw it again, or delete it"),
    "nearly nothing": ("0 0.5 0.5 0.2 0.0000001", OF_LINE + "its box is empty"),
    "pixels": ("0 7 6 10 6", OF_LINE + "its middle x is 7, which is no share; are these pixels\\? divide by width"),
    "pixels in one": ("0 0.5 0.5 0.2 6", OF_LINE + "its height is 6, which is no share; are these pixels"),
    "negative middle": ("0 -0.5 0.5 0.2 0.2", OF_LINE + "its middle x is -0.5, below 0; YOLO boxes are"),
    "NaN": ("0 nan 0.5 0.2 0.2", OF_LINE + "its middle x is NaN; write a number"),
    "infinite": ("0 0.5 inf 0.2 0.2", OF_LINE + "its middle y is infinite; write a number"),
    "words": ("0 0.5 half 0.2 0.2", OF_LINE + "its middle y is 'half', which is no number; write a number"),
    "underlined": ("0 0.5 0_5 0.2 0.2", OF_LINE + "its middle y is '0_5', which is no number"),
    "comma for a point": ("0 0,5 0.5 0.2 0.2", OF_LINE + "its middle x is '0,5', which is no number"),
    "commas": (
        "0,0.5,0.5,0.2,0.2",
        "^labels/train/one.txt, line 1: '0,0.5,0.5,0.2,0.2' has commas; write spaces between",
    ),
    "three numbers": ("0 0.5 0.5 0.2", OF_LINE + "has 4 values; write a class and 4 numbers of a box"),
    "class alone": ("0", OF_LINE + "has 1 value; write a class and 4 numbers of a box"),
    "a confidence": (
        "0 0.5 0.5 0.2 0.2 0.93",
        OF_LINE + "has 6 numbers, as predictions have with their confidence; YOLO",
    ),
    "odd outline": (
        "0 0.1 0.1 0.2 0.1 0.2 0.2 0.3",
        OF_LINE + "has 8 values; write a class and 4 numbers of a box, or a",
    ),
    "outline in pixels": (
        "0 4 4 8 4 8 8",
        OF_LINE + "a number of its outline is 4, which is no share; are these pixels",
    ),
    "outline of NaN": ("0 0.1 0.1 nan 0.1 0.2 0.2", OF_LINE + "a number of its outline is NaN; write a number"),
    "flat outline": ("0 0.1 0.1 0.2 0.1 0.3 0.1", OF_LINE + r"its box is empty \(8 x 0 pixels\)"),
    "unknown class": (
        "3 0.5 0.5 0.2 0.2",
        "^labels/train/one.txt, line 1: its class is 3, and data.yaml has names for 0 to 2; YOLO",
    ),
    "negative class": (
        "-1 0.5 0.5 0.2 0.2",
        "^labels/train/one.txt, line 1: its class is -1, and data.yaml has names for 0",
    ),
    "half a class": (
        "0.5 0.5 0.5 0.2 0.2",
        "^labels/train/one.txt, line 1: its class is 0.5; write the number of a class",
    ),
    "name for a class": (
        "cat 0.5 0.5 0.2 0.2",
        "^labels/train/one.txt, line 1: its class is 'cat', which is no number; write",
    ),
    "class of NaN": ("nan 0.5 0.5 0.2 0.2", "^labels/train/one.txt, line 1: its class is NaN"),
    "mostly outside": ("0 1.005 0.5 0.9 0.2", OF_LINE + "its box .* lies mostly outside the picture of 40 x 30 pixels"),
    "outside": ("0 1.005 0.5 0.001 0.2", OF_LINE + "its box .* lies outside the picture of 40 x 30 pixels"),
    "the same again": (
        "0 0.5 0.5 0.2 0.2\n2 0.1 0.1 0.1 0.1\n\n0 0.5 0.5 0.2 0.2",
        r"^labels/train/one.txt, line 4 \(cat\): it is the same as line 1 \(cat\): class and box; delete one",
    ),
    "bytes": ("\udcff\udcfe", "^labels/train/one.txt: is no UTF-8 text; save it as UTF-8, or delete it"),
}

YAML_FAULTS: dict[str, tuple[str, str]] = {
    "no names": (
        "train: images/train\nval: images/val\nnc: 3\nnames:\n",
        "the names of the classes are missing; write them as",
    ),
    "names of a word": ("names: cat\nnc: 3", "names is 'cat', which is no list; write them as names: .cat, dog."),
    "names twice": ("names: [cat, cat, dog]\nnc: 3", "classes 0 and 1 are both called 'cat'; rename one"),
    "empty name": ("names: [cat, '', dog]\nnc: 3", "the name of class 1 is missing; write the name"),
    "another count": ("names: [cat, 개미, big dog]\nnc: 4", "nc is 4, but there are 3 names; mend either"),
    "count of words": ("names: [cat, 개미, big dog]\nnc: four", "nc is 'four', which is no number"),
    "bracket not closed": ("nc: 3\nnames: [cat, 개미, big dog", "line 2: the bracket . is not closed; close it with"),
    "quote not closed": ("nc: 3\nnames: ['cat, 개미, big dog]", "line 2: a quote is not closed; close it"),
    "key twice": ("nc: 3\nnames: [cat]\nnames: [dog]", "line 3 has names again; write it once"),
    "number twice": ("nc: 2\nnames:\n  0: cat\n  0: dog", "line 4 has names 0 again; write it once"),
    "number of words": ("nc: 2\nnames:\n  a: cat\n", "the number of a class is 'a', which is no number"),
    "anchors": ("nc: 1\nnames: &a\n  - cat\n", "is not understood; write it as a list of names"),
    "no folder": (
        "train: images/train\nval: images/valid\nnames: [cat, 개미, big dog]",
        "val is 'images/valid', which is not there; write the folder, as seen from this file",
    ),
    "one picture in two parts": (
        "train: [images/train, images/val]\nval: images/val\nnames: [cat, 개미, big dog]",
        "",
    ),
}


@pytest.mark.parametrize("name", YOLO_FAULTS)
def test_faults_of_yolo_are_one_line_each(tmp_path, name):
    text, line = YOLO_FAULTS[name]
    root = write_yolo(tmp_path, SHOTS)
    put(root / "labels/train/one.txt", text.encode("utf-8", "surrogateescape"))
    assert re.search(line, refused(root))
    assert 4 <= len(open_data(root, faulty="skip")) <= 5


@pytest.mark.parametrize("name", YAML_FAULTS)
def test_faults_of_data_yaml_are_one_line_each(tmp_path, name):
    text, line = YAML_FAULTS[name]
    root = write_yolo(tmp_path, SHOTS)
    put(root / "data.yaml", text)
    if name == "one picture in two parts":
        line = r"^labels/val/last.txt: the picture images/val/last.jpg is listed again \(train and val\), first in"
    else:
        line = f"^data.yaml: .*{line}"
    assert re.search(line, refused(root))


@pytest.mark.parametrize(
    ("file", "data", "line"),
    [
        ("labels/train/more.txt", "0 0.5 0.5 0.2 0.2", "^labels/train/more.txt: there is no picture more with it"),
        ("images/train/one.jpg", b"\xff\xd8\xff", "^images/train/one.jpg: broken or cut-off JPEG"),
        ("classes.txt", "cat\n개미\ncat", "^classes.txt: classes 0 and 2 are both called 'cat'; rename one"),
        ("train.txt", "images/train/two words.png\nimages/train/gone.jpg", "^train.txt, line 2: the picture images/tr"),
    ],
)  # fmt: skip
def test_faults_of_the_files_of_yolo_are_one_line_each(tmp_path, file, data, line):
    root = write_yolo(tmp_path, SHOTS)
    put(root / file, data)
    if file == "classes.txt":
        (root / "data.yaml").unlink()
    if file == "train.txt":
        put(root / "data.yaml", "train: train.txt\nval: images/val\nnames: [cat, 개미, big dog]")
    assert re.search(line, refused(root))


def test_a_yolo_set_without_names_is_a_fault(tmp_path):
    root = write_yolo(tmp_path, SHOTS)
    (root / "data.yaml").unlink()
    with pytest.raises(DataError, match=r"there is no data.yaml with the names of the classes; write one: names:"):
        open_data(root)
    with pytest.raises(DataError, match=r"no annotated picture can be used, the first: .*no data.yaml"):
        open_data(root, faulty="skip")


# Several


def test_several_faults_are_a_line_each_with_their_number_and_the_way_on(tmp_path):
    root = write_yolo(tmp_path, SHOTS)
    put(root / "labels/train/one.txt", "\n".join(f"{number} 0.5 0.5 0.2 0.2" for number in range(3, 1203)))
    with pytest.raises(DataError) as raised:
        open_data(root)
    told = str(raised.value).splitlines()
    assert told[0] == f"{root}: 1,200 faults in the annotations:"
    assert all(
        line.startswith(f"  {root}/labels/train/one.txt, line {number}: ") for number, line in enumerate(told[1:6], 1)
    )
    assert told[6] == "  and 1,195 more"
    assert told[7].startswith("mend them, or leave them out with --bad-images skip; resnetkit check ")
    assert len(told) == 8
    assert len(annotated.faults_of(root)) == 1200
    left = open_data(root, faulty="skip")
    assert any(
        "1,200 faults in the annotations: left out 1,200 objects, 1 picture (first: " in note for note in left.notes
    )


def test_of_many_faults_one_of_each_kind_is_named(tmp_path):
    root = write_yolo(tmp_path, SHOTS)
    wrong = ["7 0.5 0.5 0.2 0.2"] * 20 + ["0 0.5 0.5 0 0.2"] * 20 + ["0 0.5"]
    put(root / "labels/train/one.txt", "\n".join(wrong))
    with pytest.raises(DataError) as raised:
        open_data(root)
    lines = [re.search(r"line (\d+)", line)[1] for line in str(raised.value).splitlines()[1:6]]
    assert lines == ["1", "2", "3", "41", "21"]  # what a file says is read before it meets the picture


def test_names_of_odd_letters_do_not_break_the_line(tmp_path):
    root = write_voc(tmp_path)
    file = root / "Annotations/one.xml"
    file.write_text(file.read_text().replace("<name>cat</name>", "<name>a&#10;b\u202e</name>"))
    line = refused(root)
    assert line.startswith(
        "Annotations/one.xml, object 1 (a?b?): the name of its class is 'a\\nb\\u202e', which cannot be written"
    )


def test_pictures_that_are_all_gone_are_one_fault(tmp_path):
    root = write_coco(tmp_path, SHOTS)
    shutil.rmtree(root / "train2017")
    (root / "train2017").mkdir()
    put(root / "train2017/more.jpg", picture(OTHER))
    assert refused(root).startswith(
        "annotations/instances_train2017.json: none of its 4 pictures is there, as one.jpg; put them "
    )
    assert len(open_data(root, faulty="skip")) == 1


def test_a_set_of_which_nothing_is_left_is_refused(tmp_path):
    content = coco(SHOTS[:1])
    content["images"][0]["file_name"] = "gone.jpg"
    file = put(tmp_path / "a.json", json.dumps(content))
    with pytest.raises(DataError, match=r"image 100 \(gone.jpg\): the picture gone.jpg is not there; copy it there"):
        open_data(file)
    with pytest.raises(DataError, match=r"no annotated picture can be used, the first: .*gone.jpg is not there"):
        open_data(file, faulty="skip")
