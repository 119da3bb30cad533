"""What an int8 export is calibrated and scored on: the user's labelled pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resnetkit.api.locating import Source
from resnetkit.api.model import Model, prepared_model
from resnetkit.api.remembering import Memory, by_memory, without_choosers
from resnetkit.data.dataset import Dataset
from resnetkit.data.fingerprint import digests_of
from resnetkit.data.sources import open_data
from resnetkit.errors import DataError, ResNetKitError, UsageError
from resnetkit.exporting.folder import Exported
from resnetkit.exporting.int8 import MOST_CALIBRATING, Cost
from resnetkit.inference.openvino_engine import OpenVINOEngine
from resnetkit.runtime import Runtime
from resnetkit.watcher import Watcher

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """The pictures to calibrate on, their keys as `Seen` takes them, and the others of a part to score."""

    ours: Dataset
    keys: str
    others: Dataset
    part: str


def calibration(
    data: Sequence[str | Path],
    *,
    classes: Sequence[str],
    memory: Memory,
    name: str,
    watcher: Watcher,
    threads: int,
    page: int = 1,
) -> Calibration:
    """Return the pictures to calibrate on, at most 300, and other ones to score: with their labels, none in both.

    Calibrated is on the train part, scored the test part, else the validation part; what the model has seen in
    training belongs to the first, and pictures that chose it are scored only where there are no others. A set without
    parts is divided: a part of it, at most half, calibrates. Raises `DataError` for a class that the model does not
    know and where there are not two pictures, `UsageError` where it has seen them all.
    """
    from resnetkit.data.decoded.survey import survey
    from resnetkit.data.targets import class_targets
    from resnetkit.models.seen import packed

    surveyed = survey(dataset := open_data(*data).on_page(page), threads=threads)
    dataset, notes = by_memory(dataset, surveyed, memory, name=name, asked="auto")
    parts = {item.split for item in dataset.items}
    scored = next((part for part in ("test", "val") if {part, "train"} <= parts), "all")
    dataset, said = without_choosers(dataset, surveyed, memory.known, name=name, part=scored)
    for note in [*notes, *said]:
        watcher.note(f"--calibrate: {note}")
    if scored != "all":
        ours = tuple(item for item in dataset.items if item.split == "train")
        others = tuple(item for item in dataset.items if item.split == scored)
    else:
        step = max(2, -(-len(dataset) // MOST_CALIBRATING))
        ours = dataset.items[::step]
        others = tuple(item for number, item in enumerate(dataset.items) if number % step)
    if not ours or not others:
        raise DataError("--calibrate: two pictures at least are needed, one to calibrate on and one to score")
    class_targets(others, classes, where="--calibrate")
    step = -(-len(ours) // MOST_CALIBRATING)
    return Calibration(
        ours=dataclasses.replace(dataset, items=ours[::step]), keys=packed(digests_of(ours[::step], surveyed)),
        others=dataclasses.replace(dataset, items=others), part=scored,
    )  # fmt: skip


def inputs(pictures: Dataset, exported: Exported) -> Iterator[np.ndarray]:
    """Yield what the graph reads of each picture that can be opened."""
    import numpy as np

    from resnetkit.exporting.standalone.resizing import images_of

    preprocess = exported.header.preprocess
    for item in pictures.items:
        try:
            picture = np.asarray(preprocess.convert(pictures.open(item)))
        except ResNetKitError:
            continue
        picture = picture.reshape(*picture.shape[:2], preprocess.channels)
        yield picture[None] if exported.reads == "picture" else images_of(picture, preprocess.to_json())


def cost(
    source: Source, made: Exported, pictures: Dataset, *, calibrated_on: int, runtime: Runtime, watcher: Watcher
) -> Cost:
    """Score the model in fp32 and the int8 graph of `made` on the same pictures, those that can be read."""
    whole = _answers(source, pictures, runtime, watcher, "fp32")
    quantised = _answers(Source(path=made.model, name=made.name, exported=made), pictures, runtime, watcher, "int8")
    rows = [
        (item.label, before, after)
        for item, before, after in zip(pictures.items, whole, quantised, strict=True)
        if before is not None
    ]
    if not rows:
        raise UsageError("--calibrate: none of the pictures to score can be read")
    return Cost(
        pictures=len(rows),
        calibrated_on=calibrated_on,
        top1_fp32=sum(label == before for label, before, _ in rows) / len(rows),
        top1_int8=sum(label == after for label, _, after in rows) / len(rows),
        same_answer=sum(before == after for _, before, after in rows),
    )


def _answers(source: Source, pictures: Dataset, runtime: Runtime, watcher: Watcher, what: str) -> list[str | None]:
    found = prepared_model(source, watcher)
    model = Model(
        source.network, found.header, name=source.name, runtime=runtime, engine=OpenVINOEngine(found, runtime)
    )
    answers = []
    with watcher.counting(f"scoring in {what}") as progress:
        for number, prediction in enumerate(model.predictor.predict_many(pictures, top_k=1), start=1):
            answers.append(prediction.label)
            progress(number, len(pictures))
    return answers
