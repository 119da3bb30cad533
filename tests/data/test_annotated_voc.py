"""Pascal VOC: boxes counted from one, lists of parts, and pictures that nobody annotated."""

import shutil
from pathlib import Path

import pytest

from resnetkit.data.sources import open_data
from resnetkit.errors import DataError

from .annotated_sets import (
    SHOTS,
    Shot,
    expected,
    found,
    put,
    said,
    write_voc,
)

FILLED = tuple(shot for shot in SHOTS if shot.objects)


def test_boxes_of_voc_count_from_one_and_hold_their_last_pixel(tmp_path):
    whole = Shot("1.jpg", "train", (("cat", (0, 0, 40, 30)), ("cat", (39, 29, 40, 30))))
    root = write_voc(tmp_path, [whole])
    text = (root / "Annotations/1.xml").read_text()
    assert "<xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>30</ymax>" in text
    data = open_data(root)
    assert [one.box for one in data.items[0].marks] == [(0, 0, 40, 30), (39, 29, 40, 30)]
    assert said(data, "1 object of one pixel or less").endswith(f"{root}/Annotations/1.xml, object 2 (cat))")
    put(root / "Annotations/1.xml", text.replace("<xmin>1</xmin><ymin>1</ymin>", "<xmin>0</xmin><ymin>0</ymin>"))
    data = open_data(root)
    assert data.items[0].marks[0].box == (0, 0, 40, 30)
    assert said(data, "1 box over the border by a pixel or two, or 1 % of the side: cut there")


def test_voc_sets_in_wrappers_and_of_other_folder_names_are_read(tmp_path):
    write_voc(tmp_path / "VOCdevkit/VOC2012")
    assert found(open_data(tmp_path)) == expected()
    write_voc(tmp_path / "VOCdevkit/VOC2007")
    with pytest.raises(DataError, match=r"holds 2 sets .VOCdevkit/VOC2007, VOCdevkit/VOC2012.: name one of them"):
        open_data(tmp_path)
    shutil.rmtree(tmp_path / "VOCdevkit/VOC2007")
    (tmp_path / "VOCdevkit/VOC2012/JPEGImages").rename(tmp_path / "VOCdevkit/VOC2012/images")
    assert found(open_data(tmp_path)) == expected()


@pytest.mark.parametrize("lists", [["trainval", "test"], ["train"], [], ["train", "val", "trainval"]])
def test_lists_of_voc_tell_the_parts(tmp_path, lists):
    root = write_voc(tmp_path)
    shutil.rmtree(root / "ImageSets")
    names = {
        "train": "one 1\ntwo words\n",
        "val": "empty  -1\n",
        "trainval": "one\ntwo words.png\nempty\n",
        "test": "개미\n",
    }
    for name in lists:
        put(root / "ImageSets/Main" / f"{name}.txt", names[name])
    data = open_data(root)
    parts = {Path(item.source).stem: item.split for item in data.items}
    assert (
        parts
        == {
            ("trainval", "test"): {"one": "train", "two words": "train", "empty": "train", "개미": "test"},
            ("train",): {"one": None, "two words": None},
            (): {"one": None, "two words": None, "empty": None, "개미": None},
            ("train", "val", "trainval"): {"one": "train", "two words": "train", "empty": "val"},
        }[tuple(lists)]
    )
    if len(parts) < 4:
        assert said(data, f"nobody annotated them: {4 - len(parts)} picture")


def test_pictures_without_xml_are_not_background(tmp_path):
    root = write_voc(tmp_path)
    (root / "Annotations/empty.xml").unlink()
    data = open_data(root)
    assert len(data) == 3
    assert said(data, "not used, for nobody annotated them: 1 picture without an XML file")


def test_difficult_objects_count_as_others(tmp_path):
    root = write_voc(tmp_path)
    file = root / "Annotations/one.xml"
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))
    data = open_data(root)
    assert found(data) == expected()
    assert said(data, "2 objects said to be difficult: they count as the others do")


def test_sizes_of_0_are_sizes_that_nobody_wrote(tmp_path):
    root = write_voc(tmp_path)
    file = root / "Annotations/one.xml"
    file.write_text(file.read_text().replace(">40<", ">0<", 1).replace(">30<", ">0<", 1))
    assert said(open_data(root), "1 picture without a size in the annotation")
