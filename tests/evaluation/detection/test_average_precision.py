"""COCO's figures: those of pycocotools, to 1e-9."""

import contextlib
import copy
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnetkit.data.marks import Mask, Truth
from resnetkit.errors import DataError, UsageError
from resnetkit.evaluation.detection import coco_library
from resnetkit.evaluation.detection.average_precision import Averages, average_precision
from resnetkit.evaluation.detection.coco_library import (
    Masks,
    area_of,
    crowded_without_mask,
    mask_of,
    masks_of,
    of_masks,
)
from resnetkit.evaluation.detection.matching import matched
from resnetkit.evaluation.detection.overlaps import box_overlaps, corner_and_size
from resnetkit.evaluation.detection.resampling import average_precisions
from resnetkit.models.detection.found import Found
from tests.evaluation.detection.scenes import coco, found, perturbed, scenes, truth

pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")


def entries(truths: list[Truth], founds: list[Found], masks: Masks | None) -> tuple[list[dict], list[dict]]:
    """Return the annotations and the results as COCO writes them, made without the code that is tested."""
    true, said = [], []
    for picture, (one, other) in enumerate(zip(truths, founds, strict=True)):
        for k, (left, top, right, bottom) in enumerate(one.boxes.astype(float).tolist()):
            box = [left, top, right - left, bottom - top]
            drawn = mask_of(one, k)
            area = area_of(drawn) if drawn is not None else box[2] * box[3]
            entry = {"id": len(true) + 1, "image_id": picture + 1, "category_id": int(one.labels[k]) + 1, "bbox": box}
            true.append(entry | {"area": area, "iscrowd": int(one.crowd[k])})
            if masks is not None:
                true[-1]["segmentation"] = masks.true[picture][k]
        for k, (left, top, right, bottom) in enumerate(other.boxes.astype(float).tolist()):
            entry = {"image_id": picture + 1, "category_id": int(other.labels[k]) + 1, "score": float(other.scores[k])}
            box = [left, top, right - left, bottom - top]
            said.append(entry | ({"bbox": box} if masks is None else {"segmentation": masks.found[picture][k]}))
    return true, said


def by_pycocotools(
    truths: list[Truth], founds: list[Found], *, classes: int, masks: Masks | None = None,
    sizes: list[tuple[int, int]] | None = None, annotations: list[dict] | None = None,
) -> Any:  # fmt: skip
    """Return pycocotools' evaluation, accumulated and summarised."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    true, said = entries(truths, founds, masks)
    whole = sizes or [(9, 9)] * len(truths)
    images = [{"id": n + 1, "width": width, "height": height} for n, (width, height) in enumerate(whole)]
    names = [{"id": k + 1, "name": str(k)} for k in range(classes)]
    with contextlib.redirect_stdout(io.StringIO()):
        gold, said_of = COCO(), COCO()
        gold.dataset = {"images": images, "categories": names, "annotations": annotations or true}
        gold.createIndex()
        if said:
            said_of = gold.loadRes(copy.deepcopy(said))
        else:
            said_of.dataset = {"images": images, "categories": names, "annotations": []}
            said_of.createIndex()
        evaluation = COCOeval(gold, said_of, "bbox" if masks is None else "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def assert_equal(ours: Averages, gold: Any) -> None:
    sizes = ("small", "medium", "large")
    values = [
        ours.map, ours.map50, ours.map75, *(ours.map_by_size[name] for name in sizes),
        *(ours.recall_by_most[most] for most in (1, 10, 100)), *(ours.recall_by_size[name] for name in sizes),
    ]  # fmt: skip
    stats = [None if value == -1 else float(value) for value in gold.stats]
    assert [value is None for value in values] == [value is None for value in stats]
    assert [v for v in values if v is not None] == pytest.approx([v for v in stats if v is not None], abs=1e-9, rel=0)
    assert ours.recall == ours.recall_by_most[100]
    precision = gold.eval["precision"][:, :, :, 0, -1]
    for k in range(precision.shape[2]):
        for value, own in ((ours.ap[k], precision[:, :, k]), (ours.ap50[k], precision[0, :, k])):
            there = own[own > -1]
            assert value is None if not there.size else value == pytest.approx(float(there.mean()), abs=1e-9, rel=0)


@pytest.mark.parametrize(("seed", "classes"), [(1, 1), (2, 3), (3, 20)])
def test_figures_of_boxes_are_those_of_pycocotools(seed: int, classes: int) -> None:
    truths, founds = scenes(seed, 25, classes=classes)
    gold = by_pycocotools(truths, founds, classes=classes)
    assert_equal(average_precision(truths, founds, num_classes=classes), gold)


@pytest.mark.parametrize("part", ["val", pytest.param("train", marks=pytest.mark.slow)])
def test_figures_of_real_pictures_are_those_of_pycocotools(shared_data: Path, part: str) -> None:
    truths, sizes, classes = coco(shared_data / "coco128", part)
    founds = perturbed(truths, sizes, classes=classes)
    ours = average_precision(truths, founds, num_classes=classes)
    assert 0.2 < ours.map < 0.9
    assert_equal(ours, by_pycocotools(truths, founds, classes=classes, sizes=sizes))


def test_figures_of_masks_are_those_of_pycocotools(shared_data: Path) -> None:
    truths, sizes, classes = coco(shared_data / "coco128", "val")
    sizes = sizes[:30]
    truths = [replace(one, crowd=np.arange(len(one)) % 7 == 3) for one in truths[:30]]
    founds = perturbed(truths, sizes, classes=classes, masks=True)
    masks = masks_of(truths, founds, sizes)
    ours = average_precision(truths, founds, num_classes=classes, masks=masks, sizes=sizes)
    assert 0.05 < ours.map < 0.9
    assert_equal(ours, by_pycocotools(truths, founds, classes=classes, masks=masks, sizes=sizes))


def test_masks_become_the_run_lengths_of_pycocotools(shared_data: Path) -> None:
    from pycocotools import mask as gold

    truths, sizes, _ = coco(shared_data / "coco128", "val")
    for one, own, (width, height) in zip(truths, masks_of(truths, [found()] * 100, sizes).true, sizes, strict=True):
        for mask, ours in zip(one.masks, own, strict=True):
            assert mask is not None
            theirs = gold.merge(gold.frPyObjects([list(polygon) for polygon in mask.polygons], height, width))
            assert (ours["size"], ours["counts"]) == (theirs["size"], theirs["counts"])


def test_a_bitmap_becomes_the_run_lengths_of_pycocotools() -> None:
    from pycocotools import mask as gold

    bitmap = np.zeros((7, 5), bool)
    bitmap[2:4, 1:] = True
    one = replace(truth((0, (1, 2, 5, 4))), masks=(Mask.of(bitmap),))
    assert masks_of([one], [found()], [(5, 7)]).true[0][0] == gold.encode(np.asfortranarray(bitmap.astype(np.uint8)))


def test_figures_are_those_of_the_annotation_file_itself(shared_data: Path) -> None:
    truths, sizes, classes = coco(shared_data / "coco128", "val")
    content = json.loads((shared_data / "coco128" / "annotations" / "instances_val2017.json").read_text())
    pictures = {image["id"]: n + 1 for n, image in enumerate(content["images"])}
    numbers = {one["id"]: k + 1 for k, one in enumerate(sorted(content["categories"], key=lambda one: one["id"]))}
    annotations = [
        one | {"image_id": pictures[one["image_id"]], "category_id": numbers[one["category_id"]]}
        for one in content["annotations"]
    ]
    founds = perturbed(truths, sizes, classes=classes)
    gold = by_pycocotools(truths, founds, classes=classes, sizes=sizes, annotations=annotations)
    assert_equal(average_precision(truths, founds, num_classes=classes), gold)


def test_the_counted_curves_are_those_of_coco(shared_data: Path) -> None:
    truths, sizes, classes = coco(shared_data / "coco128", "val")
    founds = perturbed(truths, sizes, classes=classes)
    for pair in ((truths, founds, classes), (*scenes(5, 40, classes=7, crowd=0.2), 7)):
        precision = by_pycocotools(*pair[:2], classes=pair[2]).eval["precision"][:, :, :, 0, -1].mean(axis=1)
        ours = average_precisions(matched(*pair[:2], num_classes=pair[2]), np.ones((1, len(pair[0])), int))[0]
        assert np.isnan(ours).tolist() == (precision == -1).tolist()
        assert np.nanmax(np.abs(ours - precision)[precision > -1]) < 1e-9


def test_the_counted_curves_of_masks_are_those_of_coco(shared_data: Path) -> None:
    truths, sizes, classes = coco(shared_data / "coco128", "val")
    truths, sizes = truths[:20], sizes[:20]
    founds = perturbed(truths, sizes, classes=classes, masks=True)
    masks = masks_of(truths, founds, sizes)
    matches = matched(truths, founds, num_classes=classes, overlaps=of_masks(truths, masks))
    ours = average_precisions(matches, np.ones((1, 20), int))[0]
    whole = average_precision(truths, founds, num_classes=classes, masks=masks, sizes=sizes)
    assert np.nanmean(ours) == pytest.approx(whole.map, abs=1e-9)
    assert np.nanmean(ours[0]) == pytest.approx(whole.map50, abs=1e-9)


def test_pictures_without_anything_count_as_in_coco() -> None:
    truths, founds = scenes(4, 12)
    nothing = (truth(), found())
    for place, pair in ((0, nothing), (5, (truth(), founds[0])), (9, (truths[0], found()))):
        truths.insert(place, pair[0])
        founds.insert(place, pair[1])
    assert_equal(average_precision(truths, founds, num_classes=3), by_pycocotools(truths, founds, classes=3))


def test_a_network_that_finds_nothing_has_nothing_right() -> None:
    truths, _ = scenes(4, 5)
    nothing = [found()] * 5
    ours = average_precision(truths, nothing, num_classes=3)
    assert (ours.map, ours.map50, ours.recall) == (0.0, 0.0, 0.0)
    assert_equal(ours, by_pycocotools(truths, nothing, classes=3))


def test_a_class_without_objects_is_none_and_out_of_the_mean() -> None:
    truths, founds = [truth((0, (0, 0, 10, 10)))], [found((0, 0.9, (0, 0, 10, 10)), (1, 0.8, (0, 0, 10, 10)))]
    ours = average_precision(truths, founds, num_classes=3)
    assert (ours.map, ours.ap, ours.ap50) == (1.0, (1.0, None, None), (1.0, None, None))
    nothing = average_precision([truth()], founds, num_classes=3)
    assert (nothing.map, nothing.map50, nothing.recall, nothing.map_by_size["small"]) == (None, None, None, None)


def test_an_object_whose_mask_nobody_drew_counts_neither_way() -> None:
    bitmap = np.zeros((30, 30), bool)
    bitmap[:10, :10] = True
    boxes = np.array([[0, 0, 10, 10], [15, 15, 28, 28]], np.float32)
    both = Truth(boxes=boxes, labels=np.zeros(2, int), crowd=np.zeros(2, bool), masks=(Mask.of(bitmap), None))
    corner, whole = np.zeros((28, 28), np.float32), np.ones((28, 28), np.float32)
    corner[:9, :9] = 1
    said = Found(
        boxes=boxes[::-1].copy(), scores=np.array([0.9, 0.8], np.float32), labels=np.zeros(2, int),
        masks=np.stack([corner, whole]),
    )  # fmt: skip
    masks = masks_of([both], [said], [(30, 30)])
    assert average_precision([both], [said], num_classes=1, masks=masks, sizes=[(30, 30)]).map50 == 1.0
    assert crowded_without_mask([both])[0].crowd.tolist() == [False, True]


def test_of_two_objects_that_are_as_near_the_last_is_taken_as_in_coco() -> None:
    truths = [truth((0, (0, 0, 100, 100)), (0, (0, 20, 100, 120)))]
    for other in ((0, 0, 100, 100), (0, 20, 100, 120)):
        founds = [found((0, 0.9, (0, 10, 100, 110)), (0, 0.8, other))]
        precision = by_pycocotools(truths, founds, classes=1).eval["precision"][:, :, 0, 0, -1].mean(axis=1)
        ours = average_precisions(matched(truths, founds, num_classes=1), np.ones((1, 1), int))[0, :, 0]
        np.testing.assert_allclose(ours, precision, atol=1e-9)


def test_overlaps_are_bit_for_bit_those_of_pycocotools() -> None:
    from pycocotools import mask as gold

    random = np.random.default_rng(0)
    corners = np.sort(random.uniform(0, 300, (90, 2, 2)).astype(np.float32), axis=1).reshape(-1, 4)
    ours, theirs, crowd = corners[:50], corners[50:], random.random(40) < 0.3
    expected = gold.iou(corner_and_size(ours), corner_and_size(theirs), crowd.astype(int).tolist())
    assert (box_overlaps(ours, theirs, crowd) == expected).all()


@pytest.mark.parametrize("where", ["score", "box", "truth"])
def test_numbers_that_are_not_finite_are_refused(where: str) -> None:
    bad = float("nan")
    there = truth((0, (0, 0, bad if where == "truth" else 10, 10)))
    said = found((0, bad if where == "score" else 0.9, (0, 0, 10, bad if where == "box" else 10)))
    with pytest.raises(DataError, match="finite"):
        average_precision([there], [said], num_classes=1)
    with pytest.raises(DataError, match="finite"):
        matched([there], [said], num_classes=1)


def test_without_the_library_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(UsageError, match=r'pip install "resnetkit\[detect\]"'):
        coco_library.curves([truth()], [found()], num_classes=1)
