"""What `train` decides for itself, and why; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import fill
from typing import Any

from resnetkit.data.dataset import Dataset
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import UsageError
from resnetkit.models import catalog
from resnetkit.models.checkpoint import Spec
from resnetkit.models.spec import ResNetSpec
from resnetkit.runtime import Precision
from resnetkit.training.planning import words as plan_words
from resnetkit.training.planning.enlarging import FULL_SIDE, LEAST_SIDE, is_near, side_for, side_for_trunk
from resnetkit.training.recipe import Recipe, with_settings
from resnetkit.training.recipes import recipe_named
from resnetkit.training.request import Request

# From this many pixels on, pictures keep enough detail after an ImageNet stem's factor of four.
PHOTO_SIDE = 96
# The weights that the package carries for photos, taken where nobody names a network.
TRUNK = "resnet_2223.imagenet1k"
_CIFAR_SIDE = 32
# Settings, and rooms of them, that say how training beyond a head goes.
_OF_TRAINING = {
    "optim", "schedule", "augment", "budget", "epochs", "batch_size", "train", "views", "head_first", "head_last",
    "batchnorm", "label_smoothing", "ema", "clip_norm", "select",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Weights to start from: where they come from, the network they fit and how it wants its pictures.

    `beside`: in words, what their file holds that the run does not take.
    """

    name: str
    spec: ResNetSpec
    preprocess: Preprocess
    beside: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The run, decided: `reasons` says in a line each what was chosen and why.

    `folds`: how many pictures each holds out; `seconds`: about how long it all takes here.
    """

    spec: Spec
    preprocess: Preprocess
    recipe: Recipe
    weights: str | None
    reasons: tuple[str, ...]
    folds: tuple[int, ...] = ()
    seconds: float | None = None


def num_to_train(dataset: Dataset) -> int:
    """Return how many pictures train, before a share of them is held out."""
    return sum(item.split in (None, "train") for item in dataset.items)


def precision_of(plan: Plan, *, device: str) -> Precision:
    """Return the precision of the run: fp32 where, on a CPU, bf16 would get a strided convolution on one pixel.

    There oneDNN 3.13 (torch 2.15) leaves old memory in the weight gradient: 30 of 30 trials were wrong for 3x3 and 7x7
    at stride 2 on 1x1 inputs, none of 30 at stride 1 or from 2x2 on (LOG.md).
    """
    one_pixel = min(plan.preprocess.frame) <= plan.spec.body.feature_info[-2].stride
    return "fp32" if one_pixel and device == "cpu" else plan.recipe.precision


def weights_wanted(request: Request, *, median_side: int, num_pictures: int) -> str | None:
    """Return the weights to start from: a published name, a path, or None for random ones."""
    if request.weights == "none" or (request.recipe is not None and _from_random(request)):
        return None
    if request.weights != "auto":
        return request.weights
    if request.named is None:
        side = _trunk_side(request, median_side=median_side, num_pictures=num_pictures)
        return TRUNK if side is not None else None
    is_photo = _stem(request, _image_size(request, None, median_side)[0]) == "imagenet"
    if not is_photo and not _is_for_small_pictures(request.architecture):
        return None
    return _transfer_record(request.architecture)


def _trunk_side(request: Request, *, median_side: int, num_pictures: int) -> int | None:
    """Return the side of the pictures that the trunk gets where no network is named, or None to do without it."""
    stem = request.spec_changes.get("stem", "auto") if request.stem == "auto" else request.stem
    if stem != "auto":
        return (request.asked_side or FULL_SIDE) if stem == "imagenet" else None
    if median_side >= PHOTO_SIDE or (request.asked_side or 0) >= PHOTO_SIDE:
        return None if _too_small(request) else request.asked_side or FULL_SIDE
    if request.spec_changes or _too_small(request):
        return None
    side = side_for(median_side=median_side, num_pictures=num_pictures)
    if side is None and request.recipe is not None:  # one that begins with weights: there are no others
        side = side_for_trunk(median_side=median_side)
    return side and (request.asked_side or side)


def _too_small(request: Request) -> bool:
    """Tell whether so small pictures were asked for that the trunk is of no use."""
    if request.image_size is None:
        return False
    return request.image_size * (request.image_width or request.image_size) < LEAST_SIDE**2


def _transfer_record(architecture: str) -> str | None:
    record = catalog.default_record(architecture, purpose="transfer")
    return record.name if record else None


def _from_random(request: Request) -> bool:
    """A recipe without a fitted head starts from random weights unless weights were asked for."""
    assert request.recipe is not None
    return request.weights == "auto" and not recipe_named(request.recipe).head_first


def decide(
    request: Request, *, origin: Origin | None, median_side: int, num_classes: int, num_pictures: int,
    sizes: Sequence[tuple[int, int]] = (), distance: float | None = None,
    choices: Sequence[str] = ("top1", "balanced_accuracy", "loss"),
) -> Plan:  # fmt: skip
    """Decide network, image size, preprocessing and recipe; raises `UsageError` for contradictions, with the ways out.

    `origin` is what `weights_wanted` named, opened. `median_side`: median shorter side of the pictures, in pixels;
    `num_pictures`: those of the training part, before a share of them is held out; `sizes`: (width, height) of some;
    `distance`: how far they are from those of the weights (`nearness.distance`), where that `may_be_near`; `choices`:
    figures of the task that may choose the epoch.
    """
    near = is_near(distance, num_pictures=num_pictures)
    recipe_name = request.recipe or (
        "scratch" if origin is None else "probe" if near and _is_open(request) else "finetune"
    )
    gentle = near and recipe_name == "finetune" and "train=head" not in request.settings
    small = median_side < PHOTO_SIDE
    size, size_reason = _image_size(request, origin, median_side)
    side = _side_for_trunk(
        request, origin, median_side=median_side, num_pictures=num_pictures, near=near and not gentle
    )
    if side is not None:
        enlarged = ", enlarged for the weights" if side > median_side else ""
        size = side
        if request.image_width is None:
            size_reason = f"{side} pixels{enlarged} (median side {median_side})"
    named = recipe_named(recipe_name)
    recipe, changes = settled(
        named.gentle() if gentle else named, request, num_pictures=num_pictures, choices=choices
    )  # fmt: skip
    recipe = recipe.for_pictures(median_side=median_side, size=size)
    if recipe.head_first and origin is None:
        raise UsageError(
            f"recipe {recipe.name} starts from pretrained weights, and there are none here: "
            "give them with --weights NAME|FILE, or use --recipe scratch"
        )
    whole = side is not None and (small or side < FULL_SIDE)
    preprocess = _preprocess(request, origin, size, changes, whole=whole)
    spec = _spec(request, origin, recipe, size).changed(num_classes=num_classes, in_channels=preprocess.channels)
    reasons = (
        f"network   {_network(request, origin, recipe)}, {spec.stem} stem, {num_classes} classes",
        f"pictures  {size_reason}",
        *plan_words.of_bands(preprocess, begins=origin is not None),
        *plan_words.of_windows(preprocess),
        *plan_words.of_crop(preprocess, sizes),
        f"weights   {origin.name if origin else _words_of_scratch(request)}",
        *_beside(origin),
        f"changes   {plan_words.of_augment(recipe.augment)}",
        f"recipe    {plan_words.of_length(recipe, num_pictures)}",
        *plan_words.of_distance(distance, recipe, near=near, gentle=gentle),
        *plan_words.of_frozen(recipe, spec, preprocess.frame, num_pictures),
        *plan_words.of_sampling(recipe),
        *plan_words.of_choice(recipe),
    )
    return Plan(
        spec=spec, preprocess=preprocess, recipe=recipe, weights=origin.name if origin else None, reasons=reasons
    )


def settled(
    recipe: Recipe, request: Request, *, num_pictures: int, choices: Sequence[str], validations: int | None = None
) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe with what was asked, its epochs and what chooses one, and the settings of `Preprocess`.

    `validations`: how often the run scores held-out pictures where nothing is said of it; None: as the recipe says.
    Raises `UsageError` for contradictions.
    """
    changes: dict[str, Any] = {}
    recipe = with_settings(recipe, changes, request.settings)
    recipe = recipe.changed(batch_size=request.batch_size or recipe.batch_size)
    recipe = recipe.with_epochs(request.epochs) if request.epochs else recipe.for_count(num_pictures)
    if not any(key.startswith("schedule.") for key in request.set_keys):
        recipe = recipe.with_warmup_of_half_at_most()
    if validations is not None and "score_every" not in request.set_keys:
        recipe = recipe.changed(score_every=max(1, recipe.epochs // validations))
    if recipe.budget.patience and "select=last" in request.settings:
        raise UsageError(
            "budget.patience keeps the best epoch, and select=last the last one: leave one of them out, or choose by "
            f"select={', '.join(choices[:-1])} or {choices[-1]}"
        )
    return recipe.choosing(choices), changes


def mirrors(plan: Plan, request: Request) -> bool:
    """Tell whether training or scoring would mirror pictures without having been asked to by a setting."""
    return plan.recipe.augment.flip != "none" and "augment.flip" not in request.set_keys


def unmirrored(plan: Plan, request: Request, why: str) -> Plan:
    """Return the plan without mirrored pictures, for a reason `why`, nor averages with them but for a setting's."""
    recipe, flip = plan.recipe, plan.recipe.augment.flip
    recipe = recipe.changed(
        augment=replace(recipe.augment, flip="none"), tta=recipe.tta if "tta" in request.set_keys else "none"
    )  # fmt: skip
    line = f"mirroring off: {why}; --set augment.flip={flip} to mirror all the same"
    said = fill(line, 100, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False)
    before, now = (f"changes   {plan_words.of_augment(augment)}" for augment in (plan.recipe.augment, recipe.augment))
    reasons = tuple(now if reason == before else reason for reason in plan.reasons)
    return replace(plan, recipe=recipe, reasons=(*reasons, said))


def may_be_near(request: Request, origin: Origin | None, *, num_pictures: int) -> bool:
    """Tell whether a head alone may be trained, or all layers gently: pictures are few, and nobody named a rate.

    Measured for networks with an ImageNet stem.
    """
    rate = {"optim.lr", "optim.name"} & request.set_keys
    free = request.recipe in (None, "finetune") and not rate
    known = origin is not None and origin.spec.stem == "imagenet" and origin.preprocess.channels == 3
    bands = "preprocess.channels" in request.set_keys
    return free and known and not bands and is_near(0.0, num_pictures=num_pictures)


def _is_open(request: Request) -> bool:
    """Tell whether nothing was said of how to train."""
    named = request.recipe or request.epochs or request.batch_size
    said = {key.partition(".")[0] for key in request.set_keys}
    return named is None and not said & _OF_TRAINING


def _side_for_trunk(
    request: Request, origin: Origin | None, *, median_side: int, num_pictures: int, near: bool
) -> int | None:
    """Return the side that pictures get for the trunk that was taken unnamed, None for that of the weights."""
    chosen = origin is not None and origin.name == TRUNK and request.weights == "auto" and request.named is None
    if not chosen or request.stem != "auto" or request.spec_changes:
        return None
    if median_side < PHOTO_SIDE and (request.asked_side or not near):
        return _trunk_side(request, median_side=median_side, num_pictures=num_pictures)
    return None if request.asked_side else side_for(median_side=median_side, num_pictures=num_pictures, near=near)


def _image_size(request: Request, origin: Origin | None, median_side: int) -> tuple[int, str]:
    if request.asked_side:
        across = "" if request.image_width is None else f"x{request.image_width}"
        return request.asked_side, f"{request.image_size}{across} pixels, as asked"
    if origin is not None:
        return min(origin.preprocess.frame), f"{origin.preprocess.sides} pixels, as the weights were trained"
    rounded = -(-median_side // 4) * 4
    if _is_for_small_pictures(request.architecture) and rounded > _CIFAR_SIDE:
        return _CIFAR_SIDE, f"{_CIFAR_SIDE} pixels, what {request.architecture} is made for (median side {median_side})"
    if median_side >= PHOTO_SIDE:
        return 224, f"224 pixels (median side {median_side})"
    return rounded, f"{rounded} pixels (median side {median_side})"


def _beside(origin: Origin | None) -> list[str]:
    """Name what the file of the weights holds beside the trunk, which alone is taken: a new head is trained."""
    if origin is None or not origin.beside:
        return []
    line = f"left out  of the file: {origin.beside}"
    return [fill(line, 100, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False)]


def _is_for_small_pictures(model: str) -> bool:
    return catalog.spec_of(model).stem != "imagenet"


def _stem(request: Request, size: int) -> str:
    if request.stem != "auto":
        return request.stem
    if "stem" in request.spec_changes:
        return request.spec_changes["stem"]
    if _is_for_small_pictures(request.architecture):
        return catalog.spec_of(request.architecture).stem
    return "cifar" if size < PHOTO_SIDE else "imagenet"


def _spec(request: Request, origin: Origin | None, recipe: Recipe, size: int) -> ResNetSpec:
    asked_for = catalog.spec_of(request.architecture) if origin is None or request.named else origin.spec
    wanted = asked_for.changed(**recipe.model | {"stem": _stem(request, size)})
    if origin is None:
        return wanted
    asked = request.spec_changes.get("stem", origin.spec.stem) if request.stem == "auto" else request.stem
    if asked != origin.spec.stem:
        raise UsageError(
            f"--stem {asked} contradicts {origin.name}, whose stem is {origin.spec.stem}: "
            f"leave --stem and model.stem out, or train from scratch with --weights none"
        )
    if request.model is None and not recipe.model:
        return origin.spec
    same = {"num_classes": origin.spec.num_classes, "in_channels": origin.spec.in_channels, "stem": origin.spec.stem}
    if wanted.changed(**same) != origin.spec:
        asked_network = _with_changes(request.named or "a network", recipe)
        raise UsageError(
            f"{asked_network} is not the network of {origin.name} ({plan_words.of_network(origin.spec)}): "
            "leave out --model and --set model..., or train from scratch with --weights none"
        )
    return origin.spec


def _network(request: Request, origin: Origin | None, recipe: Recipe) -> str:
    if origin and not request.model:
        name = catalog.name_of(origin.spec)
        return f"{name}, that of the weights" if name else f"that of the weights, {origin.spec.num_layers} layers"
    return _with_changes(request.architecture, recipe)


def _with_changes(network: str, recipe: Recipe) -> str:
    changed = ", ".join(f"{name} {value}" for name, value in recipe.model.items() if name != "stem")
    return f"{network} with {changed}" if changed else network


def _words_of_scratch(request: Request) -> str:
    """Say that the weights are random, and why where no weights were spoken of."""
    said = "random (trained from scratch)"
    if request.weights != "auto" or request.recipe or request.named or request.stem != "auto" or request.spec_changes:
        return said
    why = (
        f"are for {LEAST_SIDE}x{LEAST_SIDE} pixels or more"
        if _too_small(request)
        else "are for larger pictures, or fewer of them"
    )
    return f"{said}: those of ImageNet {why}"


def _preprocess(
    request: Request, origin: Origin | None, size: int, changes: dict[str, Any], *, whole: bool
) -> Preprocess:  # fmt: skip
    """Return how pictures become pixels: `size` is the frame's shorter side, `resize` keeps its share of the height."""
    channels = changes.pop("channels", 3)
    base = Preprocess.for_size(size, channels=channels)
    if origin is not None and origin.preprocess.page > 1 and "page" not in changes:
        page = origin.preprocess.page
        raise UsageError(
            f"{origin.name} reads page {page} of every file, and other pages are other pictures: say which with "
            f"--set preprocess.page={page}"
        )
    if origin is not None and origin.preprocess.frames != "one" and "frames" not in changes:
        raise UsageError(
            f"{origin.name} reads several frames of each file ({origin.preprocess.frames}): say which with --set "
            f"preprocess.frames='{origin.preprocess.frames}', or one"
        )
    if origin is not None and origin.preprocess.windows and "windows" not in changes:
        raise UsageError(
            f"{origin.name} reads windows of measured values, and these pictures may be measured otherwise: say which "
            f"with --set preprocess.windows='{','.join(origin.preprocess.windows)}', or none"
        )
    if origin is not None and origin.preprocess.channels == channels:
        base = origin.preprocess.changed(depth=None, page=1, frames="one", windows=())
        if whole or request.asked_side or size != min(base.frame):
            resize = size if whole else round(base.resize * (size / base.size))
            base = base.changed(size=size, width=None, resize=resize)
    if request.image_width is not None and request.image_size is not None:
        resize = round(base.resize * (request.image_size / base.size))
        base = base.changed(size=request.image_size, width=request.image_width, resize=resize)
    return base.changed(**changes)
