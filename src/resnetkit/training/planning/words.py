"""What a plan says of what was decided, a line each; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from resnetkit.data.preprocess import Preprocess
from resnetkit.models.choice import FIGURES
from resnetkit.models.spec import ResNetSpec
from resnetkit.training.recipe import Augment, Recipe

# A square photo loses 23 % to the usual centre crop (224 of 256 pixels); more than that is lost to the picture's shape.
_MUCH_LEFT_OUT = 0.25


def of_crop(preprocess: Preprocess, sizes: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Say what the crop never shows of the pictures, where that is much, and the way out."""
    share = median(preprocess.left_out(*size) for size in sizes) if sizes else 0.0
    if share < _MUCH_LEFT_OUT:
        return ()
    return (
        f"crop      the middle: {share:.0%} of a picture's area (median), at its ends, is never scored; all of it is\n"
        "          with --set preprocess.crop=pad",
    )


def of_length(recipe: Recipe, num_pictures: int) -> str:
    """Say how long the run is, on so many training pictures, and how fast it learns."""
    if recipe.epochs == 0:
        return f"{recipe.name}: a linear head on frozen features, no epochs"
    steps = recipe.epochs * -(-num_pictures // recipe.batch_size)
    why = f" (about {steps} steps on {num_pictures} pictures)" if recipe.budget.steps else ""
    return (
        f"{recipe.name}: {recipe.epochs} epoch{'s'[: recipe.epochs > 1]}{why}, batch {recipe.batch_size}, "
        f"{recipe.optim.name} at {recipe.optim.lr:g}"
    )


def of_bands(preprocess: Preprocess, *, begins: bool) -> list[str]:
    """Say what becomes of more bands than colours have, and of the weights' filters for colours."""
    if preprocess.channels in (1, 3):
        return []
    filters = "; the weights' colour filters are repeated over them" if begins else ""
    return [f"bands     {preprocess.channels}, normalised by what the training pictures have{filters}"]


def of_windows(preprocess: Preprocess) -> list[str]:
    """Say which windows of measured values the network sees."""
    if not preprocess.windows:
        return []
    how = "as its channels" if len(preprocess.windows) > 1 else "of measured values"
    return [f"windows   {', '.join(preprocess.windows)} (centre and width), {how}"]


def of_distance(distance: float | None, recipe: Recipe, *, near: bool, gentle: bool) -> list[str]:
    """Say why a head alone is trained, or all layers, or these `gentle`ly, where that was measured."""
    if distance is None:
        return []
    why = {
        True: "near what the weights have seen, and few" if distance else "too few pictures for more than a head",
        False: "far from what the weights have seen",
    }[near]
    if gentle:
        frozen = " and frozen BatchNorm statistics" if recipe.batchnorm == "frozen" else ""
        why += f", so a tenth of the rate{frozen}"
    other = "--recipe finetune trains all layers" if near and not gentle else "--recipe probe trains a head alone"
    return [f"          {why} (distance {distance:.3f}): {other}" if distance else f"          {why}: {other}"]


def of_frozen(recipe: Recipe, spec: ResNetSpec, frame: tuple[int, int], num_pictures: int) -> list[str]:
    """Say which part of the network learns, where not all of it does, and from how many stored views."""
    stages = [stage.name for stage in spec.feature_info]
    if not recipe.epochs or recipe.train not in (*stages, "head"):
        return []
    learns = stages[stages.index(recipe.train) :] if recipe.train in stages else []
    words = f"learns    {' and '.join(filter(None, [', '.join(learns), 'the head']))}"
    if recipe.views:
        megabytes = recipe.stored_bytes(spec, frame=frame, count=num_pictures) / 1e6
        words += f", on {min(recipe.views, recipe.epochs)} stored views of each picture ({megabytes:,.0f} MB)"
    return [words]


def of_sampling(recipe: Recipe) -> list[str]:
    """Say that an epoch does not show each picture once."""
    if recipe.sampling == "once":
        return []
    return ["sampling  classes drawn evenly: those of rare classes come several times an epoch, others now and then"]


def of_choice(recipe: Recipe) -> list[str]:
    """Say which epoch will be the model, where that is not the end of a descent."""
    if recipe.select != "last":
        why = f", as budget.patience={recipe.budget.patience} needs" if recipe.budget.patience else ""
        return [f"model     the epoch that is best by held-out {FIGURES[recipe.select]}{why}"]
    if recipe.epochs and (recipe.schedule.name == "constant" or recipe.schedule.final > 0):
        return ["model     the last epoch: its learning rate does not end at zero, so it is one of many alike"]
    return []


def of_augment(augment: Augment) -> str:
    """Say how training pictures are changed."""
    parts = {
        "mirrored": augment.flip == "random",
        "mirrored in every other epoch": augment.flip == "alternating",
        "randomly cropped": augment.crop == "random_resized",
        "shifted": augment.crop == "shift" and augment.shift > 0,
        "mirrored top to bottom": augment.vertical_flip == "random",
        f"turned by up to {augment.turn:g} degrees": augment.turn > 0,
        "changed in colour": augment.colour > 0,
        f"changed by torchvision's policy ({augment.policy})": augment.policy != "none",
        "partly blanked": augment.cutout > 0,
        "mixed in pairs": augment.mixup > 0 or augment.cutmix > 0,
    }
    said = [name for name, applies in parts.items() if applies]
    return f"training pictures are {', '.join(said)}" if said else "none: training pictures are as they are"


def of_network(spec: ResNetSpec) -> str:
    """Say what a network is, for errors."""
    blocks = "-".join(map(str, spec.blocks))
    return f"{spec.num_layers} layers, blocks {blocks}, width {spec.width}, {spec.activation}, {spec.stem} stem"
