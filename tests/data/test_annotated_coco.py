"""COCO files: where their pictures lie, which file is read, and what is no COCO."""

import json
import shutil
from pathlib import Path

import pytest

from resnetkit.data.sources import open_data
from resnetkit.errors import DataError

from .annotated_sets import (
    CLASSES,
    SHOTS,
    Shot,
    coco,
    expected,
    found,
    picture,
    put,
    said,
    write_coco,
    write_voc,
)

FILLED = tuple(shot for shot in SHOTS if shot.objects)


def test_a_coco_file_is_a_set_itself(tmp_path, monkeypatch):
    file = write_coco(tmp_path / "photos") / "annotations/instances_val2017.json"
    data = open_data(file)
    assert found(data) == {"개미.jpg": (None, *expected()["개미.jpg"][1:])}
    assert data.items[0].source == str(tmp_path / "photos/val2017/개미.jpg")
    assert data.name == "instances_val2017"
    monkeypatch.chdir(file.parent)
    assert open_data(file.name).items[0].source == "../val2017/개미.jpg"
    monkeypatch.chdir(tmp_path / "photos")
    assert open_data("annotations/instances_val2017.json").items[0].source == "val2017/개미.jpg"


@pytest.mark.parametrize(
    ("json_place", "picture_place", "written"),
    [
        ("list.json", "", ""),
        ("list.json", "images", ""),
        ("list.json", "images/sub", "sub/"),
        ("list.json", "photos of ants/개미", ""),
        ("list.json", "photos/개미", "photos/개미/"),
        ("annotations/list.json", "data", ""),
        ("annotations/list.json", "images", "../images/"),
        ("annotations/list.json", "", "C:\\Users\\me\\photos\\"),
        ("list.json", "train", "/home/me/set/train/"),
    ],
)
def test_pictures_of_coco_files_are_found_where_they_lie(tmp_path, json_place, picture_place, written):
    shots = [shot for shot in SHOTS if shot.part == "train"]
    content = coco(shots)
    for shot, image in zip(shots, content["images"], strict=True):
        put(tmp_path / picture_place / shot.name, picture(shot))
        image["file_name"] = written + shot.name
    put(tmp_path / json_place, json.dumps(content))
    wanted = {name: (None, *rest) for name, (part, *rest) in expected(shots).items()}
    assert found(open_data(tmp_path)) == wanted
    if picture_place.count("/") < 1 or written:
        assert found(open_data(tmp_path / json_place)) == wanted


def test_pictures_of_the_same_name_in_two_parts_are_told_apart(tmp_path):
    shots = [Shot("1.jpg", "train", (("cat", (2, 3, 12, 9)),)), Shot("1.jpg", "val", (("cat", (0, 0, 40, 30)),))]
    data = open_data(write_coco(tmp_path, shots))
    assert {(item.split, item.marks[0].box, Path(item.source).parent.name) for item in data.items} == {
        ("train", (2, 3, 12, 9), "train2017"), ("val", (0, 0, 40, 30), "val2017"),
    }  # fmt: skip


def test_coco_files_of_roboflow_lie_beside_the_pictures_of_their_part(tmp_path):
    for part, folder in (("train", "train"), ("val", "valid")):
        own = [shot for shot in SHOTS if shot.part == part]
        content = coco(own)
        content["categories"].insert(0, {"id": 0, "name": "cat", "supercategory": "none"})  # a heading of theirs
        for one in content["categories"][1:]:
            one["supercategory"] = "cat"
        put(tmp_path / folder / "_annotations.coco.json", json.dumps(content))
        for shot in own:
            put(tmp_path / folder / shot.name, picture(shot))
    assert found(open_data(tmp_path)) == expected()


def test_of_several_coco_files_those_of_instances_are_read(tmp_path):
    root = write_coco(tmp_path)
    shutil.copy(root / "annotations/instances_val2017.json", root / "annotations/person_keypoints_val2017.json")
    put(root / "annotations/captions_val2017.json", '{"images": [], "annotations": [{"caption": "a cat"}]}')
    data = open_data(root)
    assert found(data) == expected()
    assert said(data, "not read, for others hold the instances: annotations/person_keypoints_val2017.json")


def test_pictures_that_no_file_names_are_not_background(tmp_path):
    root = write_coco(tmp_path)
    put(root / "train2017/more.jpg", picture(SHOTS[0]))
    data = open_data(root)
    assert found(data) == expected()
    assert said(data, "not used, for nobody annotated them: 1 picture in no annotation file").endswith("more.jpg)")


def test_classes_without_an_object_are_named_once(tmp_path):
    root = write_coco(tmp_path, [shot for shot in SHOTS if shot.part == "train"])
    content = coco([shot for shot in SHOTS if shot.part == "train"])
    content["categories"] += [{"id": 5, "name": "eel"}, {"id": 6, "name": "fox"}]
    put(root / "annotations/instances_train2017.json", json.dumps(content))
    data = open_data(root)
    assert data.classes == CLASSES
    assert data.columns == (*CLASSES[:2], "eel", "fox", CLASSES[2])
    assert said(data, "named, but nowhere marked: eel, fox")


def test_a_class_that_training_does_not_know_is_an_error_with_the_nearest_name(tmp_path):
    shots = [*SHOTS[:3], Shot("last.jpg", "val", (("catt", (0, 0, 9, 9)),))]
    with pytest.raises(
        DataError, match=r"class 'catt' .1 image in .*, val part. .* did you mean 'cat'.*--rename catt=cat"
    ):
        open_data(write_voc(tmp_path, shots))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "is a list, as of predictions; give the file that holds images"),
        ('{"a": 1}', "has no list 'images'; COCO files hold"),
        ('{"images": [], "annotation": [], "categories": []}', "has no list 'annotations'; did you mean 'annotation'"),
        ('{"images": [\n1,,]}', "is no JSON: Expecting value in line 2, column 3; mend it there"),
        ("[" * 100_000, "is no JSON that can be read; export it again"),
        ('{"images": [' + "1" * 5000 + "]}", "is no JSON that can be read; export it again"),
    ],
)
def test_a_json_that_is_no_coco_is_refused(tmp_path, text, why):
    file = put(tmp_path / "a.json", text)
    with pytest.raises(DataError) as raised:
        open_data(file)
    assert str(raised.value).startswith(f"{file}: {why}")
