"""Objects found on pictures: where they lie, and which of them are told."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.marks import Mask
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.view import View
from resnetkit.errors import DataError
from resnetkit.inference.prediction import Prediction
from resnetkit.inference.predictor import Predictor
from resnetkit.models.detection.sureness import Sureness
from tests.fakes import ColourFinder
from tests.inference.conftest import TWO

Paint = Callable[..., Path]


def places(prediction: Prediction) -> dict[str, list[int]]:
    return {one.label: np.round(one.box).astype(int).tolist() for one in prediction.objects or ()}


def test_boxes_are_those_of_the_original(finder: Predictor, scene: Paint) -> None:
    prediction = finder.predict(scene("a.png", TWO))
    assert prediction.status == "ok"
    assert (prediction.label, prediction.probability, prediction.top) == (None, None, ())
    assert prediction.size == (160, 120)
    assert places(prediction) == {label: list(box) for label, box in TWO.items()}


@pytest.mark.parametrize("size", [(320, 120), (120, 320), (40, 30), (81, 7)])
@pytest.mark.parametrize("crop", ["pad", "squash"])
def test_pictures_of_any_shape_keep_their_places(
    finder: Predictor, scene: Paint, size: tuple[int, int], crop: str
) -> None:
    box = (size[0] // 4, size[1] // 4, size[0] - 3, size[1] - 1)
    looking = replace(finder, preprocess=Preprocess(size=60, width=80, crop=crop))  # type: ignore[arg-type]
    [one] = looking.predict(scene("a.png", {"green": box}, size=size)).objects or ()
    a_pixel = max(size[0] / 80, size[1] / 60)  # of what the network sees
    assert one.box == pytest.approx(box, abs=1.01 * a_pixel)


@pytest.mark.parametrize("turned", range(1, 9))
def test_boxes_lie_on_the_picture_as_it_stands_upright(finder: Predictor, scene: Paint, turned: int) -> None:
    path = scene("a.png", {"red": (10, 20, 50, 60)}, turned=turned)
    upright = finder.preprocess.convert(Image.open(path))
    there = np.argwhere(np.asarray(upright)[..., 0] > 128)
    expected = [*there.min(axis=0)[::-1].tolist(), *(there.max(axis=0)[::-1] + 1).tolist()]
    prediction = finder.predict(path)
    assert prediction.size == upright.size
    assert places(prediction)["red"] == pytest.approx(expected, abs=2)


def test_a_picture_without_objects_is_an_answer(finder: Predictor, scene: Paint) -> None:
    prediction = finder.predict(scene("a.png", {}))
    assert (prediction.status, prediction.objects) == ("ok", ())
    assert repr(prediction).endswith("nothing)")


def test_what_is_below_the_threshold_or_of_no_size_is_never_told(finder: Predictor, scene: Paint) -> None:
    path = scene("a.png", {"dim": (10, 20, 50, 60), "blue": (100, 40, 150, 110)})
    assert [one.label for one in finder.predict(path).objects or ()] == ["blue"]
    for at, labels in (
        ((0.3, 0.5, 0.5), ["blue", "red"]),
        ((0.0, 0.0, 0.0), ["blue", "red"]),
        ((0.5, 0.5, 1), ["blue"]),
    ):
        seeing = replace(finder, decision=Sureness(at=at))
        assert [one.label for one in seeing.predict(path).objects or ()] == labels


def test_thresholds_for_other_classes_are_refused(finder: Predictor, scene: Paint) -> None:
    with pytest.raises(DataError, match="2 thresholds for 3 classes"):
        replace(finder, decision=Sureness(at=(0.5, 0.5))).predict(scene("a.png", TWO))


def test_outputs_that_are_not_finite_are_an_error(finder: Predictor, scene: Paint) -> None:
    class Diverged(ColourFinder):
        def logits(self, pixels: np.ndarray) -> np.ndarray:
            return np.full((len(pixels), 6, 6), np.nan, np.float32)

    [prediction] = replace(finder, engine=Diverged()).predict_many([scene("a.png", TWO)])
    assert prediction.status == "error"
    assert "not finite" in (prediction.error or "")


def test_masks_lie_on_the_original_and_survive_their_json(finder: Predictor, scene: Paint) -> None:
    prediction = replace(finder, engine=ColourFinder(masks=True)).predict(scene("a.png", TWO))
    for one in prediction.objects or ():
        assert one.mask is not None
        assert one.mask.size == (120, 160)
        there = np.argwhere(one.mask.bitmap())
        left, top, right, bottom = TWO[one.label]
        assert (*there.min(axis=0)[::-1], *there.max(axis=0)[::-1]) == pytest.approx(
            (left, top, right - 1, bottom - 1), abs=1
        )
    values = json.loads(json.dumps(prediction.to_json()))
    assert Prediction.from_json(values).to_json() == prediction.to_json()
    assert [one.mask for one in Prediction.from_json(values).objects or ()] == [
        one.mask for one in prediction.objects or ()
    ]


def test_run_lengths_are_those_of_coco_s_tools() -> None:
    coco = pytest.importorskip("pycocotools.mask")
    chance = np.random.default_rng(0)
    for _ in range(100):
        height, width = chance.integers(1, 40, 2)
        part = chance.random((height, width)) < chance.random()
        mask = Mask.of(part)
        told = mask.to_json()
        assert told["counts"] == coco.encode(np.asfortranarray(part, np.uint8))["counts"].decode()
        assert mask.area == part.sum()
        assert Mask.from_json(told) == mask
        whole = np.zeros((height + 3, width + 2), bool)
        whole[2 : 2 + height, 1 : 1 + width] = part
        assert Mask.of(part, left=1, top=2, size=whole.shape) == Mask.of(whole)  # type: ignore[arg-type]


def test_a_part_of_a_picture_shows_the_part_of_a_mask() -> None:
    chance = np.random.default_rng(0)
    mask = Mask.of(chance.random((30, 40)) < 0.5)
    whole = View.whole(40, 30).resized(height=90, width=60)
    for top, left in ((0, 0), (20, 35), (80, 55), (-10, -60)):
        part = mask.into(whole.cropped(top=top, left=left, height=25, width=20))
        padded = np.pad(mask.into(whole), 100)
        assert (part == padded[100 + top : 125 + top, 100 + left : 120 + left]).all()


@pytest.mark.parametrize("text", ["6é", "o", "0o", "-"])
def test_a_damaged_text_of_run_lengths_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Mask.from_json({"size": [2, 2], "counts": text})


def test_a_prediction_of_objects_has_every_key_and_survives_its_json(finder: Predictor, scene: Paint) -> None:
    prediction = finder.predict(scene("a.png", TWO))
    values = prediction.to_json()
    assert list(values) == [
        "source", "status", "label", "probability", "top", "width", "height", "objects", "warnings", "error",
    ]  # fmt: skip
    assert values["objects"][0] == {"label": "red", "score": 1.0, "box": [10.0, 20.0, 50.0, 60.0]}
    assert Prediction.from_json(values) == prediction
