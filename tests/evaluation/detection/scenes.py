"""Pictures with objects, and what a network that is good but not perfect finds on them."""

import json
from pathlib import Path

import numpy as np

from resnetkit.data.marks import Mask, Truth
from resnetkit.models.detection.found import Found

SIZE = (400, 300)
Scenes = tuple[list[Truth], list[Found]]


def truth(*objects: tuple[int, tuple[float, float, float, float]], crowd: tuple[int, ...] = ()) -> Truth:
    """Return objects of (class, box), those whose numbers are in `crowd` as crowds."""
    return Truth(
        boxes=np.array([box for _, box in objects], np.float32).reshape(-1, 4),
        labels=np.array([label for label, _ in objects], np.int64),
        crowd=np.array([number in crowd for number in range(len(objects))], bool),
    )


def found(*objects: tuple[int, float, tuple[float, float, float, float]]) -> Found:
    """Return objects of (class, score, box)."""
    return Found(
        boxes=np.array([box for *_, box in objects], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in objects], np.float32),
        labels=np.array([label for label, *_ in objects], np.int64),
    )


def perfect(truths: list[Truth]) -> list[Found]:
    """Return exactly what is there."""
    return [
        Found(boxes=one.boxes[~one.crowd], scores=np.full((~one.crowd).sum(), 0.9, np.float32),
              labels=one.labels[~one.crowd])
        for one in truths
    ]  # fmt: skip


def scenes(seed: int, count: int, *, classes: int = 3, mean: float = 6, crowd: float = 0.05) -> Scenes:
    """Return pictures with so many objects in the mean; what is hard of a picture is hard of all its objects."""
    random = np.random.default_rng(seed)
    each = [_scene(random, classes, mean, crowd) for _ in range(count)]
    return [one for one, _ in each], [other for _, other in each]


def _scene(random: np.random.Generator, classes: int, mean: float, crowd: float) -> tuple[Truth, Found]:
    ease, count = random.normal(0, 0.6), int(random.poisson(mean))
    likely = 1 / np.arange(1, classes + 1)
    labels, boxes = random.choice(classes, count, p=likely / likely.sum()), _boxes(random, count)
    times = (random.random(count) < 1 / (1 + np.exp(-2 - ease))).astype(int) + (random.random(count) < 0.15)
    of = np.repeat(np.arange(count), times)
    away = np.abs(random.normal(0, 0.08, len(of))) * np.exp(-ease / 2)
    sides = np.tile(boxes[of, 2:] - boxes[of, :2], 2)
    moved = np.sort((boxes[of] + random.normal(size=(len(of), 4)) * away[:, None] * sides).reshape(-1, 2, 2), axis=1)
    names = np.where(random.random(len(of)) < 0.93, labels[of], random.integers(0, classes, len(of)))
    wrong = _boxes(random, int(random.poisson(mean / 2 * np.exp(-ease / 2))))
    logits = np.concatenate([
        1.5 + ease / 2 - 10 * away + random.normal(size=len(of)), -1.2 + random.normal(size=len(wrong))
    ])  # fmt: skip
    order = np.argsort(-logits)
    return (
        Truth(boxes=boxes, labels=labels.astype(np.int64), crowd=random.random(count) < crowd),
        Found(
            boxes=np.concatenate([moved.reshape(-1, 4) + np.array([0, 0, 0.5, 0.5]), wrong])[order].astype(np.float32),
            scores=(1 / (1 + np.exp(-logits[order]))).astype(np.float32),
            labels=np.concatenate([names, random.choice(classes, len(wrong), p=likely / likely.sum())])[order],
        ),
    )  # fmt: skip


def _boxes(random: np.random.Generator, count: int) -> np.ndarray:
    sides = np.exp(random.normal(3.8, 0.6, (count, 2))).clip(4, 250)
    corner = random.uniform(size=(count, 2)) * (np.array(SIZE) - sides)
    return np.concatenate([corner, corner + sides], axis=1).astype(np.float32)


def coco(folder: Path, part: str) -> tuple[list[Truth], list[tuple[int, int]], int]:
    """Return the objects of a part of coco128 with their masks, the pictures' sizes, and how many classes there are."""
    content = json.loads((folder / "annotations" / f"instances_{part}2017.json").read_text())
    numbers = {one["id"]: k for k, one in enumerate(sorted(content["categories"], key=lambda one: one["id"]))}
    truths = []
    for image in content["images"]:
        own = [one for one in content["annotations"] if one["image_id"] == image["id"]]
        corners = np.array([one["bbox"] for one in own], np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        truths.append(Truth(
            boxes=corners.astype(np.float32), labels=np.array([numbers[one["category_id"]] for one in own], np.int64),
            crowd=np.array([bool(one["iscrowd"]) for one in own], bool), masks=tuple(_mask(one) for one in own),
        ))  # fmt: skip
    return truths, [(image["width"], image["height"]) for image in content["images"]], len(numbers)


def _mask(annotation: dict) -> Mask:
    drawn = annotation["segmentation"]
    if isinstance(drawn, list):
        return Mask(polygons=tuple(tuple(polygon) for polygon in drawn))
    return Mask(counts=tuple(drawn["counts"]), size=tuple(drawn["size"]))


def perturbed(truths: list[Truth], sizes: list[tuple[int, int]], *, classes: int, masks: bool = False) -> list[Found]:
    """Return the objects of a truth moved, some renamed, doubled or left out, with others where nothing is."""
    random, founds = np.random.default_rng(1), []
    for one, size in zip(truths, sizes, strict=True):
        of = np.flatnonzero(random.random(len(one)) < 0.85)
        of = np.concatenate([of, of[random.random(len(of)) < 0.2]]).astype(int)
        sides = np.tile(one.boxes[of, 2:] - one.boxes[of, :2], 2)
        boxes = one.boxes[of] + random.normal(0, 0.06, (len(of), 4)) * sides * (random.random((len(of), 1)) < 0.8)
        wrong = random.uniform(size=(3, 2, 2)) * size
        corners = np.concatenate([boxes.reshape(-1, 2, 2), wrong])
        low, high = corners.min(axis=1).clip(0), np.minimum(corners.max(axis=1), size)
        low = np.minimum(low, np.array(size) - 2)
        labels = np.concatenate([one.labels[of], random.integers(0, classes, 3)])
        labels = np.where(random.random(len(labels)) < 0.9, labels, random.integers(0, classes, len(labels)))
        scores = np.round(random.random(len(labels)), 2)  # some are equal
        order = np.argsort(-scores, kind="stable")
        founds.append(Found(
            boxes=np.concatenate([low, np.maximum(high, low + 1)], axis=1)[order].astype(np.float32),
            scores=scores[order].astype(np.float32), labels=labels[order],
            masks=_discs(random, len(labels)) if masks else None,
        ))  # fmt: skip
    return founds


def _discs(random: np.random.Generator, count: int) -> np.ndarray:
    y, x = np.mgrid[:28, :28] / 27 * 2 - 1
    radius = random.uniform(0.7, 1.3, (count, 1, 1))
    return (1 / (1 + np.exp(-8 * (radius - np.hypot(x, y))))).astype(np.float32)
