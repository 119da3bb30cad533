"""YOLO text: data.yaml as people write it, parts, outlines, and pictures without a .txt."""

from pathlib import Path

import pytest

from resnetkit.data.sources import open_data
from resnetkit.errors import DataError

from .annotated_sets import (
    SHOTS,
    bitmaps,
    expected,
    found,
    lines,
    picture,
    polygon,
    put,
    said,
    write_coco,
    write_yolo,
)

FILLED = tuple(shot for shot in SHOTS if shot.objects)


YAMLS = {
    "map": "train: images/train\nval: images/val\nnames:\n  0: cat\n  1: '개미'\n  2: \"big dog\"  # not small\n",
    "list": "names:\n- cat\n- 개미\n- big dog\ntrain: images/train\nval: images/val\nnc: 3",
    "flow": "# a set\ntrain: ../images/train\nval: ../images/val\ntest: ../x\nnc: 3\nnames: ['cat', 개미, big dog]\n",
    "lines": "names: [\n  cat, # 0\n  개미,\n  big dog,\n]\ntrain: images/train\nval: images/val\n",
    "flow map": "train: [images/train]\nval:\n  - images/val\nnames: {0: cat, 1: 개미, 2: 'big dog'}\n",
    "absolute": (
        'path: /home/me/sets/photos\n"train": images/train\nval: /kaggle/input/images/val\n'
        "names: {2: big dog, 0: cat, 1: 개미}"
    ),
    "lists": "train: train.txt\nval: ./val.txt\nnames: [cat, 개미, big dog]\n",
    "other keys": (
        "---\ntrain: images/train\nval: images/val\nnames:\n    0: cat\n\n    1: 개미\n    2: big dog\n"
        "roboflow:\n  license: CC BY 4.0\ndownload: |\n  from x import y\n  names: [a]\n"
    ),
    "without parts": "nc: 3\nnames: [cat, 개미, big dog]\n",
}


@pytest.mark.parametrize("kind", YAMLS)
def test_data_yaml_is_read_as_people_write_it(tmp_path, kind):
    root = write_yolo(tmp_path / "photos")
    put(root / "train.txt", "./images/train/one.jpg\nimages/train/two words.png\n/data/photos/images/train/empty.jpg\n")
    put(root / "val.txt", "images/val/개미.jpg\n\n")
    file = put(root / "data.yaml", YAMLS[kind])
    assert found(open_data(root)) == expected()
    assert found(open_data(file)) == expected()


def test_data_yaml_may_name_the_folder_of_its_set(tmp_path):
    root = write_yolo(tmp_path / "sets/photos")
    text = (root / "data.yaml").read_text()
    (root / "data.yaml").unlink()
    file = put(tmp_path / "photos.yaml", text.replace("path: .", "path: sets/photos"))
    assert found(open_data(file)) == expected()
    with pytest.raises(DataError, match="holds no images/ beside labels/"):
        open_data(put(tmp_path / "x/photos.yaml", text))


def test_without_data_yaml_folders_tell_the_parts_and_classes_txt_the_names(tmp_path):
    root = write_yolo(tmp_path)
    (root / "data.yaml").unlink()
    put(root / "classes.txt", "cat\n개미\nbig dog\n")
    assert found(open_data(root)) == expected()


def test_yolo_sets_of_roboflow_have_a_folder_for_each_part(tmp_path):
    for shot in SHOTS:
        folder = "valid" if shot.part == "val" else shot.part
        put(tmp_path / folder / "images" / shot.name, picture(shot))
        put(tmp_path / folder / "labels" / f"{Path(shot.name).stem}.txt", lines(shot))
    yaml = (
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 3\nnames: ['cat', '개미', 'big dog']\n"
    )
    put(tmp_path / "data.yaml", yaml)
    data = open_data(tmp_path)
    assert found(data) == expected()
    assert said(data, "test is '../test/images', which is not there")


def test_outlines_of_yolo_are_outlines(tmp_path):
    root = write_yolo(tmp_path)
    for shot in SHOTS:
        width, height = shot.size
        rows = [
            " ".join([str({"cat": 0, "개미": 1, "big dog": 2}[label]), *(
                f"{number / (height if place % 2 else width):.8f}"
                for place, number in enumerate(polygon(box, shot.size)[0])
            )])
            for label, box in shot.objects
        ]  # fmt: skip
        put(root / "labels" / shot.part / f"{Path(shot.name).stem}.txt", "\n".join(rows))
    data = open_data(root)
    assert found(data) == expected()
    assert data.objects == "masks"
    own, others = bitmaps(data), bitmaps(open_data(write_coco(tmp_path / "coco", outline=polygon)))
    assert own.keys() == others.keys()
    assert all((own[key] == others[key]).all() for key in own)


def test_with_keypoints_the_box_stands_before_them(tmp_path):
    root = write_yolo(tmp_path)
    text = (root / "data.yaml").read_text()
    put(root / "data.yaml", text + "kpt_shape: [4, 3]\n")
    for file in root.rglob("labels/*/*.txt"):
        put(file, "".join(f"{line} {' '.join(['0.5 0.5 2'] * 4)}\n" for line in file.read_text().splitlines()))
    assert found(open_data(root)) == expected()


def test_pictures_without_a_txt_are_background_as_yolo_has_it_but_not_where_no_picture_has_one(tmp_path):
    root = write_yolo(tmp_path)
    (root / "labels/train/empty.txt").unlink()
    put(root / "images/test/x.jpg", picture(SHOTS[0]))
    put(root / "images/more.jpg", picture(SHOTS[0]))
    put(root / "data.yaml", (root / "data.yaml").read_text() + "test: images/test\n")
    data = open_data(root)
    assert found(data) == expected()
    assert said(data, "1 picture without a .txt: background, as YOLO has it").endswith("empty.jpg)")
    assert said(data, "nobody annotated them: 1 picture of a part without any .txt").endswith("x.jpg)")
    assert said(data, "nobody annotated them: 1 picture in no part of data.yaml").endswith("more.jpg)")


def test_a_validation_part_that_is_the_training_part_is_none(tmp_path):
    root = write_yolo(tmp_path, SHOTS[:3])
    put(root / "data.yaml", "train: images/train\nval: images/train\nnames: [cat, 개미, big dog]\n")
    data = open_data(root)
    assert {item.split for item in data.items} == {None}
    assert said(data, "has the same pictures as train and as val: they are train")
