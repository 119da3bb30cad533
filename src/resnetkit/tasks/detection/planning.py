"""What `train` decides for itself where objects are marked, and why; needs no torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from resnetkit.data.dataset import Dataset
from resnetkit.data.decoded.survey import Survey
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import UsageError
from resnetkit.evaluation.detection.coco_library import require
from resnetkit.models import catalog
from resnetkit.models.detection import anchors
from resnetkit.models.detection.frames import FULL_AREA, LIGHT_AREA, SIDE, frame_for
from resnetkit.models.detection.names import Named
from resnetkit.models.detection.spec import DetectorSpec
from resnetkit.training.planning import words as plan_words
from resnetkit.training.planning.plan import TRUNK, Origin, Plan, num_to_train, settled
from resnetkit.training.recipe import Recipe
from resnetkit.training.recipes import recipe_named
from resnetkit.training.request import Request

CHOICES = ("map50", "map")
_VALIDATIONS = 12  # of a run, which scores held-out pictures so often


def weights_wanted(request: Request, dataset: Dataset, surveyed: Survey) -> str | None:
    """Return the weights to start from: a published name, a path, or None for random ones.

    Raises `UsageError` for a detector that learns outlines where none are drawn.
    """
    if request.detector is not None and request.detector.masks and dataset.objects != "masks":
        raise UsageError(f"{request.named} learns outlines, and these annotations are boxes: use fasterrcnn_...")
    if request.weights != "auto":
        return None if request.weights == "none" else request.weights
    if request.named is None:
        return TRUNK
    record = catalog.default_record(request.architecture, purpose="transfer")
    return record.name if record else None


def decide(request: Request, dataset: Dataset, surveyed: Survey, *, origin: Origin | None) -> Plan:
    """Decide detector, frame, anchors and recipe; raises `UsageError` for contradictions."""
    require()
    light = request.detector is None or request.detector.form == "light"
    count = num_to_train(dataset)
    named = recipe_named(request.recipe or ("detect-light" if light else "detect"))
    if origin is None:  # random layers and statistics are nothing to keep
        named = named.changed(train="all", batchnorm="batch")
    recipe, changes = settled(named, request, num_pictures=count, choices=CHOICES, validations=_VALIDATIONS)
    _check(recipe)
    sizes = np.array(surveyed.sizes or [(4, 3)], np.float64)
    preprocess, said = _preprocess(request, origin, sizes, changes, light=light)
    recipe = recipe.for_pictures(median_side=int(np.median(sizes.min(axis=1))), size=min(preprocess.frame))
    spec, anchored = _spec(request, dataset, surveyed, origin, preprocess)
    reasons = (
        f"task      objects by {dataset.objects}: {_called(request, spec)}, "
        f"{spec.num_classes} {'class' if spec.num_classes == 1 else 'classes'}",
        f"pictures  {said}",
        f"anchors   {anchored}",
        f"weights   {origin.name if origin else 'random (trained from scratch)'}",
        f"changes   {plan_words.of_augment(recipe.augment)}",
        f"recipe    {plan_words.of_length(recipe, count)}",
        *plan_words.of_frozen(recipe, spec.backbone, preprocess.frame, count),
        f"BatchNorm {_OF_NORMS[recipe.batchnorm]}",
        *plan_words.of_choice(recipe),
    )
    return Plan(
        spec=spec, preprocess=preprocess, recipe=recipe, weights=origin.name if origin else None, reasons=reasons
    )


_OF_NORMS = {
    "frozen": "of the backbone keeps the statistics of its weights", "batch": "of the backbone learns statistics",
    "sync": "of the backbone learns statistics of the whole batch",
}  # fmt: skip


def _check(recipe: Recipe) -> None:
    """Refuse what has no meaning for objects."""
    if recipe.views or recipe.head_first or recipe.head_last:
        raise UsageError(f"recipe {recipe.name} fits a classifier: choose detect or detect-light")
    if recipe.batchnorm not in _OF_NORMS:
        raise UsageError(f"batchnorm={recipe.batchnorm}: of a detector it is {', '.join(_OF_NORMS)}")
    if recipe.augment.mixup or recipe.augment.cutmix or recipe.augment.policy != "none":
        raise UsageError("augment.mixup, cutmix and policy do not tell where objects go: leave them out")
    if recipe.sampling == "balanced":
        raise UsageError("sampling=balanced draws classes of pictures, and these have objects: leave it out")


def _preprocess(
    request: Request, origin: Origin | None, sizes: np.ndarray, changes: dict[str, Any], *, light: bool
) -> tuple[Preprocess, str]:
    """Return how pictures become pixels, whole within a frame, and what is said of it."""
    aspect = float(np.median(sizes[:, 0] / sizes[:, 1]))
    if request.image_size is not None and (request.image_width is not None or aspect == 1):
        frame = request.image_size, request.image_width or request.image_size
    elif request.image_size is not None:
        frame = request.image_size, max(SIDE, round(request.image_size * aspect / SIDE) * SIDE)
    else:
        frame = frame_for(aspect, area=LIGHT_AREA if light else FULL_AREA)
    if min(frame) < SIDE:
        raise UsageError(f"--image-size {min(frame)}: a detector's coarsest cells are {SIDE} pixels, so give no less")
    base = Preprocess() if origin is None else origin.preprocess
    made = replace(base, depth=None, page=1, size=frame[0], width=frame[1], resize=frame[0], crop="pad")
    width, height = np.median(sizes, axis=0).astype(int).tolist()
    said = f"{frame[0]}x{frame[1]} pixels (height x width; median picture {height}x{width}), whole, with bars"
    return made.changed(**changes), said


def _spec(
    request: Request, dataset: Dataset, surveyed: Survey, origin: Origin | None, preprocess: Preprocess
) -> tuple[DetectorSpec, str]:
    """Return the detector, and what is said of its anchors."""
    asked = request.detector
    masks = dataset.objects == "masks" if asked is None else asked.masks
    given = None if origin is None else origin.spec.body
    if (
        given is not None
        and request.spec_changes
        and request.spec.changed(num_classes=0) != given.changed(num_classes=0)
    ):
        raise UsageError(
            f"--set model... describes another network than that of {origin.name if origin else ''}: leave it out, or "
            "begin from random weights with --weights none"
        )
    backbone = (given or request.spec).changed(num_classes=0)
    how = asked or Named(masks=masks, arch="", form="light")
    changes = {"num_classes": max(1, len(dataset.classes))}
    if how.form != "light":
        return how.spec(backbone, **changes), f"those of {request.named}"
    chosen = anchors.for_boxes(_boxes(dataset, surveyed, preprocess), backbone.feature_info)
    spec = how.spec(backbone, anchor_sizes=chosen.sizes, levels=chosen.levels, **changes)
    return spec.changed(aspect_ratios=chosen.aspect_ratios), chosen.words.removeprefix("anchors ")


def _called(request: Request, spec: DetectorSpec) -> str:
    return str(request.detector) if request.detector else f"{'Mask' if spec.masks else 'Faster'} R-CNN, light"


def _boxes(dataset: Dataset, surveyed: Survey, preprocess: Preprocess) -> np.ndarray:
    """Return the boxes that training pictures have in the frame, `[M, 4]`."""
    found: list[np.ndarray] = []
    for item in dataset.items:
        if item.split in (None, "train") and item.marks and item.source in surveyed.contents:
            view = preprocess.view(*surveyed.contents[item.source].size)
            corners = view.into(np.array([one.box for one in item.marks if not one.crowd]).reshape(-1, 2))
            found.append(corners.reshape(-1, 4))
    return np.concatenate(found) if found else np.zeros((0, 4))
