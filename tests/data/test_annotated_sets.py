"""Annotated sets: every kind tells the same objects, and real ones are read as their files have them."""

import json
import shutil
import tarfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from resnetkit.data.marks import Mask
from resnetkit.data.several import check_differ
from resnetkit.data.sources import annotated, open_data
from resnetkit.data.sources.annotated.mask_pictures import masks_of
from resnetkit.data.sources.annotated.outlines import around, counts_in
from resnetkit.data.view import View
from resnetkit.errors import DataError, UsageError

from .annotated_sets import (
    CLASSES,
    SHOTS,
    WRITERS,
    Shot,
    bitmaps,
    expected,
    found,
    picture,
    polygon,
    put,
    run_lengths,
    said,
    write_coco,
    write_masks,
    write_voc,
    write_yolo,
)

FILLED = tuple(shot for shot in SHOTS if shot.objects)


FILLED = tuple(shot for shot in SHOTS if shot.objects)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_set_tells_the_same_objects(tmp_path, kind):
    data = open_data(WRITERS[kind](tmp_path / "photos"))
    assert found(data) == expected()
    assert data.classes == CLASSES
    assert (data.name, data.several, data.unites) == ("photos", True, False)
    assert data.objects == ("masks" if kind == "masks" else "boxes")
    assert "7 objects" in data.notes[0]
    assert data.notes[0].endswith("on 3 of 4 pictures (cat 3, big dog 2, 개미 2); 1 picture is background")
    assert all(data.open(item).size == (40, 30) for item in data.items)
    assert data.ignored == ()
    assert data.roots == (str(tmp_path / "photos"),)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_archives_of_annotated_sets_are_read_in_place(tmp_path, kind, suffix):
    root, archive = WRITERS[kind](tmp_path / "photos"), tmp_path / f"photos.{suffix}"
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    if suffix == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for path in files:
                packed.write(path, path.relative_to(tmp_path))
    else:
        with tarfile.open(archive, "w") as packed:
            for path in files:
                packed.add(path, path.relative_to(tmp_path))
    shutil.rmtree(root)
    assert found(open_data(archive)) == expected()


def test_outlines_are_the_same_as_polygons_run_lengths_letters_and_mask_pictures(tmp_path):
    sets = [
        write_coco(tmp_path / "polygons", outline=polygon), write_coco(tmp_path / "runs", outline=run_lengths),
        write_masks(tmp_path / "palette"), write_masks(tmp_path / "grey", mode="L"),
    ]  # fmt: skip
    first, *others = [bitmaps(open_data(root)) for root in sets]
    assert len(first) == 7
    for other in others:
        assert first.keys() == other.keys()
        assert all((first[key] == other[key]).all() for key in first)
    assert all(bitmap.sum() == (box[2] - box[0]) * (box[3] - box[1]) for (_, _, box), bitmap in first.items())


def test_boxes_come_from_outlines_where_a_file_has_none(tmp_path):
    for number, outline in enumerate((polygon, run_lengths)):
        root = write_coco(tmp_path / str(number), outline=outline)
        for file in root.glob("annotations/*.json"):
            content = json.loads(file.read_text())
            for one in content["annotations"]:
                del one["bbox"]
            file.write_text(json.dumps(content))
        assert found(open_data(root)) == expected()


def test_run_lengths_in_letters_are_those_that_pycocotools_writes():
    mask = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for size in ((7, 9), (30, 41), (200, 150)):
        for share in (0.02, 0.5, 0.98):
            bitmap = random.random(size) < share
            bitmap[3, 4] = True
            letters = mask.encode(np.asfortranarray(bitmap.astype(np.uint8)))["counts"].decode()
            own = Mask.of(bitmap)
            assert tuple(counts_in(letters)) == own.counts
            across, down = np.flatnonzero(bitmap.any(0)), np.flatnonzero(bitmap.any(1))
            assert around(own) == (across[0], down[0], across[-1] + 1, down[-1] + 1)


def test_masks_of_a_picture_are_those_of_each_value():
    values = np.random.default_rng(1).integers(0, 5, (13, 17))
    masks = masks_of(values)
    assert list(masks) == [1, 2, 3, 4]
    for value, mask in masks.items():
        assert mask == Mask.of(values == value)
    assert masks_of(np.zeros((4, 4), int)) == {}
    assert masks_of(np.full((4, 4), 9))[9] == Mask.of(np.ones((4, 4), bool))


def test_outlines_that_are_boxes_again_are_boxes(tmp_path):
    def corners(box, _):
        left, top, right, bottom = box
        return [[left, top, right, top, right, bottom, left, bottom]]

    data = open_data(write_coco(tmp_path, outline=corners))
    assert data.objects == "boxes"
    assert said(data, "outlines are the boxes again")
    assert all(one.mask is None for item in data.items for one in item.marks)


def test_outlines_of_some_objects_are_not_used(tmp_path):
    root = write_coco(tmp_path, outline=polygon)
    file = root / "annotations/instances_val2017.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = []
    file.write_text(json.dumps(content))
    data = open_data(root)
    assert data.objects == "boxes"
    assert said(data, "6 of 7 objects have an outline: boxes alone are used")


def test_crowds_are_kept_and_counted(tmp_path):
    root = write_coco(tmp_path, outline=polygon)
    file = root / "annotations/instances_val2017.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][0]["segmentation"] = run_lengths((10, 10, 30, 20), (40, 30))
    file.write_text(json.dumps(content))
    data = open_data(root)
    assert [one.crowd for item in data.items for one in item.marks].count(True) == 1
    assert "1 crowd region" in data.notes[0]
    assert data.objects == "masks"


def test_objects_of_one_class_on_every_picture_can_be_learnt_but_none_can_not(tmp_path):
    one = [Shot(f"{number}.jpg", "train", (("cat", (1, 1, 9, 9 + number)),)) for number in range(3)]
    check_differ(open_data(write_coco(tmp_path / "one", one)))
    with pytest.raises(DataError, match="none: no object is marked on the pictures to train on"):
        check_differ(open_data(write_coco(tmp_path / "none", [Shot("1.jpg", "train")])))


def test_labels_of_objects_can_be_learnt_without_their_boxes(tmp_path):
    data = open_data(write_voc(tmp_path), task="multilabel")
    assert (data.objects, data.several) == ("none", True)
    assert {Path(item.source).name: item.labels for item in data.items} == {
        name: labels for name, (_, labels, _) in expected().items()
    }
    assert all(item.marks is None for item in data.items)
    assert data.notes[0] == "several labels per picture: 3 pictures have several, 1 none"


def test_one_class_is_not_to_be_had_of_annotated_pictures(tmp_path):
    with pytest.raises(
        UsageError, match=r"annotated pictures .Pascal VOC., which have no one class, .*: leave --task out to find"
    ):
        open_data(write_voc(tmp_path), task="classification")


def test_objects_are_not_to_be_had_of_class_folders(tmp_path):
    put(tmp_path / "a/1.jpg", picture(SHOTS[0]))
    put(tmp_path / "b/1.jpg", picture(SHOTS[1]))
    with pytest.raises(UsageError, match=r"^nothing is marked on the pictures of .*; expected COCO JSON"):
        open_data(tmp_path, task="detection")
    with pytest.raises(UsageError, match=r"^nothing is marked on"):
        open_data("digits", task="detection")
    put(tmp_path / "list.csv", "image_path,label\na/1.jpg,a\n")
    with pytest.raises(UsageError, match=r"^nothing is marked on"):
        open_data(tmp_path / "list.csv", task="detection")
    with pytest.raises(UsageError, match="is no annotated set"):
        annotated.faults_of(tmp_path)


def test_class_folders_with_such_names_stay_class_folders(tmp_path):
    for folder in ("images", "masks", "labels", "Annotations"):
        put(tmp_path / folder / f"{folder}.jpg", picture(SHOTS[0]))
    put(tmp_path / "labels/readme.txt", "photos of labels")
    put(tmp_path / "about.json", '{"images": 3}')
    data = open_data(tmp_path)
    assert (data.objects, data.classes) == ("none", ("Annotations", "images", "labels", "masks"))


def test_of_several_kinds_in_a_folder_the_first_counts(tmp_path):
    kinds = {"masks": write_masks, "YOLO": write_yolo, "Pascal VOC": write_voc, "COCO": write_coco}
    for kind, write in kinds.items():
        assert annotated.recognised(str(write(tmp_path))).kind == kind
        assert found(open_data(tmp_path)) == expected()


def test_renamed_classes_are_those_of_the_objects_too(tmp_path):
    data = open_data(write_yolo(tmp_path), rename={"big dog": "cat"})
    assert data.classes == ("cat", "개미")
    assert {one.label for item in data.items for one in item.marks} == {"cat", "개미"}
    with pytest.raises(UsageError, match="no class is called 'cut'; did you mean 'cat'"):
        open_data(tmp_path, rename={"cut": "cat"})


def test_limits_and_groups_are_as_for_other_sets(tmp_path):
    write_coco(tmp_path)
    data = open_data(tmp_path, limit=1)
    assert Counter(item.split for item in data.items) == {"train": 1, "val": 1}
    assert data.classes == CLASSES
    assert {item.group for item in open_data(tmp_path, group_by="([a-z]+)2017").items} == {"train", "val"}
    moved = shutil.copytree(tmp_path, tmp_path / "elsewhere" / "there")
    again = open_data(moved / "annotations/instances_train2017.json", limit=1)
    one = open_data(tmp_path / "annotations/instances_train2017.json", limit=1)
    assert [Path(item.source).name for item in again.items] == [Path(item.source).name for item in one.items]


def test_blood_cells_are_counted_as_their_files_have_them(shared_data):
    root = shared_data / "bccd"
    wanted: Counter[tuple[str, str]] = Counter()
    pictures: Counter[str] = Counter()
    for part in ("train", "val", "test"):
        for name in (root / f"ImageSets/Main/{part}.txt").read_text().split():
            pictures[part] += 1
            for one in ElementTree.parse(root / f"Annotations/{name}.xml").iter("object"):
                wanted[part, one.findtext("name")] += 1
    began = time.monotonic()
    data = open_data(root)
    assert time.monotonic() - began < 10  # 0.4 s
    assert Counter(item.split for item in data.items) == pictures
    assert Counter((item.split, one.label) for item in data.items for one in item.marks) == wanted
    assert wanted.total() == 4888
    assert data.classes == ("Platelets", "RBC", "WBC")
    assert data.objects == "boxes"
    assert said(data, "2 objects of one pixel or less")
    assert annotated.faults_of(root) == []


def test_coco128_is_counted_as_its_files_have_it(shared_data):
    root = shared_data / "coco128"
    data = open_data(root)
    contents = {
        part: json.loads((root / f"annotations/instances_{part}2017.json").read_text()) for part in ("train", "val")
    }
    wanted: Counter[tuple[str, str]] = Counter()
    for part, content in contents.items():
        names = {one["id"]: one["name"] for one in content["categories"]}
        wanted.update((part, names[one["category_id"]]) for one in content["annotations"])
    assert Counter((item.split, one.label) for item in data.items for one in item.marks) == wanted
    assert Counter(item.split for item in data.items) == {"train": 100, "val": 100}
    assert sum(not item.marks for item in data.items) == 2
    assert data.objects == "masks"
    assert len(data.classes) == len({name for _, name in wanted})


def test_outlines_of_coco128_fill_the_area_that_their_files_tell(shared_data):
    content = json.loads((shared_data / "coco128/annotations/instances_val2017.json").read_text())
    data = open_data(shared_data / "coco128/annotations/instances_val2017.json")
    areas: dict[str, list[float]] = {}
    names = {one["id"]: one["file_name"] for one in content["images"]}
    for one in content["annotations"]:
        areas.setdefault(names[one["image_id"]], []).append(one["area"])
    ours, theirs = [], []
    for item in data.items[:30]:
        size = data.open(item).size
        for mark, area in zip(item.marks, areas.get(Path(item.source).name, []), strict=True):
            if area > 400:
                ours.append(int(mark.mask.into(View.whole(*size)).sum()))
                theirs.append(area)
    ratio = np.array(ours) / np.array(theirs)
    assert len(ratio) > 50
    assert abs(np.median(ratio) - 1) < 0.03
    assert np.quantile(abs(ratio - 1), 0.9) < 0.1


def test_filled_pictures_alone_are_no_set_without_background(tmp_path):
    data = open_data(write_coco(tmp_path, FILLED))
    assert data.notes[0].endswith("on 3 of 3 pictures (cat 3, big dog 2, 개미 2); 0 pictures are background")


def test_a_coco_file_is_data_by_its_bare_name_too(tmp_path, monkeypatch):
    root = write_coco(tmp_path / "set")
    monkeypatch.chdir(root / "train2017")
    shutil.copy(root / "annotations/instances_train2017.json", "marked.json")
    assert len(open_data("marked.json")) == len(open_data("./marked.json")) == 3
