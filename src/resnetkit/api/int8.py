"""What an int8 export is calibrated and scored on: the user's labelled pictures."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from resnetkit.api.locating import Source
from resnetkit.api.model import Model, prepared_model
from resnetkit.api.remembering import Memory, by_memory, without_choosers
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.fingerprint import digests_of
from resnetkit.data.frames import of_files
from resnetkit.data.sources import called, open_data
from resnetkit.errors import DataError, ResNetKitError, UsageError
from resnetkit.exporting.folder import Exported
from resnetkit.exporting.int8 import MOST_CALIBRATING, Cost
from resnetkit.inference.openvino_engine import OpenVINOEngine
from resnetkit.inference.prediction import Prediction
from resnetkit.models.checkpoint import CLASSIFICATION, DETECTION, Header
from resnetkit.models.detection.found import Found
from resnetkit.models.detection.sureness import Sureness
from resnetkit.runtime import Runtime
from resnetkit.watcher import Watcher


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """The pictures to calibrate on, their keys as `Seen` takes them, and the others of a part to score.

    `name`: what the data are called in files.
    """

    ours: Dataset
    keys: str
    others: Dataset
    part: str
    name: str


def calibration(
    data: Sequence[str | Path],
    *,
    classes: Sequence[str],
    memory: Memory,
    name: str,
    watcher: Watcher,
    threads: int,
    page: int = 1,
    frames: str = "one",
    task: str = CLASSIFICATION,
) -> Calibration:
    """Return the pictures to calibrate on, at most 300, and other ones to score: with their labels, none in both.

    Calibrated is on the train part, scored the test part, else the validation part; what the model has seen in
    training belongs to the first, and pictures that chose it are scored only where there are no others. A set without
    parts is divided: a part of it, at most half, calibrates. Raises `DataError` for a class that the model does not
    know and where there are not two pictures, `UsageError` where it has seen them all.
    """
    from resnetkit.data.decoded.survey import survey
    from resnetkit.data.targets import class_targets, object_targets
    from resnetkit.models.seen import packed

    surveyed = survey(dataset := of_files(open_data(*data), page=page, frames=frames), threads=threads)
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
    if task == DETECTION:
        object_targets(others, classes, where="--calibrate")
    else:
        class_targets(others, classes, where="--calibrate")
    step = -(-len(ours) // MOST_CALIBRATING)
    return Calibration(
        ours=dataclasses.replace(dataset, items=ours[::step]), keys=packed(digests_of(ours[::step], surveyed)),
        others=dataclasses.replace(dataset, items=others), part=scored,
        name=dataset.shown(called(data)),
    )  # fmt: skip


def inputs(pictures: Dataset, exported: Exported) -> Iterator[np.ndarray]:
    """Yield what the graph reads of each picture that can be opened."""
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
        (item, before, after)
        for item, before, after in zip(pictures.items, whole, quantised, strict=True)
        if before.error is None and after.error is None
    ]
    if not rows:
        raise UsageError("--calibrate: none of the pictures to score can be read")
    items, before, after = zip(*rows, strict=True)
    score = _objects if isinstance(made.header.decision, Sureness) else _classes
    figures, same = score(items, (before, after), made.header)
    return Cost(
        pictures=len(rows), calibrated_on=calibrated_on, fp32=figures[0], int8=figures[1], same_answer=same,
        figure="map50" if score is _objects else "top1",
    )  # fmt: skip


Both = tuple[Sequence[Prediction], Sequence[Prediction]]


def _classes(items: Sequence[Item], answers: Both, header: Header) -> tuple[list[float], int]:
    """Return the shares of right classes, and on how many pictures the class is the same."""
    labels = [[each.label for each in one] for one in answers]
    right = [sum(item.label == label for item, label in zip(items, one, strict=True)) / len(items) for one in labels]
    return right, sum(first == second for first, second in zip(*labels, strict=True))


def _objects(items: Sequence[Item], answers: Both, header: Header) -> tuple[list[float], int]:
    """Return the precisions at half overlap, and on how many pictures there are as many objects of each class."""
    assert isinstance(header.decision, Sureness)
    least = dict(zip(header.classes, header.decision.of(len(header.classes)), strict=True))
    counts = [
        [Counter(one.label for one in each.objects or () if one.score >= least[one.label]) for each in told]
        for told in answers
    ]
    same = sum(first == second for first, second in zip(*counts, strict=True))
    return [map50_of(items, told, header.classes) for told in answers], same


def map50_of(items: Sequence[Item], answers: Sequence[Prediction], classes: Sequence[str]) -> float:
    """Return the precision of boxes at an overlap of half; raises `DataError` where there is nothing to find."""
    from resnetkit.data.targets import object_targets
    from resnetkit.evaluation.detection.metrics import map_of

    index = {name: number for number, name in enumerate(classes)}
    founds = []
    for answer in answers:
        found = answer.objects or ()
        founds.append(
            Found(
                boxes=np.array([one.box for one in found], np.float32).reshape(-1, 4),
                scores=np.array([one.score for one in found], np.float32),
                labels=np.array([index[one.label] for one in found], np.int64),
            )
        )
    reached = map_of(list(object_targets(items, classes, where="--calibrate")), founds, num_classes=len(classes))[1]
    if reached is None:
        raise DataError("--calibrate: there is no object on the pictures to score")
    return reached


def _answers(source: Source, pictures: Dataset, runtime: Runtime, watcher: Watcher, what: str) -> list[Prediction]:
    """Return what a model says of each picture, a detector all that it finds, however unsure."""
    found = prepared_model(source, watcher)
    header = found.header
    if header.task == DETECTION:
        header = dataclasses.replace(header, decision=Sureness(at=(0.0,) * len(header.classes)))
    model = Model(source.network, header, name=source.name, runtime=runtime, engine=OpenVINOEngine(found, runtime))
    answers = []
    with watcher.counting(f"scoring in {what}") as progress:
        for number, prediction in enumerate(model.predictor.predict_many(pictures, top_k=1), start=1):
            answers.append(prediction)
            progress(number, len(pictures))
    return answers
