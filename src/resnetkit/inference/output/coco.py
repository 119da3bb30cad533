"""Objects found on pictures as COCO JSON, which programs for annotation and evaluation read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from resnetkit.inference.output.rows import without_surrogates
from resnetkit.inference.prediction import Prediction
from resnetkit.models.detection.detected import Detected


@contextlib.contextmanager
def to_stream(stream: TextIO, *, classes: Sequence[str]) -> Iterator[Callable[[Prediction], None]]:
    """Yield the function that adds the objects of a prediction; the JSON is written when the block ends.

    `categories` are all of `classes`, from 1 on in their order; masks are compressed run lengths. Pictures that could
    not be read are none of `images`, where one without objects says that nothing is on it: they are `not_read`.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    not_read: list[dict[str, Any]] = []
    ids = {name: number for number, name in enumerate(classes, start=1)}

    def write(prediction: Prediction) -> None:
        if prediction.objects is None or prediction.size is None:
            not_read.append({"file_name": prediction.source, "error": prediction.error})
            return
        width, height = prediction.size
        images.append({"id": len(images) + 1, "file_name": prediction.source, "width": width, "height": height})
        for one in prediction.objects:
            place = {"id": len(annotations) + 1, "image_id": len(images), "category_id": ids[one.label]}
            annotations.append(place | _annotation(one))

    yield write
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    found = {"images": images, "categories": categories, "annotations": annotations, "not_read": not_read}
    stream.write(without_surrogates(json.dumps(found, ensure_ascii=False, allow_nan=False)) + "\n")


def _annotation(one: Detected) -> dict[str, Any]:
    """Return the box as left, top, width, height, and the mask where there is one."""
    left, top, right, bottom = one.box
    told: dict[str, Any] = {
        "bbox": [round(value, 2) for value in (left, top, right - left, bottom - top)],
        "area": round((right - left) * (bottom - top), 2) if one.mask is None else one.mask.area,
        "iscrowd": 0,
        "score": round(one.score, 6),
    }
    return told if one.mask is None else told | {"segmentation": one.mask.to_json()}
